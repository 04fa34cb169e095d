"""Reproduces the papers' comparisons: tables, guidelines, latencies and the chart. The product never imports this research code."""
