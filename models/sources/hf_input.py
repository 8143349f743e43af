"""The input of a network of transformers: from its preprocessor's description and its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from greenbatch.models.sources.input_option import image_spec
from greenbatch.models.spec import InputSpec

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_DEFAULT_SIDE = 224
_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # of Pillow


def image_input(
    config: "PreTrainedConfig", preprocessor: Mapping[str, object], name: str
) -> InputSpec:
    """Return the input that a network was made for.

    The size is what is cut (``crop_size``), else what is resized to (``size``), of a shortest edge
    the square on it, else the ``image_size`` of the network, else 224.

    Args:
        config: Of the network.
        preprocessor: Content of its ``preprocessor_config.json``; empty: there is none.
        name: Of the argument that takes the images.
    """
    stated = preprocessor.get("crop_size") if preprocessor.get("do_center_crop", True) else None
    part = getattr(config, "vision_config", None)
    own = getattr(config, "image_size", None) or getattr(part, "image_size", None)
    height, width = next(
        filter(None, map(_sides, (stated, preprocessor.get("size"), own))),
        (_DEFAULT_SIDE, _DEFAULT_SIDE),
    )
    channels = getattr(config, "num_channels", None) or getattr(part, "num_channels", None) or 3
    spec = image_spec((channels, height, width), name=name)
    if shortest := _shortest(preprocessor.get("size")):
        spec = replace(spec, resize=max(shortest, spec.crop))
    resample = _INTERPOLATIONS.get(_int(preprocessor.get("resample")))
    mean, std = (_numbers(preprocessor.get(key), channels) for key in ("image_mean", "image_std"))
    if not preprocessor.get("do_normalize", True):
        mean, std = (0.0,) * channels, (1.0,) * channels
    return replace(
        spec,
        mean=mean or spec.mean,
        std=std or spec.std,
        interpolation=resample or spec.interpolation,
    )


def _sides(value: object) -> tuple[int, int] | None:
    """Return height and width of a size as transformers writes it."""
    if isinstance(value, Mapping):
        if shortest := value.get("shortest_edge"):
            return (int(shortest), int(shortest))
        if value.get("height") and value.get("width"):
            return (int(value["height"]), int(value["width"]))
        return None
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return (int(value[0]), int(value[1]))
    return (value, value) if isinstance(value, int) and value > 0 else None


def _shortest(value: object) -> int | None:
    """Return the length that the shorter side of a photograph is resized to."""
    sides = _sides(value)
    return min(sides) if sides else None


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == count:
        return tuple(map(float, value))
    return None


def _int(value: object) -> int:
    return value if isinstance(value, int) else -1
