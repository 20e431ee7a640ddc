"""Tiny models of many types, with an independent account of what their modules mean."""
