"""Metrics of a classifier and pictures of its results."""
