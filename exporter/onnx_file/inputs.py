"""Which input of an ``.onnx`` file is the image, of what layout, and what the others are."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError, UsageError
from greenbatch.exporter.onnx_file.reading import real_inputs
from greenbatch.models import InputSpec
from greenbatch.models.sources.input_option import image_spec, layout_of
from greenbatch.records import OtherInput

if TYPE_CHECKING:
    import onnx

_IMAGE_TYPES = ("float32", "float16", "float64", "uint8")


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The inputs of a file.

    Attributes:
        spec: The image, and the others in it.
        batch: The only batch size that the file allows; ``None``: it leaves the axis open.
        axis: What the open axis is called; empty without a name.
    """

    spec: InputSpec
    batch: int | None
    axis: str


@dataclass(frozen=True, slots=True)
class _Declared:
    """An input as a file declares it; ``None`` is a size that it leaves open."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]
    axis: str

    def __str__(self) -> str:
        """Write its sizes, as part of a sentence."""
        return "x".join("?" if d is None else str(d) for d in self.dims) or "a number"


def find_inputs(model: "onnx.ModelProto", path: Path, requested: InputSpec | None) -> ImageInput:
    """Return what the inputs of a file are.

    A size of -1 or 0, or a name of any kind, leaves an axis open.

    Args:
        model: The graph.
        path: The file, for errors.
        requested: What is known of the inputs besides.

    Raises:
        ArtifactError: No input is an image, sizes are open that were not given, or an input was
            given that the file has not.
    """
    declared = [_declare(value, path) for value in real_inputs(model)]
    image = _image(declared, path, requested)
    spec = _spec(image, path, requested)
    others = [_other(each, spec, path, requested) for each in declared if each is not image]
    unknown = {other.name for other in requested.others} if requested else set()
    if unknown := unknown - {each.name for each in declared}:
        raise ArtifactError(
            f"{path} has no input {', '.join(sorted(unknown))}; it has "
            f"{', '.join(each.name for each in declared)}"
        )
    return ImageInput(replace(spec, others=tuple(others)), image.dims[0], image.axis)


def _declare(value: "onnx.ValueInfoProto", path: Path) -> _Declared:
    import onnx

    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "of no type"
        raise ArtifactError(
            f"the input {value.name} of {path} is {kind.removesuffix('_type')} instead of a "
            "tensor; export it for images in a tensor"
        )
    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError as error:
        raise ArtifactError(
            f"the input {value.name} of {path} has the unknown type {tensor.elem_type}; export it "
            "again"
        ) from error
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    first = tensor.shape.dim[0].dim_param if dims else ""
    return _Declared(value.name, dtype, tuple(d if d > 0 else None for d in dims), first)


def _image(declared: list[_Declared], path: Path, requested: InputSpec | None) -> _Declared:
    """Return the input that takes the images: the one that was named, else the only fitting one."""
    named = [each for each in declared if requested and each.name == requested.name]
    fitting = [each for each in declared if len(each.dims) in (4, 5) and each.dtype in _IMAGE_TYPES]
    if named:
        return named[0]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{each.name} {each} {each.dtype}" for each in declared) or "none"
    if not fitting:
        raise ArtifactError(
            f"no input of {path} is an image ({listed}), which is float or uint8 of batch x "
            "channels x height x width; gb measures networks of images"
        )
    raise ArtifactError(
        f"{path} has {len(fitting)} inputs that may be the image ({listed}); name it with --input, "
        f"e.g. --input {fitting[0].name}=3x224x224"
    )


def _spec(image: _Declared, path: Path, requested: InputSpec | None) -> InputSpec:
    """Return the image's spec; what the file leaves open is taken from the request."""
    rest = image.dims[1:]
    if requested is None or not _fits(image, requested):
        if requested is not None:
            raise ArtifactError(
                f"the input {image.name} of {path} is {image} {image.dtype}, which is incompatible "
                f"with --input {'x'.join(map(str, requested.shape))}; leave --input out, or give "
                "the sizes that fit"
            )
        if None in rest:
            raise ArtifactError(
                f"the input {image.name} of {path} is {image} and has no fixed size; give it "
                f"with --input, e.g. --input {_example(rest)}"
            )
        sizes = tuple(size for size in rest if size is not None)
        try:
            return image_spec(sizes, image.dtype, image.name)
        except UsageError as error:
            raise ArtifactError(f"the input {image.name} of {path}: {error}") from error
    if image.dtype == requested.dtype:
        return replace(requested, name=image.name)
    return image_spec(requested.shape, image.dtype, image.name)


def _fits(image: _Declared, requested: InputSpec) -> bool:
    rest = image.dims[1:]
    same_rank = len(rest) == len(requested.shape)
    return same_rank and all(
        size is None or size == wanted for size, wanted in zip(rest, requested.shape, strict=True)
    )


def _example(rest: tuple[int | None, ...]) -> str:
    """Return a shape for the text of an error: what is open is filled in."""
    layout = layout_of(["?" if size is None else size for size in rest])
    usual = {"C": 3, "T": 16, "H": 224, "W": 224}
    return "x".join(str(size or usual[axis]) for axis, size in zip(layout, rest, strict=True))


def _other(
    declared: _Declared, image: InputSpec, path: Path, requested: InputSpec | None
) -> OtherInput:
    """Return an input beside the image: as it was given, which it must be."""
    given = [each for each in (requested.others if requested else ()) if each.name == declared.name]
    if not given:
        sizes = "x".join(str(size or 1) for size in declared.dims[1:]) or "1"
        shape = "x".join(map(str, image.shape))
        raise ArtifactError(
            f"{path} has the input {declared.name} ({declared} {declared.dtype}) beside the image; "
            f"give both, e.g. --input {image.name}={shape} --input "
            f"{declared.name}={sizes}:{declared.dtype}, with :VALUE behind it for a constant"
        )
    (other,) = given
    for batched, dims in ((True, declared.dims[1:]), (False, declared.dims)):
        if len(dims) == len(other.shape) and all(
            size is None or size == wanted for size, wanted in zip(dims, other.shape, strict=True)
        ):
            batched = batched and len(declared.dims) > len(other.shape)
            return replace(other, dtype=declared.dtype, batched=batched)
    raise ArtifactError(
        f"the input {declared.name} of {path} is {declared}, which is incompatible with --input "
        f"{other.name}={'x'.join(map(str, other.shape)) or 'scalar'}; give the sizes that fit"
    )
