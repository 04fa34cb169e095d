"""Reproduces the papers' comparisons: tables, guidelines, latencies, chart. The product never imports this research code."""

import shufflenet_tf  # noqa: F401  first of all, as it decides how TensorFlow is loaded
