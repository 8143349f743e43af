"""Batches: every image once, in an order of a seed, read ahead or not."""

import threading
from collections.abc import Iterable, Iterator

import pytest
import torch

from greenbatch.runners.training.child.feeding import Feeder
from greenbatch.runners.training.child.reading import Readers
from greenbatch.runners.training.data.augmentation import Augmentation
from greenbatch.runners.training.data.tensors import Normalised

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")


class Numbered:
    """Images of 2x2 whose values are their places."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ready = Normalised((0.25,), (0.5,), 255)
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def take(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.threads.add(threading.current_thread().name)
        return places.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2), places


@pytest.fixture
def readers() -> Iterator[Readers]:
    with Readers(3, 2) as opened:
        yield opened


def seen(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    return [int(label) for _, labels in batches for label in labels]


def test_an_epoch_has_every_image_once_in_an_order_of_its_seed() -> None:
    feeder = Feeder(Numbered(100), 32, CPU)
    first, again = seen(feeder.shuffled(1, 0)), seen(feeder.shuffled(1, 0))
    assert sorted(first) == list(range(100))
    assert first == again != seen(feeder.shuffled(1, 1))
    assert first != seen(feeder.shuffled(2, 0))
    assert seen(feeder.in_order()) == list(range(100))
    assert seen(feeder.first().in_order()) == list(range(32))


def test_a_single_image_that_is_left_goes_with_the_batch_before() -> None:
    def sizes(count: int, size: int) -> list[int]:
        return [len(labels) for _, labels in Feeder(Numbered(count), size, CPU).in_order()]

    assert sizes(65, 32) == [32, 33]
    assert sizes(66, 32) == [32, 32, 2]
    assert sizes(3, 1) == [1, 1, 1]
    assert sizes(1, 32) == [1]


def test_bytes_are_normalised() -> None:
    images, labels = next(Feeder(Numbered(10), 4, CPU).in_order())
    assert images.shape == (4, 1, 2, 2)
    assert labels.dtype == torch.int64
    torch.testing.assert_close(images[:, 0, 0, 0], (labels / 255 - 0.25) / 0.5)


def test_readers_change_nothing_but_who_reads(readers: Readers) -> None:
    ahead, alone = Numbered(100), Numbered(100)
    pairs = zip(
        Feeder(ahead, 7, CPU, readers).shuffled(5, 2),
        Feeder(alone, 7, CPU).shuffled(5, 2),
        strict=True,
    )
    for (images, labels), (expected, classes) in pairs:
        assert torch.equal(images, expected)
        assert torch.equal(labels, classes)
    assert alone.threads == {threading.current_thread().name}
    assert all(name.startswith("reader") for name in ahead.threads)


def test_readers_are_no_more_ahead_than_they_may(readers: Readers) -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item

    items = readers.map(make, iter(range(100)))
    assert next(items) == 0
    assert len(made) <= 3 * 2 + 1
    assert list(items) == list(range(1, 100))


def test_an_error_of_a_reader_is_raised_at_its_place(readers: Readers) -> None:
    items = readers.map(lambda item: 1 // (3 - item), iter(range(10)))
    assert [next(items) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_readers_leave_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    with Readers(2, 1) as readers:
        assert torch.get_num_threads() == before
        assert set(readers.map(lambda _: torch.get_num_threads(), range(8))) == {1}


def test_augmentation_acts_in_training_alone_and_alike_for_one_seed(readers: Readers) -> None:
    changes = Augmentation(("brightness",), seed=4)
    feeder = Feeder(Numbered(50), 8, CPU, readers, changes)
    plain = Feeder(Numbered(50), 8, CPU)
    first, again, other = (
        torch.cat([images for images, _ in feeder.shuffled(5, epoch)]) for epoch in (2, 2, 3)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.cat([images for images, _ in plain.shuffled(5, 2)]))
    assert not torch.equal(first.sort(0).values, other.sort(0).values)
    for (images, _), (expected, _) in zip(feeder.in_order(), plain.in_order(), strict=True):
        assert torch.equal(images, expected)
