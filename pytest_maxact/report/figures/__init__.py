"""Figures: plain data in, Vega-Lite specs with their words and numbers out."""
