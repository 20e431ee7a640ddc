"""Small checkpoints in low bits, one module per format, as quantizers write them: each an `export(folder)` of a source
in 16 bits.
"""
