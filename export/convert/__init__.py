"""From a Keras network to a .tflite file as TensorFlow's converter makes it."""
