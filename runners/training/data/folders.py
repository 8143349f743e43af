"""Images in a folder for each class: what is there, and what of it can be read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.models.image_files import SUFFIXES, BrokenImage, decode
from greenbatch.runners.training.data.parts import Files, Parts, Survey, divide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN, VALIDATION = "train", "val"
CHANNELS = 3
_VALIDATION_SHARE = 0.2


def find_parts(folder: Path, seed: int) -> Parts:
    """Find the images of a folder, without opening them.

    It holds ``train`` and ``val``, and each of the two a folder for each class; or the folders of
    the classes itself, of which a fifth then validates.

    Args:
        folder: As torchvision's ImageFolder has it.
        seed: Of that division.

    Raises:
        UsageError: There is no such folder, or it is not laid out so.
    """
    import numpy as np

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with a folder for each class")
    there = [part for part in (TRAIN, VALIDATION) if (folder / part).is_dir()]
    if len(there) == 1:
        other = VALIDATION if there == [TRAIN] else TRAIN
        raise UsageError(
            f"{folder} holds {there[0]} but not {other}; add it, or name {folder / there[0]} to "
            "have a fifth of its images validate"
        )
    if not there:
        classes = _classes(folder)
        found = _files(folder, classes)
        first, second = divide(found.labels, _VALIDATION_SHARE, np.random.default_rng(seed))
        split = f"a fifth of each class validates, drawn with seed {seed}"
        return Parts(found.take(first), found.take(second), classes, split)
    classes = _classes(folder / TRAIN)
    if unknown := sorted({*_classes(folder / VALIDATION)} - {*classes}):
        raise UsageError(
            f"{folder / VALIDATION} holds the class {unknown[0]!r}, which {folder / TRAIN} does "
            "not; name its folder as there"
        )
    train, validation = (_files(folder / part, classes) for part in (TRAIN, VALIDATION))
    return Parts(train, validation, classes, f"{TRAIN} and {VALIDATION} are given")


def survey(files: Files) -> Survey:
    """Decode every image once."""
    import numpy as np

    readable, broken = [], {}
    sizes: set[tuple[int, int]] = set()
    total, squares = np.zeros(CHANNELS), np.zeros(CHANNELS)
    for index, path in enumerate(files.paths):
        try:
            pixels = read(path) / 255.0
        except BrokenImage as error:
            broken[path] = error.reason
            continue
        readable.append(index)
        sizes.add(pixels.shape[:2])
        total += pixels.mean((0, 1))
        squares += (pixels**2).mean((0, 1))
    count = max(1, len(readable))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    used = files.take(np.array(readable, np.int64))
    return Survey(used, broken, frozenset(sizes), tuple(mean.tolist()), tuple(std.tolist()))


def read(path: Path) -> "NDArray[np.uint8]":
    """Read an image as colours (H, W, 3).

    Raises:
        BrokenImage: It cannot be read.
    """
    import numpy as np

    return np.array(decode(path, CHANNELS, str(path)))


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if not names:
        raise UsageError(f"{folder} holds no folders; wanted one with images for each class")
    return names


def _files(folder: Path, classes: Sequence[str]) -> Files:
    import numpy as np

    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(
            path
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        paths += found
        labels += [label] * len(found)
    return Files(paths, np.array(labels, np.int64))
