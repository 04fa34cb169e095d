"""Mixed precision: the layers that int8 hurts most stay floats, as few as the answers need. And activations in int16."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.flatbuffer import inspection
from export.flatbuffer.graph import Graph
from export.measure.logit_metrics import distance, expected_drop, logits
from export.optimize import optimize
from export.ptq import BEST_INT16, MINMAX, QuantizedPair, mixed_precision, quantize
from export.ptq.graph_pair import WEIGHTED, GraphPair
from export.ptq.layer_tuning import PLAIN, tune
from shufflenet_tf.errors import UserError

# The layer of each network, in order of execution, that gets a useless scale in `hurt`: one that answers depend on.
HURT = {"shufflenet_v1_0.25x_g3": 10, "shufflenet_v2_0.5x": 10}
NETWORKS = [*HURT]


@pytest.fixture(scope="module")
def results(converted, pixels):
    """Networks whose answers differ from image to image."""
    return {
        name: quantize(undecided(real, pixels), int8, pixels[:8], MINMAX)
        for name in NETWORKS
        for real, int8 in [converted(name)]
    }


def undecided(model: bytes, images: np.ndarray) -> bytes:
    """Gives all classes the same mean logit on some images."""
    graph = Graph(model)
    (classifier,) = (operator for operator in graph.operators if graph.kind(operator) == "FULLY_CONNECTED")
    bias = int(classifier.inputs[2])
    even = graph.constant(bias) - logits(model, images).mean(0)
    classifier.inputs = [*classifier.inputs[:2], graph.add_constant(even.astype(np.float32), "even", like=bias)]
    return graph.pack()


def hurt(results: dict[str, QuantizedPair], name: str) -> tuple[QuantizedPair, str]:
    """Has one layer's output keep hardly anything; returns the graphs and the layer's name."""
    pair = GraphPair(results[name].reference, results[name].model)
    operator = [operator for operator in pair.operators if operator.kind in WEIGHTED][HURT[name]]
    group = next(group for group in pair.groups if int(operator.int8_op.outputs[0]) in group)
    scale, zero = pair.int8_graph.quantization(group[0]).scale[0], pair.int8_graph.quantization(group[0]).zero_point[0]
    pair.set_scale(group, 60 * scale, int(zero / 60))
    tune(pair, np.empty(0), PLAIN)  # biases by the new scale
    return QuantizedPair(pair.int8_graph.pack(), results[name].reference), mixed_precision.short_name(
        pair.float_graph.name(int(operator.float_op.outputs[0]))
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers_as_floats_are_the_float_graph(name, results, pixels):
    pair = GraphPair(results[name].reference, results[name].model)
    floats = mixed_precision.mixed_graph(pair, range(len(pair.operators))).pack()
    real = logits(results[name].reference, pixels)
    assert np.abs(logits(floats, pixels) - real).max() <= 5e-3 * np.abs(real).max(), "half precision"
    assert inspection.is_quantized(Graph(results[name].model)) and not inspection.is_quantized(Graph(floats))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layer_that_hurts_is_kept(name, results, pixels):
    result, layer = hurt(results, name)
    real = logits(result.reference, pixels)
    before = expected_drop(real, logits(result.model, pixels))
    mixture = mixed_precision.mix(result, list(pixels), 0.7 * before)
    assert layer in mixture.kept[:2], "whoever reads it suffers from its scale as much"
    assert len(mixture.kept) < mixture.layers
    assert mixture.drop <= 0.7 * before
    made = logits(mixture.model, pixels)
    assert expected_drop(real, made) == pytest.approx(mixture.drop)
    assert distance(real, made)[1] < distance(real, logits(result.model, pixels))[1]
    assert mixture.step.text.startswith(f"{len(mixture.kept)} of {mixture.layers} layers in floating point")


def test_nothing_is_kept_without_need(results, pixels):
    result = results[NETWORKS[1]]
    mixture = mixed_precision.mix(result, list(pixels), 1.0)
    assert mixture.model == result.model and mixture.kept == ()


def test_no_drop_at_all_can_be_had(results, pixels):
    result = hurt(results, NETWORKS[0])[0]
    assert mixed_precision.mix(result, list(pixels), 0.0).drop == 0


def test_it_is_optimized_and_delegated_as_one(results, pixels):
    result = hurt(results, NETWORKS[1])[0]
    pair = GraphPair(result.reference, result.model)
    layers = [i for i, operator in enumerate(pair.operators) if operator.kind in WEIGHTED][4:8]
    model = mixed_precision.mixed_graph(pair, mixed_precision.with_movement(pair, layers)).pack()
    optimized = optimize(model, 1).model
    np.testing.assert_allclose(logits(optimized, pixels), logits(model, pixels), atol=1e-5)
    runner = Interpreter(model_content=optimized)
    runner.allocate_tensors()
    assert inspection.delegation(runner) == (1, {})


def test_drops_and_photos_that_will_not_do(results, pixels):
    with pytest.raises(UserError, match="drop is 150 points: give 0 to 100"):
        mixed_precision.mix(results[NETWORKS[0]], list(pixels), 1.5)
    with pytest.raises(UserError, match="no photos to measure"):
        mixed_precision.mix(results[NETWORKS[0]], [], 0.5)


def test_int16_gets_as_near_as_its_weights_allow(converted, pixels):
    real, int16 = converted(NETWORKS[1], "int16")
    expected = logits(real, pixels)
    best = quantize(real, int16, pixels[:8], BEST_INT16).model
    far = [distance(expected, logits(model, pixels))[1] for model in (int16, best)]
    assert far[1] < far[0] < 1e-2
    with pytest.raises(UserError, match="not of one conversion"):
        quantize(converted(NETWORKS[0])[0], int16, pixels[:8], BEST_INT16)
