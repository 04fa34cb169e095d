"""The passes, one file for each or for a family, and the order in which they are applied.

To add a pass:
1. Write `passes/NAME.py` with a function (Graph, CostModel) -> what it did, as text, or None where it changed nothing.
2. Add a line `Pass("name in reports", function)` to `PASSES`, at its place in the order; `Pass` explains the flags.
3. Test it as tests/export/optimize/test_optimize.py does: `pass_manager.apply` on a graph of `export.flatbuffer.builder.Net`.
4. Look up operators in `export.flatbuffer`: `graph` (read and add), `edit` (small changes), `movement` (what moves values).
5. There is nothing else to do: `pass_manager` checks each result, undoes it if it differs or costs more, and reports it.
"""

import dataclasses
from collections.abc import Callable

from export.flatbuffer.graph import Graph
from export.optimize.equality import OutputDifference
from export.optimize.passes import (
    absorb_pads,
    change_layouts,
    channel_movement,
    float_islands,
    fold_columns,
    fuse_relu,
    integer_pooling,
    regroup,
    shuffle_later,
    tidy,
)
from export.optimize.targets.cost_model import CostModel

# A pass that `rounds` may change an inner tensor by one quantum; later layers can magnify that to this much.
ROUNDING_QUANTA = 8
ROUNDING_RELATIVE = 0.05


@dataclasses.dataclass(frozen=True)
class Pass:
    """A rewriting of the graph.

    Attributes:
      name: in reports.
      run: changes the graph and returns what it did, as text; None: there was nothing to do.
      rounds: whether it may round quantized values inside to the neighbouring quantum.
      delegates: whether it lets the delegate take more operators; the costs of all combinations of such passes are compared,
        since one alone rarely makes fewer partitions.
      prepares: whether it serves later passes, so that it is judged by the cost after all passes.
    """

    name: str
    run: Callable[[Graph, CostModel], str | None]
    rounds: bool = False
    delegates: bool = False
    prepares: bool = False

    def tolerates(self, difference: OutputDifference) -> bool:
        """Whether outputs that differ so much are still equal."""
        if not self.rounds:
            return difference.tolerable
        return difference.quanta <= ROUNDING_QUANTA and difference.relative <= ROUNDING_RELATIVE


PASSES = (
    Pass("leftovers", tidy.tidy, prepares=True),
    Pass("layouts", change_layouts.change_layouts, prepares=True),
    Pass("split convolutions", regroup.regroup, prepares=True),
    Pass("padding", absorb_pads.absorb_pads, prepares=True),
    Pass("ReLU", fuse_relu.fuse_relu, prepares=True),
    Pass("rescaling ReLU", float_islands.float_relu, rounds=True, delegates=True),
    Pass("softmax", float_islands.float_softmax, rounds=True, delegates=True),
    Pass("hard swish", float_islands.float_hard_swish, rounds=True, delegates=True),
    Pass("int8 and uint8", float_islands.float_requantize, rounds=True, delegates=True),
    Pass("later shuffles", shuffle_later.shuffle_later),
    Pass("channel movement", channel_movement.eliminate_channel_movement),
    # After the passes on channels, because these split maps by rows and columns.
    Pass("average pool", integer_pooling.integer_average_pool),
    Pass("average pool in floating point", float_islands.float_average_pool, rounds=True),
    Pass("folded columns", fold_columns.fold_columns),
)
