"""Measurements of .tflite files: time, memory, agreement with the original, noise of each layer."""
