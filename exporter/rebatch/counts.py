"""Nodes that put out as many rows as the data decide: NonMaxSuppression, NonZero."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import copied, is_standard, with_values_of

if TYPE_CHECKING:
    import onnx

_COUNTED_AXIS = {"NonMaxSuppression": 0, "NonZero": 1}
"""Operators by the axis of their output whose size the data decide."""


def data_sized(model: "onnx.ModelProto", images: Iterable[str]) -> dict[str, int]:
    """Return the tensors whose size depends on what is in the images, with the axis.

    Args:
        model: The graph.
        images: The inputs with a row for each image.
    """
    touched = with_values_of(model.graph.node, images)
    return {
        node.output[0]: _COUNTED_AXIS[node.op_type]
        for node in model.graph.node
        if node.op_type in _COUNTED_AXIS and is_standard(node) and touched.intersection(node.input)
    }


def with_fixed_counts(
    model: "onnx.ModelProto", counted: Mapping[str, int], rows: int, unused: Callable[[str], str]
) -> "onnx.ModelProto":
    """Return a copy that puts out ``rows`` rows of zeros wherever the data decide how many.

    Sizes are followed in it: what is found in seeded images may be nothing at all.

    Args:
        model: The graph.
        counted: From `data_sized`.
        rows: How many.
        unused: Makes names that the graph does not have.
    """
    import onnx

    if not counted:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    for node in model.graph.node:
        if not counted.keys() & set(node.output):
            result.graph.node.append(copied(node))
            continue
        name = node.output[0]
        count, sizes = unused(f"{name}_rows"), unused(f"{name}_sizes")
        make = onnx.helper.make_node
        if node.op_type == "NonMaxSuppression":
            made = [_constant(sizes, [rows, 3])]
        else:  # (rank of its input, rows)
            shape, rank = unused(f"{name}_shape"), unused(f"{name}_rank")
            made = [
                make("Shape", [node.input[0]], [shape]),
                make("Shape", [shape], [rank]),
                _constant(count, [rows]),
                make("Concat", [rank, count], [sizes], axis=0),
            ]
        zero = onnx.helper.make_tensor("zero", onnx.TensorProto.INT64, [1], [0])
        result.graph.node.extend([*made, make("ConstantOfShape", [sizes], [name], value=zero)])
    return result


def _constant(name: str, values: list[int]) -> "onnx.NodeProto":
    """Return a Constant as all opsets know it."""
    import onnx

    tensor = onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)
    return onnx.helper.make_node("Constant", [], [name], value=tensor)
