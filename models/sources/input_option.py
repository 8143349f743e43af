"""A network's inputs as a user writes them: ``3x224x224``, ``scale=2:float32:1``."""

import re
from collections.abc import Sequence
from dataclasses import replace

from greenbatch.errors import UsageError
from greenbatch.records import InputSpec, OtherInput

CROP_SHARE = 0.875  # of the resized side: 224 of 256, the usual evaluation on ImageNet
_GREY_MEAN, _GREY_STD = 0.449, 0.226  # mean of ImageNet's three channels
_PIXELS = {1, 3, 4}  # channels of a photograph: grey, RGB, RGBA
_IMAGE_TYPES = ("float32", "float16", "float64", "uint8")
_OTHER_TYPES = ("float32", "float16", "float64", "int64", "int32", "uint8", "int8", "bool")
_OPTION = re.compile(
    r"(?:(?P<name>[^=]+)=)?(?P<shape>\d{1,6}(?:[xX]\d{1,6})*|scalar)"
    r"(?::(?P<dtype>[a-z]+\d*))?(?::(?P<value>[-+.\deE]+))?"
)
_EXAMPLES = "write it like 3x224x224, 224x224x3:uint8, or NAME=2:float32:1 for a further input"


def parse_input(text: str) -> InputSpec:
    """Read an image input's shape, as in ``3x320x320`` or ``224x224x3:uint8``.

    The layout follows from where 1, 3 or 4 channels stand: first, else last. Clips have a fourth
    number, of frames. Three channels get ImageNet's mean and standard deviation, others the
    average of those; pixels of ``uint8`` stay 0 to 255. A photograph is resized so that the square
    cut from it is 0.875 of its shorter side.

    Raises:
        UsageError: It is not three or four positive numbers, or an unknown type.
    """
    match = _match(text)
    if match["name"] or match["value"]:
        raise UsageError(f"the input {text!r} is not channels, height and width; {_EXAMPLES}")
    return _image(match, text)


def parse_inputs(texts: Sequence[str]) -> InputSpec | None:
    """Read all inputs of a network: the image, and further ones by name.

    Args:
        texts: Each ``[NAME=]SHAPE[:TYPE[:VALUE]]``. The image is the first without a value that
            has the shape of one.

    Returns:
        The image's spec with the others in it; ``None`` without texts.

    Raises:
        UsageError: One cannot be read, none is an image, or one of several has no name.
    """
    if not texts:
        return None
    matches = [_match(text) for text in texts]
    images = [at for at, match in enumerate(matches) if _looks_like_image(match)]
    if not images:
        raise UsageError(f"the input {texts[0]!r} is not channels, height and width; {_EXAMPLES}")
    image = images[0]
    others = []
    for at, match in enumerate(matches):
        if at == image:
            continue
        if not match["name"]:
            raise UsageError(f"the further input {texts[at]!r} has no name; {_EXAMPLES}")
        others.append(_other(match, texts[at]))
    return replace(_image(matches[image], texts[image]), others=tuple(others))


def spelled(spec: InputSpec) -> tuple[str, ...]:
    """Return inputs as a user writes them, see `parse_inputs`."""

    def text(name: str, shape: tuple[int, ...], dtype: str, value: float | None) -> str:
        size = "x".join(map(str, shape)) or "scalar"
        given = "" if value is None else f":{value:g}"
        return f"{name}={size}" + (f":{dtype}{given}" if given or dtype != "float32" else "")

    image = text(spec.name, spec.shape, spec.dtype, None)
    others = [text(other.name, other.shape, other.dtype, other.value) for other in spec.others]
    return (image if others else image.partition("=")[2], *others)


def sizes_of(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the inputs for each of several sizes, ``3x224x224,3x384x384``, by a suffix for names.

    Raises:
        UsageError: More than one input has several sizes, or a size is written twice.
    """
    several = [at for at, text in enumerate(texts) if "," in text]
    if not several:
        return {"": tuple(texts)}
    if len(several) > 1:
        raise UsageError(
            f"{' and '.join(texts[at] for at in several)} both have several sizes; vary one input"
        )
    (at,) = several
    name, equals, sizes = texts[at].rpartition("=")
    found: dict[str, tuple[str, ...]] = {}
    for size in sizes.split(","):
        suffix = f"_{size.strip().lower().partition(':')[0]}"
        if found.setdefault(suffix, ()):
            raise UsageError(f"the size {size} is there twice in --input {texts[at]}")
        found[suffix] = (*texts[:at], f"{name}{equals}{size.strip()}", *texts[at + 1 :])
    return found


def image_spec(shape: tuple[int, ...], dtype: str = "float32", name: str = "input") -> InputSpec:
    """Return the input for images of a shape, see `parse_input`.

    Raises:
        UsageError: It is no shape of an image or a clip.
    """
    layout = layout_of(shape)
    sides = [shape[layout.index(axis)] for axis in "HW"]
    channels, crop = shape[layout.index("C")], min(sides)
    mean, std = InputSpec().mean, InputSpec().std
    if dtype == "uint8":
        mean, std = (0.0,) * channels, (1 / 255,) * channels
    elif channels != len(mean):
        mean, std = (_GREY_MEAN,) * channels, (_GREY_STD,) * channels
    return InputSpec(
        name=name,
        shape=shape,
        dtype=dtype,
        layout=layout,
        crop=crop,
        resize=round(crop / CROP_SHARE),
        mean=mean,
        std=std,
    )


def layout_of(shape: Sequence[int | str]) -> str:
    """Return which axes a shape without its batch has, from where its channels stand.

    Raises:
        UsageError: It has not three or four axes.
    """
    if len(shape) == 3:
        return "HWC" if shape[2] in _PIXELS and shape[0] not in _PIXELS else "CHW"
    if len(shape) == 4:
        places = {0: "CTHW", 1: "TCHW", 3: "THWC"}
        return next((places[at] for at in places if shape[at] in _PIXELS), "CTHW")
    shown = "x".join(map(str, shape)) or "a number"
    raise UsageError(
        f"an input of shape {shown} behind the batch is neither an image (3 axes) nor a clip (4); "
        "gb measures networks of images"
    )


def _match(text: str) -> "re.Match[str]":
    match = _OPTION.fullmatch(text.strip())
    if match is None or 0 in _sizes(match):
        raise UsageError(f"the input {text!r} is not channels, height and width; {_EXAMPLES}")
    return match


def _sizes(match: "re.Match[str]") -> tuple[int, ...]:
    """Return the shape; of a scalar it has no dims."""
    text = match["shape"].lower()
    return () if text == "scalar" else tuple(map(int, text.split("x")))


def _looks_like_image(match: "re.Match[str]") -> bool:
    return match["value"] is None and len(_sizes(match)) in (3, 4)


def _image(match: "re.Match[str]", text: str) -> InputSpec:
    dtype = match["dtype"] or "float32"
    if dtype not in _IMAGE_TYPES or len(_sizes(match)) not in (3, 4):
        raise UsageError(
            f"the input {text!r} is not channels, height and width of one of the types "
            f"{', '.join(_IMAGE_TYPES)}; {_EXAMPLES}"
        )
    return image_spec(_sizes(match), dtype, match["name"] or "input")


def _other(match: "re.Match[str]", text: str) -> OtherInput:
    dtype = match["dtype"] or "float32"
    if dtype not in _OTHER_TYPES:
        raise UsageError(
            f"the input {text!r} is of type {dtype}; wanted is one of {', '.join(_OTHER_TYPES)}"
        )
    try:
        value = float(match["value"]) if match["value"] else None
    except ValueError as error:
        raise UsageError(f"the value of the input {text!r} is no number; {_EXAMPLES}") from error
    scalar = match["shape"] == "scalar"
    return OtherInput(
        name=match["name"], shape=_sizes(match), dtype=dtype, value=value, batched=not scalar
    )
