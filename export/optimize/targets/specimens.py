"""A fixed set of graphs of one operator each, to measure a processor with: the same on a server, a phone or an emulator."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.builder import NONE, VALID, Net, Quantization, options
from export.optimize.targets import INT8_ONLY

INVOKE = "invoke"  # the specimens that tell what running a graph costs besides its operators
PARTITION = "partition"  # those that tell what it costs to leave the delegate and come back


@dataclasses.dataclass(frozen=True)
class Specimen:
    """A graph of one operator.

    Attributes:
      name: of its file.
      type: "int8" or "float32".
      operator: as in `targets.COEFFICIENTS`, or "invoke".
      sizes: what its cost depends on: pixels, channels, taps, groups, inputs, outputs, rows, columns.
      make: returns the file's content.
    """

    name: str
    type: str
    operator: str
    sizes: dict[str, int]
    make: Callable[[], bytes] = dataclasses.field(repr=False)


# (side, inputs, outputs, groups, kernel)
_CONVOLUTIONS = (
    *((28, c, c, g, 1) for c in (24, 60, 120, 240) for g in (1, 3)),
    *((14, c, c, g, 1) for c in (48, 96, 192, 384) for g in (1, 2, 8)),
    *((7, c, c, g, 1) for c in (96, 232, 480) for g in (1, 4)),
    *((28, i, o, 1, 1) for i, o in ((58, 58), (116, 58), (24, 96), (240, 60), (60, 240), (17, 30), (16, 16), (32, 48))),
    *((14, i, o, 1, 1) for i, o in ((116, 116), (232, 116), (40, 20), (30, 60), (77, 39), (464, 112))),
    *((7, i, o, 1, 1) for i, o in ((464, 200), (232, 64))),
    *((56, i, o, 1, 1) for i, o in ((24, 58), (12, 30), (24, 16))),
    *((28, c, c, 1, 3) for c in (4, 12, 32, 60)),
    *((14, c, c, 1, 3) for c in (96, 128)),
    *((14, i, o, 1, 5) for i, o in ((16, 24), (48, 64))),
)
# Of images: (width, channels, filters, kernel, stride) of the form with single columns, and with neighbouring ones as channels.
_OF_IMAGES = tuple(
    form
    for filters in (12, 24, 32)
    for form in (
        (113, 3, filters, (3, 3), (2, 2)),
        (57, 6, filters, (3, 2), (2, 1)),
        (29, 12, 2 * filters, (3, 2), (2, 1)),
        (15, 24, 4 * filters, (3, 2), (2, 1)),
    )
)
_MAPS = ((28, 60), (14, 240), (7, 960), (56, 24), (14, 116), (56, 58))
# pixels, rows, columns of the matrix that a pixel's channels are
_TRANSPOSES = ((784, 10, 3), (784, 20, 3), (784, 3, 20), (196, 40, 3), (784, 12, 8), (784, 8, 12), (196, 24, 8), (196, 8, 24))
_TRANSPOSES += (
    (784, 58, 2),
    (784, 2, 58),
    (196, 116, 2),
    (196, 2, 116),
    (1, 784, 24),
    (1, 24, 784),
    (1, 196, 116),
    (1, 116, 196),
)


# (inputs, outputs) of matrix products with one row, and of convolutions of one pixel
_DENSE = ((1024, 1000), (480, 100), (960, 240), (192, 10), (96, 384))


def specimens(types: tuple[str, ...] = ("int8", "float32")) -> Iterator[Specimen]:
    """Yields all graphs, with weights from a fixed seed."""
    for type_ in types:
        for name, operator, sizes, build in _all():
            if type_ != "int8" and operator in (*INT8_ONLY, PARTITION):
                continue
            yield Specimen(f"{name}.{type_}", type_, operator, sizes, functools.partial(_make, build, type_ == "int8"))


def _make(build: Callable[[Net], int | tuple[int, ...]], int8: bool) -> bytes:
    net = Net((1, 1, 1, 1), int8)
    outputs = build(net)
    return net.done(*(outputs if isinstance(outputs, tuple) else (outputs,)))


def _all() -> Iterator[tuple[str, str, dict[str, int], Callable]]:
    for length in (1, 5, 9):
        yield f"invoke_{length}", INVOKE, {"operators": length}, functools.partial(_chain, length=length)
    for length in (1, 5, 9):
        yield f"partition_{length}", PARTITION, {"partitions": length}, functools.partial(_interrupted, length=length)
    for side, inputs, outputs, groups, kernel in _CONVOLUTIONS:
        sizes = {
            "pixels": side * side,
            "inputs": inputs // groups,
            "outputs": outputs // groups,
            "taps": kernel**2,
            "groups": groups,
        }
        make = functools.partial(_convolution, side, inputs, filters=outputs, kernel=kernel, groups=groups)
        yield f"convolution{kernel}_{side}_{inputs}_{outputs}_g{groups}", "convolution", sizes, make
    for inputs, outputs in _DENSE:
        make = functools.partial(_dense, inputs, outputs)
        yield f"dense_{inputs}_{outputs}", "dense", {"pixels": outputs, "channels": inputs}, make
    for width, channels, filters, kernel, stride in _OF_IMAGES:
        pixels = 56 * ((width - kernel[1]) // stride[1] + 1)
        sizes = {"pixels": pixels, "inputs": channels, "outputs": filters, "taps": kernel[0] * kernel[1], "groups": 1}
        make = functools.partial(_of_image, (1, 113, width, channels), filters=filters, kernel=kernel, stride=stride)
        yield f"image_{width}_{channels}_{filters}", "convolution", sizes, make
    for pixels, rows, columns in _TRANSPOSES:
        sizes = {"pixels": pixels, "rows": rows, "columns": columns}
        make = functools.partial(_transpose, (1, pixels, rows, columns))
        yield f"transpose_{pixels}_{rows}_{columns}", "transpose", sizes, make
    for side, channels in _MAPS:
        for operator, (pixels, width, make) in _on_maps(side, channels).items():
            name, _, variant = operator.partition(":")
            sizes = {"pixels": pixels, "channels": width}
            sizes |= {"taps": int(variant[-1]) ** 2} if name == "depthwise" else {}
            sizes |= {"parts": int(variant)} if name in ("concatenation", "split") else {}
            yield f"{name}{variant}_{side}_{channels}", name, sizes, make


def _on_maps(side: int, c: int) -> dict[str, tuple[int, int, Callable]]:
    """Returns (pixels, channels, graph) of the operators on a map; a variant of one stands behind a colon."""

    def on(function: Callable, *arguments, **named) -> Callable:
        return functools.partial(_apply, (1, side, side, c), function, arguments, named)

    pixels, fewer, half = side * side, (-(-side // 2)) ** 2, c // 2
    graphs = {
        "depthwise:3": (pixels, c, on(Net.depthwise)),
        "depthwise:s3": (fewer, c, on(Net.depthwise, stride=2)),
        "slice": (pixels, half, on(Net.slice, 0, half)),
        "slice:odd": (pixels, c // 3, on(Net.slice, c // 3, c // 3)),
        "split:2": (pixels, c, on(lambda net, x: tuple(net.split(x, 2)))),
        "concatenation:2": (pixels, 2 * c, functools.partial(_concatenation, side, c, 2)),
        "concatenation:4": (pixels, 4 * (c // 3), functools.partial(_concatenation, side, c // 3, 4)),
        "pad": ((side + 2) ** 2, c, on(Net.pad)),
        "reshape": (1, side * side * c, on(lambda net, x: net.reshape(x, 1, pixels, 1, c))),
        "add": (pixels, c, functools.partial(_addition, side, c)),
        "multiply": (pixels, c, on(_multiply)),
        "clamp": (pixels, c, on(Net.relu)),
        "max_pool": (fewer, c, on(Net.pool)),
        "average_pool": (fewer, c, on(Net.pool, "AVERAGE")),
        "mean": (pixels, c, on(Net.mean)),
        "function": (pixels, c, on(_like, "HARD_SWISH", schema.HardSwishOptionsT)),
        "softmax": (pixels, c, on(_like, "SOFTMAX", functools.partial(options, schema.SoftmaxOptionsT, beta=1.0))),
        "rescale": (pixels, c, on(_like, "QUANTIZE", schema.QuantizeOptionsT, scale=0.07)),
        "quantize": (pixels, c, functools.partial(_converted, side, c, schema.TensorType.FLOAT32, "QUANTIZE")),
        "dequantize": (pixels, c, functools.partial(_converted, side, c, schema.TensorType.INT8, "DEQUANTIZE")),
        "recode": (pixels, c, functools.partial(_converted, side, c, schema.TensorType.UINT8, "QUANTIZE")),
    }
    return graphs


def _apply(shape: tuple[int, ...], function: Callable, arguments: tuple, named: dict, net: Net) -> int | tuple[int, ...]:
    return function(net, _input(net, shape), *arguments, **named)


def _input(net: Net, shape: tuple[int, ...]) -> int:
    """Makes the network's input, or a further one, of that shape."""
    x = net.tensor(shape)
    inputs = net.graph.subgraph.inputs
    net.graph.subgraph.inputs = [x] if inputs == [net.input] else [*inputs, x]
    return x


def _chain(net: Net, length: int) -> int:
    x = _input(net, (1, 1, 1, 48))
    for n in range(length):
        x = net.slice(x, 0, 40 - n)
    return x


def _interrupted(net: Net, length: int) -> int:
    """The same chain with an operator between that XNNPACK doesn't take: RELU of int8."""
    x = net.slice(_input(net, (1, 1, 1, 48)), 0, 40)
    for n in range(1, length):
        x = net.slice(net.relu(x), 0, 40 - n)
    return x


def _convolution(side: int, channels: int, net: Net, **named) -> int:
    return net.conv(_input(net, (1, side, side, channels)), **named)


def _dense(inputs: int, outputs: int, net: Net) -> int:
    return net.dense(_input(net, (1, inputs)), outputs)


def _of_image(shape: tuple[int, ...], net: Net, **named) -> int:
    return net.conv(_input(net, shape), padding=VALID, **named)


def _transpose(shape: tuple[int, ...], net: Net) -> int:
    return net.transpose(_input(net, shape), 0, 1, 3, 2)


def _concatenation(side: int, channels: int, parts: int, net: Net) -> int:
    return net.concat(*[_input(net, (1, side, side, channels)) for _ in range(parts)])


def _addition(side: int, channels: int, net: Net) -> int:
    return net.add(_input(net, (1, side, side, channels)), _input(net, (1, side, side, channels)))


def _multiply(net: Net, x: int) -> int:
    shape = net.shape(x)
    factor = net.graph.add_constant(np.full((1, 1, 1, shape[-1]), 3, np.int8 if net.int8 else np.float32), "factor", like=x)
    return net.op("MUL", [x, factor], shape, options(schema.MulOptionsT, fusedActivationFunction=NONE))


def _like(net: Net, x: int, kind: str, make_options: Callable, **quantization) -> int:
    """An operator whose result is shaped as its input."""
    if kind == "SOFTMAX" and net.int8:
        quantization = {"scale": 1 / 256, "zero_point": -128}
    return net.op(kind, [x], net.shape(x), make_options(), **quantization)


def _converted(side: int, channels: int, type_: int, kind: str, net: Net) -> int:
    """QUANTIZE or DEQUANTIZE of `type_`: to int8, or to float where it is int8 already."""
    shape = (1, side, side, channels)
    real = schema.TensorType.FLOAT32
    quantization = {
        schema.TensorType.INT8: Quantization((0.05,), (-7,)),
        schema.TensorType.UINT8: Quantization((0.05,), (121,)),
    }
    x = net.graph.add_tensor(shape, type_, "input", quantization.get(type_))
    output_type = real if kind == "DEQUANTIZE" else schema.TensorType.INT8
    y = net.graph.add_tensor(shape, output_type, "output", quantization.get(output_type))
    net.graph.subgraph.inputs = [x]
    make_options = schema.DequantizeOptionsT if kind == "DEQUANTIZE" else schema.QuantizeOptionsT
    net.graph.operators.append(net.graph.operator(kind, [x], [y], make_options()))
    return y
