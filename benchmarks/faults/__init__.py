"""Faults in the midst of training, export and quantization-aware training: `python -m benchmarks.faults`."""
