"""Rounds weights to int8: to the nearest, or so that the errors of a layer's weights cancel on its inputs.

Layers are G groups of O outputs with K inputs each; inputs were seen in P places.
"""

import numpy as np

DAMPING = 0.01  # of the inputs' mean power: rounding leaves weights of inputs that hardly vary near where they were
RESTRAINT = 0.1  # likewise, for adapting weights: the photos at hand are not all that there are
_TOP = 127
_TINY = 1e-12


def scales(weights: np.ndarray, smallest: np.ndarray) -> np.ndarray:
    """Returns the scale of each output channel, [G, O], for weights [G, O, K]."""
    return np.maximum(np.abs(weights).max(-1) / _TOP, smallest)


def mean(inputs: np.ndarray) -> np.ndarray:
    """Returns the mean over places, float64 [G, K], of inputs [G, P, K]."""
    places = inputs.shape[1]
    return np.matmul(np.full((1, places), 1 / places, np.float32), inputs)[:, 0].astype(np.float64)  # 5 times as fast as mean


def covariance(inputs: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Returns the covariance of inputs [G, P, K], with others of this shape if given, float64 [G, K, K]."""
    centered = [x - mean(x).astype(np.float32)[:, None] for x in (inputs, inputs if others is None else others)]
    return (centered[0].transpose(0, 2, 1) @ centered[1]).astype(np.float64) / inputs.shape[1]


def has_enough_samples(inputs: np.ndarray) -> bool:
    """Whether inputs [G, P, K] were seen in enough places to know their covariance."""
    return inputs.shape[1] >= 4 * inputs.shape[2]


def refit(
    weights: np.ndarray, bias: np.ndarray, float_inputs: np.ndarray, int8_inputs: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Adapts weights to inputs with errors: ridge regression of the float outputs on these inputs, about the given weights.

    Args:
      weights: [G, O, K].
      bias: [G, O].
      float_inputs, int8_inputs: inputs without and with errors, in the same places, [G, P, K].
      covariances: of `int8_inputs`, [G, K, K].

    Returns:
      Weights, and the bias that keeps the means of the outputs on `float_inputs`.
    """
    system = _damped(covariances, RESTRAINT)
    # [G, K, K]: the part of the errors that the inputs predict
    correction = np.linalg.solve(system, covariance(int8_inputs, float_inputs - int8_inputs))
    adapted = weights + weights @ correction.transpose(0, 2, 1)
    return adapted, bias + ((weights - adapted) @ mean(float_inputs)[..., None])[..., 0]


def round_to_nearest(weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns weights [G, O, K] in units of their scale [G, O], as whole numbers."""
    return np.clip(np.round(weights / scale[..., None]), -_TOP, _TOP)


def round_with_compensation(weights: np.ndarray, scale: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Rounds one weight of each output after the other, the remaining ones taking over the error in the layer's output.

    This is greedy least squares (Frantar et al., "GPTQ", 2022; Hassibi and Stork, "Optimal Brain Surgeon", 1993), with the
    objective of AdaRound (Nagel et al., 2020): the squared error of outputs, not that of weights.

    Args:
      weights: [G, O, K].
      scale: [G, O].
      covariances: of the inputs, [G, K, K].

    Returns:
      Whole numbers [G, O, K], in units of the scale.
    """
    inputs = weights.shape[-1]
    # The strongest inputs first, while there are others to make up for their errors.
    order = np.argsort(-np.einsum("gkk->gk", covariances), axis=-1, kind="stable")
    rows = np.arange(len(weights))[:, None]
    system = _damped(covariances, DAMPING)[rows[:, :, None], order[:, :, None], order[:, None, :]]
    # Upper triangular: row k says how the inputs behind k make up for k, those before it being fixed.
    follow = np.linalg.cholesky(np.linalg.inv(system)).transpose(0, 2, 1)
    left = weights.transpose(0, 2, 1)[rows, order]  # [G, K, O]
    whole = np.empty_like(left)
    for k in range(inputs):
        whole[:, k] = np.clip(np.round(left[:, k] / scale), -_TOP, _TOP)
        error = (left[:, k] - whole[:, k] * scale) / follow[:, k, k, None]
        left[:, k + 1 :] -= follow[:, k, k + 1 :, None] * error[:, None]
    result = np.empty_like(whole)
    result[rows, order] = whole
    return result.transpose(0, 2, 1)


def _damped(covariances: np.ndarray, part: float) -> np.ndarray:
    """Returns covariances [G, K, K] with this part of each group's mean power added to the diagonal."""
    power = np.einsum("gkk->gk", covariances).mean(-1)
    return covariances + (part * power + _TINY)[:, None, None] * np.eye(covariances.shape[-1])
