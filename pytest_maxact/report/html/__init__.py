"""An outcome as one page for a browser: a file of its own that asks nothing of any network."""
