"""TensorRT: which nodes its ONNX parser does not take.

It computes sizes itself, so that no node is given away. Whole numbers of 8 bits exist for it as
what QuantizeLinear makes and DequantizeLinear takes, with a zero point of 0.
"""

from typing import TYPE_CHECKING

from greenbatch.exporter.placement.kernels import TensorrtOperators
from greenbatch.exporter.placement.nodes import Nodes

if TYPE_CHECKING:
    import onnx

_QUANTISING = {"QuantizeLinear": 1, "DequantizeLinear": 0}  # -> the tensor that is quantised
_DOUBLE = {"double": "float"}  # cast down


def not_taken(graph: Nodes, table: TensorrtOperators) -> dict[int, str]:
    """Return the places of nodes that TensorRT does not take, and why."""
    faults = {}
    for place, node in enumerate(graph.nodes):
        if fault := _fault(node, graph, table):
            faults[place] = fault
    return faults


def _fault(node: "onnx.NodeProto", graph: Nodes, table: TensorrtOperators) -> str:
    if node.domain or node.op_type not in table.operators:
        return "not in the table of operators"
    if node.op_type == "DequantizeLinear":
        kind = graph.types.get(node.input[0], "an unknown type")
        return "" if kind in table.operators[node.op_type] else f"does not take {kind}"
    if node.op_type == "QuantizeLinear":
        kind = graph.types.get(node.output[0], "an unknown type")
        signed = kind in table.operators["DequantizeLinear"]
        return "" if signed else f"does not make {kind}"
    taken = {*table.operators[node.op_type], "bool", "int64"}
    kinds = [graph.types.get(name, "") for name in (*node.input[:1], *node.output[:1]) if name]
    wrong = [kind for kind in kinds if kind and _DOUBLE.get(kind, kind) not in taken]
    return f"does not take {wrong[0]}" if wrong else ""
