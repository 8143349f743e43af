"""From the parts of a data set to batches of bytes, and from bytes to what a network takes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn.functional import interpolate

from greenbatch.runners.training.data import folders
from greenbatch.runners.training.data.parts import Files, Pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AT_ONCE = 500
_WHITE = 255
_Values: TypeAlias = tuple[float, ...]


class Normalised:
    """Turns bytes of 0..white into float32 of mean 0 and deviation 1 over the training images.

    Args:
        mean, std: A value for each channel of 0..1.
        white: The largest value of a byte.
    """

    def __init__(self, mean: _Values, std: _Values, white: int) -> None:
        self._white = white
        self._mean = torch.tensor(mean).reshape(-1, 1, 1)
        # of a channel that is the same everywhere nothing is learnt, and nothing is divided by 0
        self._std = torch.tensor([value or 1.0 for value in std]).reshape(-1, 1, 1)

    def shares(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (N, C, H, W), uint8, as float32 of 0..1, on their device."""
        return images.float().div_(self._white)

    def __call__(self, shares: torch.Tensor) -> torch.Tensor:
        """Normalise images of 0..1 in place, on their device."""
        if self._mean.device != shares.device:
            self._mean, self._std = self._mean.to(shares.device), self._std.to(shares.device)
        return shares.sub_(self._mean).div_(self._std)


class Images:
    """Images of one part of a data set as bytes, of one size.

    Args:
        part: Pixels, or files that can be read.
        size: Height and width that images are resized to, bilinear, antialiased; ``None``: as they
            are.
        ready: Turns bytes into what a network takes.
    """

    def __init__(self, part: Pixels | Files, size: int | None, ready: Normalised) -> None:
        self._part = part
        self._size = size
        self._held: torch.Tensor | None = None
        self.ready = ready
        self.labels = torch.from_numpy(part.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return an image as a network takes it (C, H, W), float32, and its class."""
        images, labels = self.take(torch.tensor([index]))
        return self.ready(self.ready.shares(images))[0], int(labels[0])

    def take(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images at these places (N, C, H, W), uint8, and their classes (N), int64."""
        held = self._held  # index_select copies whole rows
        images = self._made(places.tolist()) if held is None else held.index_select(0, places)
        return images, self.labels[places]

    def hold(self, workers: int) -> None:
        """Decode and resize all of them now, with so many threads, and keep the bytes."""
        if not len(self):
            return
        held = torch.empty(len(self), *self._made([0]).shape[1:], dtype=torch.uint8)

        def fill(begin: int) -> None:
            end = min(begin + _AT_ONCE, len(self))
            held[begin:end] = self._made(range(begin, end))

        with ThreadPoolExecutor(max(1, workers)) as pool:
            for _ in pool.map(fill, range(0, len(self), _AT_ONCE)):
                pass  # an error in a thread is raised here
        self._held = held

    def _made(self, places: Sequence[int]) -> torch.Tensor:
        if isinstance(self._part, Pixels):
            return _resized(self._part.images[list(places)], self._size, self._part.white)
        read = (folders.read(self._part.paths[place])[None] for place in places)
        return torch.cat([_resized(image, self._size, _WHITE) for image in read])


def white_of(part: Pixels | Files, size: int | None) -> int:
    """Return the largest value of a byte of its images; resized ones use all of a byte."""
    return part.white if isinstance(part, Pixels) and size is None else _WHITE


def _resized(images: "NDArray[np.uint8]", size: int | None, white: int) -> torch.Tensor:
    values = torch.from_numpy(images).permute(0, 3, 1, 2)
    if size is None:
        return values.contiguous()
    if white != _WHITE:
        values = values.float().mul_(_WHITE / white).round_().to(torch.uint8)
    if values.shape[2:] != (size, size):
        values = interpolate(values, (size, size), mode="bilinear", antialias=True)
    return values.contiguous()
