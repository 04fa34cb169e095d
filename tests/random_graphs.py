"""Random graphs that move channels in whatever order."""

import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from hypothesis import strategies as st

MAX_CHANNELS = 40


def _divisors(n: int) -> list[int]:
    return [d for d in range(2, n) if n % d == 0]


class _Drawing:
    """Draws operators on tensors of one spatial shape."""

    def __init__(self, draw, net: build.Net):
        self.draw, self.net = draw, net
        self.tensors = [net.input, net.conv(net.input, draw(st.integers(2, 16)))]

    def pick(self) -> int:
        # The latest ones more often, so that chains become long.
        return self.tensors[-1 - min(self.draw(st.integers(0, 6)) // 2, len(self.tensors) - 1)]

    def channels(self, x: int) -> int:
        return self.net.shape(x)[3]

    def step(self) -> None:
        x = self.pick()
        kind = self.draw(st.sampled_from(sorted(name for name in dir(self) if name.startswith("add_"))))
        self.tensors += getattr(self, kind)(x) or []

    def add_conv(self, x):
        return [self.net.conv(x, self.draw(st.integers(2, 20)), self.draw(st.sampled_from([1, 1, 3])))]

    def add_grouped(self, x):
        groups = _divisors(self.channels(x))
        if groups:
            g = self.draw(st.sampled_from(groups))
            return [self.net.conv(x, g * self.draw(st.integers(1, 4)), groups=g)]

    def add_depthwise(self, x):
        return [self.net.depthwise(x)]

    def add_relu(self, x):
        return [self.net.relu(x)]

    def add_split_conv(self, x):
        groups = [g for g in _divisors(self.channels(x)) if g <= 6] + [self.channels(x)] * (1 < self.channels(x) <= 6)
        if groups:
            filters, kernel = self.draw(st.integers(1, 3)), self.draw(st.sampled_from([1, 3]))
            act = self.draw(st.sampled_from([build.NONE, build.RELU]))
            parts = self.net.split(x, self.draw(st.sampled_from(groups)))
            return [self.net.concat(*(self.net.conv(part, filters, kernel, act=act) for part in parts))]

    def add_padded(self, x):
        by, kernel = self.draw(st.sampled_from([(0, 1), (1, 3), (2, 5)]))
        if self.draw(st.booleans()):
            return [self.net.conv(self.net.pad(x, by), self.draw(st.integers(1, 8)), kernel, padding=build.VALID)]
        return [self.net.depthwise(self.net.pad(x, by), kernel, padding=build.VALID)]

    def add_clamp(self, x):
        kind = self.draw(st.sampled_from(["RELU", "RELU6", "RELU_N1_TO_1"]))
        return [self.net.op(kind, [x], self.net.shape(x), None, like=x)]

    def add_quantizations(self, x):
        if self.net.int8:
            y, options = x, schema.QuantizeOptionsT()
            for _ in range(self.draw(st.integers(1, 3))):
                scale = self.draw(st.sampled_from([0.05, 0.05, 0.1]))
                y = self.net.op("QUANTIZE", [y], self.net.shape(x), options, scale=scale)
            return [self.net.op("QUANTIZE", [y], self.net.shape(x), options, like=x)]

    def add_pool(self, x):
        return [self.net.pool(x, "MAX", 3, 1)]

    def add_shuffle(self, x):
        groups = _divisors(self.channels(x))
        if groups:
            return [
                self.net.shuffle(
                    x, self.draw(st.sampled_from(groups)), self.draw(st.booleans()), self.draw(st.sampled_from([4, 5]))
                )
            ]

    def add_split(self, x):
        if self.channels(x) % 2 == 0:
            return self.net.split(x, 2)

    def add_split_v(self, x):
        if self.channels(x) > 1:
            first = self.draw(st.integers(1, self.channels(x) - 1))
            return self.net.split_v(x, first, self.channels(x) - first)

    def add_slice(self, x):
        begin = self.draw(st.integers(0, self.channels(x) - 1))
        return [self.net.slice(x, begin, self.draw(st.integers(1, self.channels(x) - begin)))]

    def add_strided_slice(self, x):
        begin = self.draw(st.integers(0, self.channels(x) - 1))
        return [self.net.strided_slice(x, begin, self.channels(x), self.draw(st.integers(1, 3)))]

    def add_gather(self, x):
        indices = st.lists(st.integers(0, self.channels(x) - 1), min_size=1, max_size=12)
        if self.draw(st.booleans()):
            indices = st.permutations(range(self.channels(x)))
        return [self.net.gather(x, self.draw(indices))]

    def add_concat(self, x):
        others = [self.pick() for _ in range(self.draw(st.integers(1, 2)))]
        if sum(map(self.channels, [x, *others])) <= MAX_CHANNELS:
            return [self.net.concat(x, *others)]

    def add_sum(self, x):
        y = self.pick()
        if self.channels(x) == self.channels(y):
            return [self.net.add(x, y)]

    def add_layout(self, x):
        n, h, w, c = self.net.shape(x)
        y = self.net.transpose(x, 0, 3, 1, 2)
        groups = _divisors(c)
        if groups:
            g = self.draw(st.sampled_from(groups))
            y = self.net.transpose(self.net.reshape(y, n, g, c // g, h * w), 0, 2, 1, 3)
            y = self.net.reshape(y, n, c, h, w)
        return [self.net.transpose(y, 0, 2, 3, 1)]


@st.composite
def models(draw) -> bytes:
    net = build.Net((1, 3, 4, draw(st.integers(1, 8))), draw(st.booleans()), seed=draw(st.integers(0, 3)))
    drawing = _Drawing(draw, net)
    for _ in range(draw(st.integers(3, 14))):
        drawing.step()
    outputs = {drawing.pick() for _ in range(draw(st.integers(1, 2)))} | {net.conv(drawing.pick(), 3)}
    if draw(st.booleans()):
        outputs.add(net.dense(net.mean(drawing.pick()), 5))
    return net.done(*sorted(outputs - {net.input}))
