"""The .tflite file itself: read, checked, changed, written and run."""
