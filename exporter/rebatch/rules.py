"""What is done to each ONNX operator that fixes the batch: a rule for each."""

import math
from typing import TYPE_CHECKING, Any

from greenbatch.exporter.rebatch.sizes import (
    FACTOR,
    PREFIX,
    Carrier,
    Shape,
    Sizes,
    called,
    show,
)

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[Any]

_BATCH = f"{PREFIX}batch"
_TO_THE_END = (1 << 63) - 1

_BROADCASTING = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "Where", "PRelu",
        "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul",
        "Gemm",
    }
)  # fmt: skip
_STATES = {"RNN": {4: 0, 5: 1}, "GRU": {4: 0, 5: 1}, "LSTM": {4: 0, 5: 1, 6: 1}}
"""Inputs of recurrent operators that have a batch axis, and which it is."""


class Rules:
    """Rewrites nodes so that they take any number of images.

    Attributes:
        nodes: The new graph's so far; what a rewritten node needs is put before it.
        changes: What was rewritten, a clause for each.
        placed: Where a Reshape puts the batch, by the name of its output.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self.nodes: list[onnx.NodeProto] = []
        self.changes: list[str] = []
        self.placed: dict[str, Carrier] = {}

    def rewrite(self, node: "onnx.NodeProto") -> None:
        """Change what fixes the batch in a node that takes it."""
        if node.domain not in {"", "ai.onnx"}:
            return
        kind = node.op_type
        if kind == "Reshape":
            self._free_reshape(node)
        elif kind == "Expand" and self._sizes.moves(node.input[0]):
            self._free_expand(node)
        elif kind == "Slice":
            self._free_slice(node)
        elif kind == "Resize" and len(node.input) > 3 and node.input[3]:
            self._free_resize(node)
        elif kind == "Concat":
            self._repeat_for_concat(node)
        elif kind in _STATES:
            for place, axis in _STATES[kind].items():
                self._repeat(node, place, axis)
        elif kind in _BROADCASTING:
            self._free_operands(node)

    def _free_reshape(self, node: "onnx.NodeProto") -> None:
        import numpy as np

        known = self._sizes
        if len(node.input) < 2:
            raise known.refusal(node, "is of an opset before 5, with its sizes in an attribute")
        data, sizes = node.input[:2]
        if not known.moves(data):
            return
        before, target = known.at[data], known.at[node.output[0]]
        carrier = known.carriers.get(data, Carrier(known.axis(data)))
        placed = after_reshape(before, carrier, target, known.batch)
        if placed is None:
            raise known.refusal(node, f"makes {show(before)} into {show(target)}")
        self.placed[node.output[0]], place = placed, placed.axis
        wanted = tuple(n * FACTOR if a == place else n for a, n in enumerate(target))
        keeps_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
        value = known.small_value(sizes)
        if value is not None:
            requested = value.ravel().tolist()
            then = known.then[data]
            if not keeps_zero:
                requested = [
                    then[a] if n == 0 and a < len(then) else n for a, n in enumerate(requested)
                ]
            rest = math.prod(n for n in requested if n != -1)
            requested = [math.prod(then) // max(rest, 1) if n == -1 else n for n in requested]
            if tuple(requested) == wanted:
                return
        free = [-1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = known.add(np.array(free, np.int64))
        self._tell(node, f"sizes {show(target)} become {show(free)}")

    def _free_expand(self, node: "onnx.NodeProto") -> None:
        import numpy as np

        known = self._sizes
        data, sizes = node.input[:2]
        target = known.at[node.output[0]]
        place = known.axis(data) + len(target) - len(known.at[data])
        value = known.small_value(sizes)
        wanted = known.then[data][known.axis(data)]
        if value is not None:
            requested = [1] * (len(target) - value.size) + value.ravel().tolist()
            if requested[place] in {1, wanted}:
                return
        free = [1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = known.add(np.array(free, np.int64))
        self._tell(node, f"sizes {show(target)} become {show(free)}")

    def _free_slice(self, node: "onnx.NodeProto") -> None:
        """Let a slice that takes the whole batch take the whole of any."""
        import numpy as np

        known = self._sizes
        data = node.input[0]
        if not known.moves(data):
            return
        axis, length = known.axis(data), known.at[data][known.axis(data)]
        attributes = {a.name: a for a in node.attribute}
        if "ends" in attributes:  # before opset 10
            starts, ends = list(attributes["starts"].ints), list(attributes["ends"].ints)
            axes = list(attributes["axes"].ints) if "axes" in attributes else [*range(len(ends))]
            steps = [1] * len(ends)
        else:
            parts = [known.small_value(name) if name else None for name in node.input[1:]]
            if any(part is None for name, part in zip(node.input[1:], parts, strict=True) if name):
                return
            lists = [None if part is None else part.ravel().tolist() for part in parts]
            starts, ends = lists[0] or [], lists[1] or []
            axes = lists[2] if len(lists) > 2 and lists[2] is not None else [*range(len(ends))]
            steps = lists[3] if len(lists) > 3 and lists[3] is not None else [1] * len(ends)
        for index, (start, end, where, step) in enumerate(
            zip(starts, ends, axes, steps, strict=True)
        ):
            whole = start in {0, -length} and step == 1 and length <= end < known.then[data][axis]
            if where % len(known.at[data]) == axis and whole:
                ends[index], starts[index] = _TO_THE_END, 0
                if "ends" in attributes:
                    attributes["ends"].ints[:] = ends
                    attributes["starts"].ints[:] = starts
                else:
                    node.input[1] = known.add(np.array(starts, np.int64))
                    node.input[2] = known.add(np.array(ends, np.int64))
                self._tell(node, f"its end {end} on the batch axis becomes the whole")

    def _free_resize(self, node: "onnx.NodeProto") -> None:
        known = self._sizes
        data, sizes = node.input[0], node.input[3]
        if not known.moves(data) or any(a.name == "axes" for a in node.attribute):
            return
        axis, value = known.axis(data), known.small_value(sizes)
        if value is not None and int(value[axis]) == known.then[data][axis]:
            return
        target = known.at[node.output[0]]
        node.input[3] = self._sizes_with_batch(node, target, axis)
        self._tell(node, f"sizes {show(target)} take the batch from the input")

    def _repeat_for_concat(self, node: "onnx.NodeProto") -> None:
        """Give each image its own copy of a constant that is put beside the images' values."""
        known = self._sizes
        moving = next(name for name in node.input if known.moves(name))
        axis = known.axis(moving)
        along = next(a.i for a in node.attribute if a.name == "axis") % len(known.at[moving])
        if along != axis:
            for place in range(len(node.input)):
                self._repeat(node, place, axis)

    def _repeat(self, node: "onnx.NodeProto", place: int, axis: int) -> None:
        """Replace a constant operand by its first row, repeated for each image of the batch."""
        import numpy as np
        from onnx.helper import make_node

        known = self._sizes
        name = node.input[place] if place < len(node.input) else ""
        if not name or known.moves(name) or name in known.carriers:
            return
        row = self._one_row(node, name, axis)
        sizes = self._sizes_with_batch(node, known.at[name], axis)
        repeated = f"{PREFIX}repeated_{len(self.nodes)}_{place}"
        self._insert(make_node("Expand", [known.add(row), sizes], [repeated]), node)
        known.at[repeated] = known.at[name]
        grown = np.array(known.at[name])
        grown[axis] *= FACTOR
        known.then[repeated] = tuple(grown.tolist())
        known.types[repeated] = known.types[name]
        node.input[place] = repeated
        self._tell(node, f"the constant {name} is repeated for each image")

    def _free_operands(self, node: "onnx.NodeProto") -> None:
        """Cut constants that hold the same row for each image down to that row."""
        known = self._sizes
        if known.batch == 1:
            return
        rank = max(len(known.at[name]) for name in node.input if name)
        carriers = {
            known.axis(name) + rank - len(known.at[name])
            for name in node.input
            if known.moves(name)
        }
        fixed = {rank - 1, rank - 2} if node.op_type == "MatMul" else set()
        for place, name in enumerate(node.input):
            if not name or known.moves(name) or name in known.carriers:
                continue
            for carrier in carriers - fixed:
                axis = carrier - rank + len(known.at[name])
                if axis >= 0 and known.at[name][axis] == known.batch:
                    node.input[place] = known.add(self._one_row(node, name, axis))
                    self._tell(node, f"the constant {name} keeps one of {known.batch} equal rows")

    def _one_row(self, node: "onnx.NodeProto", name: str, axis: int) -> "Array":
        import numpy as np

        known = self._sizes
        if known.at[name][axis] != known.batch:
            raise known.refusal(
                node,
                f"takes the constant {name} of {show(known.at[name])}, which has no row for "
                "each image",
            )
        value = known.value(name)
        row = value.take([0], axis)
        if not np.array_equal(np.broadcast_to(row, value.shape), value, equal_nan=True):
            raise known.refusal(
                node,
                f"takes the constant {name}, which is another for each of the {known.batch} images",
            )
        return np.ascontiguousarray(row)

    def _insert(self, made: "onnx.NodeProto", before: "onnx.NodeProto") -> None:
        known = self._sizes
        if made.op_type == "Expand" and known.opset < 8:
            raise known.refusal(before, f"needs Expand, which opset {known.opset} lacks")
        made.name = made.output[0]
        self.nodes.append(made)

    def _sizes_with_batch(self, node: "onnx.NodeProto", shape: Shape, axis: int) -> str:
        """Return a tensor with the sizes ``shape``, but the batch of the images at ``axis``."""
        import numpy as np
        from onnx.helper import make_node

        known = self._sizes
        if shape[axis] != known.batch:
            raise known.refusal(node, f"holds {show(shape)}, in which the batch is part of an axis")
        if _BATCH not in known.at:
            known.at[_BATCH] = known.then[_BATCH] = (1,)
            first = known.add(np.array([0], np.int64))
            sizes = f"{PREFIX}sizes_of_input"
            self._insert(make_node("Shape", [known.facts.input.name], [sizes]), node)
            self._insert(make_node("Gather", [sizes, first], [_BATCH], axis=0), node)
        parts = [shape[:axis], shape[axis + 1 :]]
        names = [known.add(np.array(part, np.int64)) if part else "" for part in parts]
        name = f"{PREFIX}sizes_{len(self.nodes)}_{axis}"
        parts_in_order = [part for part in (names[0], _BATCH, names[1]) if part]
        self._insert(make_node("Concat", parts_in_order, [name], axis=0), node)
        grown = list(shape)
        grown[axis] *= FACTOR
        known.then_values[name] = np.array(grown, np.int64)
        known.at[name] = known.then[name] = (len(shape),)
        return name

    def _tell(self, node: "onnx.NodeProto", change: str) -> None:
        self.changes.append(f"{called(node)}: {change}")


def after_reshape(before: Shape, carrier: Carrier, after: Shape, batch: int) -> Carrier | None:
    """Find where the batch is after a reshape.

    Elements keep their order, so as many as before lie ahead of the batch: the product of the
    axes in front of its own, and of what precedes it there. A batch of 1 may leave a choice; then
    it does not join the last axis, which holds features, and else keeps an axis of its own.
    """
    ahead = math.prod(before[: carrier.axis]) * carrier.ahead
    last = len(after) - 1
    fits = []
    for axis, size in enumerate(after):
        front = max(1, math.prod(after[:axis]))
        within = ahead // front
        if ahead % front == 0 and size % (within * batch or 1) == 0 and within:
            joins_features = axis == last and size > batch
            fits.append((joins_features, within != 1, axis != carrier.axis, axis, within))
    return Carrier(*min(fits)[3:]) if fits else None
