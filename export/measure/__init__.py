"""What a .tflite file does: time, memory, agreement with the original, noise of its layers."""
