"""A network that is quantized anew: as the converter does it, and better."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.convert.converter import run_converter
from export.convert.precision import Precision
from export.flatbuffer import inspection
from export.flatbuffer.graph import Graph
from export.measure.logit_metrics import outputs
from export.optimize import optimize
from export.ptq import BEST, MINMAX, QuantizedPair, Recipe, activation_ranges, quantize
from export.ptq.execution import run_side_by_side
from export.ptq.graph_pair import WEIGHTED, GraphPair
from export.ptq.layer_tuning import PLAIN, Tuning, tune
from export.report import layer_table
from shufflenet_tf.errors import UserError

NETWORKS = ["shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x"]


@pytest.fixture(scope="module")
def best(converted, pixels):
    return {name: quantize(*converted(name), pixels[:8], BEST) for name in NETWORKS}


def layers(model: bytes):
    graph = Graph(model)
    return graph, [operator for operator in graph.operators if graph.kind(operator) in WEIGHTED]


@pytest.mark.parametrize("name", NETWORKS)
def test_rounding_to_the_nearest_is_what_the_converter_does(name, converted, pixels):
    """With the converter's scales of activations, the converter's graph comes out."""
    real, given = converted(name)
    pair = GraphPair(real, given)
    tune(pair, pixels, PLAIN)
    made = pair.int8_graph.pack()
    (theirs, their_layers), (ours, our_layers) = layers(given), layers(made)
    for one, other in zip(their_layers, our_layers, strict=True):
        (_, w, b), (_, v, c) = ([int(t) for t in operator.inputs] for operator in (one, other))
        assert np.abs(theirs.constant(w).astype(int) - ours.constant(v)).max() <= 1
        biases = (graph.constant(t) * np.array(graph.quantization(t).scale) for graph, t in ((theirs, b), (ours, c)))
        np.testing.assert_allclose(*biases, atol=1e-4)
    assert np.abs(outputs(made, pixels) - outputs(given, pixels)).max() <= 1.5 / 256, "a quantum"


@pytest.mark.parametrize("name", NETWORKS)
def test_min_max_ranges_cut_off_nothing(name, converted, pixels):
    pair = GraphPair(converted(name)[0], quantize(*converted(name), pixels[:8], MINMAX).model)
    seen = activation_ranges.record_statistics(pair, pixels[:8])
    for tensor in (t for group in pair.groups for t in group):
        scale, zero = (q[0] for q in dataclasses.astuple(pair.int8_graph.quantization(tensor))[:2])
        low, high = (-128 - zero) * scale, (127 - zero) * scale
        assert low <= seen[pair.float_tensor_of[tensor]].low.min() + 0.6 * scale
        assert high >= seen[pair.float_tensor_of[tensor]].high.max() - 0.6 * scale


@pytest.mark.parametrize("name", NETWORKS)
def test_best_is_closer_on_images_that_it_has_not_seen(name, converted, best, pixels):
    real, given = converted(name)
    expected = outputs(real, pixels[8:])
    errors = [np.square(outputs(model, pixels[8:]) - expected).mean() for model in (given, best[name].model)]
    assert errors[1] < errors[0]
    np.testing.assert_allclose(outputs(best[name].reference, pixels), outputs(real, pixels), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_and_outputs_of_what_moves_values_share_a_scale(name, best):
    graph = Graph(best[name].model)
    moving = ("CONCATENATION", "SPLIT", "RESHAPE", "TRANSPOSE", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D")
    for operator in graph.operators:
        if graph.kind(operator) in moving:
            tensors = [int(t) for t in (*operator.inputs, *operator.outputs)]
            assert len({graph.quantization(t) for t in tensors} - {None}) == 1
    assert graph.counts()["QUANTIZE"] == 2, "at the edges only"


@pytest.mark.parametrize("name", NETWORKS)
def test_optimizes_to_the_same_bits_in_one_partition(name, best, pixels):
    optimized = optimize(best[name].model).model
    np.testing.assert_array_equal(outputs(optimized, pixels), outputs(best[name].model, pixels))
    runner = Interpreter(model_content=optimized)
    runner.allocate_tensors()
    assert inspection.delegation(runner) == (1, {})


def test_bias_correction_makes_means_equal(converted, pixels, monkeypatch):
    monkeypatch.setattr("export.ptq.layer_matrix.SAMPLES", 10**6)
    real, given = converted("shufflenet_v1_0.25x_g3")
    shifts = []
    for tuning in (Tuning(), Tuning(correct=True)):
        pair = GraphPair(real, quantize(real, given, pixels, Recipe(tuning=tuning)).model)
        distances = []
        for operator, wanted, got in run_side_by_side(pair, pixels):
            (tensor,) = map(int, operator.int8_op.outputs)
            if operator.kind in WEIGHTED and not operator.int8_op.builtinOptions.fusedActivationFunction:
                values = pair.dequantize(tensor, got.run(operator.int8_op)[0]), wanted.values[int(operator.float_op.outputs[0])]
                means = [v.reshape(-1, v.shape[-1]).mean(0) for v in values]
                distances.append(np.abs(means[0] - means[1]).mean() / pair.int8_graph.quantization(tensor).scale[0])
        shifts.append(np.median(distances))
    assert shifts[1] < 0.15 and shifts[1] < 0.6 * shifts[0], "in quanta"


def test_hard_swish_and_gates(pixels):
    random = np.random.default_rng(0)
    kernels = [tf.constant(random.normal(0, 0.4, shape), tf.float32) for shape in ((3, 3, 3, 16), (1, 1, 16, 16), (16, 5))]

    @tf.function(input_signature=[tf.TensorSpec((1, 48, 64, 3))])
    def network(image):
        x = tf.nn.conv2d(image / 64 - 2, kernels[0], 2, "SAME")
        x = x * tf.nn.relu6(x + 3) / 6
        gate = tf.nn.sigmoid(tf.nn.conv2d(tf.reduce_mean(x, [1, 2], keepdims=True), kernels[1], 1, "SAME"))
        return tf.nn.softmax(tf.reduce_mean(x * gate, [1, 2]) @ kernels[2])

    files = []
    for quantized in (False, True):
        precision = Precision("int8", "float32", list(pixels[:8])) if quantized else Precision()
        files.append(run_converter(network.get_concrete_function(), **precision.converter_settings()))
    result = quantize(*files, pixels[:8], BEST)
    expected = outputs(files[0], pixels.astype(np.float32))
    errors = [np.square(outputs(model, pixels) - expected).mean() for model in (files[1], result.model)]
    assert errors[1] < 1.2 * errors[0] < 1e-4
    swish = next(o for o in Graph(result.model).operators if Graph(result.model).kind(o) == "HARD_SWISH")
    q = Graph(result.model).quantization(int(swish.inputs[0]))
    assert (-128 - q.zero_point[0]) * q.scale[0] == pytest.approx(-3, abs=1), "what is below makes no difference"


def test_rows_of_layers(converted, best, pixels):
    name = "shufflenet_v2_0.5x"
    real, given = converted(name)
    rows = layer_table.layer_rows({"min-max": QuantizedPair(given, real), "best": best[name]}, pixels[8:])
    assert len(rows) > 10 and rows[0].name == "conv1" and rows[-1].name == "linear"
    assert np.mean([row.sqnr["best"] - row.sqnr["min-max"] for row in rows]) > 1
    table = layer_table.markdown(rows).splitlines()
    assert len(table) == len(rows) + 3 and table[-1].startswith(f"| mean of {len(rows)} layers |")


def test_bad_input(converted, pixels):
    real, given = converted("shufflenet_v2_0.5x")
    with pytest.raises(UserError, match="no photos to quantize with"):
        quantize(real, given, [])
    with pytest.raises(UserError, match=r"is uint8 \[32, 48, 3\]: give uint8 \[48, 64, 3\]"):
        quantize(real, given, [pixels[0], pixels[0, :32, :48]])
    with pytest.raises(UserError, match=r"is float64 \[48, 64, 3\]"):
        quantize(real, given, [pixels[0] / 255])
    for pair in ((real, real), (given, real), (converted("shufflenet_v1_0.25x_g3")[0], given)):
        with pytest.raises(UserError, match=r"one conversion|not in int8"):
            quantize(*pair, pixels)
    with pytest.raises(UserError, match=r"whole \.tflite files"):
        quantize(real[:1000], given, pixels)
    with pytest.raises(UserError, match="no ranges 'median'"):
        Recipe("median")
    with pytest.raises(UserError, match=r"equalization is 2"):
        Recipe(equalize=2)


def changed(model: bytes, change, layer: int, position: int) -> bytes:
    """Returns a graph with another constant: `change` of the one that the layer reads at a position."""
    graph, found = layers(model)
    inputs = [int(t) for t in found[layer].inputs]
    inputs[position] = graph.add_constant(change(graph.constant(inputs[position])), "changed", like=inputs[position])
    found[layer].inputs = inputs
    return graph.pack()


@pytest.mark.parametrize("bias", [0.0, 1e-3, 5.0])
@pytest.mark.parametrize("recipe", [MINMAX, BEST])
def test_a_layer_whose_weights_are_zero(bias, recipe, converted, pixels):
    real, given = converted("shufflenet_v2_0.5x")
    real = changed(real, np.zeros_like, 3, 1)
    real = changed(real, lambda values: np.full_like(values, bias), 3, 2)
    result = quantize(real, given, pixels[:4], recipe)
    np.testing.assert_allclose(outputs(result.model, pixels), outputs(real, pixels), atol=0.1)
    runner = Interpreter(model_content=result.model)
    runner.allocate_tensors()
    assert inspection.delegation(runner)[0] == 1, "delegates take these scales"


def test_a_network_that_gives_no_numbers(converted, pixels):
    real, given = converted("shufflenet_v2_0.5x")
    broken = changed(
        real, lambda values: np.where(np.arange(values.size) == 0, np.nan, values.ravel()).reshape(values.shape), 3, 1
    )
    with pytest.raises(UserError, match=r"gives no numbers at .*diverged"):
        quantize(broken, given, pixels)
