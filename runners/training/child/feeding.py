"""Batches of images on the device that trains: in an order that a seed gives, or as they lie."""

import copy
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch.utils.data import TensorDataset

    Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]


class Pairs(Protocol):
    """Images, float32 of shape (C, H, W), with their labels; read when they are taken."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> "tuple[torch.Tensor, int]":
        """Read an image."""


def image_count(images: "Pairs | TensorDataset") -> int:
    """Return how many images there are."""
    return len(images)


class Feeder:
    """Gives the images of one part of a data set, batch by batch.

    What lies in memory is indexed there; else images are read one by one as they are needed, in
    the same thread. Copies to a GPU are part of the pass.

    Args:
        images: Pairs of an image, float32 of shape (C, H, W), and its label.
        batch_size: Of each batch but the last. A last batch of one image is added to the one
            before it: batch normalisation cannot train on a single image.
        device: Where batches are wanted.
    """

    def __init__(
        self, images: "Pairs | TensorDataset", batch_size: int, device: "torch.device"
    ) -> None:
        from torch.utils.data import TensorDataset

        self._images = images
        self._length = image_count(images)
        self._columns = images.tensors if isinstance(images, TensorDataset) else None
        self._batch_size = batch_size
        self._device = device

    def __len__(self) -> int:
        return self._length

    def first(self) -> "Feeder":
        """Return a feeder of the first batch alone."""
        feeder = copy.copy(self)
        feeder._length = min(self._length, self._batch_size)
        return feeder

    def in_order(self) -> "Iterator[Batch]":
        """Yield every image once, as they lie."""
        import torch

        return self._batches(torch.arange(len(self)))

    def shuffled(self, seed: int, epoch: int) -> "Iterator[Batch]":
        """Yield every image once, in the order of an epoch: the same for the same seed."""
        import torch

        drawn = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return self._batches(torch.randperm(len(self), generator=drawn))

    def endless(self, seed: int) -> "Iterator[Batch]":
        """Yield full batches without end, in orders that no epoch has."""
        for epoch in count(1):
            yield from self.shuffled(seed, -epoch)

    def _batches(self, order: "torch.Tensor") -> "Iterator[Batch]":
        for places in self._cut(order):
            images, labels = self._read(places)
            yield (
                images.to(self._device, non_blocking=True),
                labels.to(self._device, non_blocking=True),
            )

    def _cut(self, order: "torch.Tensor") -> "list[torch.Tensor]":
        import torch

        parts = list(torch.split(order, self._batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1 < self._batch_size:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    def _read(self, places: "torch.Tensor") -> "Batch":
        import torch

        if self._columns is not None:
            images, labels = self._columns
            return images[places], labels[places].long()
        pairs = [self._images[place] for place in places.tolist()]
        return (
            torch.stack([image for image, _ in pairs]),
            torch.tensor([int(label) for _, label in pairs]),
        )
