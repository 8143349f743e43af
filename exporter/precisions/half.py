"""fp16 and bf16: floats of the graph become 16 bits wide, input and output keep their types.

The types at both ends stay, as all precisions of a study must move the same bytes to and from a
device; what it costs is one Cast at each end.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.precisions.widths import (
    Widths,
    find_widths,
    opset_of,
    subgraphs,
    with_types,
)

if TYPE_CHECKING:
    import onnx

BF16_OPSET = 22
"""The first in which Conv and the pools take bfloat16."""
_LARGEST_BF16 = (2 - 2**-7) * 2.0**127
_NONE: frozenset[str] = frozenset()


def prepare(source: Path, precision: str, name: str) -> "onnx.ModelProto":
    """Read a fp32 network as it is converted: nodes named, types known, in a fitting opset.

    Args:
        source: The ``.onnx`` file.
        precision: ``fp16`` or ``bf16``.
        name: Of the model, for errors.

    Raises:
        ExportError: It cannot be brought to opset 22, which bf16 needs, or computes nothing in
            float32.
    """
    import onnx
    from onnx.inliner import inline_local_functions

    try:
        model = onnx.load(source)
        if model.functions:
            model = inline_local_functions(model)
        if precision == "bf16" and opset_of(model) < BF16_OPSET:
            model = onnx.version_converter.convert_version(model, BF16_OPSET)
        name_nodes(model.graph)
        _drop_default_inputs(model.graph)
        model = with_types(model)
    except Exception as error:  # onnx's errors and protobuf's have no common root
        raise refusal(name, precision, error) from error
    if not find_widths(model, precision, _NONE).made:
        raise ExportError(
            f"{name} computes nothing in float32 that could be {precision}; measure it as it is, "
            "in fp32"
        )
    return model


def write_half(source: Path, target: Path, name: str, precision: str) -> None:
    """Write the form of a fp32 network in 16 bits, no node kept in float32.

    Raises:
        ExportError: It cannot be converted.
    """
    import onnx

    try:
        onnx.save(lower(prepare(source, precision, name), precision), target)
    except ExportError:
        raise
    except Exception as error:  # onnx's errors and protobuf's have no common root
        raise refusal(name, precision, error) from error


def lower(
    model: "onnx.ModelProto", precision: str, kept: Collection[str] = _NONE
) -> "onnx.ModelProto":
    """Return a network whose floats are 16 bits wide but for those of nodes that are kept.

    Args:
        model: From `prepare`; left as it is.
        precision: ``fp16`` or ``bf16``.
        kept: Names of nodes that compute in float32, and hand on float32 among themselves.
    """
    from onnx import TensorProto

    model = copied(model)
    graph = model.graph
    widths = find_widths(model, precision, kept)
    if set_constants_apart(graph, widths):
        widths = find_widths(model, precision, kept)
    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    forms = _forms(graph, widths, precision)
    _rewire(graph, widths, forms, kind)
    for tensor in list(graph.initializer):
        if tensor.name in widths.read_half:
            kept_too = tensor.name in widths.read_float
            target = graph.initializer.add() if kept_too else tensor
            target.CopyFrom(lowered(tensor, precision, forms[tensor.name].half))
    _add_casts(graph, widths, forms, kind)
    return model


@dataclass(frozen=True, slots=True)
class _Forms:
    """What a value is called in 16 bits and in float32, and the node between the two."""

    half: str
    full: str
    cast: str


def _forms(graph: "onnx.GraphProto", widths: Widths, precision: str) -> dict[str, _Forms]:
    forms = {}
    for name in widths.floats:
        if name in widths.made:
            forms[name] = _Forms(name, f"{name}_cast_to_fp32", f"{name}_cast_to_fp32_node")
        else:
            copy = f"{name}_cast_to_{precision}"
            forms[name] = _Forms(copy, name, f"{copy}_node")
    for at, value in enumerate(graph.input):
        forms[value.name] = _Forms(f"graph_input_cast_{at}", value.name, f"graph_input_cast{at}")
    for at, value in enumerate(graph.output):
        if value.name in widths.made:
            copy = f"graph_output_cast_{at}"
            forms[value.name] = _Forms(copy, value.name, f"graph_output_cast{at}")
    for tensor in graph.initializer:
        half = f"{tensor.name}_{precision}" if tensor.name in widths.read_float else tensor.name
        forms[tensor.name] = _Forms(half, tensor.name, "")
    return forms


def _rewire(graph: "onnx.GraphProto", widths: Widths, forms: dict[str, _Forms], kind: int) -> None:
    """Let each node read and make the form of a value that it computes with."""
    for node, places in zip(graph.node, widths.read, strict=True):
        for at, name in enumerate(node.input):
            if name in widths.floats:
                node.input[at] = forms[name].half if at in places else forms[name].full
        for inner in subgraphs(node):
            _rename(inner, {name: forms[name].full for name in widths.floats})
        if widths.made.intersection(node.output):
            _retype(node, kind)
        for at, name in enumerate(node.output):
            if name in widths.made:
                node.output[at] = forms[name].half
    constants = {tensor.name for tensor in graph.initializer} - widths.read_float
    for info in graph.value_info:
        if info.name in widths.made or info.name in constants & widths.read_half:
            info.type.tensor_type.elem_type = kind


def _rename(graph: "onnx.GraphProto", names: dict[str, str]) -> None:
    """Rename what a graph inside a node reads from outside."""
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)
        for inner in subgraphs(node):
            _rename(inner, names)


def _retype(node: "onnx.NodeProto", kind: int) -> None:
    """Give a node's attributes the type of its result, where they hold values or name a type."""
    import onnx
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = kind
        elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            precision = "fp16" if kind == TensorProto.FLOAT16 else "bf16"
            attribute.t.CopyFrom(lowered(attribute.t, precision, attribute.t.name))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = onnx.helper.make_tensor("value", kind, [1], [0])
        node.attribute.append(onnx.helper.make_attribute("value", zero))


def _add_casts(
    graph: "onnx.GraphProto", widths: Widths, forms: dict[str, _Forms], kind: int
) -> None:
    """Add a Cast for each value that is read in both forms, behind the node that makes it."""
    from onnx import TensorProto, helper

    casts: dict[str, onnx.NodeProto] = {}
    infos = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    ends = [value.name for value in (*graph.input, *graph.output)]
    for name in dict.fromkeys([*ends, *sorted(widths.floats)]):
        if name not in (widths.read_float if name in widths.made else widths.read_half):
            continue
        called = forms[name]
        if not called.cast:
            continue  # a constant, which has both forms
        if name in widths.made:
            source, target, to = called.half, called.full, int(TensorProto.FLOAT)
        else:
            source, target, to = called.full, called.half, kind
        casts[source] = helper.make_node("Cast", [source], [target], name=called.cast, to=to)
        if name in infos and called.half != name:
            info = graph.value_info.add()
            info.CopyFrom(infos[name])
            info.name, info.type.tensor_type.elem_type = called.half, kind
    nodes = [casts.pop(value.name) for value in graph.input if value.name in casts]
    for node in graph.node:
        nodes.append(node)
        nodes.extend(casts.pop(name) for name in node.output if name in casts)
    del graph.node[:]
    graph.node.extend(nodes)


def name_nodes(graph: "onnx.GraphProto") -> bool:
    """Name each node without a name, or with that of another one, by its operator and place.

    Returns:
        Whether there were any.
    """
    seen: set[str] = set()
    before = [node.name for node in graph.node]
    for at, node in enumerate(graph.node):
        while not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{at}"
        seen.add(node.name)
    return before != [node.name for node in graph.node]


def set_constants_apart(graph: "onnx.GraphProto", widths: Widths) -> bool:
    """Make initializers of the constants that are read in float32: they keep all their digits.

    Constants that are written as attributes of another kind than tensors become such too.

    Returns:
        Whether there were any.
    """
    from onnx import numpy_helper

    moved = []
    for node in graph.node:
        if node.op_type != "Constant" or node.output[0] not in widths.floats:
            continue
        value = node.attribute[0]
        if value.name == "value" and node.output[0] not in widths.read_float:
            continue
        moved.append(node)
        if value.name == "value":
            graph.initializer.add().CopyFrom(value.t)
            graph.initializer[-1].name = node.output[0]
        else:
            import numpy as np

            floats = value.f if value.name == "value_float" else list(value.floats)
            array = np.array(floats, np.float32)
            graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    for node in moved:
        graph.node.remove(node)
    return bool(moved)


def _drop_default_inputs(graph: "onnx.GraphProto") -> None:
    """Take the initializers out of the inputs, where older files list them too."""
    constants = {tensor.name for tensor in graph.initializer}
    for value in [value for value in graph.input if value.name in constants]:
        graph.input.remove(value)


def copied(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy of a model."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def lowered(tensor: "onnx.TensorProto", precision: str, name: str) -> "onnx.TensorProto":
    """Return float32 weights in 16 bits; what the type cannot hold becomes its largest number."""
    import ml_dtypes
    import numpy as np
    import onnx
    from onnx import TensorProto, numpy_helper
    from onnxruntime.transformers.float16 import convert_np_to_float16

    values = numpy_helper.to_array(tensor).reshape(-1)
    found = onnx.TensorProto()
    found.CopyFrom(tensor)
    found.ClearField("float_data")
    found.name = name
    if precision == "fp16":
        found.data_type = TensorProto.FLOAT16
        found.raw_data = convert_np_to_float16(values).tobytes()
    else:
        largest = _LARGEST_BF16
        within = np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
        found.data_type = TensorProto.BFLOAT16
        found.raw_data = within.astype(ml_dtypes.bfloat16).tobytes()
    return found


def refusal(name: str, precision: str, error: Exception) -> ExportError:
    """Return the error for a network that cannot be converted."""
    return ExportError(
        f"cannot convert {name} to {precision}: {innermost_line(error)}; export it in fp32"
    )
