"""Weights of an ``.onnx`` that lie in other files: where they are, and whether that is safe."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError

if TYPE_CHECKING:
    import onnx


def external_tensors(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
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


def location_of(tensor: "onnx.TensorProto") -> str:
    """Return the name of the file that a tensor's values lie in; empty where none is named."""
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def check_external(tensor: "onnx.TensorProto", path: Path) -> None:
    """Hold a tensor's file to the graph's own folder, and its values to the file.

    Raises:
        ArtifactError: The file is elsewhere, is none, or does not hold the values.
    """
    place = _file_of(tensor, path)
    whose = _whose(tensor, path)
    numbers = {e.key: e.value for e in tensor.external_data if e.key in {"offset", "length"}}
    if not all(value.isdecimal() for value in numbers.values()):
        raise ArtifactError(f"{whose} at {numbers}, which are no numbers; export it again")
    offset, wanted = int(numbers.get("offset", 0)), size_bytes(tensor)
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


def load_external(tensor: "onnx.TensorProto", path: Path) -> None:
    """Read a tensor's values into it; tensors may share bytes.

    A length of 0, or none, is what the tensor's sizes need, as ONNX Runtime takes it.

    Args:
        tensor: One that `check_external` accepted.
        path: The graph's file.

    Raises:
        ArtifactError: The file became another meanwhile.
    """
    import onnx

    wanted = size_bytes(tensor)
    offset = next((int(e.value) for e in tensor.external_data if e.key == "offset"), 0)
    no_links = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(_file_of(tensor, path), no_links), "rb") as file:
        file.seek(offset)
        values = file.read(wanted)
    if len(values) < wanted:
        raise ArtifactError(f"{_whose(tensor, path)}, which was shortened; get the file again")
    tensor.raw_data = values
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def without_values(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy in which what lies in other files is empty: for checks of the graph alone."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in list(external_tensors(copy)):
        del tensor.external_data[:], tensor.dims[:]
        tensor.dims.append(0)
        tensor.data_location = onnx.TensorProto.DEFAULT
    return copy


def _whose(tensor: "onnx.TensorProto", path: Path) -> str:
    return f"{path} keeps {tensor.name or 'a tensor'!r} in {location_of(tensor)!r}"


def _file_of(tensor: "onnx.TensorProto", path: Path) -> Path:
    """Return the file that holds a tensor's values: in the graph's own folder, without a link.

    In the cache of a hub, a snapshot's files are links to the cache's own folder of contents
    (https://huggingface.co/docs/huggingface_hub/guides/manage-cache); these are followed.
    """
    location, whose = location_of(tensor), _whose(tensor, path)
    parts = location.replace("\\", "/").split("/")
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
            content = _content_in_cache(place)
            if content is None:
                raise ArtifactError(f"{whose}, which is a link; put the file itself there")
            place, mode = content, content.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{whose}, which is no file; {together}")
    return place


def _content_in_cache(link: Path) -> Path | None:
    """Return the file that a link in a hub's cache names; ``None``: it leaves that cache."""
    parts = link.absolute().parts
    snapshots = [place for place, part in enumerate(parts[:-2]) if part == "snapshots"]
    if not snapshots:
        return None
    contents = Path(*parts[: snapshots[-1]], "blobs")
    target = link.resolve()
    own = not contents.is_symlink() and target.parent == contents.resolve()
    return target if own and target.is_file() else None


def size_bytes(tensor: "onnx.TensorProto") -> int:
    """Return how many bytes the values of a tensor take, by its type and sizes.

    Raises:
        ArtifactError: The type is unknown.
    """
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
