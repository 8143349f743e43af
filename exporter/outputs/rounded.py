"""Which outputs of a graph come of numbers that it holds in float16 or bfloat16."""

from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import with_values_of

if TYPE_CHECKING:
    import onnx

_SHORT = {10: "float16", 16: "bfloat16"}
"""Of the element types of ONNX (`onnx.TensorProto`), the least exact last."""


def rounded_outputs(model: "onnx.ModelProto") -> dict[str, str]:
    """Return the outputs that values in float16 or bfloat16 lead to, with the least exact type.

    Weights in such a type do not count: all runtimes read the same numbers.

    Args:
        model: Its weights need not be loaded.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in given]
    computed = with_values_of(model.graph.node, inputs)
    found: dict[str, str] = {}
    for kind, names in _short_tensors(model).items():
        led_to = with_values_of(model.graph.node, names & computed)
        found |= {o.name: _SHORT[kind] for o in model.graph.output if o.name in led_to}
    return found


def _short_tensors(model: "onnx.ModelProto") -> dict[int, set[str]]:
    """Return the names of tensors by their type, as far as types can be inferred."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # a graph that ONNX Runtime takes and onnx does not: by what it states
        graph = model.graph
    found: dict[int, set[str]] = {kind: set() for kind in _SHORT}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if (kind := value.type.tensor_type.elem_type) in found:
            found[kind].add(value.name)
    return found
