"""Photograph-like JPEGs that are made when they are needed, where a study ships no images.

Their size in pixels and bytes is that of photographs on the web, so that decoding them takes as
long; what they show means nothing. The same text gives the same images.
"""

import random
from io import BytesIO
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "generated:"
MOST_GENERATED = 256
_SIZE = (660, 495)  # that of one of the three photographs of 'Batching for Green AI'
_QUALITY = 95
_OCTAVES = (3, 6, 12, 24, 48, 96, 192, 660)
"""Widths of the noise that is laid over itself, each with about half the weight of the one before:
power falls with frequency as in photographs."""
_KEPT = 0.55


def is_generated(folder: str) -> bool:
    """Whether images are to be made, not read: ``generated:3``."""
    return folder.startswith(PREFIX)


def count_of(text: str) -> int:
    """Read how many images are to be made.

    Raises:
        UsageError: It is no number from 1 to `MOST_GENERATED`.
    """
    number = text.removeprefix(PREFIX)
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MOST_GENERATED:
        raise UsageError(
            f"{text!r} asks for {number or 'no'} generated images; write a number from 1 to "
            f"{MOST_GENERATED}, e.g. {PREFIX}3"
        )
    return int(number)


def generate(number: int) -> bytes:
    """Make the JPEG of this number, from 0: smooth areas, edges and fine grain."""
    draw = random.Random(number)
    picture = _noise(draw, "RGB", _OCTAVES[:3])
    shades = _noise(draw, "L", _OCTAVES)
    from PIL import Image, ImageChops

    picture = ImageChops.overlay(picture, Image.merge("RGB", [shades] * 3))
    stored = BytesIO()
    picture.save(stored, "JPEG", quality=_QUALITY)
    return stored.getvalue()


def _noise(draw: random.Random, mode: str, widths: tuple[int, ...]) -> "Image":
    """Lay noise of rising fineness over itself."""
    from PIL import Image

    found = None
    for width in reversed(widths):
        size = (width, max(1, width * _SIZE[1] // _SIZE[0]))
        channels = len(mode)
        raw = draw.randbytes(size[0] * size[1] * channels)
        layer = Image.frombytes(mode, size, raw).resize(_SIZE, Image.Resampling.BICUBIC)
        found = layer if found is None else Image.blend(found, layer, 1 - _KEPT)
    assert found is not None
    return found
