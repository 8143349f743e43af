"""From a graph that computes sizes to one that holds them as constants."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenbatch.exporter.sizes.probe import Probe
from greenbatch.exporter.sizes.rules import Rules

if TYPE_CHECKING:
    import onnx


class _Named(Protocol):
    name: str


class _Entries(Protocol):
    """A repeated field of a protobuf message."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> _Named: ...

    def __delitem__(self, place: int, /) -> None: ...


def fold_sizes(model: "onnx.ModelProto", batch_axis: str, folder: Path) -> tuple[str, ...]:
    """Rewrite a graph so that as few sizes as possible are computed while it runs.

    A device computes a network in long calls and sizes on the host: each size that is computed in
    a run costs a node on the CPU, and a place where the device may wait. Every size of a network
    of images follows from its batch, so Reshape can take 0 and -1, and Expand the batch from a
    tensor that has it.

    Args:
        model: Changed in place; its weights need not be loaded.
        batch_axis: Name of the symbolic axis of its input.
        folder: Where its weights lie, if they lie beside it.

    Returns:
        What was rewritten, a clause for each change.
    """
    import onnx

    graph = model.graph
    given = {tensor.name for tensor in graph.initializer}
    images = [value.name for value in graph.input if value.name not in given]
    graphs = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    closed = any(a.type in graphs for node in graph.node for a in node.attribute)
    if len(images) != 1 or closed:  # a graph inside a node may take any tensor
        return ()
    probe = Probe(model, batch_axis, folder)
    rules = Rules(probe, images[0], given)
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        rules.take(copy)
    if not rules.changes:
        return ()
    nodes = _used(rules.nodes, {value.name for value in graph.output})
    del graph.node[:]
    graph.node.extend(nodes)
    names = {name for node in nodes for name in node.input} | {o.name for o in graph.output}
    for name, value in rules.constants.items():
        if name in names:
            graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    _keep(graph.initializer, names)
    _keep(graph.value_info, {name for node in nodes for name in node.output})
    return tuple(rules.changes)


def _used(nodes: "list[onnx.NodeProto]", wanted: set[str]) -> "list[onnx.NodeProto]":
    """Return the nodes that outputs follow from, in their order."""
    wanted = set(wanted)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _keep(entries: _Entries, names: set[str]) -> None:
    """Remove the entries of a repeated field that are of other names."""
    for place in reversed(range(len(entries))):
        if entries[place].name not in names:
            del entries[place]
