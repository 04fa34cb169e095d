"""Random graphs of a channels-first network, with the transposes that converters leave."""

import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from hypothesis import strategies as st
from nchw_builder import Nchw

MAX_CHANNELS = 24


class _Drawing:
    """Draws operators on tensors [1, C, H, W] of one height and width."""

    def __init__(self, draw, net: Nchw):
        self.draw, self.net = draw, net
        self.tensors = [net.input, net.conv(net.input, draw(st.integers(2, 12)))]

    def pick(self) -> int:
        return self.tensors[-1 - min(self.draw(st.integers(0, 6)) // 2, len(self.tensors) - 1)]

    def step(self) -> None:
        x = self.pick()
        kind = self.draw(st.sampled_from(sorted(name for name in dir(self) if name.startswith("add_"))))
        self.tensors += getattr(self, kind)(x) or []

    def groups(self, x: int) -> int:
        c = self.net.shape(x)[1]
        return self.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))

    def op(self, kind: str, inputs: list[int], x: int, options=None, **quantization) -> int:
        return self.net.net.op(kind, inputs, self.net.shape(x), options, None if quantization else x, **quantization)

    def add_conv(self, x):
        groups = self.groups(x)
        filters = groups * self.draw(st.integers(1, max(1, 12 // groups)))
        act = self.draw(st.sampled_from([build.NONE, build.RELU]))
        return [self.net.conv(x, filters, self.draw(st.sampled_from([1, 3])), groups=groups, act=act)]

    def add_depthwise(self, x):
        return [self.net.depthwise(x)]

    def add_shuffle(self, x):
        return [self.net.shuffle(x, self.groups(x))]

    def add_unary(self, x):
        return [self.op(self.draw(st.sampled_from(["RELU", "RELU6"])), [x], x)]

    def add_sigmoid(self, x):
        return [self.op("LOGISTIC", [x], x, scale=1 / 256, zero_point=-128)]

    def add_scale(self, x):
        return [self.net.scale(x)]

    def add_sum(self, x):
        others = [t for t in self.tensors if self.net.shape(t) == self.net.shape(x)]
        return [self.net.add(x, self.draw(st.sampled_from(others)))]

    def add_concat(self, x):
        like = [t for t in self.tensors if self.net.net.graph.quantization(t) == self.net.net.graph.quantization(x)]
        y = self.draw(st.sampled_from(like))
        if self.net.shape(x)[1] + self.net.shape(y)[1] <= MAX_CHANNELS:
            return [self.net.concat(x, y)]

    def add_split(self, x):
        return self.net.split(x, self.groups(x))

    def add_excitation(self, x):
        y = self.net.conv(self.net.mean(x, keep=True), self.net.shape(x)[1])
        y = self.net.net.op("LOGISTIC", [y], self.net.shape(y), None, scale=1 / 256, zero_point=-128)
        return [self.op("MUL", [x, y], x, schema.MulOptionsT(), scale=0.05)]

    def add_window(self, x):
        """Pads, and takes a part of the first size again."""
        n, c, h, w = self.net.shape(x)
        begin = [0, 0, self.draw(st.integers(0, 2)), self.draw(st.integers(0, 2))]
        inputs = [self.net.pad(x), self.net.net.ints(*begin), self.net.net.ints(n, c, h, w)]
        return [self.op("SLICE", inputs, x, schema.SliceOptionsT())]

    def add_there_and_back(self, x):
        order = self.draw(st.permutations(range(4)))
        y = self.net.relu(self.net.net.transpose(x, *order))
        return [self.net.net.transpose(y, *(list(order).index(axis) for axis in range(4)))]


@st.composite
def models(draw) -> bytes:
    shape = (1, draw(st.integers(1, 8)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    net = Nchw(shape, draw(st.booleans()), draw(st.integers(0, 3)), draw(st.booleans()))
    drawing = _Drawing(draw, net)
    for _ in range(draw(st.integers(3, 14))):
        drawing.step()
    outputs = {drawing.pick() for _ in range(draw(st.integers(1, 2)))} | {net.conv(drawing.pick(), 3)}
    if draw(st.booleans()):
        outputs.add(net.net.dense(net.mean(drawing.pick()), 5))
    return net.done(*sorted(outputs - {net.input}))
