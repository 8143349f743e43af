"""From the parts of a data set to torch's data sets."""

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, TensorDataset

from greenbatch.runners.training.data import folders
from greenbatch.runners.training.data.parts import Files, Pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AT_ONCE = 500
_Values: TypeAlias = tuple[float, ...]


class Normalised:
    """Resizes images to a square and normalises them.

    Args:
        size: Height and width; ``None``: as they are.
        mean, std: A value for each channel of 0..1.
    """

    def __init__(self, size: int | None, mean: _Values, std: _Values) -> None:
        self._size = size
        self._mean = torch.tensor(mean).reshape(-1, 1, 1)
        # of a channel that is the same everywhere nothing is learnt, and nothing is divided by 0
        self._std = torch.tensor([value or 1.0 for value in std]).reshape(-1, 1, 1)

    def __call__(self, images: "NDArray[np.uint8]", white: int) -> torch.Tensor:
        """Return images (N, H, W, C) of 0..white as (N, C, H, W), float32."""
        values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / white
        if self._size is not None and values.shape[2:] != (self._size, self._size):
            square = (self._size, self._size)
            values = interpolate(values, square, mode="bilinear", antialias=True)
        return ((values - self._mean) / self._std).contiguous()


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images that are made ready when they are taken."""

    def __init__(self, part: Pixels | Files, ready: Normalised) -> None:
        self._part = part
        self._ready = ready

    def __len__(self) -> int:
        return len(self._part.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.some(index, index + 1)[0], int(self._part.labels[index])

    def some(self, begin: int, end: int) -> torch.Tensor:
        """Return the images of begin <= index < end (N, C, H, W)."""
        if isinstance(self._part, Pixels):
            return self._ready(self._part.images[begin:end], self._part.white)
        read = (folders.read(path)[None] for path in self._part.paths[begin:end])
        return torch.cat([self._ready(image, 255) for image in read])

    def in_memory(self) -> TensorDataset:
        """Make all of them ready now."""
        images = torch.empty(len(self), *self[0][0].shape)
        for start in range(0, len(self), _AT_ONCE):
            images[start : start + _AT_ONCE] = self.some(start, start + _AT_ONCE)
        labels = torch.from_numpy(self._part.labels)
        return TensorDataset(images, labels)
