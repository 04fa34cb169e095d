"""One training step: the papers' loss, their weight decay, a teacher's part, the optimizer, and the averaged weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.models.image_classifier import CLASSIFIER
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training.distillation import Teacher
from shufflenet_tf.weights.canonical import named_variables


class Trainer(tf.keras.Model):
    """Teaches a network; `compile`, `fit` and `evaluate` are Keras's.

    Args:
      network: its layer "linear" gives the logits.
      weight_decay: factor of half the squared norm of the convolutions' and dense layers' weights, added to the loss
        (batch normalization and biases are left alone, as in both papers).
      label_smoothing: part of the probability that is spread over all classes.
      ema: decay per step of the averaged weights that evaluation uses; 0: none.
      backbone_rate: factor on the learning rate of all layers but "linear".
      layer_decay: factor on the learning rate from each stage to the one below it.
      prior: share of each class among the training images; None: all classes alike. With it the loss is that of logits + log
        prior (Menon et al. 2021), so that the network's own logits don't favour frequent classes.
      teacher: a model whose answers are learnt too; None: labels alone.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        weight_decay: float = 4e-5,
        label_smoothing: float = 0.0,
        ema: float = 0.0,
        backbone_rate: float = 1.0,
        layer_decay: float = 1.0,
        prior: np.ndarray | None = None,
        teacher: Teacher | None = None,
    ):
        super().__init__(name=network.name)
        self.network = network
        self.logits = _any_size(tf.keras.Model(network.input, network.get_layer(CLASSIFIER).output))
        self.shift = None if prior is None else tf.math.log(tf.constant(prior, tf.float32))
        self.teacher = teacher
        self.weight_decay, self.label_smoothing, self.ema = weight_decay, label_smoothing, ema
        self.rates = layer_rates(network, backbone_rate, layer_decay)
        self.decayed = [v for v in network.trainable_weights if "kernel" in v.name.split("/")[-1]]
        # Each device updates its own; they are averaged where they are read, as a device's moving statistics are its own.
        own = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.MEAN}
        self.averages = [tf.Variable(v, trainable=False, **own) for v in network.weights] if ema else []
        self._exchange = tf.function(self._exchanged)  # one by one, so many assignments take 0.15 s
        self.tracked = [
            tf.keras.metrics.Mean(name="loss"),
            tf.keras.metrics.CategoricalAccuracy(name="top1"),
            tf.keras.metrics.TopKCategoricalAccuracy(k=min(5, network.output_shape[-1]), name="top5"),
        ]

    @property
    def metrics(self):
        return self.tracked

    def state(self) -> dict[str, Any]:
        """Returns everything that a step reads and writes, variables by name."""
        named = {f"weights/{name}": variable for name, variable in named_variables(self.network).items()}
        named |= {f"optimizer/{i}": variable for i, variable in enumerate(self.optimizer.variables)}
        named |= {f"average/{i}": variable for i, variable in enumerate(self.averages)}
        # With these an interrupted epoch's figures are still those of the whole epoch.
        named |= {f"{metric.name}/{i}": variable for metric in self.metrics for i, variable in enumerate(metric.variables)}
        return named

    def call(self, images, training=False):
        return self.logits(images, training=training)

    def train_step(self, data):
        images, labels = data
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            logits = tf.cast(self.logits(images, training=True), tf.float32)
            losses = self._loss_of_each(images, labels, logits)
            norms = tf.add_n([tf.nn.l2_loss(tf.cast(tf.convert_to_tensor(v), tf.float32)) for v in self.decayed])
            objective = (tf.reduce_mean(losses) + self.weight_decay * norms) / replicas
            scaled = self._scaled(objective)
        variables = self.network.trainable_variables
        gradients = tape.gradient(scaled, variables)
        if LEGACY_KERAS and hasattr(self.optimizer, "get_unscaled_gradients"):
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        # The steps of SGD, with momentum too, are linear in the gradients: a factor on them is one on the rate.
        gradients = [g if rate == 1 else g * rate for g, rate in zip(gradients, self.rates, strict=True)]
        self._count(losses, labels, logits, tf.reduce_sum(labels, -1))
        gradients, figures = self._of_all_workers(gradients)
        done = {"skip_gradients_aggregation": True} if _has_workers() else {}
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True), **done)
        if self.ema:
            self._average()
        return figures

    def _loss_of_each(self, images, labels, logits):
        """Returns the loss of each image [N]; an image without a label (zeros) has only its teacher's part."""
        losses = _cross_entropy(labels, logits if self.shift is None else logits + self.shift, self.label_smoothing)
        return losses if self.teacher is None else self.teacher.blend(losses, labels, logits, images)

    def test_step(self, data):
        images, labels, *weights = data  # with several workers, the last batch is filled up with images of weight 0
        logits = tf.cast(self.logits(images, training=False), tf.float32)
        weights = weights[0] if weights else None
        self._count(_cross_entropy(labels, logits, 0.0), labels, logits, weights, weights)
        return self._of_all_workers()[1]

    def _maybe_symbolic_build(self, *args, **kwargs):
        """Leaves out a step of Keras 3: all is built, and it would add the replicas' shares of a batch, of unequal size."""

    def _scaled(self, loss):
        """Scales the loss where 16-bit floats need it; the names of that differ between the generations."""
        scale = getattr(self.optimizer, "get_scaled_loss" if LEGACY_KERAS else "scale_loss", None)
        return scale(loss) if scale else loss

    def _average(self):
        step = tf.cast(self.optimizer.iterations, tf.float32)
        # While training is young, the average follows faster; else it would remember the random start.
        decay = tf.minimum(self.ema, (1 + step) / (10 + step))
        for average, variable in zip(self.averages, self.network.weights, strict=True):
            average.assign_sub((1 - decay) * (average - tf.convert_to_tensor(variable)))

    def _count(self, losses, labels, logits, weights=None, loss_weights=None):
        """Counts a batch into the running figures; images of weight 0, which have no label, only into the loss."""
        loss, *accuracies = self.tracked
        loss.update_state(losses, loss_weights)
        for accuracy in accuracies:
            accuracy.update_state(labels, logits, weights)

    def _of_all_workers(self, gradients=()):
        """Returns the sums of gradients over all workers, and the running figures by name.

        Both are sent in one message: a small one takes nearly as long as a large one, and Keras would send two for each figure.
        """
        names = [metric.name for metric in self.tracked]
        if not _has_workers():
            return gradients, dict(zip(names, [metric.result() for metric in self.tracked], strict=True))
        totals = tf.stack([tf.convert_to_tensor(metric.total) for metric in self.tracked])
        counts = tf.stack([tf.convert_to_tensor(metric.count) for metric in self.tracked])
        *gradients, totals, counts = _summed([*gradients, totals, counts])
        return gradients, dict(zip(names, tf.unstack(tf.math.divide_no_nan(totals, counts)), strict=True))

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Has the network use its averaged weights within the block."""
        self.swap_averages()
        try:
            yield
        finally:
            self.swap_averages()

    def swap_averages(self) -> None:
        """Exchanges the network's weights and their averages."""
        if self.averages:
            self._exchange()

    def _exchanged(self) -> None:
        for average, variable in zip(self.averages, self.network.weights, strict=True):
            value = tf.identity(tf.convert_to_tensor(variable))
            variable.assign(average)
            average.assign(value, read_value=False)  # where each device has its own, reading takes a message


def _has_workers() -> bool:
    return isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)


def _summed(parts: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the sums of tensors over all workers, in one message."""
    flat = tf.concat([tf.reshape(part, (-1,)) for part in parts], 0)
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
    sums = tf.split(total, [part.shape.num_elements() for part in parts])
    return [tf.reshape(each, part.shape) for each, part in zip(sums, parts, strict=True)]


def layer_rates(network: tf.keras.Model, backbone_rate: float, layer_decay: float) -> list[float]:
    """Returns the factor on the learning rate of each of the network's trainable variables.

    The classifier has 1, the last stage and what is behind it `backbone_rate`, and each stage below `layer_decay` times what
    the one above it has.
    """
    stages = sorted({layer.name.split(".")[0] for layer in network.layers if layer.name.startswith("stage")})
    rates = {}
    stage = -1  # layers come in order: what is before the first stage is one below it
    for layer in network.layers:
        if layer.name.startswith("stage"):
            stage = stages.index(layer.name.split(".")[0])
        below = max(0, len(stages) - 1 - stage) if stages else 0
        rate = 1.0 if layer.name == CLASSIFIER else backbone_rate * layer_decay**below
        rates |= {id(variable): rate for variable in layer.trainable_weights}
    return [rates[id(variable)] for variable in network.trainable_variables]


def _any_size(model: tf.keras.Model) -> tf.keras.Model:
    """Returns the same layers as a model of images of any size, for training that begins with smaller ones."""
    inputs = tf.keras.Input((None, None, 3), name="image")
    return tf.keras.Model(inputs, model.call(inputs))


def _cross_entropy(labels, logits, smoothing):
    """Returns the loss of each image [N]; `smoothing` of the probability is spread over all classes."""
    if smoothing:
        labels = labels * (1 - smoothing) + tf.reduce_sum(labels, -1, keepdims=True) * smoothing / logits.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits)
