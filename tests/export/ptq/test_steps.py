"""The single steps of quantization: ranges, rounding, what layers read, equalization."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from export.ptq import activation_ranges, weight_rounding
from export.ptq.equalize import ChannelClasses, equalize
from export.ptq.execution import run_float_graph
from export.ptq.graph_pair import WEIGHTED, GraphPair
from export.ptq.layer_matrix import LayerMatrix

ENDS = some.floats(-1e4, 1e4, allow_nan=False)
SEEDS = some.integers(0, 2**32 - 1)


@given(ENDS, ENDS)
def test_a_scale_covers_its_range_and_zero_exactly(a, b):
    low, high = min(a, b), max(a, b)
    scale, zero = activation_ranges.scale_and_zero_point(low, high)
    assert scale > 0 and -128 <= zero <= 127
    assert (-128 - zero) * scale <= min(low, 0) + 0.51 * scale + 1e-6
    assert (127 - zero) * scale >= max(high, 0) - 0.51 * scale - 1e-6


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_ranges_cut_off_outliers_but_for_min_max(seed):
    samples = np.random.default_rng(seed).normal(size=20000)
    samples[:1] = 1000
    low, high = samples.min(), samples.max()
    assert activation_ranges.choose_range(low, high, samples) == (low, high)
    assert activation_ranges.choose_range(low, high, samples, "percentile")[1] < 10
    low, high = samples[1:].min(), samples[1:].max()
    for kind in ("mse", "entropy"):
        chosen = activation_ranges.choose_range(low, high, samples[1:], kind)
        assert low <= chosen[0] <= 0.3 * low and 0.3 * high <= chosen[1] <= high
    heavy = np.random.default_rng(seed).standard_t(3, 20000)
    assert activation_ranges.choose_range(heavy.min(), heavy.max(), heavy, "mse")[1] < heavy.max()


@pytest.mark.parametrize("kind", activation_ranges.METHODS)
def test_an_activation_that_is_always_zero_has_a_scale(kind):
    scale, zero = activation_ranges.scale_and_zero_point(*activation_ranges.choose_range(0.0, 0.0, np.zeros(100), kind))
    assert scale > 0 and zero == -128


def _inputs(random, groups, inputs, places=200):
    """Correlated inputs, float32 [G, P, K]."""
    mix = random.normal(size=(groups, inputs, inputs)) * random.uniform(0, 1, inputs) ** 2
    return (random.normal(size=(groups, places, inputs)) @ mix + random.normal(size=inputs)).astype(np.float32)


@given(SEEDS, some.integers(1, 3), some.integers(1, 6), some.integers(2, 24))
@settings(max_examples=40, deadline=None)
def test_compensation_brings_outputs_closer(seed, groups, outputs, inputs):
    random = np.random.default_rng(seed)
    x = _inputs(random, groups, inputs)
    weights = random.normal(size=(groups, outputs, inputs))
    scale = weight_rounding.scales(weights, np.float64(0)) * 16  # about 4 bits, where rounding matters
    covariance = weight_rounding.covariance(x)
    losses = []
    for whole in (
        weight_rounding.round_to_nearest(weights, scale),
        weight_rounding.round_with_compensation(weights, scale, covariance),
    ):
        assert np.array_equal(whole, np.round(whole)) and np.abs(whole).max() <= 127
        error = whole * scale[..., None] - weights
        losses.append(np.einsum("gok,gkl,gol->", error, covariance, error))
    assert losses[1] <= 1.1 * losses[0] + 1e-9
    diagonal = np.eye(inputs) * random.uniform(0.1, 1, inputs)
    independent = weight_rounding.round_with_compensation(weights, scale, np.broadcast_to(diagonal, (groups, inputs, inputs)))
    assert np.array_equal(independent, weight_rounding.round_to_nearest(weights, scale)), "nothing can make up for anything"


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_weights_are_adapted_to_errors_only(seed):
    random = np.random.default_rng(seed)
    x = _inputs(random, 2, 6)
    weights, bias = random.normal(size=(2, 4, 6)), random.normal(size=(2, 4))
    same, kept = weight_rounding.refit(weights, bias, x, x, weight_rounding.covariance(x))
    np.testing.assert_allclose(same, weights, atol=1e-5)
    np.testing.assert_allclose(kept, bias, atol=1e-4)
    noisy = (x + random.normal(size=x.shape) * 0.3).astype(np.float32)
    adapted, moved = weight_rounding.refit(weights, bias, x, noisy, weight_rounding.covariance(noisy))
    wanted = x @ weights.transpose(0, 2, 1)
    losses = [
        np.square((noisy - noisy.mean(1, keepdims=True)) @ w.transpose(0, 2, 1) - wanted + wanted.mean(1, keepdims=True))
        for w in (weights, adapted)
    ]
    assert losses[1].sum() <= losses[0].sum()
    np.testing.assert_allclose((x @ adapted.transpose(0, 2, 1)).mean(1) + moved, wanted.mean(1) + bias, atol=1e-3)


@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x"])
def test_layers_are_products_of_what_they_read(name, converted, pixels):
    """Depthwise, grouped, strided, padded: weights times inputs is what LiteRT computes."""
    pair = GraphPair(*converted(name))
    values, random, kinds = {}, np.random.default_rng(0), set()
    run_float_graph(pair, pixels[:3], values.__setitem__)
    for operator in pair.operators:
        if operator.kind in WEIGHTED:
            layer = LayerMatrix(pair.float_graph, operator)
            where = layer.sample_positions(3, random)
            products = layer.inputs(values[layer.input], where) @ layer.weights.transpose(0, 2, 1) + layer.bias[:, None]
            computed = values[int(operator.float_op.outputs[0])][where]
            if operator.float_op.builtinOptions.fusedActivationFunction:
                products = np.maximum(products, 0)
            expected = products.transpose(1, 0, 2).reshape(computed.shape)
            np.testing.assert_allclose(expected, computed, atol=1e-4 * np.abs(computed).max() + 1e-5)
            np.testing.assert_array_equal(
                layer.kernel(layer.weights), pair.float_graph.constant(int(operator.float_op.inputs[1]))
            )
            kinds.add((operator.kind, len(layer.weights) > 1))
    assert kinds >= {("CONV_2D", False), ("DEPTHWISE_CONV_2D", True), ("FULLY_CONNECTED", False)}


@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x"])
def test_equalization_evens_out_channels_and_changes_nothing(name, converted, pixels):
    files = converted(name)
    for strength in (0.5, 1.0):
        pair = GraphPair(*files)
        seen = activation_ranges.record_statistics(pair, pixels[:4])
        even, step = equalize(pair, seen, strength)
        assert "independent channels enlarged" in step.text
        again = activation_ranges.record_statistics(pair, pixels[:4])  # of the graph as it is now
        spreads = []
        for group in pair.groups:
            for tensor in even.keys() & {pair.float_tensor_of[t] for t in group}:
                top = np.abs(again[tensor].peaks).max()
                np.testing.assert_allclose(again[tensor].peaks, even[tensor].peaks, atol=1e-4 * top + 1e-6)
                live = [a[tensor].peaks[seen[tensor].peaks > 0] / a[tensor].peaks.max() for a in (seen, again) if top > 0]
                spreads += [[np.median(v) for v in live]] if top > 0 else []
        before, after = np.mean(spreads, 0)
        assert after > before + 0.15 * strength
        output = int(pair.operators[-1].float_op.outputs[0])
        np.testing.assert_allclose(again[output].samples, seen[output].samples, atol=1e-5)


def test_channels_of_added_and_concatenated_tensors(converted):
    pair = GraphPair(*converted("shufflenet_v1_0.25x_g3"))
    classes = ChannelClasses(pair.float_graph).classes
    for operator in pair.operators:
        tensors = [int(t) for t in (*operator.float_op.inputs, *operator.float_op.outputs)]
        if operator.kind == "ADD":
            assert all(np.array_equal(classes[t], classes[tensors[0]]) for t in tensors), "one factor a channel"
        if operator.kind == "CONCATENATION" and classes[tensors[-1]].any():  # not the image's frame
            assert np.array_equal(np.concatenate([classes[t] for t in tensors[:-1]]), classes[tensors[-1]])
    assert not classes[pair.image[0]].any() and not classes[int(pair.operators[-2].float_op.outputs[0])].any(), "edges stay"
