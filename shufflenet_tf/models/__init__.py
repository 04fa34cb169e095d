"""The networks, by name and by class; importing any of them registers the layers of all with Keras, which loads files by it."""

from shufflenet_tf.models import registry as registry
