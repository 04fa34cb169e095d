"""Weights in and out: the canonical .npz and, from it, everybody else's layouts."""
