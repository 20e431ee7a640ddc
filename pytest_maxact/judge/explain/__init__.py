"""What a site, a metric or a scheme is, and what to do where a check of it fails: the one text behind `maxact explain`
and docs/explain.md.
"""
