"""An ONNX graph as it is cut: its nodes in order, what each reads, where one tensor passes."""

import ast
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata that torch's exporter writes into each node: ``['', 'features', 'features.0', 'relu']``,
the last of them the operation (torch/onnx/_internal/exporter/_core.py)."""

_NO_MODULE = "_empty_nn_module_stack"
"""What torch writes there for a node that no module called."""

_WEIGHT = ".weight"
_WEIGHTY = ("Conv", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization")
"""A fused node is of the layer that has the weights: of a convolution, not of its activation."""

_FOLLOWING = (
    "Relu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "LeakyRelu",
    "HardSigmoid",
    "HardSwish",
    "Add",
    "QuantizeLinear",
)
"""What ONNX Runtime takes into the operator before it, which keeps its name."""

_TOKEN = re.compile(r"_token_\d+$")
"""What ONNX Runtime adds to a name that is taken."""

_BACK = "ReorderOutput"
_LAYOUT = ("ReorderInput", _BACK)
"""Put in by ONNX Runtime around what it computes in its own layout; they stand for nothing."""


def layer_of(node: "NodeProto") -> str:
    """Return the path of the module that a node came from; ``""`` where nothing states it.

    A node with weights is of the module that has them: a convolution into which the exporter folded
    a normalisation bears that one's metadata. Torch's older exporter, and tools after it, have the
    path in the node's name: ``/layer1/layer1.0/conv1/Conv``.
    """
    if node.op_type in _WEIGHTY:
        for name in node.input[1:]:
            owner, found, rest = name.rpartition(_WEIGHT)
            if found and (not rest or rest.startswith("_")):  # quantised ones go on so
                return str(owner)
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            path = str(["", *ast.literal_eval(entry.value)][-2])
            return "" if path.startswith(_NO_MODULE) else path
    if not node.name.startswith("/"):
        return ""
    path = ""
    for word in node.name.split("/")[1:-1]:
        path = word if not path or word.startswith(f"{path}.") else f"{path}.{word}"
    return path


def reads(node: "NodeProto") -> Iterator[str]:
    """Give the tensors that a node reads, those that its branches take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            made = {name for inner in graph.node for name in inner.output}
            yield from (n for inner in graph.node for n in reads(inner) if n not in made)


def crossings(graph: "GraphProto") -> dict[str, int]:
    """Find the tensors through which alone the rest of a graph depends on what came before.

    After each node, those tensors are alive that were made up to it, or given, and are read after
    it; weights do not count. Where one is alive, the graph can be cut.

    Args:
        graph: An ONNX ``GraphProto``; nodes are in topological order, as the standard has it.

    Returns:
        The index of the last node before the cut, by the tensor that passes; in order.
    """
    constant = {tensor.name for tensor in graph.initializer}
    last_read: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in reads(node):
            last_read[name] = index
    for output in graph.output:
        last_read[output.name] = len(graph.node)
    alive = {given.name for given in graph.input} - constant
    found: dict[str, int] = {}
    for index, node in enumerate(graph.node[:-1]):
        alive.update(name for name in node.output if name in last_read)
        alive = {name for name in alive if last_read.get(name, -1) > index}
        if len(alive) == 1 and (name := next(iter(alive))) in node.output:
            found[name] = index
    return found


_LEAST = 0.001
"""Of the time: what is cut off from an end and takes less is no part."""


def choose(candidates: Mapping[str, float], parts: int) -> tuple[str, ...]:
    """Choose the cuts that make the parts' times most equal: with the least sum of squares.

    Args:
        candidates: The share of the time that has passed, 0..1, by tensor, in order.
        parts: How many are wanted, at least 2.

    Returns:
        ``parts - 1`` tensors, in order; all candidates where there are not so many.
    """
    usable = [(s, name) for name, s in candidates.items() if _LEAST <= s <= 1 - _LEAST]
    if not usable:
        return ()
    # The best way to come to each candidate by so many cuts: (sum of squares, those cuts).
    best: list[tuple[float, tuple[int, ...]]] = [
        (share * share, (index,)) for index, (share, _) in enumerate(usable)
    ]
    for cut in range(1, min(parts - 1, len(usable))):
        best = [
            min(
                (best[before][0] + (share - usable[before][0]) ** 2, (*best[before][1], index))
                for before in range(cut - 1, index)
            )
            if index >= cut
            else (math.inf, ())
            for index, (share, _) in enumerate(usable)
        ]
    ends = ((squares + (1 - usable[i][0]) ** 2, cuts) for i, (squares, cuts) in enumerate(best))
    return tuple(usable[index][1] for index in min(ends)[1])


@dataclass(frozen=True, slots=True)
class Origins:
    """Which nodes of the artifact an optimised node stands for.

    Attributes:
        nodes: Their names, in the artifact's order; empty: the runtime put the node there.
        layer: Path of the module of the weightiest of them.
    """

    nodes: tuple[str, ...] = ()
    layer: str = ""


def origins(artifact: "GraphProto", optimised: "GraphProto") -> dict[str, Origins]:
    """Trace the nodes of an optimised graph back to those of the artifact.

    An optimised node that puts out a tensor of the artifact stands for all nodes that lie between
    the tensors it reads and that one. ONNX Runtime names what it makes after what it replaces:
    ``TENSOR_nchwc`` a convolution in its own layout, ``fused NODE`` one with an activation, so
    that tensors which are gone are found by the name of the node.

    Args:
        artifact: The ``GraphProto`` as exported.
        optimised: The ``GraphProto`` that the runtime runs.

    Returns:
        The origins of each node of ``optimised``, by its name.
    """
    nodes = list(artifact.node)  # protobuf hands out a new object at each look
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    ends = ends_of(artifact, optimised)
    borders = {tensor for tensors in ends.values() for tensor in tensors}
    found = {}
    for name, tensors in ends.items():
        stands_for = [nodes[i] for i in sorted(_between(tensors, borders, nodes, maker))]
        found[name] = Origins(tuple(each.name for each in stands_for), _layer(stands_for))
    return found


def ends_of(artifact: "GraphProto", optimised: "GraphProto") -> dict[str, tuple[str, ...]]:
    """Return the tensors of the artifact that each optimised node makes, by its name."""
    nodes = list(artifact.node)
    tensors = {name for node in nodes for name in node.output if name}
    outputs = {node.name: tuple(node.output) for node in nodes if node.name}
    reader: dict[str, NodeProto | None] = {}
    for node in nodes:
        for name in reads(node):
            reader[name] = None if name in reader else node  # None: several read it
    found: dict[str, tuple[str, ...]] = {}
    by_name: list[str] = []
    for node in optimised.node:
        made = tuple(name for name in node.output if name in tensors)
        if node.op_type in _LAYOUT:
            made = ()
        elif not made:
            made = _from_name(node.name, tensors, outputs)
            by_name.append(node.name)
        found[node.name] = made
    claimed = {name for made in found.values() for name in made}
    for name in by_name:
        if len(found[name]) == 1:
            found[name] = (_behind_following(found[name][0], reader, claimed),)
    return found


def _from_name(
    name: str, tensors: Collection[str], outputs: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    for before in _renamed(name):
        if before in tensors:
            return (before,)
        if before in outputs:
            return outputs[before]
    return ()


def _behind_following(
    tensor: str, reader: "Mapping[str, NodeProto | None]", claimed: Collection[str]
) -> str:
    """Go on behind what was fused into a node that is called after the tensor before it."""
    while (node := reader.get(tensor)) is not None:
        if node.op_type not in _FOLLOWING or node.output[0] in claimed:
            break
        tensor = node.output[0]
    return tensor


def _renamed(name: str) -> Iterator[str]:
    """Give what a node of ONNX Runtime's own was called before."""
    yield name
    plain = _TOKEN.sub("", name.removeprefix("fused "))
    yield plain
    head, found, _ = plain.rpartition("_nchwc")
    if found:
        yield head
        yield head.removesuffix("_bn")  # a normalisation that became a convolution


def _between(
    ends: Sequence[str],
    borders: Collection[str],
    nodes: "Sequence[NodeProto]",
    maker: Mapping[str, int],
) -> set[int]:
    """Collect the places of the nodes that make ``ends`` from other borders."""
    collected: set[int] = set()
    open_ends = list(ends)
    while open_ends:
        place = maker.get(open_ends.pop())
        if place is None or place in collected:
            continue
        collected.add(place)
        open_ends.extend(name for name in reads(nodes[place]) if name not in borders)
    return collected


def _layer(nodes: "Sequence[NodeProto]") -> str:
    weighty = [node for node in nodes if node.op_type in _WEIGHTY]
    for node in (*weighty, *reversed(nodes)):
        if layer := layer_of(node):
            return layer
    return ""


def placed(called: Sequence[tuple[str, str]], cut_after: Collection[str]) -> list[tuple[str, int]]:
    """Return in which part each operator is, and what to call it.

    What changes the layout bears another number in every session, so that it is called after the
    operator before it. The change back behind the last operator of a part belongs to that part.

    Args:
        called: Name and kind of the operators, in the order in which they run.
        cut_after: Names of the last operators of all parts but the last.

    Returns:
        Name and part, from 1, of each.
    """
    part, ends, before = 1, False, ""
    seen: Counter[str] = Counter()
    found = []
    for name, kind in called:
        if ends and kind != _BACK:
            part, ends = part + 1, False
        if kind in _LAYOUT:
            shown = f"{kind} after {before or 'the input'}"
            seen[shown] += 1
            found.append((shown if seen[shown] == 1 else f"{shown}, {seen[shown]}", part))
        else:
            before = name
            found.append((name, part))
        ends = ends or name in cut_after
    return found
