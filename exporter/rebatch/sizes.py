"""Sizes in an ONNX graph: those at the file's batch, and those at another.

The former are what ONNX Runtime finds; the latter the ONNX standard's shape inference derives,
node by node. An axis along which they differ carries the batch.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.inspection import OnnxFacts
from greenbatch.exporter.onnx_file.reading import save, with_outputs
from greenbatch.models.onnx_session import open_session

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[Any]

Shape = tuple[int, ...]

PREFIX = "greenbatch_"
"""Of the names that are put into a graph."""

FACTOR = 7
"""The other batch, in batches of the file: a prime, so that sizes do not agree by chance."""

_SMALL = 64  # elements of a tensor that may hold sizes


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where in a tensor the batch is.

    Attributes:
        axis: The axis that grows with the batch.
        ahead: What the batch is multiplied by in that axis, on its left: 12 in an axis of
            ``12 * batch * 3``. Images are neighbours in memory only where it is 1.
    """

    axis: int
    ahead: int = 1


class Sizes:
    """What is known of a graph while the batch is followed through it.

    Attributes:
        batch: The file's.
        at: The sizes of each tensor at the file's batch.
        then: Those at ``FACTOR`` times as many images, as far as the graph was followed.
        then_values: Small tensors that hold sizes, at that other batch.
        types: Element types, as ``onnx.TensorProto`` numbers them.
        carriers: Where the batch is, for all tensors that depend on the images.
        new: Constants that were added to the graph.
    """

    def __init__(self, model: "onnx.ModelProto", facts: OnnxFacts, staging: Path) -> None:
        import onnx

        self.model, self.facts, self._staging = model, facts, staging
        self.batch = facts.batch or 1
        opsets = {o.domain: o.version for o in model.opset_import}
        self.opset = opsets.get("", opsets.get("ai.onnx", 0))
        self.new: dict[str, Array] = {}
        self.then_values: dict[str, Array] = {}
        self._given = {tensor.name: tensor for tensor in model.graph.initializer}
        self.at, self._values = self._probe()
        image = facts.input.name
        self.carriers = {image: Carrier(0)}
        self.types: dict[str, int] = {n: t.data_type for n, t in self._given.items()}
        self.types[image] = onnx.TensorProto.FLOAT
        self.then: dict[str, Shape] = {n: tuple(t.dims) for n, t in self._given.items()}
        self.then[image] = (self.batch * FACTOR, *facts.input.shape)

    def _probe(self) -> "tuple[dict[str, Shape], dict[str, Array]]":
        """Run the original once for all sizes, and once for the small tensors that may be sizes."""
        import onnx

        names = [n for node in self.model.graph.node for n in node.output if n]
        asking = with_outputs(self.model, [f"{PREFIX}size_of_{i}" for i in range(len(names))])
        asking.graph.node.extend(
            onnx.helper.make_node("Shape", [n], [f"{PREFIX}size_of_{i}"], name=f"{PREFIX}{i}")
            for i, n in enumerate(names)
        )
        sizes = self._ask(asking)
        at = {n: tuple(map(int, size)) for n, size in zip(names, sizes, strict=True)}
        at |= {n: tuple(t.dims) for n, t in self._given.items()}
        at[self.facts.input.name] = (self.batch, *self.facts.input.shape)
        small = [n for n in names if len(at[n]) < 2 and math.prod(at[n]) <= _SMALL]
        values = dict(zip(small, self._ask(with_outputs(self.model, small)), strict=True))
        for n, tensor in self._given.items():
            if len(tensor.dims) < 2 and math.prod(tuple(tensor.dims)) <= _SMALL:
                values[n] = onnx.numpy_helper.to_array(tensor)
        return at, values

    def _ask(self, model: "onnx.ModelProto") -> "list[Array]":
        import numpy as np

        if not model.graph.output:
            return []
        file = self._staging / "question.onnx"
        save(model, file)
        images = np.zeros((self.batch, *self.facts.input.shape), np.float32)
        answers: list[Array] = open_session(file, optimise=False).run(
            None, {self.facts.input.name: images}
        )
        return answers

    def value(self, name: str) -> "Array":
        """Return the value of a tensor that no image has a part in."""
        import onnx

        if name in self._given:
            array: Array = onnx.numpy_helper.to_array(self._given[name])
            return array
        return self._ask(with_outputs(self.model, [name]))[0]

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
            if name:
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
        from onnx.reference import ReferenceEvaluator

        values = [self.small_value(name) for name in node.input if name]
        if any(value is None for value in values):
            return False
        feeds = dict(zip((name for name in node.input if name), values, strict=True))
        graph = onnx.helper.make_graph(
            [node],
            "sizes",
            [onnx.ValueInfoProto(name=name) for name in feeds],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        try:
            results = ReferenceEvaluator(
                onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
            ).run(None, feeds)
        except Exception:  # an operator that the reference lacks: the sizes are inferred instead
            return False
        for name, result in zip((n for n in node.output if n), results, strict=True):
            self.then_values[name] = result
            self.then[name] = tuple(result.shape)
            self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(result.dtype)
        return True

    def infer(self, node: "onnx.NodeProto") -> list[tuple[int, Shape]]:
        """Infer types and sizes of a node's outputs at the other batch, by the ONNX standard."""
        import onnx

        if node.domain not in {"", "ai.onnx"}:
            return [(self._kind_of_first(node), self._scaled(name)) for name in node.output]
        inputs, constants, seen = [], [], set()
        for name in node.input:
            if not name or name in seen:
                continue
            seen.add(name)
            value = self.small_value(name)
            if value is not None:
                constants.append(onnx.numpy_helper.from_array(value, name))
            else:
                shape = self.then.get(name)
                inputs.append(onnx.helper.make_tensor_value_info(name, self.types[name], shape))
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", inputs, outputs, constants)
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:  # onnx's inference errors have no common root
            raise self.refusal(
                node, f"cannot take {FACTOR * self.batch} images ({innermost_line(error)})"
            ) from error
        found = {value.name: value.type.tensor_type for value in inferred.graph.output}
        results: list[tuple[int, Shape]] = []
        for name in node.output:
            if not name:
                results.append((0, ()))
                continue
            tensor = found[name]
            dims = tuple(d.dim_value for d in tensor.shape.dim)
            known = tensor.HasField("shape") and all(
                d.HasField("dim_value") for d in tensor.shape.dim
            )
            results.append((tensor.elem_type, dims if known else self._scaled(name)))
        return results

    def _kinds(self, node: "onnx.NodeProto") -> list[int]:
        """Return the element types of a node whose sizes stay."""
        import onnx

        if node.op_type == "Constant" and not node.domain:
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

    def _scaled(self, name: str) -> Shape:
        """Assume that the first axis carries the batch; the proof shows whether it does."""
        if not name:
            return ()
        first, *rest = self.at[name] or (1,)
        return (first * FACTOR, *rest)

    def add(self, value: "Array") -> str:
        """Add a constant to the graph; return its name."""
        import onnx

        name = f"{PREFIX}constant_{len(self.new)}"
        self.new[name] = value
        self.at[name] = self.then[name] = tuple(value.shape)
        self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        return name

    def refusal(self, node: "onnx.NodeProto", why: str) -> ExportError:
        """Return the error that names a node and says why it stands in the way."""
        return ExportError(
            f"the batch of {self.facts.path} cannot be freed: {called(node)} {why}; export the "
            "network again with a dynamic batch axis"
        )


def called(node: "onnx.NodeProto") -> str:
    """Name a node as a person finds it: ``Reshape 'node_view'``."""
    return f"{node.op_type} {(node.name or node.output[0])!r}"


def show(shape: Iterable[int]) -> str:
    """Write sizes as in ``2x3x4``."""
    return "x".join(map(str, shape)) or "a number"
