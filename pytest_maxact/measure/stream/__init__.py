"""A pass over a model that is larger than memory: layer by layer, each layer over the whole corpus."""
