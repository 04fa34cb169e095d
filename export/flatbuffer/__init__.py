"""The .tflite file itself: read, checked, changed, written and run.

- `packed.py` and `validation.py` parse and check the bytes; `graph.py` is the graph that passes read and change, `model.py` a
  model with its history.
- `edit.py`, `movement.py` and `prune.py` are small operations on graphs; `builder.py` builds graphs for tests and measurements.
- `metadata.py` and `associated_files.py` attach labels and descriptions; `inspection.py` and `refusal.py` explain a file.
- `runtime.py` runs it under LiteRT.
"""
