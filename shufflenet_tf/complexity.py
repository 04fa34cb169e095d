"""Counts what a network costs: parameters, multiply-adds and memory access, per layer and in total.

Print the table of the paper (V1 table 1, V2 table 5) with these figures, for one or more registered networks:
  python -m shufflenet_tf.complexity shufflenet_v2_1.0x
  python -m shufflenet_tf.complexity shufflenet_v1_1.0x_g3 --image_size=96 --classes=10

The counts are taken from the graph that TensorFlow executes, so they hold for any Keras model.
"""

import dataclasses
import functools
import math
import re
import sys
from collections.abc import Iterator, Sequence, Set

import tensorflow as tf
from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.wiring import WIRINGS

FLAGS = cli.flag_values()
flags.DEFINE_list("image_size", ["224"], "Input in pixels: one side, or height,width.", flag_values=FLAGS)
cli.define_alias(FLAGS, "size", "image_size")
flags.DEFINE_integer("classes", 1000, "Number of classes.", 1, flag_values=FLAGS)
flags.DEFINE_enum("wiring", None, [*WIRINGS], "Whose details to follow; default: the network's.", flag_values=FLAGS)

_OPERATIONS = {"Conv2D": "conv", "DepthwiseConv2dNative": "depthwise", "MatMul": "dense"}


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one convolution or dense layer, for one image.

    Attributes:
      layer: name of the layer.
      kind: "conv", "depthwise" or "dense".
      kernel: side of the kernel, pixels.
      stride: pixels.
      groups: number of groups; a depthwise convolution has one per channel.
      input_shape, output_shape: (height, width, channels).
    """

    layer: str
    kind: str
    kernel: int
    stride: int
    groups: int
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]

    @property
    def weights(self) -> int:
        """Number of weights, without a bias."""
        return self.kernel**2 * self.input_shape[2] // self.groups * self.output_shape[2]

    @property
    def multiply_adds(self) -> int:
        """Multiplications with a weight (the papers' FLOPs)."""
        return math.prod(self.output_shape[:2]) * self.weights

    @property
    def memory_access(self) -> int:
        """Elements read and written: input, output and weights once each (V2 paper, equation 1 and section 2)."""
        return math.prod(self.input_shape) + math.prod(self.output_shape) + self.weights


def costs(model: tf.keras.Model, input_shape: Sequence[int] | None = None) -> list[Cost]:
    """Returns the cost of each convolution and dense layer of `model`, in the order of execution.

    Args:
      model: a built model with one image input.
      input_shape: (height, width, channels); None: the model's, or 224x224 if it isn't fixed.
    """
    h, w, c = input_shape or model.input_shape[1:]
    spec = tf.TensorSpec((1, h or 224, w or 224, c), tf.float32)
    graph = tf.function(functools.partial(model, training=False)).get_concrete_function(spec).graph
    names = {layer.name for layer in model._flatten_layers(include_self=False)}
    return [_cost(op, names) for op in _operations(graph) if op.type in _OPERATIONS]


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Yields the operations of `graph`, also those inside function calls (Keras compiles grouped convolutions like this)."""
    for op in graph.get_operations():
        if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
            yield from _operations(graph._get_function(op.get_attr("f").name).graph)
        else:
            yield op


def _cost(op: tf.Operation, names: Set[str]) -> Cost:
    kind = _OPERATIONS[op.type]
    # The innermost scope that is a layer's name, to which TensorFlow may have added a number.
    scopes = [name for scope in op.name.split("/") for name in (re.sub(r"_\d+$", "", scope), scope) if name in names]
    layer = scopes[-1] if scopes else op.name
    kernel = op.inputs[1].shape.as_list()
    if kind == "dense":
        (_, cin), (_, cout) = op.inputs[0].shape.as_list(), op.outputs[0].shape.as_list()
        return Cost(layer, kind, 1, 1, 1, (1, 1, cin), (1, 1, cout))
    x, y = (tuple(tensor.shape.as_list()[1:]) for tensor in (op.inputs[0], op.outputs[0]))
    groups = x[2] if kind == "depthwise" else x[2] // kernel[2]
    return Cost(layer, kind, kernel[0], op.get_attr("strides")[1], groups, x, y)


def parameters(model: tf.keras.Model) -> int:
    """Returns the number of trainable parameters: with batch normalization's gamma and beta, without its moving statistics."""
    return sum(math.prod(variable.shape) for variable in model.trainable_weights)


def multiply_adds(model: tf.keras.Model, input_shape: Sequence[int] | None = None) -> int:
    """Returns the multiply-adds of all convolutions and the classifier for one image (the papers' FLOPs)."""
    return sum(cost.multiply_adds for cost in costs(model, input_shape))


def memory_access(model: tf.keras.Model, input_shape: Sequence[int] | None = None) -> int:
    """Returns the elements that all convolutions and the classifier read and write for one image (V2 paper, section 2)."""
    return sum(cost.memory_access for cost in costs(model, input_shape))


def table(model: tf.keras.Model) -> str:
    """Returns the paper's table as text: one line per stage with its output, kernel, stride, repeats, channels and costs."""
    rows = [("layer", "output", "kernel", "stride", "repeat", "channels", "parameters", "multiply-adds", "memory access")]
    per_layer = costs(model)
    previous_stage = None
    for layer in model.layers:
        stage = layer.name.split(".")[0]
        if stage == previous_stage or isinstance(layer, tf.keras.layers.InputLayer):
            continue
        previous_stage = stage
        members = [member for member in model.layers if member.name.split(".")[0] == stage]
        members_costs = [cost for cost in per_layer if cost.layer.split(".")[0] == stage]
        rows.append(_row(stage, members, members_costs))
    total = [parameters(model), sum(c.multiply_adds for c in per_layer), sum(c.memory_access for c in per_layer)]
    rows.append(("total", "", "", "", "", "", *(f"{value:,}" for value in total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:-1], "-" * len(lines[0]), lines[-1]])


def _row(stage: str, members: Sequence[tf.keras.layers.Layer], layers: Sequence[Cost]) -> tuple[str, ...]:
    _, *output = members[-1].output.shape
    size = "x".join(map(str, output[:-1])) or "1x1"
    blocks = [member for member in members if ".block" in member.name]
    pool = getattr(members[-1], "pool_size", None)
    kernel = max((cost.kernel for cost in layers), default=pool[0] if pool else 0)
    strides = [max(c.stride for c in layers if c.layer.startswith(block.name)) for block in blocks]
    if not strides:
        strides = [max((cost.stride for cost in layers), default=members[-1].strides[0] if pool else 0)]
    runs = [(value, strides.count(value)) for value in dict.fromkeys(strides)]
    dense = bool(layers) and layers[0].kind == "dense"
    return (
        stage,
        size,
        f"{kernel}x{kernel}" if kernel and not blocks and not dense else "",
        ", ".join(str(value) for value, _ in runs) if runs[0][0] and not dense else "",
        " + ".join(str(count) for _, count in runs) if blocks else "",
        str(output[-1]),
        f"{sum(math.prod(v.shape) for member in members for v in member.trainable_weights):,}",
        f"{sum(cost.multiply_adds for cost in layers):,}",
        f"{sum(cost.memory_access for cost in layers):,}",
    )


def main(arguments: Sequence[str]) -> None:
    """Prints the table of each network in `arguments`."""
    from shufflenet_tf.models.registry import create_model

    if not arguments:
        raise UserError("There is no network: give names such as shufflenet_v2_1.0x; --help shows examples.")
    sides = [int(side) if side.isdigit() else 0 for side in FLAGS.image_size]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise UserError(f"--image_size={','.join(FLAGS.image_size)} can't be used: give a side, or height,width, in pixels.")
    height, width = sides[0], sides[-1]
    for name in arguments:
        model = create_model(name, input_shape=(height, width, 3), classes=FLAGS.classes, wiring=FLAGS.wiring)
        wiring = f", {FLAGS.wiring} wiring" if FLAGS.wiring else ""
        print(f"{name} at {height}x{width}, {FLAGS.classes} classes{wiring}\n\n{table(model)}\n")
    print("parameters: trainable; multiply-adds: the papers' FLOPs; memory access: elements read and written by convolutions")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("complexity", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
