"""Elimination of channel movement: where each channel comes from, and a plan without the movement."""
