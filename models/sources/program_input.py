"""Which input of an exported program is the image, and what the others are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from greenbatch.errors import ExportError, UsageError
from greenbatch.models.sources.exported_program import ProgramInput
from greenbatch.models.sources.input_option import image_spec
from greenbatch.models.spec import InputSpec
from greenbatch.records import OtherInput

_IMAGE_TYPES = ("float32", "float16", "float64", "uint8")


def input_spec(
    inputs: Sequence[ProgramInput], path: Path, requested: InputSpec | None
) -> InputSpec:
    """Return the image input of a program, with the others in it.

    Args:
        inputs: As the program states them.
        path: Of the program, for errors.
        requested: What the user stated; ``None``: nothing.

    Raises:
        UsageError: The user stated another size, or an input that the program has not.
        ExportError: No input is an image, or the batch is fixed.
    """
    image = _image(inputs, path, requested)
    if image.dims[0] is not None:
        raise ExportError(
            f"{path} fixes the batch at {image.dims[0]}; export it with "
            f'`dynamic_shapes={{"{image.name}": {{0: torch.export.Dim("batch")}}}}`, '
            f"{image.name} being the name of forward's argument"
        )
    spec = _spec(image, path, requested)
    given = {other.name: other for other in (requested.others if requested else ())}
    others = [
        _other(each, given.pop(each.name, None), path) for each in inputs if each is not image
    ]
    if given:
        raise UsageError(
            f"{path} has no input {', '.join(given)}; it has "
            f"{', '.join(each.name for each in inputs)}"
        )
    return replace(spec, others=tuple(others))


def _image(inputs: Sequence[ProgramInput], path: Path, requested: InputSpec | None) -> ProgramInput:
    named = [each for each in inputs if requested and each.name == requested.name]
    fitting = [each for each in inputs if len(each.dims) in (4, 5) and each.dtype in _IMAGE_TYPES]
    found = named or fitting
    if not found:
        raise ExportError(
            f"{path} takes {_listed(inputs)}, and none is a batch of images (batch, channels, "
            f"height, width) of {', '.join(_IMAGE_TYPES)}; export it for such images"
        )
    if len(found) > 1:
        raise UsageError(
            f"{path} takes {_listed(inputs)}, of which several may be the image; name it with "
            f"--input, e.g. --input {found[0].name}=3x224x224"
        )
    return found[0]


def _spec(image: ProgramInput, path: Path, requested: InputSpec | None) -> InputSpec:
    sizes = image.dims[1:]
    if requested is None:
        if None in sizes:
            raise UsageError(
                f"the input {image.name} of {path} is {image} and has no fixed size; give it with "
                "--input, e.g. --input 3x224x224"
            )
        return image_spec(tuple(size or 0 for size in sizes), image.dtype, image.name)
    wanted = requested.shape
    same = len(sizes) == len(wanted) and all(
        size in (None, given) for size, given in zip(sizes, wanted, strict=True)
    )
    if not same:
        raise UsageError(
            f"{path} was exported for images {image}, and --input says "
            f"{'x'.join(map(str, wanted))}; leave --input out, or export the program again"
        )
    if image.dtype != requested.dtype:
        return image_spec(wanted, image.dtype, image.name)
    return replace(requested, name=image.name)


def _other(each: ProgramInput, given: OtherInput | None, path: Path) -> OtherInput:
    batched = each.dims[:1] == (None,)
    sizes = each.dims[1:] if batched else each.dims
    if None in sizes:
        if given is None or len(given.shape) != len(sizes):
            raise UsageError(
                f"the input {each.name} of {path} is {each} and has no fixed size; give it with "
                f"--input {each.name}=SHAPE:{each.dtype}"
            )
        sizes = given.shape
    return OtherInput(
        name=each.name,
        shape=tuple(size or 0 for size in sizes),
        dtype=each.dtype,
        value=given.value if given else None,
        batched=batched,
    )


def _listed(inputs: Sequence[ProgramInput]) -> str:
    return ", ".join(f"{each.name} ({each})" for each in inputs)
