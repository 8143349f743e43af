"""Takes the rounding out of an int8 graph again for some nodes: they compute in float32."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from greenbatch.exporter.precisions.half import copied
from greenbatch.exporter.precisions.sensitivity import MULTIPLYING, Node
from greenbatch.exporter.precisions.widths import captured

if TYPE_CHECKING:
    import onnx

_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


def quantised_nodes(model: "onnx.ModelProto") -> list[Node]:
    """Return the nodes of a QDQ graph that read a rounded value."""
    rounded = {
        name for node in model.graph.node if node.op_type == _DEQUANTISE for name in node.output
    }
    return [
        Node(node.name, node.op_type in MULTIPLYING)
        for node in model.graph.node
        if node.op_type != _QUANTISE and not rounded.isdisjoint(node.input)
    ]


def without(
    model: "onnx.ModelProto", floats: Mapping[str, "onnx.TensorProto"], kept: Collection[str]
) -> "onnx.ModelProto":
    """Return a QDQ graph in which some nodes read, and hand to the graph's ends, float32.

    Args:
        model: As ONNX Runtime's quantiser wrote it; left as it is.
        floats: The weights before they were quantised, by name.
        kept: Names of the nodes.
    """
    model = copied(model)
    graph = model.graph
    _free_ends(graph, kept)
    maker = {name: node for node in graph.node for name in node.output}
    restored: dict[str, str] = {}
    for node in graph.node:
        for at, name in enumerate(node.input if node.name in kept else ()):
            weights = _weights(name, maker)
            if weights not in floats:
                node.input[at] = _exact(name, maker)
                continue
            if weights not in restored:
                restored[weights] = f"{weights}_float"
                graph.initializer.add().CopyFrom(floats[weights])
                graph.initializer[-1].name = restored[weights]
            node.input[at] = restored[weights]
    _drop_unread(graph)
    return model


def _exact(name: str, maker: "Mapping[str, onnx.NodeProto]") -> str:
    """Return what a value was before it was rounded."""
    node = maker.get(name)
    if node is None or node.op_type != _DEQUANTISE:
        return name
    before = maker.get(node.input[0])
    return name if before is None or before.op_type != _QUANTISE else before.input[0]


def _weights(name: str, maker: "Mapping[str, onnx.NodeProto]") -> str:
    """Return the name of the weights that a value is made of; the quantiser adds a suffix."""
    node = maker.get(name)
    if node is None or node.op_type != _DEQUANTISE or node.input[0] in maker:
        return ""
    return str(node.input[0]).removesuffix("_quantized")


def _free_ends(graph: "onnx.GraphProto", kept: Collection[str]) -> None:
    """Let nodes that are kept make the graph's outputs as they are."""
    maker = {name: node for node in graph.node for name in node.output}
    for end in graph.output:
        exact = _exact(end.name, maker)
        if exact == end.name or exact not in maker or maker[exact].name not in kept:
            continue
        renamed = {end.name: f"{end.name}_rounded", exact: end.name}
        for node in graph.node:
            for at, name in enumerate(node.input):
                node.input[at] = renamed.get(name, name)
            for at, name in enumerate(node.output):
                node.output[at] = renamed.get(name, name)
        maker = {name: node for node in graph.node for name in node.output}


def _drop_unread(graph: "onnx.GraphProto") -> None:
    """Drop the roundings and weights that no node reads any longer."""
    ends = {value.name for value in graph.output}
    while True:
        read = ends.union(*(set(node.input) | captured(node) for node in graph.node))
        unread = [
            node
            for node in graph.node
            if node.op_type in (_QUANTISE, _DEQUANTISE) and read.isdisjoint(node.output)
        ]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
