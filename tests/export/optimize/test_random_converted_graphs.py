"""Whatever a channels-first network does between its transposes: the optimized graph computes the same with fewer of them."""

from amount import examples
from hypothesis import HealthCheck, given, note, settings
from random_converted_graphs import models

from export.flatbuffer.graph import Graph
from export.optimize import equality, pass_manager
from export.optimize.passes import PASSES
from export.optimize.targets.cost_model import CostModel


@settings(max_examples=examples(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models())
def test_random_converted_graphs_compute_the_same(model):
    result = model
    note(str([f"{Graph(model).kind(o)}{list(o.inputs)}->{list(o.outputs)}" for o in Graph(model).operators]))
    for p in PASSES:
        result, step = pass_manager.apply(p, result, CostModel())
        # The check at the end of each pass is a safety net: nothing may fall into it.
        assert not step.text.startswith(("undone", "left alone")), step
    difference = equality.compare(model, result, count=4)
    assert difference.quanta == 0 and difference.relative <= equality.TOLERANCE
    assert Graph(result).counts().get("TRANSPOSE", 0) <= Graph(model).counts().get("TRANSPOSE", 0)
