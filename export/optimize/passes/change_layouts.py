"""Pass: removes transposes between layouts by changing the layout of the operators between them.

Converters from channels-first frameworks put a transpose on each side of every convolution. Operators that treat all axes
alike, or name their axes, can change their layout: then the transposes at their border vanish, and others may become necessary.
A minimum cut decides which operators change (`analysis/min_cut.py`); `analysis/axes.py` has the rules for each operator.
"""

import math

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import Graph
from export.optimize.analysis import axes
from export.optimize.analysis.axes import Order, compose, inverse
from export.optimize.analysis.min_cut import Labels
from export.optimize.passes.tidy import tidy
from export.optimize.targets.cost_model import CostModel

_ROUNDS = 8
_CHANNELS = ((0, 2, 3, 1), (0, 3, 1, 2))  # to the end and to the front
_FREE = 1e-3  # microseconds of what a RESHAPE can do, so that none is added without need


def change_layouts(graph: Graph, model: CostModel) -> str | None:
    """Moves transposes through operators until they cancel."""
    before, all_before = graph.counts().get("TRANSPOSE", 0), len(graph.operators)
    for _ in range(_ROUNDS):
        candidates = [order for operator in graph.operators for order in _orders(graph, operator)]
        # The order that most transposes have first.
        orders = sorted(set(candidates), key=lambda order: (-candidates.count(order), order))
        if not any([_Round(graph, model, order).run() for order in orders]):
            break
        tidy(graph, model)
    after, all_after = graph.counts().get("TRANSPOSE", 0), len(graph.operators)
    if (after, all_after) >= (before, all_before):
        return None
    return f"{before} -> {after} TRANSPOSE, {all_before} -> {all_after} operators"


def _orders(graph: Graph, operator: schema.OperatorT) -> list[Order]:
    """Returns the orders between which layouts an operator stands: its own as a TRANSPOSE, or what a RESHAPE amounts to."""
    order = _order(graph, operator)
    return [order] if order is not None else [o for o in _CHANNELS if _amounts_to(graph, operator, o)]


def _amounts_to(graph: Graph, operator: schema.OperatorT, order: Order) -> bool:
    """Whether a RESHAPE moves nothing but sides of length 1, as a transpose of this order would."""
    if graph.kind(operator) != "RESHAPE":
        return False
    x, y = graph.shape(int(operator.inputs[0])), graph.shape(int(operator.outputs[0]))
    if not x or not y or x == y or not len(x) == len(y) == len(order):
        return False
    return y == tuple(x[axis] for axis in order) and edit.is_reshape(x, order)


def _order(graph: Graph, operator: schema.OperatorT) -> Order | None:
    """Returns the order of a TRANSPOSE that moves more than sides of length 1."""
    if graph.kind(operator) != "TRANSPOSE":
        return None
    order, x = edit.permutation(graph, operator), int(operator.inputs[0])
    usable = order is not None and graph.shape(x) and graph.constant(x) is None
    return order if usable and edit.same_numbers(graph, x, int(operator.outputs[0])) else None


class _Round:
    """Tries one order: the layout into which tensors may change is that of what TRANSPOSE makes of them."""

    def __init__(self, graph: Graph, model: CostModel, order: Order):
        self.graph, self.model, self.order = graph, model, order
        self.producers = {int(t): i for i, o in enumerate(graph.operators) for t in o.outputs}
        self.consumers = graph.consumers()
        self.transposes = {i: q for i, o in enumerate(graph.operators) if (q := _order(graph, o)) is not None}
        self.orders: dict[int, Order] = {}  # of the tensors that may change
        self.flexible: dict[int, dict[int, Order]] = {}  # operators that may: the orders of their tensors

    def run(self) -> bool:
        """Changes the graph if that saves time; returns whether it did."""
        self._spread()
        changed = self._changed()
        if not changed or self._cost(changed) > self._cost(set()) - _FREE / 2:
            return False
        self._apply(changed)
        return True

    def _spread(self) -> None:
        """Finds the tensors that may change, starting from the transposes of this order."""
        pending = []
        for i, order in self.transposes.items():
            x, y = int(self.graph.operators[i].inputs[0]), int(self.graph.operators[i].outputs[0])
            pending += [(x, self.order)] if order == self.order else []
            pending += [(y, self.order)] if order == inverse(self.order) else []
        for operator in self.graph.operators:
            if _amounts_to(self.graph, operator, self.order):
                pending.append((int(operator.inputs[0]), self.order))
            if _amounts_to(self.graph, operator, inverse(self.order)):
                pending.append((int(operator.outputs[0]), self.order))
        while pending:
            tensor, order = pending.pop(0)
            if tensor in self.orders or len(self.graph.shape(tensor) or ()) != len(order):
                continue
            self.orders[tensor] = order
            for i in (self.producers.get(tensor), *self.consumers.get(tensor, [])):
                if i is not None and order != tuple(range(len(order))):
                    pending += self._through(i, tensor, order)

    def _through(self, i: int, tensor: int, order: Order) -> list[tuple[int, Order]]:
        """Returns the orders of the other tensors of operator `i`, if it's flexible."""
        operator = self.graph.operators[i]
        if i in self.transposes:
            x, y = int(operator.inputs[0]), int(operator.outputs[0])
            # A shuffle moves axes of the same layout; a transpose between layouts is where the spreading ends.
            ends = self.transposes[i] in (self.order, inverse(self.order))
            return [] if ends else [(y if tensor == x else x, order)]
        if i in self.flexible:
            return []
        orders = axes.follow(self.graph, operator, tensor, order)
        if orders is None or any(self.orders.get(t, o) != o for t, o in orders.items()):
            return []
        self.flexible[i] = orders
        return list(orders.items())

    def _maker(self, tensor: int) -> int | None:
        """Returns the operator on which it depends in what layout a tensor is made; None: it can't change."""
        producer = self.producers.get(tensor)
        return producer if tensor in self.orders and (producer in self.flexible or producer in self.transposes) else None

    def _changed(self) -> set[int]:
        """Returns the operators whose results are to change for the least cost of transposes."""
        self.flexible = {
            i: orders for i, orders in self.flexible.items() if all(self.orders.get(t) == o for t, o in orders.items())
        }
        labels = Labels()
        for tensor in self.orders:
            maker, cost, readers = self._maker(tensor), self._transpose_cost(tensor), self._readers(tensor)
            # One transpose serves all readers of the layout in which the tensor is not made.
            for reader in readers:
                labels.cost_if_differ(reader, ("back", tensor), math.inf)
                labels.cost_if_differ(("there", tensor), reader, math.inf)
            if readers:
                labels.cost_if_differ(("back", tensor), maker, cost)
                labels.cost_if_differ(maker, ("there", tensor), cost)
        for i in self.transposes:
            self._add_transpose(labels, i)
        for i in self.flexible:
            labels.cost_if(i, 0, self._reshape_cost(i, False))
            labels.cost_if(i, 1, self._reshape_cost(i, True))
        return {label for label in labels.ones() if isinstance(label, int)}

    def _readers(self, tensor: int) -> set[int | None]:
        """Returns the operators that want a tensor in their own layout; None stands for all that can't change."""
        readers = {i if i in self.flexible else None for i in self.consumers.get(tensor, []) if i not in self.transposes}
        return readers | ({None} if tensor in self.graph.outputs else set())

    def _add_transpose(self, labels: Labels, i: int) -> None:
        """Adds what a TRANSPOSE costs, which depends on the layout of what it reads and of what it makes."""
        x, y = int(self.graph.operators[i].inputs[0]), int(self.graph.operators[i].outputs[0])
        maker_of_input, maker_of_output = self._maker(x), self._maker(y)
        (neither, after), (before, both) = [[self._kept_cost(i, a, b) for b in (False, True)] for a in (False, True)]
        if maker_of_input is not None:
            labels.cost_if(maker_of_input, 1, max(before - neither, 0.0))
            labels.cost_if(maker_of_input, 0, max(neither - before, 0.0))
        if maker_of_output is not None:
            base, changed = (neither, after) if maker_of_input is None else (before, both)
            labels.cost_if(maker_of_output, 1, max(changed - base, 0.0))
            labels.cost_if(maker_of_output, 0, max(base - changed, 0.0))
        if maker_of_input is not None and maker_of_output is not None:
            # Where it would be negative there is no cut that says so; the count of what came out decides in the end.
            labels.cost_if_differ(maker_of_input, maker_of_output, max(after + before - neither - both, 0.0))

    def _total(self, i: int, before: bool, after: bool) -> Order:
        """Returns the permutation of TRANSPOSE `i` where what it reads, or what it makes, is in the other layout."""
        x, y = int(self.graph.operators[i].inputs[0]), int(self.graph.operators[i].outputs[0])
        total = self.transposes[i]
        total = compose(inverse(self.orders[x]), total) if before and x in self.orders else total
        return compose(total, self.orders[y]) if after and y in self.orders else total

    def _kept_cost(self, i: int, before: bool, after: bool) -> float:
        x, total = int(self.graph.operators[i].inputs[0]), self._total(i, before, after)
        shape = self.graph.shape(x)
        shape = tuple(shape[axis] for axis in self.orders[x]) if before and x in self.orders else shape
        if total == tuple(range(len(total))):
            return 0.0
        return _FREE if edit.is_reshape(shape, total) else self._moving_cost(x)

    def _reshape_cost(self, i: int, changed: bool) -> float:
        """Returns what it costs that operator `i` is a RESHAPE, in the other layout or not, between different shapes."""
        operator = self.graph.operators[i]
        if self.graph.kind(operator) not in axes.RESHAPES:
            return 0.0
        tensors = (int(operator.inputs[0]), int(operator.outputs[0]))
        shapes = [self.graph.shape(t) for t in tensors]
        if changed:
            shapes = [tuple(s[axis] for axis in self.orders[t]) for s, t in zip(shapes, tensors, strict=True)]
        return _FREE if shapes[0] != shapes[1] else 0.0

    def _transpose_cost(self, tensor: int) -> float:
        order, shape = self.orders[tensor], self.graph.shape(tensor)
        if order == tuple(range(len(order))):
            return 0.0
        return _FREE if edit.is_reshape(shape, order) else self._moving_cost(tensor)

    def _moving_cost(self, tensor: int) -> float:
        *pixels, channels = self.graph.shape(tensor)
        return self.model.transpose(math.prod(pixels), channels, self.graph.bytes_per_element(tensor))

    def _cost(self, changed: set[int]) -> float:
        """Returns what all transposes cost if the results of these operators change."""
        total = 0.0
        for tensor in self.orders:
            made = self._maker(tensor) in changed
            total += self._transpose_cost(tensor) * any((reader in changed) != made for reader in self._readers(tensor))
        for i in self.transposes:
            x = int(self.graph.operators[i].inputs[0])
            total += self._kept_cost(i, self._maker(x) in changed, i in changed)
        return total + sum(self._reshape_cost(i, i in changed) for i in self.flexible)

    def _apply(self, changed: set[int]) -> None:
        _Change(self, changed).run()


class _Change:
    """Carries a change of layouts out."""

    def __init__(self, round_: _Round, changed: set[int]):
        self.graph, self.round, self.changed = round_.graph, round_, changed
        self.new: dict[int, int] = {}  # tensors in the other layout
        self.back: set[int] = set()  # tensors that were transposed back
        self.operators: list[schema.OperatorT] = []

    def run(self) -> None:
        for i, operator in enumerate(self.graph.operators):
            if i in self.round.transposes:
                self._transpose(i, operator)
            elif i in self.changed:
                self._change(i, operator)
            else:
                for tensor in () if operator.inputs is None else operator.inputs:
                    self._ensure_old(int(tensor))
                self.operators.append(operator)
        for tensor in self.graph.outputs:
            self._ensure_old(tensor)
        self.graph.operators = self.operators

    def _is_new(self, tensor: int) -> bool:
        """Whether a tensor is made in the other layout."""
        maker = self.round._maker(tensor)
        return maker is not None and maker in self.changed

    def _transpose(self, i: int, operator: schema.OperatorT) -> None:
        x, y = int(operator.inputs[0]), int(operator.outputs[0])
        before, after = self._is_new(x), self._is_new(y)
        if before or after:
            total = self.round._total(i, before, after)
            source, target = self.new[x] if before else x, self._make_new(y) if after else y
            operator = edit.transpose(self.graph, source, target, total)
        self.operators.append(operator)

    def _change(self, i: int, operator: schema.OperatorT) -> None:
        orders = self.round.flexible[i]
        for tensor in axes.data_inputs(self.graph, operator):
            if tensor not in self.new:
                new = self._make_new(tensor)
                self.operators.append(edit.transpose(self.graph, tensor, new, orders[tensor]))
        for tensor in operator.outputs:
            self._make_new(int(tensor))
        self.operators.append(axes.rewrite(self.graph, operator, orders, self.new))

    def _make_new(self, tensor: int) -> int:
        shape = self.graph.shape(tensor)
        order = self.round.orders[tensor]
        self.new[tensor] = edit.like(self.graph, tensor, [shape[axis] for axis in order], "/layout")
        return self.new[tensor]

    def _ensure_old(self, tensor: int) -> None:
        if tensor >= 0 and self._is_new(tensor) and tensor not in self.back:
            self.back.add(tensor)
            order = inverse(self.round.orders[tensor])
            self.operators.append(edit.transpose(self.graph, self.new[tensor], tensor, order))
