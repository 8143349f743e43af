"""What a file may leave undone and ONNX Runtime, or its meaning, allows: put in order."""

from typing import TYPE_CHECKING

from greenbatch.exporter.bfloat16 import cast_ends
from greenbatch.exporter.onnx_file.scopes import copied, reads, unused

if TYPE_CHECKING:
    import onnx


def repair(model: "onnx.ModelProto") -> bool:
    """Put a graph in order, in place; nothing that it computes changes.

    Sizes of inputs below 1 become open, as they are meant. A graph without a name gets one, nodes
    stand in the order in which they run, nodes of one name get names of their own, and of equal
    constants of one name one stays. Inputs and outputs in bfloat16 become float32, see
    `greenbatch.exporter.bfloat16.cast_ends`.

    Args:
        model: Its weights need not be loaded.

    Returns:
        Whether anything was changed.
    """
    changed = False
    for step in (_name, _open_sizes, _sort, _name_nodes, _drop_twins):
        changed |= step(model.graph)
    return cast_ends(model) or changed


def _name(graph: "onnx.GraphProto") -> bool:
    if graph.name:
        return False
    graph.name = "graph"
    return True


def _open_sizes(graph: "onnx.GraphProto") -> bool:
    """Leave open what is below 1: ONNX Runtime takes a 0 at its word."""
    given = {tensor.name for tensor in graph.initializer}
    closed = [
        dim
        for value in (*graph.input, *graph.output)
        if value.name not in given
        for dim in value.type.tensor_type.shape.dim
        if dim.HasField("dim_value") and dim.dim_value < 1
    ]
    for dim in closed:
        dim.ClearField("dim_value")
    if closed:
        del graph.value_info[:]
    return bool(closed)


def _sort(graph: "onnx.GraphProto") -> bool:
    """Put nodes behind those whose outputs they take; what runs in circles stays."""
    made = {name for node in graph.node for name in node.output if name}
    waiting, waited = list(graph.node), False
    ready: set[str] = set()
    ordered: list[onnx.NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            if all(name in ready or name not in made for name in reads(node)):
                ready.update(node.output)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            return False
        waiting, waited = later, waited or bool(later)
    if not waited:
        return False
    nodes = list(map(copied, ordered))
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _name_nodes(graph: "onnx.GraphProto") -> bool:
    names = [node.name for node in graph.node if node.name]
    if len(names) == len(set(names)):
        return False
    fresh, seen = unused(names), set[str]()
    for node in graph.node:
        if node.name in seen:
            node.name = fresh(node.name)
        seen.add(node.name)
    return True


def _drop_twins(graph: "onnx.GraphProto") -> bool:
    """Keep one of several constants of a name, if they are equal; others are no valid ONNX."""
    first: dict[str, onnx.TensorProto] = {}
    twins = []
    for place, tensor in enumerate(graph.initializer):
        original = first.setdefault(tensor.name, tensor)
        if original is not tensor and original == tensor:
            twins.append(place)
    for place in reversed(twins):
        del graph.initializer[place]
    return bool(twins)
