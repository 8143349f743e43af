"""Which outputs of a graph hold positions (of an ArgMax, say), and which the data size."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_MAKES_POSITIONS: Mapping[str, frozenset[int]] = {
    "ArgMax": frozenset({0}),
    "ArgMin": frozenset({0}),
    "MaxPool": frozenset({1}),
    "NonMaxSuppression": frozenset({0}),
    "NonZero": frozenset({0}),
    "TopK": frozenset({1}),
    "Unique": frozenset({1, 2, 3}),
}
"""Operators by the number of the outputs that are positions (ONNX, operator schemas)."""
_KEEPS = frozenset(
    {"Add", "Cast", "Clip", "Concat", "Div", "Expand", "Flatten", "Floor", "Gather", "Identity"}
    | {"Mod", "Mul", "Neg", "Pad", "ReduceMax", "ReduceMin", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that make positions of positions: what they move, stretch or compute of them."""
_FIRST_ALONE = frozenset(
    {"Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile"}
)
"""Of these, those whose first input alone is moved: the others say where to."""
_SIZED_BY_DATA = frozenset({"Compress", "Loop", "NonMaxSuppression", "NonZero", "Unique"})


def position_outputs(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the outputs whose values are positions.

    What is computed of positions and constants alone holds positions. Where other values come in,
    as the offset within a cell does in a detector's boxes, the result is a value, and rounded.
    """
    positions: set[str] = set()
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:  # in the order in which they run
        made = _MAKES_POSITIONS.get(node.op_type, frozenset())
        positions.update(name for place, name in enumerate(node.output) if place in made and name)
        if node.op_type == "Constant":
            constants.update(node.output)
        if node.op_type in _KEEPS:
            moved = set(node.input[:1] if node.op_type in _FIRST_ALONE else node.input) - {""}
            if positions.intersection(moved) and moved <= positions | constants:
                positions.update(node.output)
    return positions.intersection(output.name for output in model.graph.output)


def sized_by_data(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the outputs that follow from a node which puts out as data decide."""
    open_: set[str] = set()
    for node in model.graph.node:
        if node.op_type in _SIZED_BY_DATA or open_.intersection(node.input):
            open_.update(node.output)
    return open_.intersection(output.name for output in model.graph.output)
