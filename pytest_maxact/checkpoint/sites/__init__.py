"""A model's modules to the list of observed sites: `resolve` for the anatomy of a decoder, `decoder` for the decoder of
a model.
"""
