"""Sizes, and whole numbers made from sizes, in a graph whose batch axis is symbolic.

Nothing is run: the sizes follow by the ONNX standard's shape inference, node by node, at each of
`greenbatch.exporter.sizes.linear.BATCHES`, and what is computed from sizes alone is computed by
ONNX's reference evaluator.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.exporter.sizes.linear import BATCHES, Linear, fit

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

Shape = tuple[int, ...]

_MOST_ELEMENTS = 1 << 22  # of a tensor that is computed: indices of 1009 rows of 4096
_WHOLE = frozenset({6, 7, 9})  # INT32, INT64, BOOL of onnx.TensorProto


class Probe:
    """What is known of a graph's tensors at each of `BATCHES`.

    Attributes:
        shapes: Sizes of each tensor, one tuple for each batch; a tensor that is not in it has
            sizes that could not be derived.
        values: The tensors that no image has a part in, likewise.
        types: Element types, as ``onnx.TensorProto`` numbers them.
    """

    def __init__(self, model: "onnx.ModelProto", batch_axis: str, folder: Path) -> None:
        """Follow all nodes.

        Args:
            model: Its weights need not be loaded.
            batch_axis: Name of the symbolic axis of its inputs.
            folder: Where whole numbers are read from that lie beside the graph.
        """
        self.shapes: dict[str, tuple[Shape, ...]] = {}
        self.values: dict[str, tuple[Array, ...]] = {}
        self.types: dict[str, int] = {}
        self._opsets, self._folder = model.opset_import, folder
        self._take_inputs(model, batch_axis)
        for node in model.graph.node:
            self.follow(node)

    def dims(self, name: str) -> tuple[Linear | None, ...] | None:
        """Return a tensor's sizes for any batch; ``None`` for what is not known."""
        shapes = self.shapes.get(name)
        if shapes is None or len({len(shape) for shape in shapes}) != 1:
            return None
        return tuple(fit(numbers) for numbers in zip(*shapes, strict=True))

    def fixed(self, name: str) -> "Array | None":
        """Return a tensor's value if it is known and the same for every batch."""
        values = self.values.get(name)
        if values is None:
            return None
        first = values[0]
        same = all(
            value is first or (value.shape == first.shape and (value == first).all())
            for value in values
        )
        return first if same else None

    def follow(self, node: "onnx.NodeProto") -> None:
        """Note what is known of a node's outputs."""
        import onnx

        if any(
            a.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
            for a in node.attribute
        ):
            return
        inputs = [name for name in node.input if name]
        if node.op_type in {"Shape", "Size"} and not node.domain:
            if node.input[0] in self.shapes:
                self._measure(node)
            return
        if all(name in self.values for name in inputs) and self._evaluate(node):
            return
        if all(name in self.types for name in inputs):
            self._infer(node)

    def _take_inputs(self, model: "onnx.ModelProto", batch_axis: str) -> None:
        import onnx

        for tensor in model.graph.initializer:
            self.types[tensor.name] = tensor.data_type
            self.shapes[tensor.name] = (tuple(tensor.dims),) * len(BATCHES)
            most = _MOST_ELEMENTS if tensor.data_type in _WHOLE else 1  # a weight is no size
            if math.prod(tensor.dims) <= most:
                value = onnx.numpy_helper.to_array(tensor, str(self._folder))
                self._know(tensor.name, [value] * len(BATCHES))
        for value in model.graph.input:
            if value.name in self.types:
                continue
            dims = value.type.tensor_type.shape.dim
            if any(not d.HasField("dim_value") and d.dim_param != batch_axis for d in dims):
                continue
            self.types[value.name] = value.type.tensor_type.elem_type
            self.shapes[value.name] = tuple(
                tuple(d.dim_value if d.HasField("dim_value") else batch for d in dims)
                for batch in BATCHES
            )

    def _know(self, name: str, values: "Sequence[Array]") -> None:
        self.values[name] = tuple(values)
        self.shapes[name] = tuple(tuple(value.shape) for value in values)

    def _measure(self, node: "onnx.NodeProto") -> None:
        """Note what ``Shape`` or ``Size`` returns."""
        import numpy as np
        import onnx

        marks = {a.name: a.i for a in node.attribute}
        part = slice(marks.get("start"), marks.get("end"))
        values = [
            np.array(math.prod(shape) if node.op_type == "Size" else shape[part], np.int64)
            for shape in self.shapes[node.input[0]]
        ]
        self._know(node.output[0], values)
        self.types[node.output[0]] = onnx.TensorProto.INT64

    def _evaluate(self, node: "onnx.NodeProto") -> bool:
        """Compute a node whose inputs are all known; say whether it went."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        names = list(dict.fromkeys(name for name in node.input if name))
        outputs = [name for name in node.output if name]
        graph = onnx.helper.make_graph(
            [node],
            "numbers",
            [onnx.ValueInfoProto(name=name) for name in names],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        )
        try:
            runner = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=self._opsets))
            results: list[list[Array]] = []
            for place in range(len(BATCHES)):
                feeds = {name: self.values[name][place] for name in names}
                same = place and all(feeds[n] is self.values[n][place - 1] for n in names)
                results.append(results[-1] if same else _arrays(runner.run(None, feeds)))
                if any(result.size > _MOST_ELEMENTS for result in results[-1]):
                    return False
        except Exception:  # an operator that the reference lacks: the sizes are inferred instead
            return False
        for name, values in zip(outputs, zip(*results, strict=True), strict=True):
            self._know(name, values)
            self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(values[0].dtype)
        return True

    def _infer(self, node: "onnx.NodeProto") -> None:
        """Note types and sizes by the ONNX standard; nothing where it cannot say."""
        found: list[dict[str, tuple[int, Shape | None]]] = []
        inputs = {name for name in node.input if name}
        for place in range(len(BATCHES)):
            same = place and all(
                name in self.shapes
                and self.shapes[name][place] == self.shapes[name][place - 1]
                and (
                    name not in self.values
                    or self.values[name][place] is self.values[name][place - 1]
                )
                for name in inputs
            )
            found.append(found[-1] if same else self._inferred(node, place))
        for name in node.output:
            kinds = [at[name][0] if name in at else 0 for at in found]
            if name and kinds[0] and len(set(kinds)) == 1:
                self.types[name] = kinds[0]
                shapes = [at[name][1] for at in found]
                known = tuple(shape for shape in shapes if shape is not None)
                if len(known) == len(shapes):
                    self.shapes[name] = known

    def _inferred(self, node: "onnx.NodeProto", place: int) -> dict[str, tuple[int, Shape | None]]:
        import onnx

        inputs, constants = [], []
        for name in dict.fromkeys(name for name in node.input if name):
            if name in self.values:
                constants.append(onnx.numpy_helper.from_array(self.values[name][place], name))
            else:
                shape = self.shapes[name][place] if name in self.shapes else None
                inputs.append(onnx.helper.make_tensor_value_info(name, self.types[name], shape))
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", inputs, outputs, constants)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception:  # onnx's inference errors have no common root
            return {}
        results: dict[str, tuple[int, Shape | None]] = {}
        for value in inferred.graph.output:
            tensor = value.type.tensor_type
            known = tensor.HasField("shape") and all(
                d.HasField("dim_value") for d in tensor.shape.dim
            )
            shape = tuple(d.dim_value for d in tensor.shape.dim) if known else None
            results[value.name] = (tensor.elem_type, shape)
        return results


def _arrays(results: object) -> "list[Array]":
    """Return a list of arrays; a node may also return a sequence, which is no size."""
    import numpy as np

    if not isinstance(results, list) or not all(isinstance(r, np.ndarray) for r in results):
        raise TypeError("wanted arrays")
    return results
