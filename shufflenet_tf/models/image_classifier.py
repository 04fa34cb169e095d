"""The base class of all networks: a functional graph inside a Keras model, a head, and labels and preprocessing."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf import imagenet, keras_settings
from shufflenet_tf.certainty import Certainty
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.layers import INITIALIZER, register
from shufflenet_tf.models.open_set import has_none, known_probabilities, without_none
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.weights import canonical, published
from shufflenet_tf.wiring import Wiring

CLASSIFIER = "linear"  # name of the layer that returns logits
MIN_SIZE = 32  # pixels: five halvings leave one


@register
class ImageClassifier(tf.keras.Model):
    """A network from normalised images to class probabilities, with its labels and its preprocessing.

    Subclasses pass the layers up to the last feature map, and their configuration.

    Args:
      trunk: function of symbolic images [N, H, W, 3] and a Wiring; returns feature maps by stride. The head takes the map
        named "features", or else the last one.
      head: function of symbolic pooled features [N, C]; returns the classifier's input. None: the features themselves.
      pool: returns the layer between the last feature map and the head; None: global average pooling.
      classifier: function of the number of classes; returns the layer "linear", whose output is logits [N, classes]. None: a
        dense layer, as `wiring` says.
      input_shape: (height, width, 3); each side is at least `min_size` or None (any); it need not be square.
      include_top: whether to add pooling and classifier; else the output is the last feature map, pooled as `pooling` says.
      weights: None (random), a path (a tensorpack .npz, a torchvision .pth, a megvii .pth.tar, a canonical .npz), or
        "imagenet": torchvision's, downloaded once, or hf://USER/NAME. Without include_top their classifier is left out.
      pooling: None, "avg" or "max": only where include_top is False.
      classes: number of classes; None: that of `weights`, else 1000. Where it is another than that of `weights`, the classifier
        is new and random, and everything else is theirs.
      classifier_activation: "softmax", or None for logits.
      none_units: size of the layer from which the logit of none of the classes is computed, so that the sum of the
        probabilities is below 1 (`open_set`); None: that of `weights` where their classifier is kept, else there is none.
      wiring: a name ("tensorpack", "megvii", "torchvision") or a Wiring; None: that of `weights`, else the class's default.
      labels: names of the classes in order, which are saved with the model; None: those of `weights`, else unknown.
      preprocessing: a Preprocessing, a name, or a saved configuration, saved with the model; None: that of `weights`, else
        torchvision's.
      certainty: how sure an answer must be, a Certainty or a saved configuration, saved with the model; None: that of `weights`
        where their classifier is kept, else unknown.
      network: the registered name of the subclass with these arguments; also the model's where `name` is None.
      config: the subclass's own arguments, as JSON types.

    Raises:
      UserError: an argument is out of range, or the weights can't be read or belong to another network.
    """

    default_wiring = "tensorpack"
    min_size = MIN_SIZE

    def __init__(
        self,
        trunk: Callable[[Any, Wiring], Mapping[int | str, Any]],
        *,
        network: str,
        config: Mapping[str, Any],
        name: str | None = None,
        head: Callable[[Any], Any] | None = None,
        pool: Callable[[], tf.keras.layers.Layer] | None = None,
        classifier: Callable[[int], tf.keras.layers.Layer] | None = None,
        input_shape: Sequence[int | None] = (224, 224, 3),
        include_top: bool = True,
        weights: str | os.PathLike | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: str | None = "softmax",
        none_units: int | None = None,
        wiring: str | Wiring | Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | str | None = None,
        certainty: Certainty | Mapping[str, Any] | None = None,
    ):
        keras_settings.check()
        checkpoint = published.find(weights, network)
        new_classifier = checkpoint is not None and include_top and classes not in (None, checkpoint.classes)
        if checkpoint is not None:
            wiring = wiring or checkpoint.wiring
            preprocessing = preprocessing or checkpoint.preprocessing
            if include_top and not new_classifier:
                labels, saved = labels or checkpoint.labels, checkpoint.config or {}
                certainty, none_units = certainty or saved.get("certainty"), none_units or saved.get("none_units")
        classes = (checkpoint and checkpoint.classes) or imagenet.CLASSES if classes is None else classes
        wiring, input_shape = Wiring.of(wiring or self.default_wiring), self._checked_shape(input_shape)
        _check_head(include_top, pooling, classes, labels)
        inputs = tf.keras.Input(input_shape, name="image")
        maps = dict(trunk(inputs, wiring))
        x = last_map = maps.pop("features") if "features" in maps else maps[max(maps)]
        x = _pooled(x, pooling, pool if include_top else None, include_top)
        if include_top:
            layer = classifier(classes) if classifier else _dense(classes, wiring)
            x = _classified(head(x) if head else x, layer, classifier_activation, none_units)
        super().__init__(inputs, x, name=name or network)
        self.network, self.last_map = network, last_map
        self.stages = {f"stride{stride}": tensor for stride, tensor in maps.items()}
        self.labels = None if labels is None else list(labels)
        self.preprocessing = Preprocessing.of(preprocessing)
        self.certainty = Certainty.of(certainty)
        self._config = {
            **config,
            "wiring": wiring.to_config(),
            "input_shape": list(input_shape),
            "include_top": include_top,
            "pooling": pooling,
            "classes": classes,
            "classifier_activation": classifier_activation,
            "name": self.name,
            **({"none_units": none_units} if none_units and include_top else {}),
        }
        if checkpoint is not None:
            self._assign(checkpoint, include_top, new_classifier)

    def _assign(self, checkpoint: published.Checkpoint, include_top: bool, new_classifier: bool) -> None:
        if include_top:
            checkpoint.check_classifier()
        arrays = checkpoint.arrays if include_top else checkpoint.without_top(self)
        if not has_none(self):
            arrays = without_none(arrays)
        if new_classifier:
            random = {name: array for name, array in canonical.arrays(self).items() if name.startswith(f"{CLASSIFIER}/")}
            arrays = {name: array for name, array in arrays.items() if not name.startswith(f"{CLASSIFIER}/")} | random
        try:
            canonical.assign(self, arrays, checkpoint.path)
        except UserError as error:
            # The package's __init__ has loaded the classes of all families.
            for family in ImageClassifier.__subclasses__():
                if arguments := family.arguments_of(checkpoint):
                    call = f"{family.__name__}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
                    raise UserError(f"{str(error).rstrip('.')}; use {call}.") from None
            raise

    @classmethod
    def arguments_of(cls, checkpoint: published.Checkpoint) -> dict[str, Any] | None:
        """Returns the arguments of this class that build a checkpoint's network; None: it is not known to be of this class."""
        return None

    @classmethod
    def fill(
        cls, weights: str | os.PathLike | published.Checkpoint | None, **given: Any
    ) -> tuple[str | published.Checkpoint | None, list[Any]]:
        """Takes arguments that are not given from a file of weights.

        Args:
          weights: the constructor's argument.
          **given: arguments, in order; None: not given.

        Returns:
          The weights, already read if they are a file, and the arguments; None remains where the file doesn't state one.
        """
        if weights is None or (isinstance(weights, str) and weights == "imagenet"):
            return weights, list(given.values())
        checkpoint = published.find(weights, cls.__name__)
        known = cls.arguments_of(checkpoint) or {}
        return checkpoint, [known.get(key) if value is None else value for key, value in given.items()]

    @property
    def logits(self) -> Any:
        """The symbolic logits [N, classes]; None: the network has no classifier."""
        if not self._config["include_top"]:
            return None
        return self.get_layer(CLASSIFIER).output

    def features(self) -> tf.keras.Model:
        """Returns a model with the same weights that maps images to {"stride4": [N, H/4, W/4, C], …, "stride32"}.

        It serves as the backbone of a detector.

        Raises:
          UserError: the network has no such feature maps.
        """
        if not self.stages:
            raise UserError(f"{self.name} has no feature maps of strides 4 to 32: choose another network.")
        return tf.keras.Model(self.input, dict(self.stages), name=f"{self.name}_features")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, with labels, preprocessing and what is known of certainty, but for `weights`."""
        labels = None if self.labels is None else list(self.labels)
        # tf_keras wraps nested dicts in a type that JSON doesn't know.
        config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in self._config.items()}
        config |= {"labels": labels, "preprocessing": self.preprocessing.to_config()}
        return config if self.certainty is None else {**config, "certainty": self.certainty.to_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> "ImageClassifier":
        """Builds the model of `get_config`, with random weights."""
        return cls(**config)

    @classmethod
    def _checked_shape(cls, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        shape, least = tuple(shape), cls.min_size
        if len(shape) != 3 or shape[2] != 3 or any(side is not None and side < least for side in shape[:2]):
            raise UserError(f"The input shape {shape} is invalid: give (height, width, 3) with sides of {least} or more.")
        return shape


def _pooled(x, pooling: str | None, pool: Callable[[], tf.keras.layers.Layer] | None, include_top: bool):
    if pool:
        return pool()(x)
    if include_top or pooling == "avg":
        return tf.keras.layers.GlobalAveragePooling2D(name="gap")(x)
    return tf.keras.layers.GlobalMaxPooling2D(name="gmp")(x) if pooling == "max" else x


def _check_head(include_top: bool, pooling: str | None, classes: int, labels: Sequence[str] | None) -> None:
    if pooling not in (None, "avg", "max"):
        raise UserError(f"Pooling {pooling!r} is unknown: use None, 'avg' or 'max'.")
    if include_top and classes < 1:
        raise UserError(f"A classifier can't have {classes} classes: give classes=1 or more.")
    if include_top and labels is not None and len(labels) != classes:
        raise UserError(f"{len(labels)} labels were given for {classes} classes: give one label per class.")


def _classified(features, layer: tf.keras.layers.Layer, activation: str | None, none_units: int | None):
    logits = layer(features)
    if activation is None:
        return logits
    if none_units:
        return known_probabilities(features, logits, none_units)
    return tf.keras.layers.Activation(activation, dtype="float32", name="probabilities")(logits)


def _dense(classes: int, wiring: Wiring) -> tf.keras.layers.Layer:
    bias = wiring.classifier_bias
    return tf.keras.layers.Dense(classes, use_bias=bias, kernel_initializer=INITIALIZER, dtype="float32", name=CLASSIFIER)
