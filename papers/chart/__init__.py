"""The chart of accuracy against latency, of every registered network: `python -m papers.chart`."""
