"""Pass: what XNNPACK does not take at a quantized graph's two ends, in floating point, so that it takes the whole."""

from ai_edge_litert import schema_py_generated as schema

from export.optimize.cost import CostModel
from export.optimize.graph import Graph

_QUANTIZED = (schema.TensorType.INT8, schema.TensorType.UINT8)


def float_edges(graph: Graph, model: CostModel) -> str | None:
    """Replaces conversions between uint8 and int8, and quantized SOFTMAX, by floating point between DEQUANTIZE and QUANTIZE.

    A result that lies half-way between two quanta may be rounded to the other one.
    """
    operators, replaced = [], {"QUANTIZE": 0, "SOFTMAX": 0}
    real: dict[int, int] = {}  # float tensors that quantized ones were made of here

    def dequantized(tensor: int) -> int:
        if tensor not in real:
            real[tensor] = graph.add_tensor(
                graph.shape(tensor), schema.TensorType.FLOAT32, f"{graph.name(tensor)}/dequantized"
            )
            operators.append(graph.operator("DEQUANTIZE", [tensor], [real[tensor]], schema.DequantizeOptionsT()))
        return real[tensor]

    for operator in graph.operators:
        kind = graph.kind(operator)
        x, y = int(operator.inputs[0]) if len(operator.inputs) else -1, int(operator.outputs[0])
        if kind not in replaced or not all(_quantized(graph, t) for t in (x, y)):
            operators.append(operator)
            continue
        made = dequantized(x)
        if kind == "SOFTMAX":
            result = graph.add_tensor(graph.shape(y), schema.TensorType.FLOAT32, f"{graph.name(y)}/float")
            operators.append(graph.operator(kind, [made], [result], operator.builtinOptions))
            made = real[y] = result
        operators.append(graph.operator("QUANTIZE", [made], [y], schema.QuantizeOptionsT()))
        replaced[kind] += 1
    graph.operators = operators
    done = [f"{count} {kind}" for kind, count in replaced.items() if count]
    return f"{' and '.join(done)} in floating point" if done else None


def _quantized(graph: Graph, tensor: int) -> bool:
    return tensor >= 0 and graph.type(tensor) in _QUANTIZED and graph.shape(tensor) is not None and graph.quantization(tensor) is not None
