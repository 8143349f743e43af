"""What is done to each operator that takes sizes which are computed while the graph runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenbatch.exporter.sizes.linear import BATCHES, Linear
from greenbatch.exporter.sizes.probe import Probe
from greenbatch.exporter.sizes.views import find_view

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

Dims = tuple[Linear | None, ...]

_BATCH = Linear(1, 0)
_ONE = Linear(0, 1)
_TO_THE_END = (1 << 63) - 1
_NO_WHERE = {4, 5, 9, 12, 13, 16}
"""Types (`onnx.TensorProto`: bool, bfloat16, integers of 16 bits, unsigned ones of 16 to 64) for
which ONNX Runtime has no Where on the CPU (seen in 1.31.1)."""
_MOST_FOLDED = 4096  # elements of a constant that takes the place of a computed tensor


class Rules:
    """Rewrites nodes so that no size is computed while the graph runs.

    Attributes:
        nodes: The new graph's so far; what a rewritten node needs is put before it.
        constants: That were added, by name.
        changes: What was rewritten, a clause for each.
    """

    def __init__(self, probe: Probe, images: str, given: "set[str]") -> None:
        """Start an empty graph.

        Args:
            probe: Of the original.
            images: The input that has the batch in front.
            given: Names of the original's initializers.
        """
        self._probe, self._images, self._given = probe, images, given
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.changes: list[str] = []
        self._made: dict[str, onnx.NodeProto] = {}
        self._rows: dict[tuple[int, int], str] = {}

    def take(self, node: "onnx.NodeProto") -> None:
        """Add a node to the new graph, rewritten where it takes what is computed from sizes."""
        self._fold_inputs(node)
        rule = _RULES.get(node.op_type) if not node.domain else None
        if rule is None or not rule(self, node):
            self._put(node)

    def _put(self, node: "onnx.NodeProto") -> None:
        self.nodes.append(node)
        self._made.update(dict.fromkeys(node.output, node))

    def _fold_inputs(self, node: "onnx.NodeProto") -> None:
        """Give a node as constants what does not depend on the batch."""
        for place, name in enumerate(node.input):
            if not name or name in self._given or name in self.constants:
                continue
            value = self._probe.fixed(name)
            if value is not None and value.size <= _MOST_FOLDED and value.dtype.kind in "iubf":
                node.input[place] = self._constant(value)
                self._note(node, f"takes {name} as a constant")

    def _reshape(self, node: "onnx.NodeProto") -> bool:
        import numpy as np

        data, sizes = node.input[:2]
        if self._known(sizes):
            return False
        before, after = self._probe.dims(data), self._probe.dims(node.output[0])
        if before is None or after is None:
            return False
        wanted = sizes_of_reshape(before, after)
        if wanted is None:
            return False
        node.input[1] = self._constant(np.array(wanted, np.int64))
        kept = [a for a in node.attribute if a.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
        self._note(node, f"reshapes to {wanted}")
        return False

    def _expand(self, node: "onnx.NodeProto") -> bool:
        return not self._known(node.input[1]) and self._broadcast(node, node.input[0])

    def _tile(self, node: "onnx.NodeProto") -> bool:
        """Take a Tile that repeats axes of one element alone as what it is: an Expand."""
        before = self._probe.dims(node.input[0])
        after = self._probe.dims(node.output[0])
        if self._known(node.input[1]) or before is None or after is None:
            return False
        grown = [b for b, a in zip(before, after, strict=True) if a != b]
        return all(b == _ONE for b in grown) and self._broadcast(node, node.input[0])

    def _filled(self, node: "onnx.NodeProto") -> bool:
        """Fill a tensor of computed sizes (ConstantOfShape) with its one value."""
        import numpy as np
        import onnx

        after = self._probe.dims(node.output[0])
        if self._known(node.input[0]) or after is None:
            return False
        given = next((a.t for a in node.attribute if a.name == "value"), None)
        value = np.zeros(1, np.float32) if given is None else onnx.numpy_helper.to_array(given)
        one = self._constant(value.reshape((1,) * len(after)))
        return self._broadcast(node, one)

    def _broadcast(self, node: "onnx.NodeProto", data: str) -> bool:
        """Expand to constant sizes, and to the batch by a condition that has it.

        ``Where(rows, data, data)`` is the data, whatever the condition is, in the sizes of both.
        """
        import numpy as np

        before, after = self._dims(data), self._probe.dims(node.output[0])
        if before is None or after is None or len(before) > len(after):
            return False
        before = (_ONE,) * (len(after) - len(before)) + before
        sizes, moving = [], []
        for axis, (old, new) in enumerate(zip(before, after, strict=True)):
            if new is None or (old != new and new.per_image and (new != _BATCH or old != _ONE)):
                return False
            sizes.append(1 if old == new or new.per_image else new.fixed)
            if old != new and new.per_image:
                moving.append(axis)
        output = node.output[0]
        kind = self._probe.types.get(data, self._probe.types.get(output))
        if len(moving) > 1 or (moving and kind in _NO_WHERE):
            return False
        if not moving or max(sizes, default=1) > 1:
            expanded = f"{output}_expanded" if moving else output
            constant = self._constant(np.array(sizes, np.int64))
            self._make(node, "Expand", [data, constant], expanded)
            data = expanded
        if moving:
            rows = self._rows_at(moving[0], len(after))
            self._make(node, "Where", [rows, data, data], output)
        self._note(node, f"expands to {[self._text(a) for a in after]}")
        return True

    def _rows_at(self, axis: int, rank: int) -> str:
        """Return a condition with the batch in one axis, and one element in all others."""
        import numpy as np
        import onnx

        if (axis, rank) not in self._rows:
            images = self._probe.dims(self._images)
            assert images is not None
            others = np.arange(1, len(images), dtype=np.int64)
            zeros, ones = np.zeros_like(others), np.ones_like(others)
            name = f"rows_{axis}_of_{rank}"
            sizes = np.array([-1 if a == axis else 1 for a in range(rank)], np.int64)
            parts = [self._constant(part) for part in (zeros, ones, others)]
            steps: tuple[tuple[str, list[str], str], ...] = (
                ("Slice", [self._images, *parts], f"{name}_pixel"),
                ("Reshape", [f"{name}_pixel", self._constant(sizes)], f"{name}_number"),
            )
            for kind, inputs, output in steps:
                self._put(onnx.helper.make_node(kind, inputs, [output], name=output))
            self._put(
                onnx.helper.make_node(
                    "Cast", [f"{name}_number"], [name], name=name, to=onnx.TensorProto.BOOL
                )
            )
            self._rows[axis, rank] = name
        return self._rows[axis, rank]

    def _slice(self, node: "onnx.NodeProto") -> bool:
        """Let a slice to the end of an axis that grows with the batch end there."""
        import numpy as np

        before = self._probe.dims(node.input[0])
        if len(node.input) < 3 or before is None or self._known(node.input[2]):
            return False
        ends = self._probe.values.get(node.input[2])
        axes = self._probe.fixed(node.input[3]) if len(node.input) > 3 and node.input[3] else None
        steps = self._probe.fixed(node.input[4]) if len(node.input) > 4 and node.input[4] else None
        if ends is None or (steps is not None and min(steps.ravel().tolist()) < 1):
            return False
        where = range(len(ends[0])) if axes is None else axes.tolist()
        wanted = []
        for place, axis in enumerate(where):
            numbers = [int(end.ravel()[place]) for end in ends]
            length = before[axis]
            if length is not None and all(
                n >= length.at(b) for n, b in zip(numbers, BATCHES, strict=True)
            ):
                wanted.append(_TO_THE_END)
            elif len(set(numbers)) == 1:
                wanted.append(numbers[0])
            else:
                return False
        node.input[2] = self._constant(np.array(wanted, np.int64))
        self._note(node, "slices to the end of an axis")
        return False

    def _gather(self, node: "onnx.NodeProto") -> bool:
        """Read by indices that are a view of a flat tensor, as that view."""
        import numpy as np

        data, name = node.input[:2]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        indices, flat = self._probe.values.get(name), self._probe.shapes.get(data)
        after = self._probe.dims(node.output[0])
        if self._known(name) or axis or indices is None or flat is None or len(flat[0]) != 1:
            return False
        views = [
            find_view(at.astype(np.int64), size[0])
            for at, size in zip(indices[1:], flat[1:], strict=True)  # of one image all are alike
        ]
        view = views[0]
        if view is None or after is None or any(other != view for other in views):
            return False
        if find_view(indices[0].astype(np.int64), flat[0][0]) is None:
            return False
        maker = self._made.get(data)
        source = maker.input[0] if maker is not None and maker.op_type == "Reshape" else data
        before = self._dims(source)
        ordered = tuple(after[axis] for axis in view.order)
        wanted = sizes_of_reshape(before, ordered) if before is not None else None
        if wanted is None:
            return False
        output, order = node.output[0], view.permutation
        first = output if order is None else f"{output}_ordered"
        self._make(node, "Reshape", [source, self._constant(np.array(wanted, np.int64))], first)
        if order is not None:
            self._make(node, "Transpose", [first], output, perm=order)
        self._note(node, f"reads a view, {wanted}" + (f" in the order {order}" if order else ""))
        return True

    def _known(self, name: str) -> bool:
        """Whether a tensor is a constant already."""
        return name in self._given or name in self.constants

    def _dims(self, name: str) -> Dims | None:
        if name in self.constants:
            return tuple(Linear(0, size) for size in self.constants[name].shape)
        return self._probe.dims(name)

    def _constant(self, value: "NDArray[np.generic]") -> str:
        for name, other in self.constants.items():
            if other.dtype == value.dtype and other.shape == value.shape and (other == value).all():
                return name
        name = f"constant_of_sizes_{len(self.constants)}"
        self.constants[name] = value
        return name

    def _make(
        self, node: "onnx.NodeProto", kind: str, inputs: Sequence[str], output: str, **marks: Any
    ) -> None:
        """Add a node in the place of another; it keeps where it came from."""
        import onnx

        name = f"{node.name or node.output[0]}_{kind}"
        made = onnx.helper.make_node(kind, inputs, [output], name=name, **marks)
        made.metadata_props.extend(node.metadata_props)
        self._put(made)

    def _note(self, node: "onnx.NodeProto", clause: str) -> None:
        self.changes.append(f"{node.op_type} {(node.name or node.output[0])!r} {clause}")

    @staticmethod
    def _text(size: Linear | None) -> str:
        if size is None:
            return "?"
        return str(size.fixed) if not size.per_image else f"{size.per_image} * batch"


_RULES = {
    "Reshape": Rules._reshape,
    "Expand": Rules._expand,
    "Tile": Rules._tile,
    "ConstantOfShape": Rules._filled,
    "Slice": Rules._slice,
    "Gather": Rules._gather,
}


def sizes_of_reshape(before: Dims, after: Dims) -> list[int] | None:
    """Return constant sizes with which Reshape makes ``after`` of ``before`` at any batch.

    Sizes that stay where they are become 0, one other that grows with the batch becomes -1.

    >>> batch, heads = Linear(1, 0), Linear(12, 0)
    >>> sizes_of_reshape((batch, Linear(0, 12), Linear(0, 9)), (heads, Linear(0, 9)))
    [-1, 9]
    >>> sizes_of_reshape((batch, Linear(0, 9)), (batch, Linear(0, 3), Linear(0, 3)))
    [0, 3, 3]
    """
    wanted: list[int] = []
    for axis, size in enumerate(after):
        if size is not None and not size.per_image and size.fixed > 0:
            wanted.append(size.fixed)
        elif size is not None and axis < len(before) and size == before[axis]:
            wanted.append(0)
        elif -1 not in wanted:
            wanted.append(-1)
        else:
            return None
    return wanted
