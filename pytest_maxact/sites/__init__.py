"""A model's modules to the list of observed sites: `resolve` for the anatomy of a decoder, `decoder_of` for the decoder
of a model.
"""

from pytest_maxact.sites.adapters import without_adapters
from pytest_maxact.sites.anatomy import Anatomy, Experts, LeftOut, Tap
from pytest_maxact.sites.decoder import decoder_of
from pytest_maxact.sites.resolve import resolve

__all__ = ["Anatomy", "Experts", "LeftOut", "Tap", "decoder_of", "resolve", "without_adapters"]
