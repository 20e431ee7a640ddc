"""An artifact against the source that it was made from: its weights, and its predictions."""
