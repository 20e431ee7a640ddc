"""Weights in low bits: how each format lays them down, and how they are given back in 16 bits. One module per format,
and the table of them.
"""
