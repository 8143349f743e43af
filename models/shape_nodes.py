"""Nodes of an ONNX graph that compute sizes alone: no number of an image goes through them.

A GPU's execution provider leaves them to the CPU on purpose, because Reshape and others read their
sizes on the host (ONNX Runtime's ``GetCpuPreferredNodes`` in
``onnxruntime/core/framework/fallback_cpu_capability.cc``).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SMALL = 100
"""Elements of the largest tensor that counts as sizes: the constant of ONNX Runtime's rule."""

_SIZES_OF_DATA = ("Shape", "Size")
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

SHAPE_INPUTS: Mapping[str, frozenset[int]] = {
    "AffineGrid": frozenset({1}),
    "CenterCropPad": frozenset({1}),
    "ConstantOfShape": frozenset({0}),
    "CumSum": frozenset({1}),
    "Expand": frozenset({1}),
    "OneHot": frozenset({1}),
    "Pad": frozenset({1, 3}),
    "Range": frozenset({0, 1, 2}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Tile": frozenset({1}),
    "TopK": frozenset({1}),
    "Trilu": frozenset({1}),
    "Unsqueeze": frozenset({1}),
    "Upsample": frozenset({1}),
    **{f"Reduce{name}": frozenset({1}) for name in _REDUCTIONS},
}
"""The inputs of each operator that say where and how large, and are no data: read on the host."""


def find_shape_nodes(model: "onnx.ModelProto") -> set[tuple[str, str]]:
    """Return the nodes that compute sizes alone, by operator and name.

    All that such a node takes is made of sizes and constants. All its outputs are whole numbers or
    booleans of at most `SMALL` elements, and each way from it to a floating-point tensor or to an
    output of the graph goes in by a shape input. What a graph inside a node takes is data.
    Nodes of one operator and name (as those without a name) are all in the set, or none is.

    Args:
        model: Its weights need not be loaded.
    """
    tensors = _tensors(model)
    takers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            takers[name].append((node, place))
    made = _made_of_sizes(model.graph)
    ends = {value.name for value in model.graph.output} | _taken_inside(model.graph.node)
    alone: dict[str, bool] = {}  # by output
    for node in reversed(model.graph.node):
        named = {name for name in node.output if name}
        fits = all(_holds_sizes(tensors.get(name)) for name in named)
        fits = fits and named <= made and not named & ends
        for output in node.output:
            alone[output] = fits and all(
                (not taker.domain and place in SHAPE_INPUTS.get(taker.op_type, ()))
                or all(alone.get(name, False) for name in taker.output if name)
                for taker, place in takers[output]
            )
    found: dict[tuple[str, str], bool] = {}
    for node in model.graph.node:
        key = (node.op_type, node.name)
        found[key] = found.get(key, True) and all(alone[name] for name in node.output if name)
    return {key for key, holds in found.items() if holds}


def _made_of_sizes(graph: "onnx.GraphProto") -> set[str]:
    """Return the tensors that no number of an image has a part in."""
    made = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:  # in topological order
        sized = not node.domain and node.op_type in _SIZES_OF_DATA
        if sized or (made.issuperset(node.input) and not _graphs_in(node)):
            made.update(node.output)
    return made


def _taken_inside(nodes: "Iterable[onnx.NodeProto]") -> set[str]:
    """Return what the graphs inside nodes (If, Loop, Scan) take or give back, from wherever."""
    found: set[str] = set()
    for node in nodes:
        for graph in _graphs_in(node):
            found.update(name for inner in graph.node for name in inner.input)
            found.update(value.name for value in graph.output)
            found |= _taken_inside(graph.node)
    return found


def _graphs_in(node: "onnx.NodeProto") -> "list[onnx.GraphProto]":
    return [
        graph
        for attribute in node.attribute
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
    ]


def _tensors(model: "onnx.ModelProto") -> "dict[str, onnx.TypeProto.Tensor]":
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return {
        value.name: value.type.tensor_type
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }


def _holds_sizes(tensor: "onnx.TypeProto.Tensor | None") -> bool:
    """Whether a tensor is of whole numbers or booleans, and is known to be small."""
    import onnx

    if tensor is None or not tensor.HasField("shape"):
        return False
    whole = {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}
    known = all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    small = known and math.prod(dim.dim_value for dim in tensor.shape.dim) <= SMALL
    return tensor.elem_type in whole and small
