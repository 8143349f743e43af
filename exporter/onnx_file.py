"""Reading an ``.onnx`` file that somebody else made: is it safe, and is it a network of images."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError, first_line
from greenbatch.exporter.causes import innermost_line
from greenbatch.models import InputSpec, synthetic_images
from greenbatch.models.onnx_session import open_session
from greenbatch.models.sources.parse import parse_input
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

_LARGEST_BYTES = (1 << 31) - 1  # what protobuf reads
_LARGEST_WRITTEN = _LARGEST_BYTES - (1 << 24)  # with room for the graph
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
    output, batch = _run(path, input_spec, batch, sorted(_opsets(model)))
    return OnnxFacts(
        path=path,
        input=input_spec,
        batch=batch,
        batch_axis=axis,
        opset=_opsets(model).get("", 0),
        ir_version=model.ir_version,
        nodes=len(model.graph.node),
        parameters=_parameters(model),
        output=output,
        data_files=tuple(sorted({_location(tensor) for tensor in _external(model)})),
    )


def read_model(path: Path) -> "onnx.ModelProto":
    """Read a graph without the weights beside it, once it is known to be safe and valid.

    Raises:
        ArtifactError: It is damaged, newer than the installed ONNX, or reaches outside its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise ArtifactError(
                f"{path} has {size / 2**30:.1f} GiB, and an ONNX file holds less than 2 GiB; save "
                "it with its weights as external data"
            )
        if size == 0:
            raise ArtifactError(f"{path} is empty; get or export it again")
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"cannot read {path}: {error.strerror or error}; check its path and permissions"
        ) from error
    except DecodeError as error:
        raise ArtifactError(
            f"{path} is no ONNX file or is torn (its protobuf cannot be read); get or "
            "export it again"
        ) from error
    if not model.graph.node or not model.ir_version or not model.opset_import:
        raise ArtifactError(f"{path} is no ONNX file (it holds no graph); get or export it again")
    _check_versions(model, path)
    for tensor in _external(model):
        _check_external(tensor, path)
    try:
        onnx.checker.check_model(os.fspath(path))
    except Exception as error:  # the checker's errors have no common root
        raise ArtifactError(
            f"{path} is no valid ONNX: {innermost_line(error)}; get or export it again"
        ) from error
    return model


def read_with_weights(path: Path) -> "onnx.ModelProto":
    """Read a graph, and of each file beside it as many bytes as its tensors' sizes need.

    A length of 0, or none, leaves that to the reader, as ONNX Runtime takes it; onnx alone would
    read to the end of the file.

    Args:
        path: A file that `read_model` accepted.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    for tensor in _external(model):
        numbers = {entry.key: entry for entry in tensor.external_data}
        length = numbers.get("length") or tensor.external_data.add(key="length")
        length.value = str(_size_bytes(tensor))
    onnx.load_external_data_for_model(model, os.fspath(path.parent))
    return model


def real_inputs(model: "onnx.ModelProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs that have no value yet; before IR 4, initializers are listed with them."""
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [value for value in model.graph.input if value.name not in given]


def save(model: "onnx.ModelProto", path: Path) -> None:
    """Write a model, with large weights in a file beside it."""
    import onnx

    large = model.ByteSize() > _LARGEST_WRITTEN
    target = model
    if large:  # saving moves the weights out of the model
        target = onnx.ModelProto()
        target.CopyFrom(model)
    onnx.save_model(
        target,
        path,
        save_as_external_data=large,
        location=f"{path.name}.data" if large else None,
        size_threshold=1024,
    )


def with_outputs(model: "onnx.ModelProto", names: Iterable[str]) -> "onnx.ModelProto":
    """Return a copy of a model that returns other tensors of its graph instead."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy


def _opsets(model: "onnx.ModelProto") -> dict[str, int]:
    return {
        "" if opset.domain == "ai.onnx" else opset.domain: opset.version
        for opset in model.opset_import
    }


def _check_versions(model: "onnx.ModelProto", path: Path) -> None:
    import onnx

    known = onnx.defs.onnx_opset_version()
    for what, found, newest in (
        ("IR version", model.ir_version, onnx.IR_VERSION),
        ("opset", _opsets(model).get("", 0), known),
    ):
        if found > newest:
            raise ArtifactError(
                f"{path} has {what} {found}, and onnx {onnx.__version__} knows up to {newest}; "
                "install a newer onnx and onnxruntime, or export it for an older one"
            )


def _external(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """Yield every tensor whose values lie in another file, wherever in the model it is."""
    import onnx

    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            yield tensor


def _tensors(message: Any) -> "Iterator[onnx.TensorProto]":
    """Yield all tensors in a message: in graphs, subgraphs, attributes and functions."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            repeated = not hasattr(value, "ListFields")
            for member in value if repeated else (value,):
                yield from _tensors(member)


def _location(tensor: "onnx.TensorProto") -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def _check_external(tensor: "onnx.TensorProto", path: Path) -> None:
    """Hold a tensor's file to the graph's own folder, and its values to the file."""
    location = _location(tensor)
    parts = location.replace("\\", "/").split("/")
    whose = f"{path} keeps {tensor.name or 'a tensor'!r} in {location!r}"
    together = "put the weights into the folder of the .onnx and export it so"
    if not location or "\0" in location:
        raise ArtifactError(
            f"{path} does not say in which file {tensor.name!r} is; export it again"
        )
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        raise ArtifactError(f"{whose}, which is outside its own folder; {together}")
    place = path.parent
    for part in parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except OSError as error:
            raise ArtifactError(
                f"{whose}, which cannot be read ({error.strerror}); get the file of weights too"
            ) from error
        if stat.S_ISLNK(mode):
            raise ArtifactError(f"{whose}, which is a link; put the file itself there")
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{whose}, which is no file; {together}")
    numbers = {e.key: e.value for e in tensor.external_data if e.key in {"offset", "length"}}
    if not all(value.isdecimal() for value in numbers.values()):
        raise ArtifactError(f"{whose} at {numbers}, which are no numbers; export it again")
    offset, wanted = int(numbers.get("offset", 0)), _size_bytes(tensor)
    length = int(numbers.get("length", 0)) or wanted
    available = place.stat().st_size - offset
    if length != wanted:
        raise ArtifactError(
            f"{whose} as {length} bytes, and its sizes need {wanted}; export it again"
        )
    if length > available:
        raise ArtifactError(
            f"{whose}, which holds {max(0, available)} bytes of it instead of "
            f"{wanted}; the file is torn or another network's, get it again"
        )


def _size_bytes(tensor: "onnx.TensorProto") -> int:
    import onnx

    count = 1
    for dim in tensor.dims:
        count *= dim
    packed = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1}
    if tensor.data_type in packed:
        return (count + 1) // 2
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError as error:
        raise ArtifactError(f"{tensor.name!r} has unknown type {tensor.data_type}") from error


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
