"""The element types of the tensors of a graph."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def element_types(model: "onnx.ModelProto") -> dict[str, int]:
    """Return the types (`onnx.TensorProto`) of inputs, values and outputs, as far as inferred.

    Of a graph that onnx cannot infer, as a damaged one, what it states by itself.

    Args:
        model: Its weights need not be loaded.
    """
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # onnx's errors have no common root
        graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
