"""Whether an ``.onnx`` file is a network of images, and which."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError, first_line
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.external_data import external_tensors, location_of
from greenbatch.exporter.onnx_file.reading import opsets, read_model, real_inputs
from greenbatch.models import InputSpec, synthetic_images
from greenbatch.models.onnx_session import open_session
from greenbatch.models.sources.parse import parse_input
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

_PIXELS = {1, 3, 4}  # channels of a photograph: grey, RGB, RGBA

_PLACE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?(/\S+:\d+ .*?\) (const )?)?"
)
"""What ONNX Runtime puts in front of its sentence: codes, and where in its source it stands."""
_NEWEST_OPSET = re.compile(r"official support for domain \S+ is till opset \d+")


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What was found in a file.

    Attributes:
        path: The file.
        input: Name and shape of its one input; how a photograph becomes it, an ``.onnx`` does not
            say: see `greenbatch.models.sources.parse.parse_input`.
        batch: The only batch size that it runs at; ``None``: its batch axis is symbolic, and it
            ran at another batch than 1.
        batch_axis: Name of the symbolic axis, where the file has one.
        opset, ir_version, nodes: Of the graph.
        parameters: Floating-point values among its initializers.
        output: Its one output, with the dims that it had for ``batch`` images (2 where that is
            symbolic); the first is ``batch`` where it may vary.
        data_files: Names of the files beside it that hold weights.
    """

    path: Path
    input: InputSpec
    batch: int | None
    batch_axis: str
    opset: int
    ir_version: int
    nodes: int
    parameters: int
    output: TensorSpec
    data_files: tuple[str, ...] = ()


def inspect(path: Path | str, input: InputSpec | None = None) -> OnnxFacts:
    """Read a file as data, see that ONNX Runtime runs it, and say what it is.

    No weight is read before it is known that all of them lie in the file's own folder. The
    network is run once, on the CPU.

    Args:
        path: The file.
        input: Its input, where it leaves height and width open or photographs are prepared
            otherwise than ImageNet's; its ``name`` is taken from the file.

    Raises:
        ArtifactError: The file is damaged, reaches outside its folder, is newer than ONNX Runtime,
            or is no network that maps images to logits.
    """
    path = Path(path)
    model = read_model(path)
    input_spec, batch, axis = _image_input(model, path, input)
    output, batch = _run(path, input_spec, batch, sorted(opsets(model)))
    return OnnxFacts(
        path=path,
        input=input_spec,
        batch=batch,
        batch_axis=axis,
        opset=opsets(model).get("", 0),
        ir_version=model.ir_version,
        nodes=len(model.graph.node),
        parameters=_parameters(model),
        output=output,
        data_files=tuple(sorted({location_of(tensor) for tensor in external_tensors(model)})),
    )


def _parameters(model: "onnx.ModelProto") -> int:
    import numpy as np
    import onnx

    total = 0
    for tensor in model.graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if dtype.kind == "f" or dtype.name in {"bfloat16", "int8"}:
            total += int(np.prod(tensor.dims, dtype=np.int64))
    return total


def _image_input(
    model: "onnx.ModelProto", path: Path, requested: InputSpec | None
) -> tuple[InputSpec, int | None, str]:
    """Return the one input, the batch that it fixes, and the name of its symbolic axis."""
    import onnx

    inputs = real_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ArtifactError(
            f"{path} has {len(inputs)} inputs ({names}) instead of one image; make the others "
            "constants and export it again"
        )
    (value,) = inputs
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kinds = {number: kind for kind, number in onnx.TensorProto.DataType.items()}
        found = kinds.get(tensor.elem_type, "no tensor").lower()
        raise ArtifactError(
            f"the input {value.name} of {path} is {found} instead of float; export it for "
            "preprocessed float images"
        )
    dims = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim
    ]
    shown = "x".join(map(str, dims)) or "a number"
    if len(dims) != 4:
        raise ArtifactError(
            f"the input {value.name} of {path} is {shown} instead of batch x channels x height x "
            "width; gb measures networks of images"
        )
    batch, *rest = dims
    if rest[2] in _PIXELS and rest[0] not in _PIXELS:
        raise ArtifactError(
            f"the input {value.name} of {path} is {shown}, with channels last, instead of batch x "
            "channels x height x width; export it with channels first"
        )
    if requested is not None:
        if any(isinstance(d, int) and d != w for d, w in zip(rest, requested.shape, strict=True)):
            raise ArtifactError(
                f"the input {value.name} of {path} is {shown}, which is incompatible with --input "
                f"{'x'.join(map(str, requested.shape))}; leave --input out"
            )
        input_spec = requested
    elif all(isinstance(dim, int) and dim > 0 for dim in rest):
        input_spec = parse_input("x".join(map(str, rest)))
    else:
        raise ArtifactError(
            f"the input {value.name} of {path} is {shown} and has no fixed size; give it "
            "with --input, e.g. --input 3x224x224"
        )
    if isinstance(batch, int) and batch < 1:
        raise ArtifactError(
            f"the input {value.name} of {path} has a batch of {batch}; export it again"
        )
    input_spec = replace(input_spec, name=value.name)
    return (input_spec, batch, "") if isinstance(batch, int) else (input_spec, None, batch)


def _run(
    path: Path, input_spec: InputSpec, batch: int | None, domains: list[str]
) -> tuple[TensorSpec, int | None]:
    """Run the network once; return its output and the only batch size that it runs at, if any."""
    import onnxruntime as ort

    try:
        session = open_session(path)
    except Exception as error:  # ONNX Runtime's errors have no common root
        custom = ", ".join(domain for domain in domains if domain)
        hint = f" (it uses operators of {custom})" if custom else ""
        raise ArtifactError(
            f"ONNX Runtime {ort.__version__} cannot load {path}{hint}: {_cause(error)}; export "
            "it with operators and a version that this ONNX Runtime knows"
        ) from error
    outputs = session.get_outputs()
    if len(outputs) != 1:
        names = ", ".join(output.name for output in outputs)
        raise ArtifactError(
            f"{path} has {len(outputs)} outputs ({names}) instead of logits alone; export it with "
            "one output"
        )
    logits, fixed = _try_batches(session, path, input_spec, batch)
    count = batch or fixed or 2
    if logits.ndim < 2 or logits.shape[0] != count or any(n != 1 for n in logits.shape[2:]):
        raise ArtifactError(
            f"{path} returns {outputs[0].name} of shape {logits.shape} for {count} images instead "
            f"of logits ({count}, classes); export it with a row of logits for each image"
        )
    if logits.dtype.kind != "f":
        raise ArtifactError(
            f"{path} returns {outputs[0].name} as {logits.dtype} instead of float logits; "
            "export it without what follows the logits"
        )
    dims: tuple[int | str, ...] = logits.shape
    if batch is None and fixed is None:
        dims = ("batch", *logits.shape[1:])
    return TensorSpec(name=outputs[0].name, dtype=logits.dtype.name, dims=dims), batch or fixed


def _cause(error: Exception) -> str:
    """Return the clause of an error of ONNX Runtime's that a person can use."""
    if newest := _NEWEST_OPSET.search(str(error)):
        return f"its {newest[0]}"
    return first_line(_PLACE.sub("", str(error), count=1))


def _try_batches(
    session: Any, path: Path, input_spec: InputSpec, batch: int | None
) -> "tuple[NDArray[np.float32], int | None]":
    """Run the batch that is fixed; else two images, and one where two do not run."""
    fault: Exception | None = None
    for count in (batch,) if batch else (2, 1):
        try:
            (logits,) = session.run(
                None, {input_spec.name: synthetic_images(input_spec, count, seed=0)}
            )
        except Exception as error:
            fault = fault or error
        else:
            if batch is None and count == 2 and len(logits) == 1:
                continue  # two images became one row: it is one image's network
            return logits, 1 if batch is None and count == 1 else None
    assert fault is not None
    raise ArtifactError(
        f"{path} does not run at batch {batch or 2}: {innermost_line(fault)}; export it again"
    ) from fault
