"""Vocabulary and arithmetic that everything above shares, without torch: what sites, formats and schemes are called,
and sums that add up over parts of a corpus.
"""
