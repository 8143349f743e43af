"""Which repetitions share a process, and when it ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, cast

import pytest

from greenbatch.records import Cell
from greenbatch.runners.child.sessions import Sessions

if TYPE_CHECKING:
    from greenbatch.runners.child.handle import ChildProcess
    from greenbatch.runners.child.starting import Starter

CELL = Cell("alexnet", "onnxruntime-cpu")


@dataclass
class Child:
    """A child that notes what becomes of it."""

    isolation: str = "fork"
    goes_on: bool = False
    has_ended: bool = False
    jobs: list[str] = field(default_factory=list)
    allowed_s: float = 0.0
    left: list[object] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.left.append(kind)

    def begin(self, job: str, backend: str) -> None:
        """Note the job."""
        self.jobs.append(f"{job} {backend}")

    def allow(self, timeout_s: float) -> None:
        """Note the time."""
        self.allowed_s = timeout_s


class Starts:
    """Starts such children, and keeps them; no two live at a time."""

    servers_s = 0.0

    def __init__(self) -> None:
        self.children: list[Child] = []

    def start(self, backend: str, timeout_s: float, environment: Mapping[str, str]) -> Child:
        """Start one."""
        assert all(child.left for child in self.children), "the one before has not ended"
        self.children.append(Child())
        return self.children[-1]


class Run:
    """Takes children for cells one after another."""

    def __init__(self, *, shared: bool = True) -> None:
        self.starts = Starts()
        self.sessions = Sessions(cast("Starter", self.starts), shared=shared)

    def measure(
        self,
        size: int,
        *,
        model: str = "alexnet",
        block: int = 0,
        goes_on: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Return the child that measured a cell."""
        cell = Cell(model, CELL.backend, batch_size=size)
        with self.sessions.child(cell, block, float(size), environment or {}) as taken:
            child = cast("Child", taken)
            assert not child.left
            child.goes_on = goes_on
            return child

    def fail(self, size: int) -> Child:
        """Return the child that failed to measure a cell."""
        with (
            suppress(ValueError),
            self.sessions.child(replace(CELL, batch_size=size), 0, 1.0, {}) as taken,
        ):
            raise ValueError("lost")
        return cast("Child", taken)


@contextmanager
def running(*, shared: bool = True) -> Iterator[Run]:
    """A run that ends."""
    run = Run(shared=shared)
    with run.sessions:
        yield run
    assert all(len(child.left) == 1 for child in run.starts.children)


def test_batch_sizes_of_a_network_share_a_process_within_a_block() -> None:
    with running() as run:
        first = run.measure(4)
        assert not first.left
        assert run.measure(1) is first
        assert run.measure(16) is first
        assert first.jobs == ["repetition onnxruntime-cpu"]
        assert first.allowed_s == 16.0
        assert run.measure(4, block=1) is not first
        assert first.left == [None]


@pytest.mark.parametrize(
    "other", [{"model": "vit_b_16"}, {"environment": {"OMP_NUM_THREADS": "1"}}, {"block": 1}]
)
def test_what_differs_in_more_than_the_batch_size_has_another_process(
    other: dict[str, object],
) -> None:
    with running() as run:
        first = run.measure(4)
        assert run.measure(1, **other) is not first  # type: ignore[arg-type]


def test_a_network_that_does_not_go_on_is_loaded_each_time() -> None:
    with running() as run:
        first = run.measure(4, goes_on=False)
        assert first.left == [None]
        assert run.measure(1) is not first


def test_without_sessions_every_repetition_has_its_process() -> None:
    with running(shared=False) as run:
        first = run.measure(4)
        assert first.left == [None]
        assert run.measure(1) is not first
        assert run.sessions.isolation(cast("ChildProcess", first)) == "fork"


def test_the_record_says_what_shares_a_process() -> None:
    with running() as run:
        shared, alone = run.measure(4), run.measure(4, block=1, goes_on=False)
        assert run.sessions.isolation(cast("ChildProcess", shared)) == "session"
        assert run.sessions.isolation(cast("ChildProcess", alone)) == "fork"


def test_a_child_that_has_ended_meanwhile_is_not_asked_again() -> None:
    with running() as run:
        first = run.measure(4)
        first.has_ended = True
        assert run.measure(1) is not first


def test_a_child_that_fails_is_ended_as_failed_and_not_kept() -> None:
    with running() as run:
        first = run.measure(4)
        assert run.fail(4) is first
        assert first.left == [ValueError]
        assert run.measure(1) is not first
