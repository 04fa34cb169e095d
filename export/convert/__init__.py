"""Converts a Keras network to a .tflite file with TensorFlow's converter.

- `from_keras.py`: `convert`, for the project's networks: raw pixels in, probabilities out.
- `stem.py`: folds the preprocessing into the first convolution.
- `precision.py`: how a file stores numbers; `calibration_images.py`: the photos that calibrate int8's ranges.
- `converter.py`: TensorFlow's converter, set up in one place for every graph of this project.
"""
