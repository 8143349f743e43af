"""Following the batch through an ONNX graph, and rewriting what fixes it.

The graph is followed from its input to its output with the sizes that every tensor has at the
file's batch (as ONNX Runtime finds them) and those that it would have at another (as the ONNX
standard's shape inference derives them, node by node). Where a constant stands in the way it is
rewritten; where that cannot be done without changing what is computed, the node is named.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import first_line
from greenbatch.exporter.onnx_file import OnnxFacts, open_session, real_inputs, save, with_outputs

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[Any]

Shape = tuple[int, ...]

_FACTOR = (
    7  # the other batch, in batches of the file: a prime, so that sizes do not agree by chance
)
_SMALL = 64  # elements of a tensor that may hold sizes
_PREFIX = "greenbatch_"
_BATCH = f"{_PREFIX}batch"
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


class Rewriting:
    """Follows the batch through a graph, and changes what stands in its way.

    ``at`` holds the sizes of each tensor at the file's batch, ``then`` those at ``_FACTOR`` times
    as many images. An axis along which they differ carries the batch.
    """

    def __init__(self, model: "onnx.ModelProto", facts: OnnxFacts, workshop: Path) -> None:
        self.model, self.facts, self.workshop = model, facts, workshop
        self.batch = facts.batch or 1
        self.changes: list[str] = []
        self.carriers: dict[str, Carrier] = {}  # of all tensors that depend on the images
        self._nodes: list[onnx.NodeProto] = []
        self._new: dict[str, Array] = {}
        self._types: dict[str, int] = {}
        self._then_values: dict[str, Array] = {}  # sizes that another batch changes
        self._placed: dict[str, Carrier] = {}  # what a Reshape decided
        self._opsets = {o.domain: o.version for o in model.opset_import}
        self._opset = self._opsets.get("", self._opsets.get("ai.onnx", 0))
        self._given = {tensor.name: tensor for tensor in model.graph.initializer}
        self.at, self._values = self._probe()
        self.then: dict[str, Shape] = {}

    def run(self) -> "onnx.ModelProto":
        """Return the model with a free batch axis.

        Raises:
            ExportError: A node holds the batch in a way that cannot be rewritten.
        """
        import onnx

        name = self.facts.input.name
        self._types = {n: t.data_type for n, t in self._given.items()}
        self._types[name] = onnx.TensorProto.FLOAT
        self.then = {n: tuple(t.dims) for n, t in self._given.items()}
        self.then[name] = (self.batch * _FACTOR, *self.facts.input.shape)
        self.carriers[name] = Carrier(0)
        for node in self.model.graph.node:
            self._follow(node)
        output = self.facts.output.name
        if self.carriers.get(output) != Carrier(0):
            raise ExportError(
                f"the batch does not reach the first axis of the output {output} of "
                f"{self.facts.path}; export the network again with a dynamic batch axis"
            )
        return self._result()

    # What is known of the graph ---------------------------------------------------------------

    def _probe(self) -> "tuple[dict[str, Shape], dict[str, Array]]":
        """Run the original once for all sizes, and once for the small tensors that may be sizes."""
        import onnx

        names = [n for node in self.model.graph.node for n in node.output if n]
        asking = with_outputs(self.model, [f"{_PREFIX}size_of_{i}" for i in range(len(names))])
        asking.graph.node.extend(
            onnx.helper.make_node("Shape", [n], [f"{_PREFIX}size_of_{i}"], name=f"{_PREFIX}{i}")
            for i, n in enumerate(names)
        )
        sizes = self._ask(asking)
        at = {n: tuple(map(int, size)) for n, size in zip(names, sizes, strict=True)}
        at |= {n: tuple(t.dims) for n, t in self._given.items()}
        at[self.facts.input.name] = (self.batch, *self.facts.input.shape)
        small = [n for n in names if len(at[n]) < 2 and _count(at[n]) <= _SMALL]
        values = dict(zip(small, self._ask(with_outputs(self.model, small)), strict=True))
        for n, tensor in self._given.items():
            if len(tensor.dims) < 2 and _count(tuple(tensor.dims)) <= _SMALL:
                values[n] = onnx.numpy_helper.to_array(tensor)
        return at, values

    def _ask(self, model: "onnx.ModelProto") -> "list[Array]":
        import numpy as np

        if not model.graph.output:
            return []
        file = self.workshop / "question.onnx"
        save(model, file)
        images = np.zeros((self.batch, *self.facts.input.shape), np.float32)
        answers: list[Array] = open_session(file, plain=True).run(
            None, {self.facts.input.name: images}
        )
        return answers

    def _value(self, name: str) -> "Array":
        """Return the value of a tensor that no image has a part in."""
        import onnx

        if name in self._given:
            array: Array = onnx.numpy_helper.to_array(self._given[name])
            return array
        return self._ask(with_outputs(self.model, [name]))[0]

    def _moves(self, name: str) -> bool:
        return name in self.then and self.then[name] != self.at.get(name)

    def _axis(self, name: str) -> int:
        """Return the axis of a tensor that carries the batch."""
        pairs = zip(self.at[name], self.then[name], strict=True)
        return next(axis for axis, (at, then) in enumerate(pairs) if at != then)

    # Following --------------------------------------------------------------------------------

    def _follow(self, node: "onnx.NodeProto") -> None:
        """Derive a node's sizes at the other batch; change it where they would be wrong."""
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        inputs = [name for name in copy.input if name]
        if any(a.type in {a.GRAPH, a.GRAPHS} for a in copy.attribute):
            raise self._refusal(node, "holds a graph of its own, which is not followed")
        sees = any(name in self.carriers for name in inputs)
        if any(map(self._moves, inputs)):
            self._rewrite(copy)
        self._nodes.append(copy)
        about_sizes = copy.op_type in {"Shape", "Size"} and not copy.domain
        if copy.op_type == "Constant" or not (
            sees or any(self._moves(n) or n in self._then_values for n in inputs)
        ):
            self._stay(copy)
            return
        if about_sizes:
            self._measure(copy)
            return
        if not sees and self._evaluate(copy):
            return
        for name, (kind, shape) in zip(copy.output, self._infer(copy), strict=True):
            if name:
                self._types[name], self.then[name] = kind, shape
                self._check(node, name, sees)

    def _stay(self, node: "onnx.NodeProto") -> None:
        """Note the outputs of a node that has nothing to do with the batch."""
        kinds = self._kinds(node)
        for name, kind in zip(node.output, kinds, strict=True):
            if name:
                self.then[name], self._types[name] = self.at[name], kind

    def _measure(self, node: "onnx.NodeProto") -> None:
        """Note what ``Shape`` or ``Size`` would say."""
        import numpy as np
        import onnx

        sizes = np.array(self.then[node.input[0]], np.int64)
        marks = {a.name: a.i for a in node.attribute}
        value = sizes[marks.get("start") : marks.get("end")]
        (name,) = node.output
        self._then_values[name] = np.array(sizes.prod()) if node.op_type == "Size" else value
        self.then[name], self._types[name] = self.at[name], onnx.TensorProto.INT64

    def _evaluate(self, node: "onnx.NodeProto") -> bool:
        """Compute with sizes, as the exporter's own arithmetic does; say whether it went."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        values = [self._size_value(name) for name in node.input if name]
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
            self._then_values[name] = result
            self.then[name] = tuple(result.shape)
            self._types[name] = onnx.helper.np_dtype_to_tensor_dtype(result.dtype)
        return True

    def _size_value(self, name: str) -> "Array | None":
        """Return the value of a small tensor at the other batch, if it is known."""
        if name in self.carriers:
            return None
        if name in self._then_values:
            return self._then_values[name]
        return self._new.get(name, self._values.get(name))

    def _infer(self, node: "onnx.NodeProto") -> list[tuple[int, Shape]]:
        """Infer types and sizes of a node's outputs at the other batch, by the ONNX standard."""
        import onnx

        if node.domain not in {"", "ai.onnx"}:
            return [(self._kind_of_first(node), self._scaled(name)) for name in node.output]
        inputs, constants, seen = [], [], set()
        for name in node.input:
            if not name or name in seen:
                continue
            seen.add(name)
            value = self._size_value(name)
            if value is not None:
                constants.append(onnx.numpy_helper.from_array(value, name))
            else:
                shape = self.then.get(name)
                inputs.append(onnx.helper.make_tensor_value_info(name, self._types[name], shape))
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", inputs, outputs, constants)
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:  # onnx's inference errors have no common root
            raise self._refusal(
                node, f"cannot take {_FACTOR * self.batch} images ({first_line(error)})"
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
            return [kind for kind, _ in self._infer(node)]
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
        return next((self._types[n] for n in node.input if n in self._types), 1)

    def _scaled(self, name: str) -> Shape:
        """Assume that the first axis carries the batch; the proof shows whether it does."""
        if not name:
            return ()
        first, *rest = self.at[name] or (1,)
        return (first * _FACTOR, *rest)

    def _check(self, node: "onnx.NodeProto", name: str, sees: bool) -> None:
        """Hold an output's sizes at the other batch to those at the file's."""
        at, then = self.at[name], self.then[name]
        if len(at) != len(then):
            raise self._refusal(node, f"puts out {_show(at)}, and {_show(then)} for another batch")
        grown = [a for a, (old, new) in enumerate(zip(at, then, strict=True)) if old != new]
        if sees and not grown:
            raise self._refusal(
                node, f"puts out {_show(at)} whatever the batch: it picks or mixes images"
            )
        if len(grown) > 1 or any(then[a] != at[a] * _FACTOR for a in grown):
            raise self._refusal(
                node, f"puts out {_show(then)} for {_FACTOR} times as many images as {_show(at)}"
            )
        if sees:
            self.carriers[name] = self._placed.get(name) or self._carried(node, name, grown[0])

    def _carried(self, node: "onnx.NodeProto", name: str, axis: int) -> Carrier:
        """Find what is ahead of the batch in an axis: it is as in the input that axis came from."""
        for source in node.input:
            carrier = self.carriers.get(source)
            if carrier and self.at[source][carrier.axis] == self.at[name][axis]:
                return Carrier(axis, carrier.ahead)
        return Carrier(axis)

    # Rewriting --------------------------------------------------------------------------------

    def _rewrite(self, node: "onnx.NodeProto") -> None:
        """Change what fixes the batch in a node that takes it."""
        if node.domain not in {"", "ai.onnx"}:
            return
        kind = node.op_type
        if kind == "Reshape":
            self._free_reshape(node)
        elif kind == "Expand" and self._moves(node.input[0]):
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

        if len(node.input) < 2:
            raise self._refusal(node, "is of an opset before 5, with its sizes in an attribute")
        data, sizes = node.input[:2]
        if not self._moves(data):
            return
        before, target = self.at[data], self.at[node.output[0]]
        carrier = self.carriers.get(data, Carrier(self._axis(data)))
        placed = _after_reshape(before, carrier, target, self.batch)
        if placed is None:
            raise self._refusal(node, f"makes {_show(before)} into {_show(target)}")
        self._placed[node.output[0]], place = placed, placed.axis
        wanted = tuple(n * _FACTOR if a == place else n for a, n in enumerate(target))
        keeps_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
        value = self._size_value(sizes)
        if value is not None:
            asked = value.ravel().tolist()
            then = self.then[data]
            if not keeps_zero:
                asked = [then[a] if n == 0 and a < len(then) else n for a, n in enumerate(asked)]
            rest = _count(tuple(n for n in asked if n != -1))
            asked = [_count(then) // max(rest, 1) if n == -1 else n for n in asked]
            if tuple(asked) == wanted:
                return
        free = [-1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = self._constant(np.array(free, np.int64))
        self._tell(node, f"sizes {_show(target)} become {_show(free)}")

    def _free_expand(self, node: "onnx.NodeProto") -> None:
        import numpy as np

        data, sizes = node.input[:2]
        target = self.at[node.output[0]]
        place = self._axis(data) + len(target) - len(self.at[data])
        value = self._size_value(sizes)
        wanted = self.then[data][self._axis(data)]
        if value is not None:
            asked = [1] * (len(target) - value.size) + value.ravel().tolist()
            if asked[place] in {1, wanted}:
                return
        free = [1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = self._constant(np.array(free, np.int64))
        self._tell(node, f"sizes {_show(target)} become {_show(free)}")

    def _free_slice(self, node: "onnx.NodeProto") -> None:
        """Let a slice that takes the whole batch take the whole of any."""
        import numpy as np

        data = node.input[0]
        if not self._moves(data):
            return
        axis, length = self._axis(data), self.at[data][self._axis(data)]
        attributes = {a.name: a for a in node.attribute}
        if "ends" in attributes:  # before opset 10
            starts, ends = list(attributes["starts"].ints), list(attributes["ends"].ints)
            axes = list(attributes["axes"].ints) if "axes" in attributes else [*range(len(ends))]
            steps = [1] * len(ends)
        else:
            parts = [self._size_value(name) if name else None for name in node.input[1:]]
            if any(part is None for name, part in zip(node.input[1:], parts, strict=True) if name):
                return
            lists = [None if part is None else part.ravel().tolist() for part in parts]
            starts, ends = lists[0] or [], lists[1] or []
            axes = lists[2] if len(lists) > 2 and lists[2] is not None else [*range(len(ends))]
            steps = lists[3] if len(lists) > 3 and lists[3] is not None else [1] * len(ends)
        for index, (start, end, where, step) in enumerate(
            zip(starts, ends, axes, steps, strict=True)
        ):
            whole = start in {0, -length} and step == 1 and length <= end < self.then[data][axis]
            if where % len(self.at[data]) == axis and whole:
                ends[index], starts[index] = _TO_THE_END, 0
                if "ends" in attributes:
                    attributes["ends"].ints[:] = ends
                    attributes["starts"].ints[:] = starts
                else:
                    node.input[1] = self._constant(np.array(starts, np.int64))
                    node.input[2] = self._constant(np.array(ends, np.int64))
                self._tell(node, f"its end {end} on the batch axis becomes the whole")

    def _free_resize(self, node: "onnx.NodeProto") -> None:
        data, sizes = node.input[0], node.input[3]
        if not self._moves(data) or any(a.name == "axes" for a in node.attribute):
            return
        axis, value = self._axis(data), self._size_value(sizes)
        if value is not None and int(value[axis]) == self.then[data][axis]:
            return
        target = self.at[node.output[0]]
        node.input[3] = self._sizes_with_batch(node, target, axis)
        self._tell(node, f"sizes {_show(target)} take the batch from the input")

    def _repeat_for_concat(self, node: "onnx.NodeProto") -> None:
        """Give each image its own copy of a constant that is put beside the images' values."""
        moving = next(name for name in node.input if self._moves(name))
        axis = self._axis(moving)
        along = next(a.i for a in node.attribute if a.name == "axis") % len(self.at[moving])
        if along != axis:
            for place in range(len(node.input)):
                self._repeat(node, place, axis)

    def _repeat(self, node: "onnx.NodeProto", place: int, axis: int) -> None:
        """Replace a constant operand by its first row, repeated for each image of the batch."""
        import numpy as np
        from onnx.helper import make_node

        name = node.input[place] if place < len(node.input) else ""
        if not name or self._moves(name) or name in self.carriers:
            return
        row = self._one_row(node, name, axis)
        sizes = self._sizes_with_batch(node, self.at[name], axis)
        repeated = f"{_PREFIX}repeated_{len(self._nodes)}_{place}"
        self._insert(make_node("Expand", [self._constant(row), sizes], [repeated]), node)
        self.at[repeated] = self.at[name]
        grown = np.array(self.at[name])
        grown[axis] *= _FACTOR
        self.then[repeated] = tuple(grown.tolist())
        self._types[repeated] = self._types[name]
        node.input[place] = repeated
        self._tell(node, f"the constant {name} is repeated for each image")

    def _free_operands(self, node: "onnx.NodeProto") -> None:
        """Cut constants that hold the same row for each image down to that row."""
        if self.batch == 1:
            return
        rank = max(len(self.at[name]) for name in node.input if name)
        carriers = {
            self._axis(name) + rank - len(self.at[name]) for name in node.input if self._moves(name)
        }
        fixed = {rank - 1, rank - 2} if node.op_type == "MatMul" else set()
        for place, name in enumerate(node.input):
            if not name or self._moves(name) or name in self.carriers:
                continue
            for carrier in carriers - fixed:
                axis = carrier - rank + len(self.at[name])
                if axis >= 0 and self.at[name][axis] == self.batch:
                    node.input[place] = self._constant(self._one_row(node, name, axis))
                    self._tell(node, f"the constant {name} keeps one of {self.batch} equal rows")

    def _one_row(self, node: "onnx.NodeProto", name: str, axis: int) -> "Array":
        import numpy as np

        if self.at[name][axis] != self.batch:
            raise self._refusal(
                node,
                f"takes the constant {name} of {_show(self.at[name])}, which has no row for "
                "each image",
            )
        value = self._value(name)
        row = value.take([0], axis)
        if not np.array_equal(np.broadcast_to(row, value.shape), value, equal_nan=True):
            raise self._refusal(
                node,
                f"takes the constant {name}, which is another for each of the {self.batch} images",
            )
        return np.ascontiguousarray(row)

    # Writing ----------------------------------------------------------------------------------

    def _constant(self, value: "Array") -> str:
        import onnx

        name = f"{_PREFIX}constant_{len(self._new)}"
        self._new[name] = value
        self.at[name] = self.then[name] = tuple(value.shape)
        self._types[name] = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        return name

    def _insert(self, made: "onnx.NodeProto", before: "onnx.NodeProto") -> None:
        if made.op_type == "Expand" and self._opset < 8:
            raise self._refusal(before, f"needs Expand, which opset {self._opset} lacks")
        made.name = made.output[0]
        self._nodes.append(made)

    def _sizes_with_batch(self, node: "onnx.NodeProto", shape: Shape, axis: int) -> str:
        """Return a tensor with the sizes ``shape``, but the batch of the images at ``axis``."""
        import numpy as np
        from onnx.helper import make_node

        if shape[axis] != self.batch:
            raise self._refusal(
                node, f"holds {_show(shape)}, in which the batch is part of an axis"
            )
        if _BATCH not in self.at:
            self.at[_BATCH] = self.then[_BATCH] = (1,)
            first = self._constant(np.array([0], np.int64))
            sizes = f"{_PREFIX}sizes_of_input"
            self._insert(make_node("Shape", [self.facts.input.name], [sizes]), node)
            self._insert(make_node("Gather", [sizes, first], [_BATCH], axis=0), node)
        parts = [shape[:axis], shape[axis + 1 :]]
        names = [self._constant(np.array(part, np.int64)) if part else "" for part in parts]
        name = f"{_PREFIX}sizes_{len(self._nodes)}_{axis}"
        parts_in_order = [part for part in (names[0], _BATCH, names[1]) if part]
        self._insert(make_node("Concat", parts_in_order, [name], axis=0), node)
        grown = list(shape)
        grown[axis] *= _FACTOR
        self._then_values[name] = np.array(grown, np.int64)
        self.at[name] = self.then[name] = (len(shape),)
        return name

    def _result(self) -> "onnx.ModelProto":
        """Put the graph together again, with its dims inferred anew."""
        import onnx

        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        graph = result.graph
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        for name, value in self._new.items():
            if name in used:
                graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        result.ir_version = max(result.ir_version, 4)  # initializers need not be inputs any more
        real = real_inputs(self.model)
        del graph.input[:], graph.value_info[:]
        graph.input.extend(real)
        for value in (graph.input[0], graph.output[0]):
            value.type.tensor_type.elem_type = self._types[value.name]
            dims = [*self.at[value.name]]
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for axis, size in enumerate(dims):
                dim = shape.dim.add()
                if axis == 0:
                    dim.dim_param = "batch"
                else:
                    dim.dim_value = size
        return result

    def _tell(self, node: "onnx.NodeProto", change: str) -> None:
        self.changes.append(f"{_called(node)}: {change}")

    def _refusal(self, node: "onnx.NodeProto", why: str) -> ExportError:
        return ExportError(
            f"the batch of {self.facts.path} cannot be freed: {_called(node)} {why}; export the "
            "network again with a dynamic batch axis"
        )


def _after_reshape(before: Shape, carrier: Carrier, after: Shape, batch: int) -> Carrier | None:
    """Find where the batch is after a reshape.

    Elements keep their order, so as many as before lie ahead of the batch: the product of the
    axes in front of its own, and of what precedes it there. A batch of 1 may leave a choice; then
    it does not join the last axis, which holds features, and else keeps an axis of its own.
    """
    ahead = _count(before[: carrier.axis]) * carrier.ahead
    last = len(after) - 1
    fits = []
    for axis, size in enumerate(after):
        front = max(1, _count(after[:axis]))
        within = ahead // front
        if ahead % front == 0 and size % (within * batch or 1) == 0 and within:
            joins_features = axis == last and size > batch
            fits.append((joins_features, within != 1, axis != carrier.axis, axis, within))
    return Carrier(*min(fits)[3:]) if fits else None


def _count(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _called(node: "onnx.NodeProto") -> str:
    return f"{node.op_type} {(node.name or node.output[0])!r}"


def _show(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a number"
