"""Reading a graph as data, once it is known to be safe and valid, and saving one."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.external_data import (
    check_external,
    external_tensors,
    load_external,
    without_values,
)
from greenbatch.exporter.onnx_file.repair import repair

if TYPE_CHECKING:
    import onnx

_LARGEST_BYTES = (1 << 31) - 1  # what protobuf reads
_LARGEST_WRITTEN = _LARGEST_BYTES - (1 << 24)  # with room for the graph


def read_model(path: Path) -> "tuple[onnx.ModelProto, bool]":
    """Read a graph without the weights beside it, once it is known to be safe and valid.

    Returns:
        The graph, and whether it had to be repaired, see `greenbatch.exporter.onnx_file.repair`.

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
    if wrong := _not_text(model):
        raise ArtifactError(
            f"{path} is no valid ONNX: {wrong!r} in it is no text in UTF-8; get or export it again"
        )
    _check_versions(model, path)
    for tensor in external_tensors(model):
        check_external(tensor, path)
    try:
        repaired = repair(model)
        _check(model, path, repaired)
    except Exception as error:  # the checker's errors have no common root
        raise ArtifactError(
            f"{path} is no valid ONNX: {innermost_line(error)}; get or export it again"
        ) from error
    return model, repaired


def _not_text(message: Any) -> bytes | None:
    """Return a name in a message that is not in UTF-8, which protobuf leaves as it is."""
    for field, value in message.ListFields():
        if field.message_type is None and field.type != field.TYPE_STRING:
            continue
        single = isinstance(value, str | bytes) or hasattr(value, "ListFields")
        for member in (value,) if single else value:
            found = member if isinstance(member, str | bytes) else _not_text(member)
            if isinstance(found, bytes):
                return found
    return None


def _check(model: "onnx.ModelProto", path: Path, repaired: bool) -> None:
    """Let onnx's checker see the file, or what it would not take otherwise.

    It follows no link to weights, whose files are checked here, and wants sizes of all outputs,
    which ONNX Runtime does without.
    """
    import onnx

    tensors = [v.type.tensor_type for v in model.graph.output if v.type.HasField("tensor_type")]
    bare = any(not tensor.HasField("shape") for tensor in tensors)
    if not (repaired or bare or any(True for _ in external_tensors(model))):
        onnx.checker.check_model(os.fspath(path))
        return
    checked = without_values(model)
    for value in checked.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(checked)


def read_with_weights(path: Path) -> "onnx.ModelProto":
    """Read a graph, and of each file beside it as many bytes as its tensors' sizes need.

    Args:
        path: A file that `read_model` accepted.

    Raises:
        ArtifactError: It became another meanwhile.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    repair(model)
    for tensor in list(external_tensors(model)):
        load_external(tensor, path)
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


def declare(value: "onnx.ValueInfoProto", kind: int, dims: Sequence[int | str]) -> None:
    """Write the type and sizes of a tensor into what a graph declares of it.

    Args:
        value: An input or output; what is no tensor becomes one.
        kind: Element type, as ``onnx.TensorProto`` numbers them.
        dims: Numbers, and names of axes that are open; the empty name leaves an axis unnamed.
    """
    tensor = value.type.tensor_type
    tensor.elem_type = kind
    del tensor.shape.dim[:]
    tensor.shape.SetInParent()  # a number has sizes too: none
    for size in dims:
        dim = tensor.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size


def opsets(model: "onnx.ModelProto") -> dict[str, int]:
    """Return the version of each operator domain; ONNX's own is called ``""``."""
    return {
        "" if opset.domain == "ai.onnx" else opset.domain: opset.version
        for opset in model.opset_import
    }


def _check_versions(model: "onnx.ModelProto", path: Path) -> None:
    import onnx

    known = onnx.defs.onnx_opset_version()
    for what, found, newest in (
        ("IR version", model.ir_version, onnx.IR_VERSION),
        ("opset", opsets(model).get("", 0), known),
    ):
        if found > newest:
            raise ArtifactError(
                f"{path} has {what} {found}, and onnx {onnx.__version__} knows up to {newest}; "
                "install a newer onnx and onnxruntime, or export it for an older one"
            )
