"""The data sets that can be trained on, found by name without importing torch.

digits                   scikit-learn's 1797 digits of 8x8, nothing to download
cifar10, fashion-mnist   torchvision's, downloaded once
folder:PATH              images in a folder for each class
"""

import contextlib
import importlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from greenbatch import units
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.runners.training.data import folders
from greenbatch.runners.training.data.parts import (
    Files,
    Parts,
    Pixels,
    Survey,
    divide,
    draw,
    survey_pixels,
)

if TYPE_CHECKING:
    from greenbatch.runners.training.data.tensors import Images

FOLDER = "folder:"
_TORCHVISION = {"cifar10": "CIFAR10", "fashion-mnist": "FashionMNIST"}
_VALIDATION_SHARE = 0.2
_DIGITS_WHITE = 16
_MOST_NAMED = 20
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where images and their classes come from.

    Attributes:
        name: By which it is found.
        about: What it is, in a sentence.
    """

    name: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images to train on, and others to validate on.

    Attributes:
        train, validation: Their images; bytes that are held in memory, where both parts fit.
        shape: Of an image (C, H, W).
        classes: Their names; a class is an index of these.
        mean, std: Of the training images, a value for each channel of 0..1, before they were
            resized; every image counts the same. Both parts are normalised with them. 0 and 1
            where nothing is normalised.
        held: Whether all are held in memory, as bytes.
        skipped: Images that cannot be read.
        notes: What was done with the images, and which cannot be read and why; sentences.
    """

    train: "Images"
    validation: "Images"
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    held: bool
    skipped: int
    notes: tuple[str, ...]


_SOURCES: Mapping[str, DataSource] = {
    source.name: source
    for source in (
        DataSource(
            name="digits",
            about="scikit-learn's handwritten digits: 1797 grey images of 8x8, ten classes; a "
            "fifth of each class validates, drawn by the seed; nothing to download",
        ),
        DataSource(
            name="cifar10",
            about="CIFAR-10: 50,000 + 10,000 colour images of 32x32, ten classes; downloaded "
            "by torchvision (170 MB)",
        ),
        DataSource(
            name="fashion-mnist",
            about="Fashion-MNIST: 60,000 + 10,000 grey images of 28x28, ten classes; downloaded "
            "by torchvision (30 MB)",
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all data sets but folders, which are found as ``folder:PATH``."""
    return tuple(_SOURCES)


def find(name: str) -> DataSource:
    """Return what is known of a data set, without looking whether it is there.

    Raises:
        UnknownNameError: There is no such data set; the message gives the nearest one.
    """
    if name.startswith(FOLDER) and len(name) > len(FOLDER):
        about = f"images in {name.removeprefix(FOLDER)}, in a folder for each class"
        return DataSource(name=name, about=about)
    if name not in _SOURCES:
        raise UnknownNameError("data set", name, (*_SOURCES, f"{FOLDER}PATH"))
    return _SOURCES[name]


def prepare(name: str, data_dir: Path) -> None:
    """See that a data set is there before anything is trained; download it where that is needed.

    Raises:
        UnknownNameError: There is no such data set.
        UsageError: It cannot be had; the message says what to do.
    """
    _read(name, data_dir, seed=0)


def load(
    name: str,
    data_dir: Path,
    *,
    image_size: int | None,
    train_images: int | None,
    validation_images: int | None,
    seed: int,
    cache_bytes: int = 0,
    workers: int = 1,
    normalised: bool = True,
) -> Split:
    """Read a data set, split it, and say how its images are resized and normalised.

    Args:
        name: See `find`.
        data_dir: Where it is, or is downloaded to; of no use to ``digits`` and folders.
        image_size: Height and width that images are resized to, bilinear, antialiased, their
            aspect not kept; ``None``: as they are.
        train_images, validation_images: The most that are taken of each part, each class with its
            share; ``None``: all.
        seed: Of what is drawn: of those images, and of a split where none is given.
        cache_bytes: The most that the images of both parts may take, as bytes of the size that a
            network takes, to be decoded now and held in memory.
        workers: Threads that decode them.
        normalised: By mean and deviation of the training images; else images are of 0..1.

    Raises:
        UnknownNameError: There is no such data set.
        UsageError: It cannot be had, or nothing can be learnt from it; the message says why.
    """
    import numpy as np

    from greenbatch.runners.training.data import tensors

    parts = _read(name, data_dir, seed)
    rng = np.random.default_rng(seed)
    train = _survey(parts.train.take(draw(parts.train.labels, train_images, rng)))
    validation = _survey(
        parts.validation.take(draw(parts.validation.labels, validation_images, rng))
    )
    _check(name, parts.classes, train, validation, image_size)
    height, width = (image_size, image_size) if image_size else next(iter(train.sizes))
    shape = (len(train.mean), height, width)
    images = len(train.part.labels) + len(validation.part.labels)
    size_bytes = images * math.prod(shape)
    if not normalised:
        count = len(train.mean)
        train = replace(train, mean=(0.0,) * count, std=(1.0,) * count)
    ready = tensors.Normalised(train.mean, train.std, tensors.white_of(train.part, image_size))
    made = [tensors.Images(look.part, image_size, ready) for look in (train, validation)]
    held = size_bytes <= cache_bytes
    if held:
        for each in made:
            each.hold(workers)
    broken = {**train.broken, **validation.broken}
    notes = _notes(train, image_size, None if held else size_bytes, cache_bytes)
    return Split(
        train=made[0],
        validation=made[1],
        shape=shape,
        classes=parts.classes,
        mean=train.mean,
        std=train.std,
        held=held,
        skipped=len(broken),
        notes=(parts.split, *notes, *_named(broken)),
    )


def _read(name: str, data_dir: Path, seed: int) -> Parts:
    find(name)
    if name.startswith(FOLDER):
        return folders.find_parts(Path(name.removeprefix(FOLDER)).expanduser(), seed)
    return _digits(seed) if name == "digits" else _torchvision(name, data_dir)


def _digits(seed: int) -> Parts:
    import numpy as np

    try:
        sklearn: Any = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise UsageError(
            "digits come with the package scikit-learn; install it with: pip install "
            "'greenbatch[train]'"
        ) from error
    found = sklearn.load_digits()
    pixels = Pixels(
        found.images.astype(np.uint8)[..., None], found.target.astype(np.int64), _DIGITS_WHITE
    )
    first, second = divide(pixels.labels, _VALIDATION_SHARE, np.random.default_rng(seed))
    classes = tuple(map(str, found.target_names))
    split = f"a fifth of each class validates, drawn with seed {seed}"
    return Parts(pixels.take(first), pixels.take(second), classes, split)


def _torchvision(name: str, data_dir: Path) -> Parts:
    from torchvision import datasets

    kind = getattr(datasets, _TORCHVISION[name])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what torchvision says is no answer of ours
            train, test = (
                kind(root=str(data_dir), train=train, download=True) for train in (True, False)
            )
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error  # of a URLError
        cause = " ".join(str(reason).split()) or type(error).__name__
        raise UsageError(
            f"cannot have {name}: it is not whole in {data_dir} and cannot be downloaded to there "
            f"({cause}); connect to the network once, copy torchvision's files of it to there, or "
            "train on digits, which need no download"
        ) from error
    return Parts(_pixels(train), _pixels(test), tuple(train.classes), "its test images validate")


class _Labelled(Protocol):
    """A data set of torchvision's: images (N, H, W) or (N, H, W, C), and their labels."""

    data: object
    targets: object


def _pixels(found: _Labelled) -> Pixels:
    import numpy as np

    images = np.asarray(found.data)
    grey = images.ndim == 3  # (N, H, W)
    return Pixels(images[..., None] if grey else images, np.asarray(found.targets, np.int64))


def _survey(part: Pixels | Files) -> Survey:
    return folders.survey(part) if isinstance(part, Files) else survey_pixels(part)


def _check(
    name: str,
    classes: tuple[str, ...],
    train: Survey,
    validation: Survey,
    image_size: int | None,
) -> None:
    for look, aim in ((train, "train on"), (validation, "validate on")):
        if len(look.part.labels):
            continue
        if look.broken:
            path, reason = next(iter(look.broken.items()))
            fault = (
                f"none of the {units.count(len(look.broken), 'image')} to {aim} in {name} can be "
                "read"
            )
            raise UsageError(f"{fault}, the first ({path}) because: {reason}; give others")
        raise UsageError(f"{name} has no image to {aim}; give more")
    if len(labels := set(train.part.labels.tolist())) < 2:
        raise UsageError(
            f"{name} has images of one class only ({classes[labels.pop()]}) to train on; give "
            "those of two classes at least"
        )
    sizes = sorted(train.sizes | validation.sizes)
    if image_size is None and len(sizes) > 1:
        several = ", ".join(f"{height}x{width}" for height, width in sizes[:_FEW])
        raise UsageError(
            f"the images of {name} are of {len(sizes)} sizes ({several}, ...); give an image_size "
            "to which all are resized, e.g. 128"
        )


def _notes(
    train: Survey, image_size: int | None, too_many_bytes: int | None, cache_bytes: int
) -> Iterator[str]:
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values) for values in (train.mean, train.std)
    )
    if any(train.mean) or any(value != 1 for value in train.std):
        yield f"normalised with mean {mean} and standard deviation {std} of the training images"
    else:
        yield "not normalised: values of 0 to 1"
    if image_size is not None:
        yield f"resized to {image_size}x{image_size}, bilinear, antialiased, to bytes"
    if too_many_bytes is not None and cache_bytes:
        yield (
            f"{too_many_bytes / 2**30:.2g} GiB as bytes, more than cache_gib "
            f"({cache_bytes / 2**30:g}): each image is decoded when it is taken, which is part of "
            "the training"
        )


def _named(broken: Mapping[Path, str]) -> Iterator[str]:
    for path, reason in list(broken.items())[:_MOST_NAMED]:
        yield f"skipped {path}: {reason}"
    if len(broken) > _MOST_NAMED:
        yield f"skipped {len(broken) - _MOST_NAMED} more images that cannot be read"
