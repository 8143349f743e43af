"""Bisection for the largest batch, and what a run makes of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.records import Capacity, Cell, Status
from greenbatch.runners.run.capacity import largest_fitting
from greenbatch.runners.run.execute import MemoryBounds
from tests.unit.records.test_records import repetition

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
