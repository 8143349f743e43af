"""An image from anybody is read within limits, or named with the reason."""

import os
import struct
import subprocess
import sys
import textwrap
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from greenbatch.errors import UsageError
from greenbatch.models import InputSpec
from greenbatch.models.image_files import MOST_PIXELS, BrokenImage, decode
from greenbatch.models.image_folder import load_photograph, read_batches
from greenbatch.runners.scenarios.preprocessing import survey
from greenbatch.runners.training.data import folders
from greenbatch.runners.training.data.parts import Files

FORM = InputSpec(shape=(3, 8, 8), resize=8, crop=8)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def png(width: int, height: int) -> bytes:
    """Write a grey PNG whose header promises so many pixels, of which none follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + end

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(kind: str, image: Image.Image, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


MOVING = {"save_all": True, "append_images": [noise(9, 8).rotate(90)]}
UNFIT = {
    "long.png": (saved("PNG", Image.new("L", (1, 60_000))), "it is 1 x 60000 pixels, and its"),
    "wide.jpg": (saved("JPEG", Image.new("L", (6000, 100))), "at most 50 times the shorter one"),
    "huge.png": (png(30_000, 30_000), f"it has more than {MOST_PIXELS} pixels"),
    "large.png": (png(9_500, 9_500), f"it has more than {MOST_PIXELS} pixels"),
    "empty.png": (png(0, 7), "."),
    "postscript.jpg": (EPS, "it is not an image of a known format"),
    "document.jpg": (saved("PDF", noise(9, 8)), "it is not an image of a known format"),
    "icon.png": (saved("ICO", noise(9, 8)), "it is not an image of a known format"),
    "moving.webp": (saved("WEBP", noise(9, 8), **MOVING), "several frames instead of one"),
    "moving.png": (saved("PNG", noise(9, 8), **MOVING), "several frames instead of one"),
    "moving.jpg": (saved("GIF", noise(9, 8), **MOVING), "several frames instead of one"),
    "pages.tif": (saved("TIFF", noise(9, 8), **MOVING), "several frames instead of one"),
    "torn.jpg": (saved("JPEG", noise(90, 80))[:-900], "truncated"),
    "torn.png": (saved("PNG", noise(90, 80))[:-900], "."),
    "nothing.png": (b"", "it is not an image of a known format"),
    "float.tif": (saved("TIFF", Image.new("F", (9, 8), 0.5)), "floating-point numbers, whose"),
    "integers.tif": (saved("TIFF", Image.new("I", (9, 8), 5)), "32-bit integers, whose range"),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_unfit_image_is_named_with_the_reason(tmp_path: Path, name: str) -> None:
    data, reason = UNFIT[name]
    path = tmp_path / name
    path.write_bytes(data)
    for file in (path, BytesIO(data)):
        with pytest.raises(BrokenImage, match=reason) as caught:
            decode(file, 3, name)
        assert str(caught.value).startswith(f"cannot read the image {name}: ")
        assert "remove it" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_warning_of_a_decompression_bomb_is_the_same_sentence_when_it_is_an_error() -> None:
    with pytest.raises(BrokenImage, match="has more than"):  # warnings are errors here
        decode(BytesIO(png(9_500, 9_500)), 3, "large.png")


def test_everything_that_reads_images_leaves_the_unfit_ones_out(tmp_path: Path) -> None:
    for name in ("long.png", "postscript.jpg", "moving.webp"):
        (tmp_path / name).write_bytes(UNFIT[name][0])
    (tmp_path / "good.png").write_bytes(saved("PNG", noise(9, 8)))
    paths = sorted(tmp_path.iterdir())
    unfit = {"long.png", "postscript.jpg", "moving.webp"}

    measured = survey(tmp_path)
    assert set(measured.broken) == unfit
    evaluated: list[Path] = []
    batches = list(read_batches(paths, FORM, 2, lambda path, _: evaluated.append(path)))
    assert {path.name for path in evaluated} == unfit
    assert sum(len(images) for _, images in batches) == 1
    trained = folders.survey(Files(paths, np.zeros(len(paths), np.int64)))
    assert {path.name for path in trained.broken} == unfit


def test_a_named_pipe_is_no_image_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BrokenImage, match="not a regular file"):
        load_photograph(tmp_path / "pipe.png", FORM)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(saved("PNG", noise(9, 8)))
    os.truncate(path, 300_000_000)  # a hole: takes no room on the disk
    with pytest.raises(BrokenImage, match="larger than 256 MB"):
        load_photograph(path, FORM)
    with pytest.raises(UsageError, match="larger than 256 MB"):
        survey(tmp_path)


def test_an_image_that_a_network_would_stretch_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(saved("PNG", noise(400, 10)))
    wide = InputSpec(shape=(3, 2000, 2000), resize=2000, crop=2000)
    with pytest.raises(UsageError, match="would become 80000 x 2000"):
        load_photograph(path, wide)


@pytest.mark.slow
@pytest.mark.parametrize("height", [40_000, 60_000])
def test_a_hostile_image_needs_little_memory_and_running_out_of_it_is_one_sentence(
    tmp_path: Path, height: int
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG", Image.new("L", (1 if height > 50_000 else 2_000, height))))
    program = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        import numpy, PIL.Image, PIL.PngImagePlugin
        from greenbatch.models import InputSpec
        from greenbatch.models.image_folder import load_photograph
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000,) * 2)
        try:
            load_photograph(Path({str(path)!r}), InputSpec())
        except Exception as error:
            print(type(error).__name__, error)
    """)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert run.stderr == ""
    assert run.stdout.startswith("BrokenImage cannot read the image")
    assert ("at most 50 times" if height > 50_000 else "needs more memory") in run.stdout


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_brightness(kind: str) -> None:
    ramp = np.linspace(0.2, 0.9, 64 * 64).reshape(64, 64)
    data = saved(kind, Image.fromarray((ramp * 65_535).astype(np.uint16)))
    for channels in (1, 3):
        mean = np.asarray(decode(BytesIO(data), channels, "grey"), float).mean() / 255
        assert mean == pytest.approx(ramp.mean(), abs=0.005)


def test_a_photograph_with_a_second_picture_in_it_is_its_first() -> None:
    image = noise(90, 80)
    data = saved("MPO", image, save_all=True, append_images=[image.rotate(180)])
    assert decode(BytesIO(data), 3, "phone.jpg").size == (90, 80)
