"""Names in a graph whose nodes may hold graphs: what a node reads, what the images decide."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_ABOUT_SIZES = frozenset({"Shape", "Size", "SequenceLength", "OptionalHasElement"})


def is_standard(node: "onnx.NodeProto") -> bool:
    """Whether a node is an operator of ONNX itself."""
    return node.domain in {"", "ai.onnx"}


def bodies(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """Yield the graphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reads(node: "onnx.NodeProto") -> list[str]:
    """Return the names that a node takes: its inputs, and what its graphs take from around it."""
    names = [name for name in node.input if name]
    for body in bodies(node):
        names += _free_names(body)
    return list(dict.fromkeys(names))


def _free_names(graph: "onnx.GraphProto") -> list[str]:
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    taken: list[str] = []
    for node in graph.node:
        taken += [name for name in reads(node) if name not in own]
        own.update(node.output)
    return taken + [value.name for value in graph.output if value.name not in own]


def with_values_of(nodes: "Iterable[onnx.NodeProto]", images: Iterable[str]) -> set[str]:
    """Return the tensors that depend on what is in the images, not on how many there are.

    Args:
        nodes: In the order in which they run.
        images: The inputs with a row for each image.
    """
    touched = set(images)
    for node in nodes:
        sizes = is_standard(node) and node.op_type in _ABOUT_SIZES
        if not sizes and touched.intersection(reads(node)):
            touched.update(name for name in node.output if name)
    return touched


def copied(node: "onnx.NodeProto") -> "onnx.NodeProto":
    """Return a copy of a node."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def rename(node: "onnx.NodeProto", names: "dict[str, str]") -> None:
    """Give tensors other names, in a node and in the graphs that it holds."""
    for field in (node.input, node.output):
        field[:] = [names.get(name, name) for name in field]
    for body in bodies(node):
        for inner in body.node:
            rename(inner, names)
        for value in (*body.input, *body.output, *body.initializer):
            value.name = names.get(value.name, value.name)
        del body.value_info[:]


def unused(taken: Collection[str]) -> Callable[[str], str]:
    """Return a function that makes names which are in no collection, nor given out before."""
    names = set(taken)

    def fresh(stem: str) -> str:
        name, count = stem, 0
        while name in names:
            count += 1
            name = f"{stem}_{count}"
        names.add(name)
        return name

    return fresh


def all_names(graph: "onnx.GraphProto") -> set[str]:
    """Return the names of all tensors of a graph and of the graphs in it."""
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        names.update(node.input, node.output)
        for body in bodies(node):
            names |= all_names(body)
    return names
