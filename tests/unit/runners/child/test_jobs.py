"""What a child checks before and after it measures."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from greenbatch.arrays import write_arrays
from greenbatch.errors import MeasurementError
from greenbatch.records import Agreement, Cell, Manifest, TensorSpec
from greenbatch.runners import backends
from greenbatch.runners.child import jobs, reference_outputs, system, windows
from greenbatch.runners.child.reference_outputs import agreement_of, check_arithmetic

if TYPE_CHECKING:
    from greenbatch.runners.child.messages import Load

pytestmark = pytest.mark.numeric

CLASSES = 10
OUTPUTS = (TensorSpec(name="logits", dtype="float32", dims=("batch", CLASSES)),)


class Loaded:
    """A backend that has run."""

    def __init__(self, outputs: np.ndarray | dict[str, np.ndarray]) -> None:
        self._outputs = outputs

    def outputs(self) -> np.ndarray | dict[str, np.ndarray]:
        """Return what it was made with."""
        return self._outputs


def test_outputs_that_are_not_finite_missing_or_misshapen_are_not_measured() -> None:
    def outputs(found: np.ndarray | dict[str, np.ndarray], images: int) -> object:
        return reference_outputs.outputs_of(
            cast("backends.Backend", Loaded(found)), task("fp32", images)
        )

    good = np.zeros((2, CLASSES))
    assert outputs(good, 2) == {"logits": pytest.approx(good)}
    with pytest.raises(MeasurementError, match="logits has 1 value that is not finite"):
        outputs(np.where(np.arange(2 * CLASSES).reshape(2, -1) == 3, np.nan, 0.0), 2)
    with pytest.raises(MeasurementError, match="for 3 images, wanted is 3x10"):
        outputs(good, 3)
    with pytest.raises(MeasurementError, match="no output logits, only boxes"):
        outputs({"boxes": good}, 2)


def test_a_drift_inside_the_window_is_noticed() -> None:
    assert windows._steady_halves(np.full(100, 0.01), 0.05)
    assert not windows._steady_halves(np.linspace(0.01, 0.02, 100), 0.05)


def task(precision: str, batch_size: int) -> backends.Task:
    """A task of which the cell and the outputs matter."""
    cell = Cell("alexnet", "torch-cpu", precision, batch_size=batch_size)
    images = np.zeros((batch_size, 3, 2, 2), np.float32)
    manifest = cast("Manifest", SimpleNamespace(outputs=OUTPUTS, model="alexnet"))
    return backends.Task(cell, Path("a"), Path("w"), manifest, 1, images)


def reference_of(file: Path, **outputs: np.ndarray) -> Path:
    """Write outputs of four images as a reference process does."""
    with file.open("wb") as opened:
        keys = {
            reference_outputs._key(4, place): value for place, value in enumerate(outputs.values())
        }
        write_arrays(opened, keys, packed=False)
    return file


@pytest.mark.parametrize(("precision", "error"), [("fp32", 0.002), ("fp16", 1.0), ("int8", 3.0)])
def test_outputs_beyond_the_precisions_bound_are_refused(
    tmp_path: Path, precision: str, error: float
) -> None:
    wanted = np.random.default_rng(0).standard_normal((4, 10))
    reference = reference_of(tmp_path / "reference.npz", logits=wanted)
    good = agreement_of({"logits": np.tile(wanted, (2, 1))}, task(precision, 8), reference)
    assert good == Agreement(images=4, max_rel=0.0, cosine=good.cosine)
    assert good.cosine == pytest.approx(1.0)
    assert agreement_of({"logits": wanted[:1]}, task(precision, 1), reference).images == 1
    bad = wanted.copy()
    bad[3, :5] += error * np.abs(wanted).max()
    with pytest.raises(MeasurementError, match="computes something else") as refused:
        agreement_of({"logits": bad}, task(precision, 4), reference)
    assert "it is not timed" in str(refused.value)


def test_an_output_that_the_network_rounds_may_become_the_next_number_of_bfloat16(
    tmp_path: Path,
) -> None:
    wanted = np.zeros((4, CLASSES), np.float32)
    wanted[:, 0] = 1
    reference = reference_of(tmp_path / "reference.npz", logits=wanted)
    outputs = [replace(OUTPUTS[0], rounded="bfloat16")]
    manifest = SimpleNamespace(outputs=outputs, model="alexnet")
    rounded = replace(task("fp32", 4), manifest=cast("Manifest", manifest))
    next_one = wanted * np.float32(1 + 2**-7)
    assert agreement_of({"logits": next_one}, rounded, reference).max_rel == 2**-7
    with pytest.raises(MeasurementError, match=r"differ by 1\.6e-02 of the largest value"):
        agreement_of({"logits": wanted * np.float32(1 + 2**-6)}, rounded, reference)
    with pytest.raises(MeasurementError, match=r"differ by 7\.8e-03 of the largest value"):
        agreement_of({"logits": next_one}, task("fp32", 4), reference)


def test_an_int8_artifact_that_this_processor_computes_wrongly_is_not_timed(tmp_path: Path) -> None:
    exact = np.random.default_rng(0).standard_normal((4, CLASSES))
    reference = reference_of(tmp_path / "exact.npz", logits=exact)
    rounded = np.round(exact * 10) / 10
    check_arithmetic({"logits": np.tile(rounded, (2, 1))}, task("int8", 8), reference)
    check_arithmetic({"logits": rounded[:1]}, task("int8", 1), reference)
    saturated = np.clip(rounded, -0.7, 0.7)
    with pytest.raises(MeasurementError) as refused:
        check_arithmetic({"logits": saturated}, task("int8", 4), reference)
    sentence = str(refused.value)
    assert "most likely products saturate in 16 bits" in sentence
    assert "make it again with 'gb export alexnet --precision int8 --out .'" in sentence
    assert "it is not timed" in sentence


def test_positions_and_rows_that_the_data_decide_are_held_to_the_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    outputs = (
        TensorSpec(name="best", dtype="int64", dims=("batch",), index=True),
        TensorSpec(name="found", dtype="int64", dims=("count", 2), index=True, image_column=0),
        TensorSpec(name="score", dtype="float32", dims=("count",)),
    )
    found = np.array([[0, 3], [0, 5], [1, 4], [3, 1], [3, 2]])
    four = {"best": np.arange(4), "found": found, "score": rng.random(5).astype(np.float32)}
    reference = reference_of(tmp_path / "reference.npz", **four)
    every = replace(task("fp32", 4), manifest=cast("Manifest", SimpleNamespace(outputs=outputs)))
    good = agreement_of(four, every, reference)
    assert good == Agreement(
        images=4, max_rel=None, cosine=None, equal=1.0, counts={"found": 5, "score": 5}
    )
    one = {"best": four["best"][:1], "found": found[:2], "score": four["score"][:2]}
    assert agreement_of(one, replace(every, images=every.images[:1]), reference).equal == 1
    with pytest.raises(MeasurementError, match="positions or detections are the same"):
        agreement_of({**four, "score": four["score"][::-1].copy()}, every, reference)
    with pytest.raises(MeasurementError, match=r"75\.0% of the positions"):
        agreement_of({**four, "best": np.array([0, 1, 2, 9])}, every, reference)


def test_int8_on_a_cpu_is_judged_by_itself_and_nothing_else_is() -> None:
    on_cpu = Cell("alexnet", "onnxruntime-cpu", "int8")
    assert reference_outputs.judged_by_itself(on_cpu)
    assert not reference_outputs.judged_by_itself(replace(on_cpu, precision="fp32"))
    assert not reference_outputs.judged_by_itself(replace(on_cpu, backend="onnxruntime-cuda"))


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


@pytest.mark.parametrize("backend", ["onnxruntime-cpu", "torch-cpu", "openvino-cpu"])
def test_threads_of_a_cell_come_before_those_of_the_study(backend: str) -> None:
    load = cast("Load", SimpleNamespace(threads=4, cell=Cell("alexnet", backend)))
    settings = backends.check_settings(backend, {"threads": "2"})
    assert settings == {"threads": 2}
    assert jobs._threads(load, settings) == 2
    assert settings == {}  # a backend is not given what is none of its runtime's settings
    assert jobs._threads(load, settings) == 4
