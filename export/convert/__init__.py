"""From a Keras network to a .tflite file as TensorFlow's converter makes it.

- `from_keras.py`: `convert`, for the project's networks: raw pixels in, probabilities out.
- `stem.py`: the preprocessing, folded into the first convolution.
- `precision.py`: how a file stores numbers; `calibration_images.py`: the photos that int8 takes its ranges from.
- `converter.py`: TensorFlow's converter, set up once for every graph of this project.
"""
