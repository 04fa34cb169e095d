"""The two primitive layers whose Keras form is slow in training, with the same variables, results and configuration."""

import functools

import tensorflow as tf

LEGACY_KERAS = not getattr(tf.keras, "__version__", "2").startswith("3")

register = tf.keras.utils.register_keras_serializable(package="shufflenet_tf")


class FusedBatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras 3's batch normalization with TensorFlow's fused kernel in training, which is what makes a step fast.

    Variables, names, configuration and inference are Keras's own. The moving variance is updated with the unbiased
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


# tf_keras's own class is fused already, and model-optimization recognises classes by identity.
BatchNorm = tf.keras.layers.BatchNormalization if LEGACY_KERAS else register(FusedBatchNormalization)


@functools.cache
def _native_grouped_gradient() -> bool:
    """Whether this machine's TensorFlow can differentiate a grouped convolution (on CPUs only with oneDNN)."""
    try:
        with tf.init_scope(), tf.GradientTape() as tape:
            kernel = tf.ones((1, 1, 2, 2))
            tape.watch(kernel)
            tape.gradient(tf.nn.conv2d(tf.ones((1, 1, 1, 4)), kernel, 1, "VALID"), kernel)
    except tf.errors.OpError:
        return False
    return True


def grouped_convolution(x: tf.Tensor, kernel: tf.Tensor, strides, padding: str) -> tf.Tensor:
    """Convolves `x` [N, H, W, C] with `kernel` [kh, kw, C / groups, filters] as one native operation, in every mode.

    Keras compiles a grouped convolution with XLA on CPUs; its backward pass takes 10 to 50 times as long as the native
    one, which Keras avoids because TensorFlow without oneDNN has no such gradient. There it is taken group by group.
    """
    if _native_grouped_gradient():
        return tf.nn.conv2d(x, kernel, strides, padding)

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(upstream):
            groups = x.shape[-1] // kernel.shape[-2]
            with tf.GradientTape() as tape:
                tape.watch((x, kernel))
                pieces = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
                y = tf.concat([tf.nn.conv2d(piece, weights, strides, padding) for piece, weights in pieces], -1)
            return tape.gradient(y, (x, kernel), upstream)

        return tf.nn.conv2d(x, kernel, strides, padding), gradient

    return convolve(x, kernel)


@register
class GroupedConv2D(tf.keras.layers.Conv2D):
    """Keras's Conv2D with `groups` > 1 and no activation, at native speed."""

    def call(self, inputs):
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        x = grouped_convolution(inputs, kernel, self.strides, self.padding.upper())
        return tf.nn.bias_add(x, tf.cast(tf.convert_to_tensor(self.bias), x.dtype)) if self.use_bias else x
