"""int8: static quantisation by ONNX Runtime, as QuantizeLinear and DequantizeLinear nodes (QDQ)."""

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch import units
from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.exporter.precisions.half import name_nodes
from greenbatch.exporter.precisions.widths import opset_of

if TYPE_CHECKING:
    import onnx

    from greenbatch.models.output_rows import Outputs

"""How ranges follow from activations; see docs/precisions.md for what each was measured to do."""

MULTIPLYING = ("Conv", "Gemm", "MatMul")
QUANTISED = (
    *MULTIPLYING,
    *("Add", "Mul", "Relu", "Clip", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Concat", "Split", "Slice", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
)
"""Types of nodes that are quantised: what multiplies, and what lies between, so that values stay
in 8 bits from one to the next. In networks with LayerNormalization it is what multiplies alone:
there, 8 bits are too few for what is added up from layer to layer (see docs/precisions.md).
"""

WEIGHTS = ("signed, 7 bits", "unsigned, 8 bits")
"""Types of weights that no processor saturates, the fastest first.

Without VNNI, x86 adds the products of two unsigned activations and two signed weights in 16 bits:
2 x 255 x 64 fits, 2 x 255 x 127 does not. Unsigned weights are multiplied another way, which is
slower on all x86 processors.
"""

PROCESSORS = ("cpu", "gpu")
"""What an int8 artifact is made for.

CUDA and TensorRT dequantise 8 bits alone, so a bias of 32 bits would be left to the CPU: theirs
stays in float32. TensorRT takes signed values without a zero point alone, and its products never
saturate, so weights have all 8 bits.
"""

GPU_WEIGHTS = "signed, 8 bits"

_CHANNELS_OPSET = 13  # the first whose QuantizeLinear has an axis
_QUANTISED_ALREADY = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"}
    | {"MatMulInteger", "DynamicQuantizeLinear"}
)
_WARNINGS, _ERRORS = 2, 3  # severities of ONNX Runtime; the first is its default
_AT_ONCE = 4  # images in a batch of calibration: all activations of a batch are in memory


def write_int8(
    source: Path,
    target: Path,
    name: str,
    images: Images,
    method: str = "minmax",
    weights: str = WEIGHTS[0],
    operators: tuple[str, ...] | None = None,
    processor: str = PROCESSORS[0],
    floats: Path | None = None,
    **options: Any,
) -> None:
    """Write the int8 form of a fp32 network.

    Weights have a scale for each channel; activations are unsigned with a zero point, which x86
    multiplies fastest, or for a GPU signed and symmetric. Attention's scores, normalisations, Gelu
    and Softmax stay in float32.

    Args:
        source: The fp32 network.
        target: Where to write.
        name: Of the model, for errors.
        images: What the ranges of activations are taken from.
        method: ``minmax``, ``percentile`` or ``entropy``.
        weights: One of `WEIGHTS`, or `GPU_WEIGHTS`.
        operators: Types of the nodes that are quantised; ``None``: by `QUANTISED`.
        processor: One of `PROCESSORS`.
        floats: Where to write the network as it was just before; its nodes have the same names.
        options: Others of `onnxruntime.quantization.quantize_static`, for trials.

    Raises:
        ExportError: ONNX Runtime cannot quantise it.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    calibration = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }[method]
    extra = {
        "CalibStridedMinMax": 1,  # a batch at a time: else the activations of all are kept
        "CalibPercentile": 99.99,
        **({"ActivationSymmetric": True, "QuantizeBias": False} if processor == "gpu" else {}),
        **options.pop("extra_options", {}),
    }
    settings: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QInt8 if processor == "gpu" else QuantType.QUInt8,
        "weight_type": QuantType.QUInt8 if weights == WEIGHTS[1] else QuantType.QInt8,
        "reduce_range": weights == WEIGHTS[0],
        "per_channel": True,
        "calibrate_method": calibration,
        "extra_options": extra,
        **options,
    }
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".int8-") as folder, _quiet():
            ready = Path(folder) / "ready.onnx"
            quant_pre_process(_fitting(source, ready), ready, skip_symbolic_shape=True)
            model = onnx.load(ready)
            if name_nodes(model.graph):
                onnx.save(model, ready)
            if floats:
                onnx.save(model, floats)
            settings["op_types_to_quantize"] = list(operators or _operators(model.graph))
            settings.setdefault("nodes_to_exclude", _attention(model.graph))
            quantize_static(ready, target, _Reader(images), **settings)
            if not any(n.op_type == "QuantizeLinear" for n in onnx.load(target).graph.node):
                raise ExportError("none of its nodes computes in float32 what int8 could")
    except Exception as error:  # ONNX Runtime's errors have no common root
        target.unlink(missing_ok=True)
        raise ExportError(
            f"cannot quantise {name} to int8: {innermost_line(error)}; export it in fp16 or fp32"
        ) from error


def _fitting(source: Path, beside: Path) -> Path:
    """Return a file of the network in an opset that has a scale for each channel.

    Raises:
        ExportError: It is quantised already.
    """
    import onnx

    model = onnx.load(source, load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    if already := [kind for kind in kinds if kind in _QUANTISED_ALREADY]:
        raise ExportError(
            f"{units.part(len(already), len(kinds), 'node')} quantised already ({already[0]})"
        )
    if opset_of(model) >= _CHANNELS_OPSET:
        return source
    path = beside.with_name("fitting.onnx")
    onnx.save(onnx.version_converter.convert_version(onnx.load(source), _CHANNELS_OPSET), path)
    return path


def _operators(graph: "onnx.GraphProto") -> tuple[str, ...]:
    normed = any(node.op_type == "LayerNormalization" for node in graph.node)
    return MULTIPLYING if normed else QUANTISED


def _attention(graph: "onnx.GraphProto") -> list[str]:
    """Return the nodes that make attention's scores and sum values by them: they stay in float32.

    These are the products of two activations, and factors that are one number. ONNX Runtime's
    own ``MatMulConstBOnly`` has no effect on QDQ (seen in 1.31.1).
    """
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if (node.op_type == "MatMul" and not any(name in sizes for name in node.input))
        or (node.op_type == "Mul" and any(sizes.get(name) == 1 for name in node.input))
    ]


class _Reader:
    """Hands images to ONNX Runtime's calibration, some at a time."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._next, self._end = 0, len(self)

    def __len__(self) -> int:
        return -(-len(self._images) // _AT_ONCE)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these batches."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> "Outputs | None":
        """Return all inputs for the next batch by name, ``None`` at the end."""
        if self._next >= self._end:
            return None
        start = self._next * _AT_ONCE
        self._next += 1
        return self._images.take(range(start, min(start + _AT_ONCE, len(self._images))))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's advice, logged by both of its loggers and printed, from the user."""
    import onnxruntime as ort

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    ort.set_default_logger_severity(_ERRORS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        ort.set_default_logger_severity(_WARNINGS)
        root.setLevel(level)
