"""Weights for a proof, where with a file's own the outputs are the same for all images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from greenbatch.exporter.onnx_file.reading import real_inputs

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_SEED = 20_261_121


def draw(model: "onnx.ModelProto") -> "dict[str, Array]":
    """Draw values for the constants that hold one value only, as weights that nobody trained do.

    Factors and variances (one axis) are drawn near 1, so that the signal survives many layers.
    """
    import numpy as np
    import onnx

    rng = np.random.default_rng(_SEED)
    given = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
            values = onnx.numpy_helper.to_array(tensor)
            if values.size > 1 and values.min() == values.max():
                shapes[tensor.name] = tuple(tensor.dims)
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in given:
            shape = tuple(onnx.numpy_helper.to_array(given[node.input[0]]).tolist())
            fill = next((a.t.data_type for a in node.attribute), onnx.TensorProto.FLOAT)
            if shape and fill == onnx.TensorProto.FLOAT:
                shapes[node.output[0]] = shape
    drawn = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            drawn[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            deviation = (2 / max(1, int(np.prod(shape[1:])))) ** 0.5  # He et al. 2015, eq. 10
            drawn[name] = rng.standard_normal(shape, np.float32) * np.float32(deviation)
    return drawn


def with_constants(model: "onnx.ModelProto", values: "Mapping[str, Array]") -> "onnx.ModelProto":
    """Return a copy of a model with other values for some of its constants."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph: Any = copy.graph
    inputs = list(map(_copied, real_inputs(model)))
    kept = [tensor for tensor in graph.initializer if tensor.name not in values]
    nodes = [node for node in graph.node if not set(node.output) & set(values)]
    drawn = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    kept, nodes = list(map(_copied, kept)), list(map(_copied, nodes))
    del graph.input[:], graph.initializer[:], graph.node[:]
    graph.input.extend(inputs)
    graph.initializer.extend([*kept, *drawn])
    graph.node.extend(nodes)
    copy.ir_version = max(copy.ir_version, 4)
    return copy


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
