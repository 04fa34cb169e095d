"""Reproduces the papers' comparisons: tables, guidelines, latencies, chart. The product never imports this research code."""
