"""The parts of a data set before they are tensors: pixels or files, with their classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images in memory, all of one size.

    Attributes:
        images: Array (N, H, W, C), uint8.
        labels: Class of each (N).
        white: The largest value that a pixel can have.
    """

    images: "NDArray[np.uint8]"
    labels: "Indices"
    white: int = 255

    def take(self, indices: "Indices") -> "Pixels":
        """Return some of the images."""
        return Pixels(self.images[indices], self.labels[indices], self.white)


@dataclass(frozen=True, slots=True)
class Files:
    """Images on the disk.

    Attributes:
        paths: The files (N).
        labels: Class of each (N).
    """

    paths: Sequence[Path]
    labels: "Indices"

    def take(self, indices: "Indices") -> "Files":
        """Return some of the images."""
        return Files([self.paths[index] for index in indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class Parts:
    """A data set as it was read.

    Attributes:
        train, validation: Both pixels, or both files.
        classes: Their names.
        split: How they came apart, a sentence.
    """

    train: Pixels | Files
    validation: Pixels | Files
    classes: tuple[str, ...]
    split: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look at every image of a part found.

    Attributes:
        part: Those that can be read.
        broken: The reason why another cannot, by its path.
        sizes: Heights and widths among those that can.
        mean, std: A value for each channel of 0..1; every image counts the same.
    """

    part: Pixels | Files
    broken: Mapping[Path, str]
    sizes: frozenset[tuple[int, int]]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def survey_pixels(pixels: Pixels) -> Survey:
    """Look at images in memory, of which none can be broken."""
    import numpy as np

    means, squares = [], []
    for image in pixels.images:  # one by one: as floats, all of them are four times as large
        values = image / pixels.white
        means.append(values.mean((0, 1)))
        squares.append((values**2).mean((0, 1)))
    mean = np.mean(means, 0)
    std = np.sqrt(np.maximum(np.mean(squares, 0) - mean**2, 0))
    size = (pixels.images.shape[1], pixels.images.shape[2])
    return Survey(pixels, {}, frozenset({size}), tuple(mean.tolist()), tuple(std.tolist()))


def draw(labels: "Indices", count: int | None, rng: "np.random.Generator") -> "Indices":
    """Draw images so that each class keeps its share, to a whole image.

    Args:
        labels: Class of each image (N).
        count: How many; ``None``, or N and more: all.
        rng: What draws.

    Returns:
        Their indices, ascending.
    """
    import numpy as np

    if count is None or count >= len(labels):
        return np.arange(len(labels))
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = count * sizes / len(labels)
    counts = quotas.astype(np.int64)
    by_rest = np.lexsort((rng.permutation(len(classes)), counts - quotas))  # largest first
    counts[by_rest[: count - counts.sum()]] += 1
    drawn = [
        rng.choice(np.flatnonzero(labels == each), size, replace=False)
        for each, size in zip(classes, counts, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def divide(
    labels: "Indices", share: float, rng: "np.random.Generator"
) -> "tuple[Indices, Indices]":
    """Divide images into two parts in which each class has the same share.

    Args:
        labels: Class of each image (N).
        share: Of the second part, rounded up to a whole image.
        rng: What draws.

    Returns:
        Indices of the first part and of the second one, ascending.
    """
    import numpy as np

    second = draw(labels, math.ceil(share * len(labels)), rng)
    return np.setdiff1d(np.arange(len(labels)), second), second
