"""Images in a folder for each class: what is there, and what of it can be read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.models.image_files import BrokenImage, decode, find_images, is_passed_over
from greenbatch.runners.training.data.parts import Files, Parts, Survey, divide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN, VALIDATION = "train", "val"
CHANNELS = 3
_PART_NAMES = (
    {TRAIN, "training"},
    {VALIDATION, "valid", "validation", "validate", "dev", "eval"},
    {"test", "testing"},  # validates where none of the others is there
)
_FEW = 3
_VALIDATION_SHARE = 0.2


def find_parts(folder: Path, seed: int) -> Parts:
    """Find the images of a folder, without opening them.

    It holds ``train`` and ``val``, or folders of other usual names (``training``, ``valid``,
    ``Validation``, ``test``, ...), and each of the two a folder for each class; or the folders of
    the classes itself, of which a fifth then validates. Hidden folders and those without an image
    are no classes.

    Args:
        folder: As torchvision's ImageFolder has it.
        seed: Of that division.

    Raises:
        UsageError: There is no such folder, or it is not laid out so.
    """
    import numpy as np

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with a folder for each class")
    named = _parts_by_name(folder)
    if not named:
        classes, passed_over = _classes(folder)
        found = _files(folder, classes)
        first, second = divide(found.labels, _VALIDATION_SHARE, np.random.default_rng(seed))
        split = f"a fifth of each class validates, drawn with seed {seed}"
        return Parts(found.take(first), found.take(second), classes, split + passed_over)
    first_folder, second_folder = named
    classes, passed_over = _classes(first_folder)
    train = _files(first_folder, classes)
    held_out, others = _classes(second_folder)
    if unknown := sorted({*held_out} - {*classes}):
        raise UsageError(
            f"{second_folder} holds the class {unknown[0]!r}, of which {first_folder} has no "
            "image; name its folder as there, or add images"
        )
    split = f"{first_folder.name} and {second_folder.name} are given{passed_over or others}"
    if lacking := [repr(name) for name in classes if name not in held_out]:
        split += f"; {second_folder.name} has no image of {_some(lacking)}"
    unused = [repr(path.name) for path in _own(folder) if path not in named]
    if unused:
        split += f"; {_some(unused)} of {folder.name} is not used"
    return Parts(train, _files(second_folder, classes), classes, split)


def _parts_by_name(folder: Path) -> tuple[Path, Path] | None:
    """Find the folders to train on and to validate with; ``None``: the folder holds classes.

    A class may be called ``train`` or ``test``, too: beside others, and with images in it, not
    folders.
    """
    there = _own(folder)
    train, validation, test = (
        [path for path in there if path.name.lower() in names] for names in _PART_NAMES
    )
    named = train + validation + test
    if not named or (len(named) < len(there) and not any(_own(path) for path in named)):
        return None
    validation = validation or test
    if not train or not validation:
        raise UsageError(
            f"{folder} holds {named[0].name} but not {TRAIN if validation else VALIDATION}; add "
            f"it, or name {named[0]} to have a fifth of its images validate"
        )
    for several in (train, validation):
        if len(several) > 1:
            raise UsageError(
                f"{folder} holds both {several[0].name} and {several[1].name}; rename one of them"
            )
    return train[0], validation[0]


def _own(folder: Path) -> list[Path]:
    """Return the folders in a folder that are one's own, sorted by name."""
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not is_passed_over(path.name)
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


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


def _classes(folder: Path) -> tuple[tuple[str, ...], str]:
    """Return the names of the folders that hold images, and which others hold none or are hidden.

    Returns:
        The names; and a part of a sentence, empty where every folder is a class.
    """
    own = _own(folder)
    if not own:
        raise UsageError(f"{folder} holds no folders; wanted one with images for each class")
    names = tuple(path.name for path in own if find_images(path))
    if not names:
        raise UsageError(f"{folder} has no image in any of its folders; give more")
    others = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and path.name not in names
    )
    reasons = [f"{name!r} ({'hidden' if is_passed_over(name) else 'no image'})" for name in others]
    return names, f"; in {folder.name}, these are no classes: {_some(reasons)}" if reasons else ""


def _files(folder: Path, classes: Sequence[str]) -> Files:
    import numpy as np

    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = find_images(folder / name) if (folder / name).is_dir() else []
        paths += found
        labels += [label] * len(found)
    return Files(paths, np.array(labels, np.int64))
