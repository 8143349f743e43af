"""Which outputs of a graph come of numbers that it holds in float16 or bfloat16."""

from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import with_values_of
from greenbatch.exporter.onnx_file.types import element_types

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
    types = element_types(model)
    found: dict[str, str] = {}
    for kind, text in _SHORT.items():
        short = {name for name in computed if types.get(name) == kind}
        led_to = with_values_of(model.graph.node, short)
        found |= {output.name: text for output in model.graph.output if output.name in led_to}
    return found
