"""What a child checks before and after it measures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from greenbatch.errors import MeasurementError
from greenbatch.records import Agreement, Cell
from greenbatch.runners import backends
from greenbatch.runners.child import jobs, system, windows

pytestmark = pytest.mark.numeric


def test_logits_that_are_not_finite_are_not_measured() -> None:
    with pytest.raises(MeasurementError, match="1 values that are not finite; wanted 2 rows"):
        jobs._check_logits(np.array([[1.0], [np.nan]]), 2)
    with pytest.raises(MeasurementError, match="wanted 3 rows"):
        jobs._check_logits(np.zeros((2, 1)), 3)


def test_a_drift_inside_the_window_is_noticed() -> None:
    assert windows._steady_halves(np.full(100, 0.01), 0.05)
    assert not windows._steady_halves(np.linspace(0.01, 0.02, 100), 0.05)


def task(precision: str, batch_size: int) -> backends.Task:
    """A task of which only the cell matters."""
    cell = Cell("alexnet", "torch-cpu", precision, batch_size=batch_size)
    images = np.zeros((batch_size, 3, 2, 2), np.float32)
    return backends.Task(cell, Path("a"), Path("w"), None, 1, images)  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "error"), [("fp32", 0.002), ("fp16", 1.0), ("int8", 3.0)])
def test_outputs_beyond_the_precisions_bound_are_refused(
    tmp_path: Path, precision: str, error: float
) -> None:
    wanted = np.random.default_rng(0).standard_normal((4, 10))
    np.save(tmp_path / "reference.npy", wanted)
    reference = tmp_path / "reference.npy"
    good = jobs._agreement(np.tile(wanted, (2, 1)), task(precision, 8), reference)
    assert good == Agreement(images=4, max_rel=0.0, cosine=good.cosine)
    assert good.cosine == pytest.approx(1.0)
    assert jobs._agreement(wanted[:1], task(precision, 1), reference).images == 1
    bad = wanted.copy()
    bad[3, :5] += error * np.abs(wanted).max()
    with pytest.raises(MeasurementError, match="computes something else") as refused:
        jobs._agreement(bad, task(precision, 4), reference)
    assert "it is not timed" in str(refused.value)
    with pytest.raises(MeasurementError, match="puts out 7 numbers for an image, the reference 10"):
        jobs._agreement(wanted[:, :7], task(precision, 4), reference)


def test_an_int8_artifact_that_this_processor_computes_wrongly_is_not_timed(tmp_path: Path) -> None:
    exact = np.random.default_rng(0).standard_normal((4, 50))
    reference = tmp_path / "exact.npy"
    np.save(reference, exact)
    rounded = np.round(exact * 10) / 10
    jobs._check_arithmetic(np.tile(rounded, (2, 1)), task("int8", 8), reference)
    jobs._check_arithmetic(rounded[:1], task("int8", 1), reference)
    saturated = np.clip(rounded, -0.7, 0.7)
    with pytest.raises(MeasurementError) as refused:
        jobs._check_arithmetic(saturated, task("int8", 4), reference)
    sentence = str(refused.value)
    assert "most likely products saturate in 16 bits" in sentence
    assert "make it again with 'gb export alexnet --precision int8'" in sentence
    assert "it is not timed" in sentence


def test_int8_on_a_cpu_is_judged_by_itself_and_nothing_else_is() -> None:
    on_cpu = Cell("alexnet", "onnxruntime-cpu", "int8")
    assert jobs.judged_by_itself(on_cpu)
    assert not jobs.judged_by_itself(replace(on_cpu, precision="fp32"))
    assert not jobs.judged_by_itself(replace(on_cpu, backend="onnxruntime-cuda"))


def test_a_factor_that_changes_within_the_window_is_refused() -> None:
    jobs._check_unchanged({"threads": 2, "torch": "1"}, {"threads": 2, "torch": "2"})
    with pytest.raises(MeasurementError, match="spinning changed from True to False"):
        jobs._check_unchanged({"spinning": True}, {"spinning": False})


@pytest.mark.parametrize(
    ("backend", "io", "copies", "said"),
    [
        ("torch-cuda", "host", "waits once", "inputs and outputs, in the window: waits once"),
        ("torch-cuda", "host", None, "inputs and outputs, in the window"),
        ("torch-cuda", "device", None, "none"),
        ("torch-cpu", "host", None, "none"),
    ],
)
def test_transfers_are_named_by_how_they_are_made(
    backend: str, io: str, copies: str | None, said: str
) -> None:
    """Three waits in a run are other work than one."""
    found = jobs._process_settings(Cell("alexnet", backend, io=io), copies)
    assert found["transfers"] == said


def test_cores_are_told_as_ranges() -> None:
    assert system._ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert system._ranges([]) == ""


def test_a_cache_is_cold_once_and_warm_ever_after(tmp_path: Path) -> None:
    assert jobs._cache(None, cached=False) is None
    assert jobs._cache(tmp_path, cached=False) is None
    (tmp_path / "kernel.so").touch()
    assert jobs._cache(tmp_path, cached=False) == "cold"
    assert jobs._cache(tmp_path, cached=True) == "warm"
