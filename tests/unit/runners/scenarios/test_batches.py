"""Batches of any size, on backends that take them as they are and on those that pad."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from greenbatch.records import Cell
from greenbatch.runners.backends import Task
from greenbatch.runners.backends.planning import Planning as Plans
from greenbatch.runners.scenarios.batches import Batches

RAN: list[int] = []


@dataclass
class Static:
    """Runs the batch it was made for; tells how many images that were."""

    task: Task
    made: list[int] = field(default_factory=list)

    def run(self) -> None:
        RAN.append(len(self.task.images))


class Flexible(Static):
    """Runs a smaller batch as it is."""

    def resized(self, size: int) -> Callable[[], None]:
        return lambda: RAN.append(size)


class Planning(Flexible):
    """Plans in the first run of each size, which takes much longer."""

    planning = Plans.ONCE

    def resized(self, size: int) -> Callable[[], None]:
        runs = [[size] * 10]

        def run() -> None:
            RAN.extend(runs.pop() if runs else [size])

        return run


def batches(
    kind: type[Static], largest: int, sizes: list[int], cache: Path | None = None
) -> Batches:
    images = np.zeros((largest, 3, 2, 2), np.float32)
    cell = Cell("tiny", "torch-cpu", batch_size=largest)
    task = Task(cell, Path("a"), Path("w"), None, 1, images, cache=cache)  # type: ignore[arg-type]
    RAN.clear()
    return Batches(kind(task), task, sizes)  # type: ignore[arg-type]


def ran(loaded: Batches, sizes: range) -> list[int]:
    for size in sizes:
        loaded.run(size)
    return list(RAN)


def test_a_flexible_backend_runs_each_size_as_it_is() -> None:
    loaded = batches(Flexible, 6, [1, 2, 3, 4, 5, 6])
    assert ran(loaded, range(1, 7)) == [1, 2, 3, 4, 5, 6]
    assert loaded.padding == "none"


def test_a_static_backend_pads_to_the_next_power_of_two_and_says_so(tmp_path: Path) -> None:
    loaded = batches(Static, 6, [1, 2, 3, 4, 5, 6], tmp_path)
    assert ran(loaded, range(1, 7)) == [1, 2, 4, 4, 6, 6]
    assert loaded.padding == "1, 2, 4, 6"
    assert len(loaded.each()) == 4
    # Each keeps what it compiles apart.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch-1", "batch-2", "batch-4"]


@pytest.mark.parametrize("kind", [Static, Flexible])
def test_a_policy_that_forms_full_batches_alone_loads_nothing_more(kind: type[Static]) -> None:
    loaded = batches(kind, 8, [8])
    assert len(loaded.each()) == 1
    loaded.run(8)
    loaded.run(3)  # what is left at the end is flushed
    assert RAN == [8, 8]


def test_sizes_are_warmed_powers_of_two_first_and_for_a_time() -> None:
    loaded = batches(Flexible, 6, [1, 2, 3, 4, 5, 6])
    assert loaded.warm(1, lambda: float(len(RAN)), most_s=100) == 6
    assert RAN == [1, 2, 4, 3, 5, 6]

    RAN.clear()
    assert loaded.warm(2, lambda: float(len(RAN)), most_s=3) == 2
    assert RAN == [1, 1, 2, 2]


@pytest.mark.parametrize("most_s", [0, 45, 10_000])
def test_a_size_that_was_not_planned_before_the_window_is_padded_to_one_that_was(
    most_s: float,
) -> None:
    sizes = list(range(1, 13))
    loaded = batches(Planning, 12, sizes)
    warmed = loaded.warm(2, lambda: float(len(RAN)), most_s)
    planned = set(RAN)
    assert len(planned) == warmed
    assert {1, 2, 4, 8, 12} <= planned  # however little time there is
    assert loaded.padding == ("none" if warmed == 12 else ", ".join(map(str, sorted(planned))))
    assert (warmed == 12) == (most_s == 10_000)
    RAN.clear()
    for size in sizes:
        loaded.run(size)
    assert set(RAN) <= planned
    assert all(ran >= size for size, ran in zip(sizes, RAN, strict=True))


def test_sizes_that_are_compiled_in_their_first_run_are_all_run_before_the_window() -> None:
    """torch.compile is loaded for each power of two and compiles when it runs."""
    loaded = batches(Static, 6, [1, 2, 3, 4, 5, 6])
    assert loaded.warm(2, lambda: float(len(RAN)), most_s=0) == 4
    assert RAN == [1, 1, 2, 2, 4, 4, 6, 6]
