"""fp16 and bf16: every float of the graph becomes 16 bits wide, input and output stay float32.

Float32 at both ends, as all precisions of a study must move the same bytes to and from a device;
what it costs is one Cast at each end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line

if TYPE_CHECKING:
    import onnx

_LARGEST_BYTES = (1 << 31) - (1 << 24)  # protobuf's limit, less room for the graph
_BF16_OPSET = 22  # the first in which Conv and the pools take bfloat16


def write_fp16(source: Path, target: Path, name: str) -> None:
    """Write the fp16 form of a fp32 network, by ONNX Runtime's converter.

    Raises:
        ExportError: The converter, or the limit of 2 GiB for a file, refuses it.
    """
    import onnx

    try:
        onnx.save(_to_fp16(onnx.load(source)), target)
    except Exception as error:  # the converter and protobuf have no common root
        raise _refusal(name, "fp16", error) from error


def write_bf16(source: Path, target: Path, name: str) -> None:
    """Write the bf16 form of a fp32 network.

    ONNX Runtime's converter knows fp16 only, but where types change is the same for both: its
    result is given bfloat16 for float16, and each constant anew from its float32 values.

    Raises:
        ExportError: The graph cannot be brought to opset 22, or the converter refuses it.
    """
    import onnx
    from onnx import numpy_helper

    try:
        exact = onnx.load(source)
        opset = next(o.version for o in exact.opset_import if o.domain in {"", "ai.onnx"})
        if opset < _BF16_OPSET:
            exact = onnx.version_converter.convert_version(exact, _BF16_OPSET)
        values = {tensor.name: tensor for tensor in exact.graph.initializer}
        values |= {node.output[0]: t for node in exact.graph.node if (t := _constant(node))}
        values = {key: numpy_helper.to_array(tensor) for key, tensor in values.items()}
        model = _to_fp16(exact)
        for tensor in model.graph.initializer:
            _retype(tensor, values.get(tensor.name))
        for node in model.graph.node:
            if tensor := _constant(node):
                _retype(tensor, values.get(node.output[0]))
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT16:
                    attribute.i = onnx.TensorProto.BFLOAT16
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
                info.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
        onnx.save(model, target)
    except Exception as error:
        raise _refusal(name, "bf16", error) from error


def write_rounded(source: Path, target: Path, precision: str) -> None:
    """Write a float32 network that rounds weights and each result to a type of 16 bits.

    It computes what a device does that multiplies 16-bit values and sums in float32, and it runs
    anywhere. ONNX Runtime's CPU provider does not compute so itself: it runs most of a fp16 graph
    in float32 and drops the casts between, so that an overflow would go unnoticed.

    Args:
        source: The fp32 network.
        target: Where to write; the weights get a file beside it.
        precision: ``fp16`` or ``bf16``.
    """
    import ml_dtypes
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind, dtype = {
        "fp16": (TensorProto.FLOAT16, np.dtype(np.float16)),
        "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    }[precision]
    model = _with_types(onnx.load(source))
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):  # infinity is what the type makes of it
                values = numpy_helper.to_array(tensor).astype(dtype).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    floats = {
        info.name
        for info in (*graph.value_info, *graph.output)
        if info.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for index, result in enumerate(node.output):
            if result in floats:
                node.output[index], half = f"{result}_exact", f"{result}_{precision}"
                nodes.append(helper.make_node("Cast", [node.output[index]], [half], to=kind))
                nodes.append(helper.make_node("Cast", [half], [result], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save_model(model, target, save_as_external_data=True, location=f"{target.name}.data")


def _to_fp16(model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    converted: onnx.ModelProto = convert_float_to_float16(
        _with_types(model), keep_io_types=True, disable_shape_infer=True
    )
    OnnxModel(converted).topological_sort()  # the converter puts its casts last
    return converted


def _with_types(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Infer the types of all results; a network too large for that keeps those torch wrote."""
    import onnx

    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LARGEST_BYTES:
        return model
    return onnx.shape_inference.infer_shapes(model)


def _constant(node: "onnx.NodeProto") -> "onnx.TensorProto | None":
    if node.op_type != "Constant":
        return None
    return next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)


def _retype(tensor: "onnx.TensorProto", exact: Any) -> None:
    import ml_dtypes
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT16:
        if exact is None:
            exact = numpy_helper.to_array(tensor)
        halved = numpy_helper.from_array(exact.astype(ml_dtypes.bfloat16), tensor.name)
        tensor.CopyFrom(halved)


def _refusal(name: str, precision: str, error: Exception) -> ExportError:
    return ExportError(
        f"cannot convert {name} to {precision}: {innermost_line(error)}; export it in fp32"
    )
