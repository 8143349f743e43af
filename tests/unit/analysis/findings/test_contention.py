"""Spinning is named where a disturbed repetition is slower than the load of others explains."""

from dataclasses import replace

import pytest

from greenbatch.analysis.findings.contention import spinning_caveats
from greenbatch.records import Cell, Repetition
from tests.fakes import runs

TORCH = "for a while, as OpenMP does unless told otherwise"


def disturbed(
    backend: str, latency_s: float, block: int, spinning: str | bool | None, threads: int = 2
) -> Repetition:
    cell = Cell("alexnet", backend)
    record = runs.repetition(cell, block, latency_s=latency_s, flags=("disturbed",))
    return replace(record, settings={"threads": threads, "spinning": spinning})


@pytest.mark.parametrize(
    ("backend", "spinning", "cure"),
    [
        ("torch-cpu", TORCH, "set OMP_WAIT_POLICY=passive"),
        ("torch-compile-cpu", TORCH, "set OMP_WAIT_POLICY=passive"),
        ("onnxruntime-cpu", True, "add --set onnxruntime-cpu.allow_spinning=0"),
    ],
)
def test_spinning_under_contention_is_named_with_its_cure(
    backend: str, spinning: str | bool, cure: str
) -> None:
    some = [disturbed(backend, seconds, n, spinning) for n, seconds in enumerate((0.014, 2.5))]
    (caveat,) = spinning_caveats(some)
    assert caveat.sentence.startswith(f"1 disturbed repetition of {backend} took up to 179 times")
    assert f"{cure}, or leave a core free with --threads." in caveat.sentence


@pytest.mark.parametrize(
    ("slow_s", "spinning", "threads"),
    [
        (0.04, TORCH, 2),  # others alone may halve the speed
        (2.5, "OMP_WAIT_POLICY=passive", 2),
        (2.5, False, 2),
        (2.5, None, 2),
        (2.5, TORCH, 1),
    ],
)
def test_what_the_load_of_others_explains_is_not_called_spinning(
    slow_s: float, spinning: str | bool | None, threads: int
) -> None:
    seconds = (0.014, slow_s)
    some = [disturbed("torch-cpu", s, n, spinning, threads) for n, s in enumerate(seconds)]
    assert list(spinning_caveats(some)) == []


def test_a_backend_that_is_never_quick_is_compared_with_the_others() -> None:
    others = [disturbed("onnxruntime-cpu", 0.08, block, True) for block in range(2)]
    torch = [disturbed("torch-cpu", seconds, block, TORCH) for block, seconds in enumerate((2, 3))]
    (caveat,) = spinning_caveats([*others, *torch])
    assert caveat.sentence.startswith("2 disturbed repetitions of torch-cpu took up to 38 times")
    assert list(spinning_caveats([*others, disturbed("torch-cpu", 0.6, 0, TORCH)])) == []
