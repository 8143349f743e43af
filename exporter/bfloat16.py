"""bfloat16 at the ends of a graph, which become float32, and nodes that compute in it.

NumPy has no bfloat16: in Python ONNX Runtime neither takes nor hands over arrays of it. The graph
itself may hold it: a Cast at each end is enough. From bfloat16 to float32 no value changes.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import all_names, is_standard, rename, unused
from greenbatch.exporter.onnx_file.types import element_types
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import onnx

_KEY = "greenbatch.cast"
"""Of a node's metadata: names the input or output that the Cast was added for."""
_OLDEST_OPSET = 13
"""The first in which Cast knows bfloat16."""

_MOVING = {
    "Cast", "CastLike", "Concat", "Constant", "Expand", "Flatten", "Gather", "GatherElements",
    "GatherND", "Identity", "If", "Loop", "Pad", "Reshape", "Scan", "Shape", "Size", "Slice",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators that hand values on as they are; the CPU has kernels for most in bfloat16."""
_IN_FLOAT32 = {"LayerNormalization"}
"""Operators that ONNX defines by nodes that compute in float32."""
_MOST_NAMED = 3  # nodes that an error names


def cast_ends(model: "onnx.ModelProto") -> bool:
    """Make float32 of the inputs and outputs that are bfloat16, in place, by a Cast at each.

    Names stay: the tensors inside get other ones. Initializers that are listed as inputs stay.

    Args:
        model: Its weights need not be loaded.

    Returns:
        Whether there were any.
    """
    from onnx import TensorProto

    graph = model.graph
    if not _knows_bfloat16(model):
        return False
    given = {tensor.name for tensor in graph.initializer}
    inputs = [v for v in graph.input if _is_bfloat16(v) and v.name not in given]
    taken = {value.name for value in graph.input} - given
    outputs = [v for v in graph.output if _is_bfloat16(v) and v.name not in taken]
    fresh = unused(all_names(graph) | {node.name for node in graph.node})
    inner = {v.name: fresh(f"{v.name}_bfloat16") for v in (*inputs, *outputs)}
    if not inner:
        return False
    for node in graph.node:
        rename(node, inner)
    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = inner.get(tensor.name, tensor.name)
    for value in reversed(inputs):
        name = fresh(f"{value.name}_to_bfloat16")
        graph.node.insert(0, _cast(value, inner[value.name], name, TensorProto.BFLOAT16))
    for value in outputs:
        name = fresh(f"{value.name}_to_float32")
        graph.node.append(_cast(value, inner[value.name], name, TensorProto.FLOAT))
    for value in (*inputs, *outputs):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return True


def with_network_dtypes(
    tensors: Iterable[TensorSpec], model: "onnx.ModelProto"
) -> tuple[TensorSpec, ...]:
    """Return inputs or outputs of a graph, with the type of those that `cast_ends` cast."""
    cast = {
        entry.value
        for node in model.graph.node
        for entry in node.metadata_props
        if entry.key == _KEY
    }
    return tuple(
        replace(tensor, network_dtype="bfloat16") if tensor.name in cast else tensor
        for tensor in tensors
    )


def without_kernels(model: "onnx.ModelProto") -> str:
    """Say which nodes compute in bfloat16, of a graph that ONNX Runtime refuses on the CPU.

    Args:
        model: Its weights need not be loaded.

    Returns:
        A clause; empty: no node does, and the graph is refused for something else.
    """
    made = bfloat16_tensors(model)
    computing = [
        f"{node.op_type} {(node.name or ''.join(node.output[:1]))!r}"
        for node in model.graph.node
        if made.intersection(node.input)
        and not (is_standard(node) and node.op_type in _MOVING | _IN_FLOAT32)
    ]
    if not computing:
        return ""
    more = len(computing) - _MOST_NAMED
    shown = ", ".join(computing[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"ONNX Runtime has no kernels in bfloat16 on the CPU for {shown}"


def bfloat16_tensors(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the tensors of a graph that are bfloat16, as far as can be inferred."""
    from onnx import TensorProto

    kind = TensorProto.BFLOAT16
    weights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == kind}
    return weights | {name for name, found in element_types(model).items() if found == kind}


def _knows_bfloat16(model: "onnx.ModelProto") -> bool:
    return any(
        opset.version >= _OLDEST_OPSET
        for opset in model.opset_import
        if opset.domain in {"", "ai.onnx"}
    )


def _is_bfloat16(value: "onnx.ValueInfoProto") -> bool:
    from onnx import TensorProto

    kind = value.type
    return bool(kind.HasField("tensor_type") and kind.tensor_type.elem_type == TensorProto.BFLOAT16)


def _cast(end: "onnx.ValueInfoProto", inner: str, name: str, kind: int) -> "onnx.NodeProto":
    """Return the node between an end of the graph and the tensor inside."""
    from onnx import TensorProto, helper

    leads_in = kind == TensorProto.BFLOAT16
    source, target = (end.name, inner) if leads_in else (inner, end.name)
    node = helper.make_node("Cast", [source], [target], name=name, to=kind)
    node.metadata_props.add(key=_KEY, value=end.name)
    return node
