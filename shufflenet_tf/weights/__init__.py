"""Reads and writes weights: the canonical .npz, and the layouts of other frameworks."""
