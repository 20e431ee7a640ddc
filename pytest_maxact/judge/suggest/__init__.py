"""Limits from evidence: accepted Records in, an edited limits file out."""
