"""The chart of accuracy against latency for all registered networks: `python -m papers.chart`."""
