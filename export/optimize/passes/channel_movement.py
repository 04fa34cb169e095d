"""Pass: eliminates channel shuffles, splits and concatenations; `export.optimize.channels` analyses and plans."""

from export.flatbuffer.graph import Graph
from export.flatbuffer.movement import data_inputs
from export.optimize.channels.dense_groups import make_grouped_dense
from export.optimize.channels.identities import Channels, analyse
from export.optimize.channels.plan import MovementPlan, Scattered
from export.optimize.channels.rewriter import Rewriter
from export.optimize.channels.search import improve
from export.optimize.predict import account
from export.optimize.targets.cost_model import CostModel

_FOR_WEIGHTS = 0.8  # of the bytes that a file may grow by; the rest is for operators that other passes add
MOVING = ("RESHAPE", "TRANSPOSE", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "GATHER", "CONCATENATION")


def eliminate_channel_movement(graph: Graph, model: CostModel) -> str | None:
    """Rewrites `graph` without the shuffles and splits that it understands.

    It is tried twice, once with some grouped convolutions replaced by dense ones, whose outputs can have any order; the result
    that is predicted to cost less stays.
    """
    data = graph.pack()
    spare = int(len(data) * (model.target.growth - 1) * _FOR_WEIGHTS)
    best = None
    for dense in (False, True):
        candidate = Graph(data)
        done = [make_grouped_dense(candidate, model, spare)] if dense else []
        if done == [None]:
            continue
        done.append(_eliminate(candidate, model))
        cost = account(candidate, model).cost
        if any(done) and (best is None or cost < best[0]):
            best = (cost, candidate, "; ".join(filter(None, done)))
    if best is None:
        return None
    graph.become(best[1])
    return best[2]


def _eliminate(graph: Graph, model: CostModel) -> str | None:
    channels, plan = _plan(graph)
    if not channels.moving:
        return None
    before = graph.counts()
    improve(plan, model)
    Rewriter(graph, channels, plan, plan.lower()).run()
    graph.drop_dead_operators()
    after = graph.counts()
    return f"{_listed(before)} -> {_listed(after)}; {before.get('CONV_2D', 0)} -> {after.get('CONV_2D', 0)} CONV_2D"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[kind]} {kind}" for kind in MOVING if counts.get(kind)) or "none"


def _plan(graph: Graph) -> tuple[Channels, MovementPlan]:
    """Analyses and plans; what is too scattered or not understood keeps its operators, and their inputs their order."""
    ordered: set[int] = set()
    kept: set[int] = set()
    frozen: set[int] = set()
    while True:
        channels = analyse(graph, ordered)
        kept |= {read.tensor for read in channels.reads if read.sources is None}
        if _settle(graph, channels, kept, frozen, ordered):
            continue
        plan = MovementPlan(graph, channels, kept, frozen)
        try:
            plan.lower()
        except Scattered as scattered:
            kept.add(scattered.read.tensor)
            continue
        return channels, plan


def _settle(graph: Graph, channels: Channels, kept: set[int], frozen: set[int], ordered: set[int]) -> bool:
    """Freezes what the operators of kept tensors start from; returns whether the analysis must be made again."""
    producers = graph.producers()
    pending, seen = list(kept), set()
    while pending:
        tensor = pending.pop()
        producer = producers.get(tensor)
        if producer not in channels.moving:
            frozen.add(tensor)
        elif tensor not in seen:
            pending += data_inputs(graph, graph.operators[producer])
        seen.add(tensor)
    before = len(ordered)
    for group in channels.groups.values():
        roots = [channels.roots[r] for r in group.roots]
        if any(root.tensor in frozen for root in roots):
            # Nobody in a frozen group may follow another order than the one that its operator had.
            followers = {root.operator for root in roots if root.operator is not None}
            ordered |= {i for i in followers if graph.kind(graph.operators[i]) not in ("CONV_2D", "FULLY_CONNECTED")}
    return len(ordered) > before
