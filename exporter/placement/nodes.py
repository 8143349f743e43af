"""A graph as the rules of placement see it."""

import math
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_TYPES = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "string", 9: "bool", 10: "float16", 11: "double", 12: "uint32", 13: "uint64",
    16: "bfloat16", 17: "float8e4m3fn", 19: "float8e5m2", 21: "uint4", 22: "int4",
}  # fmt: skip


class Nodes:
    """The nodes of a graph without those that are constants.

    Attributes:
        nodes: In topological order.
        types: Element types of tensors, as ``float16``.
        constants: Elements of each constant.
        inputs: Of the graph, without constants.
        closed: Places in ``nodes`` of those that hold a graph (If, Loop, Scan).
        takers: Places in ``nodes`` of those that take a tensor.
        opsets: By domain.
    """

    def __init__(self, model: "onnx.ModelProto") -> None:
        import onnx

        self.opsets = {
            "" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import
        }
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.types = {
            value.name: _TYPES.get(value.type.tensor_type.elem_type, "")
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }
        self.constants: dict[str, int] = {}
        for tensor in model.graph.initializer:
            self.types[tensor.name] = _TYPES.get(tensor.data_type, "")
            self.constants[tensor.name] = math.prod(tensor.dims)
        self.nodes: list[onnx.NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Constant" and not node.domain:
                dims = node.attribute[0].t.dims if node.attribute[0].name == "value" else ()
                self.constants[node.output[0]] = math.prod(dims)
            else:
                self.nodes.append(node)
        self.inputs = {v.name for v in model.graph.input} - self.constants.keys()
        graphs = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
        self.closed = [
            place
            for place, node in enumerate(self.nodes)
            if any(attribute.type in graphs for attribute in node.attribute)
        ]
        self.takers: dict[str, list[int]] = defaultdict(list)
        for place, node in enumerate(self.nodes):
            for name in dict.fromkeys(node.input):
                self.takers[name].append(place)


def called(node: "onnx.NodeProto") -> str:
    """Name a node as a person finds it: ``Reshape 'node_view'``."""
    domain = f"{node.domain}." if node.domain else ""
    return f"{domain}{node.op_type} {(node.name or node.output[0])!r}"
