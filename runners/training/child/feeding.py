"""Batches of images on the device that trains: in an order that a seed gives, or as they lie."""

import copy
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeAlias

from greenbatch.runners.training.child.reading import Readers

if TYPE_CHECKING:
    import torch

    from greenbatch.runners.training.data.augmentation import Augmentation

    Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
    _Part: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]


class Ready(Protocol):
    """Turns bytes into what a network takes, on their device."""

    def shares(self, images: "torch.Tensor", /) -> "torch.Tensor":
        """Return images (N, C, H, W), uint8, as float32 of 0..1."""

    def __call__(self, shares: "torch.Tensor", /) -> "torch.Tensor":
        """Normalise images of 0..1."""


class Source(Protocol):
    """Images of one part of a data set; see `greenbatch.runners.training.data.tensors.Images`."""

    @property
    def ready(self) -> Ready:
        """What turns its bytes into what a network takes."""

    def __len__(self) -> int:
        """Return how many there are."""

    def take(self, places: "torch.Tensor", /) -> "Batch":
        """Return the images at these places (N, C, H, W), uint8, and their classes (N)."""


class Feeder:
    """Gives the images of one part of a data set, batch by batch.

    Readers take the bytes of the next batches while the device works. For a GPU they go there as
    bytes, a quarter of what a network takes, and are made ready there; for a CPU the readers make
    them ready. Both are part of the pass.

    Args:
        images: Of the part.
        batch_size: Of each batch but the last. A last batch of one image is added to the one
            before it: batch normalisation cannot train on a single image.
        device: Where batches are wanted.
        readers: What reads ahead; none: in the same thread.
        augmentation: What changes the images of `shuffled`; ``None``: nothing does.
    """

    def __init__(
        self,
        images: Source,
        batch_size: int,
        device: "torch.device",
        readers: Readers | None = None,
        augmentation: "Augmentation | None" = None,
    ) -> None:
        self._images = images
        self._length = len(images)
        self._batch_size = batch_size
        self._device = device
        self._readers = readers or Readers(0, 0)
        self._augmentation = augmentation

    def __len__(self) -> int:
        return self._length

    def first(self) -> "Feeder":
        """Return a feeder of the first batch alone."""
        feeder = copy.copy(self)
        feeder._length = min(self._length, self._batch_size)
        return feeder

    def in_order(self) -> "Iterator[Batch]":
        """Yield every image once, as they lie and as they are."""
        import torch

        return self._batches(torch.arange(len(self)), None)

    def shuffled(self, seed: int, epoch: int) -> "Iterator[Batch]":
        """Yield every image once, in the order of an epoch: the same for the same seed."""
        import torch

        drawn = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(self), generator=drawn)
        draws = self._augmentation.drawn(len(self), epoch) if self._augmentation else None
        return self._batches(order, draws)

    def endless(self, seed: int) -> "Iterator[Batch]":
        """Yield full batches without end, in orders that no epoch has."""
        for epoch in count(1):
            yield from self.shuffled(seed, -epoch)

    def _batches(self, order: "torch.Tensor", draws: "torch.Tensor | None") -> "Iterator[Batch]":
        on_device = self._device.type != "cpu"
        read = self._read if on_device else self._read_ready
        for images, labels, drawn in self._readers.map(read, self._cut(order, draws)):
            moved = self._moved(images)
            if on_device:
                moved = self._ready(moved, None if drawn is None else self._moved(drawn))
            yield moved, self._moved(labels)

    def _moved(self, tensor: "torch.Tensor") -> "torch.Tensor":
        return tensor.to(self._device, non_blocking=True)

    def _cut(self, order: "torch.Tensor", draws: "torch.Tensor | None") -> "list[_Part]":
        """Cut an epoch into batches: places, and what is drawn for them."""
        import torch

        parts = list(torch.split(order, self._batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1 < self._batch_size:
            parts[-2:] = [torch.cat(parts[-2:])]
        if draws is None:
            return [(part, None) for part in parts]
        return list(zip(parts, torch.split(draws, [len(part) for part in parts]), strict=True))

    def _read(self, part: "_Part") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]":
        places, drawn = part
        images, labels = self._images.take(places)
        return images.pin_memory(), labels.pin_memory(), drawn

    def _read_ready(
        self, part: "_Part"
    ) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]":
        places, drawn = part
        images, labels = self._images.take(places)
        return self._ready(images, drawn), labels, None

    def _ready(self, images: "torch.Tensor", drawn: "torch.Tensor | None") -> "torch.Tensor":
        ready = self._images.ready
        shares = ready.shares(images)
        if self._augmentation and drawn is not None:
            shares = self._augmentation(shares, drawn)
        return ready(shares)
