"""Training on many machines: which ones there are, whether they agree, and TensorFlow's strategies behind one interface."""
