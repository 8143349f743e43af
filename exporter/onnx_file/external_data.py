"""Weights of an ``.onnx`` that lie in other files: where they are, and whether that is safe."""

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
    """Hold a tensor's file to the graph's own folder, and its values to the file."""
    location = location_of(tensor)
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
