"""Image files of every kind keep their brightness, and what is not one's own is passed over."""

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from greenbatch.models.image_files import decode, find_images

RAMP = np.linspace(0.2, 0.9, 64 * 64).reshape(64, 64)
GREY = Image.fromarray((RAMP * 255).astype(np.uint8))
WIDE = (RAMP * 65_535).astype(np.uint16)
ADOBE = b"\xff\xee\x00\x0eAdobe"
BITS, COMPRESSION, PHOTOMETRIC = 258, 259, 262


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pgm(values: np.ndarray, white: int) -> bytes:
    return b"P5 64 64 %d\n" % white + values.astype(">u2").tobytes()


def white_is_zero() -> bytes:
    return saved(Image.fromarray(65_535 - WIDE), "TIFF", tiffinfo={PHOTOMETRIC: 0})


def twelve_bits() -> bytes:
    """Write a TIFF of two pixels in three bytes, as scanners and microscopes do."""
    values = (RAMP * 4095).astype(np.uint16).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
    strip = packed.astype(np.uint8).tobytes()
    tags = {256: 64, 257: 64, BITS: 12, COMPRESSION: 1, PHOTOMETRIC: 1, 273: 8, 277: 1, 278: 64}
    tags[279] = len(strip)
    entries = b"".join(
        number.to_bytes(2, "little")
        + (4).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for number, value in sorted(tags.items())
    )
    place = (8 + len(strip)).to_bytes(4, "little")
    return b"II*\0" + place + strip + len(tags).to_bytes(2, "little") + entries + bytes(4)


def without_adobe() -> bytes:
    """Write inks as they are, with no segment that says that they are inverted."""
    data = saved(ImageChops.invert(GREY.convert("RGB").convert("CMYK")), "JPEG", quality=95)
    start = data.index(ADOBE)
    return data[:start] + data[start + 16 :]


def transparent(image: Image.Image) -> Image.Image:
    image.putalpha(128)
    return image


KINDS = {
    "16-bit grey PNG": saved(Image.fromarray(WIDE), "PNG"),
    "16-bit grey TIFF": saved(Image.fromarray(WIDE), "TIFF"),
    "16-bit grey TIFF, white is 0": white_is_zero(),
    "12-bit grey TIFF": twelve_bits(),
    "16-bit PGM": pgm(WIDE, 65_535),
    "10-bit PGM": pgm(RAMP * 1023, 1023),
    "CMYK JPEG of Adobe's": saved(GREY.convert("RGB").convert("CMYK"), "JPEG", quality=95),
    "CMYK JPEG without the segment": without_adobe(),
    "CMYK TIFF": saved(GREY.convert("RGB").convert("CMYK"), "TIFF"),
    "palette": saved(GREY.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "palette with transparency": saved(
        GREY.convert("RGB").quantize(256), "PNG", transparency=bytes(range(256))
    ),
    "palette with one transparent colour": saved(
        GREY.convert("RGB").quantize(256), "PNG", transparency=7
    ),
    "RGBA": saved(transparent(GREY.convert("RGB")), "PNG"),
    "grey with transparency": saved(transparent(GREY.copy()), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_keeps_its_brightness_and_causes_no_warning(kind: str, channels: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = np.asarray(decode(BytesIO(KINDS[kind]), channels, kind), float) / 255
    got = pixels.reshape(64, 64, -1)[..., 0]
    assert np.abs(got - RAMP).mean() < 0.02


def test_what_is_hidden_or_a_systems_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".here").mkdir()
    root = tmp_path / ".here"  # the folder that was named may be hidden itself
    for name in ("cat.JPG", "a/dog.Png", "two\nlines.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    wanted = find_images(root)
    assert len(wanted) == 3
    for name in ("._cat.JPG", ".dog.png", "__MACOSX/a.png", "a/@eaDir/x/a.jpg", ".git/a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert find_images(root) == wanted
    Path(os.fsdecode(os.fsencode(root) + b"/th\xe9.png")).touch()
    assert len(find_images(root)) == 4
