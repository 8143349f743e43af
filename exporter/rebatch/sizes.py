"""Sizes in an ONNX graph: those at the file's batch, and those at another.

The former are what ONNX Runtime finds; the latter the ONNX standard's shape inference derives,
node by node. An axis along which they differ carries the batch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.reading import opsets
from greenbatch.exporter.onnx_file.scopes import (
    all_names,
    bodies,
    is_standard,
    reads,
    unused,
    with_values_of,
)
from greenbatch.exporter.rebatch.alone import compute, infer_sizes, run_alone
from greenbatch.exporter.rebatch.counts import data_sized, with_fixed_counts
from greenbatch.exporter.rebatch.questions import Questions, Shape

if TYPE_CHECKING:
    import onnx

    from greenbatch.exporter.rebatch.questions import Array

PREFIX = "greenbatch_"
"""Of the names that are put into a graph."""

FACTOR = 7
"""The other batch, in batches of the file: a prime, so that sizes do not agree by chance."""

COUNT = 11
"""Rows for each image that are assumed of what the data size, as sizes are followed."""

_SMALL = 64  # elements of a tensor that may hold sizes


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where in a tensor the batch is.

    Attributes:
        axis: The axis that grows with the batch.
        ahead: What the batch is multiplied by in that axis, on its left: 12 in an axis of
            ``12 * batch * 3``. Images are neighbours in memory only where it is 1.
        counted: Whether the data decide how many rows each image has.
    """

    axis: int
    ahead: int = 1
    counted: bool = False


class Sizes:
    """What is known of a graph while the batch is followed through it.

    Attributes:
        batch: The file's.
        images: Name of an input whose first axis is the batch.
        at: The sizes of each tensor at the file's batch; of what is no tensor there are none.
        then: Those at ``FACTOR`` times as many images, as far as the graph was followed.
        then_values: Small tensors that hold sizes, at that other batch.
        types: Element types, as ``onnx.TensorProto`` numbers them.
        carriers: Where the batch is, for all tensors that depend on the images.
        new: Constants that were added to the graph.
        unused: Makes names that the graph does not have.
    """

    def __init__(
        self,
        model: "onnx.ModelProto",
        feeds: "Mapping[str, Array]",
        images: Sequence[str],
        questions: Questions,
    ) -> None:
        """Ask for what there is at the file's batch.

        Args:
            model: The graph.
            feeds: All inputs by name, for as many images as the original takes.
            images: The inputs whose first axis is the batch.
            questions: Runs the graph.
        """
        import onnx

        self.model, self._questions = model, questions
        self.images, self.batch = images[0], len(feeds[images[0]])
        self.opset = opsets(model).get("", 0)
        self.unused = unused(all_names(model.graph))
        self.new: dict[str, Array] = {}
        self.then_values: dict[str, Array] = {}
        self._given = {tensor.name: tensor for tensor in model.graph.initializer}
        self.data_sized = data_sized(model, images)
        self.at, self._values = self._probe(images)
        self.carriers = {name: Carrier(0) for name in images}
        self.types: dict[str, int] = {n: t.data_type for n, t in self._given.items()}
        self.then: dict[str, Shape] = {n: tuple(t.dims) for n, t in self._given.items()}
        for tensor in model.graph.sparse_initializer:
            name = tensor.values.name
            self.types[name] = tensor.values.data_type
            self.at[name] = self.then[name] = tuple(tensor.dims)
        for name, value in feeds.items():
            self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            self.at[name] = self.then[name] = value.shape
            if name in self.carriers:
                self.then[name] = (len(value) * FACTOR, *value.shape[1:])

    def _probe(self, images: Sequence[str]) -> "tuple[dict[str, Shape], dict[str, Array]]":
        """Run the original once for all sizes, and once for the small tensors that may be sizes."""
        import onnx

        names = [n for node in self.model.graph.node for n in node.output if n]
        steady = with_fixed_counts(self.model, self.data_sized, COUNT * self.batch, self.unused)
        at = self._questions.shapes(steady, names)
        touched = with_values_of(self.model.graph.node, images)
        small = [
            n
            for n in names
            if n in at and n not in touched and len(at[n]) < 2 and math.prod(at[n]) <= _SMALL
        ]
        values = dict(zip(small, self._questions.values(steady, small), strict=True))
        for n, tensor in self._given.items():
            at[n] = tuple(tensor.dims)
            if len(tensor.dims) < 2 and math.prod(tuple(tensor.dims)) <= _SMALL:
                values[n] = onnx.numpy_helper.to_array(tensor)
        return at, values

    def value(self, name: str) -> "Array":
        """Return the value of a tensor that no image has a part in."""
        import onnx

        if name in self._given:
            array: Array = onnx.numpy_helper.to_array(self._given[name])
            return array
        return self.new[name] if name in self.new else self._questions.values(self.model, [name])[0]

    def moves(self, name: str) -> bool:
        """Say whether another batch changes a tensor's sizes."""
        return name in self.then and self.then[name] != self.at.get(name)

    def axis(self, name: str) -> int:
        """Return the axis of a tensor that carries the batch."""
        pairs = zip(self.at[name], self.then[name], strict=True)
        return next(axis for axis, (at, then) in enumerate(pairs) if at != then)

    def small_value(self, name: str) -> "Array | None":
        """Return the value of a small tensor at the other batch, if it is known."""
        if name in self.carriers:
            return None
        if name in self.then_values:
            return self.then_values[name]
        return self.new.get(name, self._values.get(name))

    def stay(self, node: "onnx.NodeProto") -> None:
        """Note the outputs of a node that has nothing to do with the batch."""
        kinds = self._kinds(node)
        for name, kind in zip(node.output, kinds, strict=True):
            if name in self.at:
                self.then[name], self.types[name] = self.at[name], kind

    def measure(self, node: "onnx.NodeProto") -> None:
        """Note what ``Shape`` or ``Size`` would say."""
        import numpy as np
        import onnx

        sizes = np.array(self.then[node.input[0]], np.int64)
        marks = {a.name: a.i for a in node.attribute}
        value = sizes[marks.get("start") : marks.get("end")]
        (name,) = node.output
        self.then_values[name] = np.array(sizes.prod()) if node.op_type == "Size" else value
        self.then[name], self.types[name] = self.at[name], onnx.TensorProto.INT64

    def evaluate(self, node: "onnx.NodeProto") -> bool:
        """Compute with sizes, as the exporter's own arithmetic does; say whether it went."""
        import onnx

        known = {name: self.small_value(name) for name in reads(node)}
        values = {name: value for name, value in known.items() if value is not None}
        if len(values) < len(known):
            return False
        try:
            results = compute(self.model, node, values)
        except Exception:  # an operator that the reference lacks: the sizes are inferred instead
            return False
        for name, result in zip((n for n in node.output if n), results, strict=True):
            self.then_values[name] = result
            self.then[name] = tuple(result.shape)
            self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(result.dtype)
        return True

    def infer(self, node: "onnx.NodeProto") -> list[tuple[int, Shape]]:
        """Find types and sizes of a node's outputs at the other batch.

        Those of ONNX's own operators by its standard; of others, and of nodes that hold graphs, by
        a run on zeros.
        """
        import onnx

        if node.output[0] in self.data_sized:
            axis = self.data_sized[node.output[0]]
            return [(int(onnx.TensorProto.INT64), self._scaled(node.output[0], axis))]
        if any(bodies(node)) or not is_standard(node):
            return self._observed(node)
        values, inputs = {}, []
        for name in dict.fromkeys(name for name in node.input if name):
            value = self.small_value(name)
            if value is not None:
                values[name] = value
            else:
                shape = self.then.get(name)
                inputs.append(onnx.helper.make_tensor_value_info(name, self.types[name], shape))
        try:
            found = infer_sizes(self.model, node, inputs, values)
        except Exception as error:  # onnx's inference errors have no common root
            raise self.refusal(
                node, f"cannot take {FACTOR * self.batch} images ({innermost_line(error)})"
            ) from error
        results: list[tuple[int, Shape]] = []
        for name in node.output:
            kind, dims = found[name] if name else (0, ())
            results.append((kind, self._scaled(name) if dims is None else dims))
        return results

    def _observed(self, node: "onnx.NodeProto") -> list[tuple[int, Shape]]:
        import numpy as np
        import onnx

        values: dict[str, Array] = {}
        for name in reads(node):
            value = self.small_value(name)
            if value is None:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(self.types[name])
                value = np.zeros(self.then[name], dtype)
            values[name] = value
        try:
            results = iter(run_alone(self.model, node, values))
        except Exception as error:  # ONNX Runtime's errors have no common root
            if not any(bodies(node)):  # zeros may be no values for it: assumed, and proved later
                return [(self._kind_of_first(node), self._scaled(name)) for name in node.output]
            raise self.refusal(
                node,
                f"holds a graph that cannot take {FACTOR * self.batch} images "
                f"({innermost_line(error)})",
            ) from error
        found: list[tuple[int, Shape]] = []
        for name in node.output:
            result = next(results) if name else np.zeros(())
            kind = onnx.helper.np_dtype_to_tensor_dtype(result.dtype)
            found.append((int(kind), tuple(result.shape)))
        return found

    def _kinds(self, node: "onnx.NodeProto") -> list[int]:
        """Return the element types of a node whose sizes stay."""
        import onnx

        if node.op_type == "Constant" and is_standard(node):
            return [self._types_of_constant(node)]
        values = [self._values[name] for name in node.output if name in self._values]
        if len(values) == len(node.output):
            return [int(onnx.helper.np_dtype_to_tensor_dtype(v.dtype)) for v in values]
        try:
            return [kind for kind, _ in self.infer(node)]
        except ExportError:
            return [self._kind_of_first(node)] * len(node.output)

    def _types_of_constant(self, node: "onnx.NodeProto") -> int:
        import onnx

        attribute = node.attribute[0]
        if attribute.name == "value":
            return int(attribute.t.data_type)
        kinds = {"value_float": "FLOAT", "value_floats": "FLOAT", "value_string": "STRING"}
        return int(onnx.TensorProto.DataType.Value(kinds.get(attribute.name, "INT64")))

    def _kind_of_first(self, node: "onnx.NodeProto") -> int:
        return next((self.types[n] for n in node.input if n in self.types), 1)

    def _scaled(self, name: str, axis: int = 0) -> Shape:
        """Assume which axis carries the batch; the proof shows whether it does."""
        if not name:
            return ()
        at = self.at[name] or (1,)
        return tuple(size * FACTOR if a == axis else size for a, size in enumerate(at))

    def add(self, value: "Array") -> str:
        """Add a constant to the graph; return its name."""
        import onnx

        name = self.unused(f"{PREFIX}constant")
        self.new[name] = value
        self.at[name] = self.then[name] = tuple(value.shape)
        self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        return name

    def refusal(self, node: "onnx.NodeProto", why: str, *cure: str) -> ExportError:
        """See `Questions.refusal`."""
        return self._questions.refusal(node, why, *cure)


def show(shape: Iterable[int]) -> str:
    """Write sizes as in ``2x3x4``."""
    return "x".join(map(str, shape)) or "a number"
