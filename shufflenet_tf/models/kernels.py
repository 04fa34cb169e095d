"""Faster versions of two Keras layers that are slow in training; variables, results and configuration are the same."""

import tensorflow as tf

LEGACY_KERAS = not getattr(tf.keras, "__version__", "2").startswith("3")

register = tf.keras.utils.register_keras_serializable(package="shufflenet_tf")


class FusedBatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras 3's batch normalization with TensorFlow's fused kernel, which makes training steps faster.

    Variables, names, configuration and inference are Keras's. The moving variance is updated with the unbiased
    batch variance, as tf_keras and the original frameworks do.
    """

    def call(self, inputs, training=None, mask=None):
        fusable = mask is None and not self.synchronized and self.scale and self.center and self.axis in (-1, 3)
        if not (training and self.trainable and fusable and len(inputs.shape) == 4):
            return super().call(inputs, training=training, mask=mask)
        fused = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.constant([], tf.float32),
            variance=tf.constant([], tf.float32),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, batch in ((self.moving_mean, fused.batch_mean), (self.moving_variance, fused.batch_variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return fused.y


# tf_keras's class is fused already, and model-optimization compares classes by identity.
BatchNorm = tf.keras.layers.BatchNormalization if LEGACY_KERAS else register(FusedBatchNormalization)


def synchronize(model: tf.keras.Model) -> None:
    """Has the batch normalizations of `model` take the statistics of the whole batch, over all devices, in training."""
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.synchronized, layer.fused = True, False  # tf_keras's fused kernel knows one device only


def grouped_convolution(x: tf.Tensor, kernel: tf.Tensor, strides, padding: str) -> tf.Tensor:
    """Convolves `x` [N, H, W, C] with `kernel` [kh, kw, C / groups, filters] as one native operation, in every mode.

    On CPUs, Keras compiles grouped convolutions with XLA, whose backward pass takes several times as long. The reason is
    that TensorFlow's native gradient on CPUs needs oneDNN and 32-bit floats. Here, the gradient is computed group by group
    with operations that every processor, type and compiler supports; this is also faster than the native gradient.
    """
    if _on_gpu(x):
        return tf.nn.conv2d(x, kernel, strides, padding)

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            return _gradient(x, kernel, upstream, strides, padding)

        y = tf.nn.conv2d(x, kernel, strides, padding)
        # TensorFlow would fuse the convolution with the following batch normalization or bias, and without oneDNN the fused
        # kernel doesn't support groups, so a SavedModel could not be served. This check, which costs nothing, prevents it.
        return tf.ensure_shape(y, y.shape), gradient

    return convolve(x, kernel)


def _on_gpu(x: tf.Tensor) -> bool:
    """Whether an operation on `x` is placed on a GPU, where cuDNN differentiates grouped convolutions."""
    placed = tf.identity(x).device.upper()  # empty in a graph without a device, where TensorFlow prefers GPUs
    return "GPU" in placed or ("CPU" not in placed and "TPU" not in placed and bool(tf.config.list_logical_devices("GPU")))


def _gradient(x, kernel, upstream, strides, padding: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a grouped convolution's gradients with respect to `x` and `kernel`."""
    kind = x.dtype
    # These are sums over all pixels of all images: in 16 bits, they would be inaccurate, and slower on most processors.
    x, kernel, upstream = (tf.cast(v, tf.float32) if v.dtype.size < 4 else v for v in (x, kernel, upstream))
    kh, kw, depth, filters = kernel.shape
    groups = x.shape[-1] // depth
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    if pointwise := (kh, kw) == (1, 1):  # matrix products; rows are pixels or input channels
        # Also with strides, where oneDNN's gradient is wrong for few channels (TensorFlow 2.21, AVX2, maps of even size).
        read = x[:, :: strides[0], :: strides[1]]
        operands = (
            tf.reshape(read, (-1, x.shape[-1])),
            tf.reshape(kernel, (depth, filters)),
            tf.reshape(upstream, (-1, filters)),
        )
    else:
        operands = x, kernel, upstream
    pieces = list(zip(*(tf.split(operand, groups, -1) for operand in operands), strict=True))
    if pointwise:
        dx = [tf.matmul(dy, w, transpose_b=True) for _, w, dy in pieces]
        dw = [tf.matmul(a, dy, transpose_a=True) for a, _, dy in pieces]
    else:
        how = {"strides": (1, *strides, 1), "padding": padding}
        sizes = tf.shape(pieces[0][0])
        dx = [tf.raw_ops.Conv2DBackpropInput(input_sizes=sizes, filter=w, out_backprop=dy, **how) for _, w, dy in pieces]
        sizes = (kh, kw, depth, filters // groups)
        dw = [tf.raw_ops.Conv2DBackpropFilter(input=a, filter_sizes=sizes, out_backprop=dy, **how) for a, _, dy in pieces]
    dx, dw = tf.concat(dx, -1), tf.reshape(tf.concat(dw, -1), (kh, kw, depth, filters))
    dx = _spread(dx, tf.shape(upstream), tf.shape(x), strides) if pointwise else dx
    return tf.cast(dx, kind), tf.cast(dw, kind)


def _spread(values: tf.Tensor, read: tf.Tensor, whole: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """Returns a map of shape `whole` with `values` [pixels, C] at every stride-th pixel and zeros elsewhere."""
    if strides == (1, 1):
        return tf.reshape(values, whole)
    n, height, width, c = read[0], read[1], read[2], whole[3]
    values = tf.reshape(values, (n, height, 1, width, 1, c))
    values = tf.pad(values, [(0, 0), (0, 0), (0, strides[0] - 1), (0, 0), (0, strides[1] - 1), (0, 0)])
    values = tf.reshape(values, (n, height * strides[0], width * strides[1], c))
    return values[:, : whole[1], : whole[2]]


@register
class GroupedConv2D(tf.keras.layers.Conv2D):
    """Keras's Conv2D with `groups` > 1 and no activation, at native speed."""

    def call(self, inputs):
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        x = grouped_convolution(inputs, kernel, self.strides, self.padding.upper())
        return tf.nn.bias_add(x, tf.cast(tf.convert_to_tensor(self.bias), x.dtype)) if self.use_bias else x
