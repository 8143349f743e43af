"""Reading a graph as data, once it is known to be safe and valid, and saving one."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.external_data import (
    check_external,
    external_tensors,
    size_bytes,
)

if TYPE_CHECKING:
    import onnx

_LARGEST_BYTES = (1 << 31) - 1  # what protobuf reads
_LARGEST_WRITTEN = _LARGEST_BYTES - (1 << 24)  # with room for the graph


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
    for tensor in external_tensors(model):
        check_external(tensor, path)
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
    for tensor in external_tensors(model):
        numbers = {entry.key: entry for entry in tensor.external_data}
        length = numbers.get("length") or tensor.external_data.add(key="length")
        length.value = str(size_bytes(tensor))
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
