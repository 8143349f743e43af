"""Constants that hold a row for each image, and sizes that hold the batch: made for any batch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.exporter.rebatch.questions import Shape, called
from greenbatch.exporter.rebatch.sizes import FACTOR, PREFIX, Sizes, show

if TYPE_CHECKING:
    import onnx

    from greenbatch.exporter.rebatch.questions import Array

BROADCASTING = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Mean", "Sum", "Where", "PRelu",
        "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul",
        "Gemm", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "MatMulInteger", "QLinearMatMul",
    }
)  # fmt: skip
_PRODUCTS = frozenset({"MatMul", "MatMulInteger", "QLinearMatMul"})

_ROWS: Mapping[str, Mapping[int, int | None]] = {
    "RNN": {4: 0, 5: 1},
    "GRU": {4: 0, 5: 1},
    "LSTM": {4: 0, 5: 1, 6: 1},
    "GridSample": {0: 0, 1: 0},
    "NonMaxSuppression": {0: 0, 1: 0},
    "GatherElements": {0: None, 1: None},
    "ScatterElements": {0: None, 1: None, 2: None},
    "Attention": {0: 0, 1: 0, 2: 0, 4: 0, 5: 0},
    "DeformConv": {0: 0, 2: 0, 4: 0},
    "MaxUnpool": {0: 0, 1: 0},
}
"""Operators whose inputs need a row for each image: on which axis; ``None``: where the others do.

From the operators' schemas in the ONNX standard.
"""
_RECURRENT = frozenset({"RNN", "GRU", "LSTM"})


class Rows:
    """Changes what holds the batch in constants.

    Attributes:
        nodes: The new graph's so far; what a rewritten node needs is put before it.
        changes: What was rewritten, a clause for each.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self.nodes: list[onnx.NodeProto] = []
        self.changes: list[str] = []
        self._batch = ""  # the tensor of one number that holds the batch, once one is needed

    def repeat_all(self, node: "onnx.NodeProto") -> None:
        """Give each image its own row of the constants that need one, see `_ROWS`."""
        known = self._sizes
        moving = next((name for name in node.input if known.moves(name)), "")
        places = dict(_ROWS.get(node.op_type, {}))
        marks = {attribute.name for attribute in node.attribute if attribute.i}
        if node.op_type == "GatherND" and "batch_dims" in marks:
            places = {0: None, 1: None}
        if node.op_type in _RECURRENT and "layout" in marks:
            places = dict.fromkeys(places, 0)
        for place, axis in places.items() if moving else ():
            self.repeat(node, place, known.axis(moving) if axis is None else axis)

    def repeat_in_einsum(self, node: "onnx.NodeProto") -> None:
        """Give each image its own row of the constants that share the letter of the batch."""
        known = self._sizes
        equation = next(a.s.decode() for a in node.attribute if a.name == "equation")
        terms = equation.replace(" ", "").partition("->")[0].split(",")
        if "." in equation or len(terms) != len(node.input):
            return
        letters = {
            term[known.axis(name)]
            for term, name in zip(terms, node.input, strict=True)
            if known.moves(name)
        }
        for place, term in enumerate(terms):
            for letter in letters & set(term):
                self.repeat(node, place, term.index(letter))

    def repeat_for_concat(self, node: "onnx.NodeProto") -> None:
        """Give each image its own copy of a constant that is put beside the images' values."""
        known = self._sizes
        moving = next(name for name in node.input if known.moves(name))
        axis = known.axis(moving)
        along = next(a.i for a in node.attribute if a.name == "axis") % len(known.at[moving])
        if along != axis:
            for place in range(len(node.input)):
                self.repeat(node, place, axis)

    def repeat(self, node: "onnx.NodeProto", place: int, axis: int) -> None:
        """Replace a constant operand by its first row, repeated for each image of the batch."""
        import numpy as np
        from onnx.helper import make_node

        known = self._sizes
        name = node.input[place] if place < len(node.input) else ""
        if not name or known.moves(name) or name in known.carriers:
            return
        row = self._one_row(node, name, axis)
        sizes = self.sizes_with_batch(node, known.at[name], axis)
        repeated = known.unused(f"{PREFIX}repeated")
        self._insert(make_node("Expand", [known.add(row), sizes], [repeated]), node)
        known.at[repeated] = known.at[name]
        grown = np.array(known.at[name])
        grown[axis] *= FACTOR
        known.then[repeated] = tuple(grown.tolist())
        known.types[repeated] = known.types[name]
        node.input[place] = repeated
        self.note(node, f"the constant {name} is repeated for each image")

    def free_operands(self, node: "onnx.NodeProto") -> None:
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
        fixed = {rank - 1, rank - 2} if node.op_type in _PRODUCTS else set()
        for place, name in enumerate(node.input):
            if not name or known.moves(name) or name in known.carriers:
                continue
            for carrier in carriers - fixed:
                axis = carrier - rank + len(known.at[name])
                if axis >= 0 and known.at[name][axis] == known.batch:
                    node.input[place] = known.add(self._one_row(node, name, axis))
                    self.note(node, f"the constant {name} keeps one of {known.batch} equal rows")

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

    def sizes_with_batch(self, node: "onnx.NodeProto", shape: Shape, axis: int) -> str:
        """Return a tensor with the sizes ``shape``, but the batch of the images at ``axis``."""
        import numpy as np
        from onnx.helper import make_node

        known = self._sizes
        if shape[axis] != known.batch:
            raise known.refusal(node, f"holds {show(shape)}, in which the batch is part of an axis")
        if not self._batch:
            self._batch = known.unused(f"{PREFIX}batch")
            known.at[self._batch] = known.then[self._batch] = (1,)
            first = known.add(np.array([0], np.int64))
            sizes = known.unused(f"{PREFIX}sizes_of_input")
            self._insert(make_node("Shape", [known.images], [sizes]), node)
            self._insert(make_node("Gather", [sizes, first], [self._batch], axis=0), node)
        parts = [shape[:axis], shape[axis + 1 :]]
        names = [known.add(np.array(part, np.int64)) if part else "" for part in parts]
        name = known.unused(f"{PREFIX}sizes")
        parts_in_order = [part for part in (names[0], self._batch, names[1]) if part]
        self._insert(make_node("Concat", parts_in_order, [name], axis=0), node)
        grown = list(shape)
        grown[axis] *= FACTOR
        known.then_values[name] = np.array(grown, np.int64)
        known.at[name] = known.then[name] = (len(shape),)
        return name

    def note(self, node: "onnx.NodeProto", change: str) -> None:
        self.changes.append(f"{called(node)}: {change}")
