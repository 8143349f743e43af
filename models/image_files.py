"""Image files become pixels: a few formats, one frame each, within limits.

The files may come from anybody. What Pillow would read beside these formats is not tried: some of
it is handed to other programs (EPS to Ghostscript), and the format is found by the contents, not
by the name.
"""

import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greenbatch.errors import UsageError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
CHANNELS = (1, 3)
MOST_PIXELS = 89_478_485
"""Above which Pillow warns of a decompression bomb: 0.25 GB at 3 bytes a pixel."""
MOST_ASPECT = 50
"""The longer side over the shorter, at most: the shorter one is resized to some hundred pixels, and
the longer one grows with it."""

_OF_A_SYSTEM = frozenset({"__MACOSX", "@eaDir"})
"""Folders that systems put beside one's own files, with copies or parts of them inside."""
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
_MOST_BYTES = 256_000_000
_MODES = {1: "L", 3: "RGB"}
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of a TIFF, and a value of the second
_UNKNOWN_RANGE = {"I": "32-bit integers", "F": "floating-point numbers"}


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is not one's own: hidden, or put there by a system.

    ``._cat.jpg``, which macOS writes beside ``cat.jpg``, is no image; ``.ipynb_checkpoints`` holds
    copies.
    """
    return name.startswith(".") or name in _OF_A_SYSTEM


def find_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and all folders below it, sorted by path.

    What `is_passed_over` is left out.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(map(is_passed_over, path.relative_to(folder).parts))
        and path.is_file()
    )


class BrokenImage(UsageError):
    """An image file that cannot be read, or is larger than what is read.

    Attributes:
        reason: Why.
    """

    def __init__(self, name: str, reason: str, cure: str = "remove it") -> None:
        self.reason = reason
        super().__init__(f"cannot read the image {name}: {reason}; {cure}")


def read_image(path: Path, name: str) -> bytes:
    """Read an image file's bytes.

    Args:
        path: A regular file, or a link to one.
        name: What to call it in a message.

    Raises:
        BrokenImage: It is neither, or too large, or cannot be read.
    """
    try:
        _check_file(path, name)
        return path.read_bytes()
    except OSError as error:
        raise BrokenImage(name, error.strerror or str(error)) from error


def decode(file: "Path | IO[bytes]", channels: int, name: str) -> "Image":
    """Decode an image file into pixels of 8 bits.

    Args:
        file: Its path, or its bytes.
        channels: 1 or 3; transparency is dropped, palettes are resolved, 16 bits become 8, and
            inks (CMYK) become colours without their ICC profile.
        name: What to call it in a message.

    Raises:
        BrokenImage: It is no image of a known format, is damaged, has several frames, or exceeds
            `MOST_PIXELS`, `MOST_ASPECT` or the memory.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(file, Path):
            _check_file(file, name)
        with Image.open(file, formats=_FORMATS) as image:
            _check_size(image, name)
            return _without_inks(_eight_bits(image, name)).convert(_MODES[channels])
    except BrokenImage:
        raise
    except UnidentifiedImageError as error:  # it names the object that it read from
        raise BrokenImage(name, "it is not an image of a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(name) from error
    except MemoryError as error:
        raise BrokenImage(name, "decoding it needs more memory than is free") from error
    except Exception as error:  # what decoders raise for damaged files has no common root
        cause = getattr(error, "strerror", None) or first_line(error)
        raise BrokenImage(name, cause.rstrip(".")) from error


def _check_file(path: Path, name: str) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BrokenImage(name, "it is not a regular file")
    if found.st_size > _MOST_BYTES:
        raise BrokenImage(
            name,
            f"it is larger than {_MOST_BYTES / 1e6:.0f} MB",
            "scale it down, or remove it",
        )


def _check_size(image: "Image", name: str) -> None:
    short, long = sorted(image.size)
    if short * long > MOST_PIXELS:
        raise _too_many_pixels(name)
    if long > MOST_ASPECT * short:
        raise BrokenImage(
            name,
            f"it is {image.width} x {image.height} pixels, and its longer side may be at most "
            f"{MOST_ASPECT} times the shorter one",
            "crop it, or remove it",
        )
    # A photograph with a second picture for depth or brightness (MPO) is its first one.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BrokenImage(
            name, "it has several frames instead of one", "save one of them, or remove it"
        )


def _eight_bits(image: "Image", name: str) -> "Image":
    """Scale 12 or 16 bits to 8; Pillow would cut them off at 255, which is white."""
    import numpy as np
    from PIL import Image

    # Pillow has 16 bits of a PGM (and, before version 11, of a PNG) as 32-bit integers.
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format != "TIFF")
    if image.mode in _UNKNOWN_RANGE and not sixteen:
        raise BrokenImage(
            name,
            f"its pixels are {_UNKNOWN_RANGE[image.mode]}, whose range is not known",
            "save it with 8 or 16 bits a channel, or remove it",
        )
    if not sixteen:
        return image
    tags = getattr(image, "tag_v2", {})
    bits = next(iter(tags.get(_BITS, ())), 16)
    white = np.uint32((1 << bits) - 1)
    values = np.minimum(np.asarray(image).astype(np.uint32), white)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = white - values
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))


def _without_inks(image: "Image") -> "Image":
    """Resolve what Pillow converts wrongly or with a warning: inks, palettes with transparency."""
    from PIL import ImageChops

    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        return ImageChops.invert(image)  # Pillow takes each JPEG's inks as inverted, as Adobe's are
    if image.mode in {"RGBa", "PA"} or (image.mode == "P" and "transparency" in image.info):
        return image.convert("RGBA")
    return image.convert("LA") if image.mode == "La" else image


def _too_many_pixels(name: str) -> BrokenImage:
    return BrokenImage(
        name, f"it has more than {MOST_PIXELS} pixels", "scale it down, or remove it"
    )
