"""One checkpoint as it lies on disk: located, checked, identified, loaded; `sites` is its anatomy, `weights` its stored
tensors.
"""
