"""Bisection for the largest batch, and what a run makes of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.records import Capacity, Cell, Status
from greenbatch.runners.child.handle import ChildFailed
from greenbatch.runners.run import capacity as module
from greenbatch.runners.run.capacity import find_capacity, largest_fitting
from greenbatch.runners.run.execute import MemoryBounds
from tests.fakes.records import repetition

CELL = Cell("alexnet", "torch-cuda")


@given(st.integers(0, 5000), st.integers(1, 4096))
def test_the_largest_batch_is_found_within_a_sixteenth(truth: int, bound: int) -> None:
    tried = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= truth

    largest, failing = largest_fitting(fits, bound)
    assert max(tried) <= bound
    assert largest == 0 or largest in tried
    assert largest <= truth
    if failing is None:
        assert largest == bound
    else:
        assert failing > truth
        assert failing - largest <= max(1, largest // 16)
    assert len(tried) == len(set(tried)) <= 13 + 5


OUT_OF_MEMORY = ChildFailed(Status.OOM, "out of memory: CUDA out of memory")
MISPLACED = ChildFailed(Status.ERROR, "nodes are left to the CPU")
TOO_SLOW = ChildFailed(Status.TIMEOUT, "stopped while loading: it took longer than 300 s")


def search(monkeypatch: pytest.MonkeyPatch, failures: Mapping[int, ChildFailed]) -> Capacity:
    """Search up to 64; from each of these sizes on, a batch fails as stated."""

    def attempt(cell: Cell, *_: object) -> ChildFailed | None:
        return failures.get(max((size for size in failures if size <= cell.batch_size), default=0))

    monkeypatch.setattr(module, "_try", attempt)
    study: Any = type("Study", (), {"probe_max_batch": 64})
    return find_capacity(CELL, cast("Any", None), study, {})


def test_what_does_not_fit_bounds_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = search(monkeypatch, {24: OUT_OF_MEMORY})
    assert (found.cell.batch_size, found.smallest_failing, found.fits) == (23, 24, True)
    assert (found.reason, found.ended) == (OUT_OF_MEMORY.reason, "")
    none = search(monkeypatch, {1: OUT_OF_MEMORY})
    assert (none.fits, none.smallest_failing, none.ended) == (False, 1, "")


@pytest.mark.parametrize("failure", [MISPLACED, TOO_SLOW])
def test_a_failure_of_another_kind_says_nothing_about_memory(
    monkeypatch: pytest.MonkeyPatch, failure: ChildFailed
) -> None:
    at_once = search(monkeypatch, {1: failure})
    assert (at_once.fits, at_once.smallest_failing, at_once.reason) == (False, None, "")
    assert at_once.ended == f"the search ended at batch size 1: {failure.reason}"
    later = search(monkeypatch, {32: failure})
    assert (later.cell.batch_size, later.fits, later.smallest_failing) == (16, True, None)
    both = search(monkeypatch, {20: failure, 32: OUT_OF_MEMORY})
    assert (both.cell.batch_size, both.smallest_failing) == (16, 32)
    assert "batch size 24" in both.ended
    for found in (at_once, later):
        bounds = MemoryBounds([found], ())
        assert bounds.reason(replace(CELL, batch_size=64)) is None
        assert bounds.unknown([CELL]) == []


def failed(size: int) -> object:
    return replace(
        repetition(),
        cell=replace(CELL, batch_size=size),
        status=Status.OOM,
        reason="out of memory",
        images=None,
    )


def test_a_batch_that_ran_out_of_memory_is_tried_again_but_no_larger_one() -> None:
    bounds = MemoryBounds((), [failed(32)])  # type: ignore[list-item]
    assert bounds.reason(replace(CELL, batch_size=32)) is None
    assert "out of memory" in (bounds.reason(replace(CELL, batch_size=33)) or "")
    other = replace(CELL, batch_size=64, precision="fp16")
    assert bounds.reason(other) is None


@pytest.mark.parametrize(("size", "tried"), [(40, True), (41, True), (42, False), (64, False)])
def test_what_was_probed_not_to_fit_is_not_tried(size: int, tried: bool) -> None:
    capacity = Capacity(cell=replace(CELL, batch_size=40), fits=True, smallest_failing=42)
    bounds = MemoryBounds([capacity], ())
    assert (bounds.reason(replace(CELL, batch_size=size)) is None) == tried
    cells = [replace(CELL, batch_size=size), replace(CELL, backend="torch-cpu", batch_size=size)]
    assert bounds.unknown(cells) == [Cell("alexnet", "torch-cpu")]
