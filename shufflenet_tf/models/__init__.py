"""All networks. Importing one of them registers the layers of all with Keras, so that `load_model` knows them."""

from shufflenet_tf.models import registry as registry
