"""Measurements of .tflite files: time, memory, agreement with the original, quantization noise per layer."""
