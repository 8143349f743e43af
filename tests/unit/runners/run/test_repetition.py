"""A doubt about a repetition becomes its flag; what its child sends makes its record, or none."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pytest

from greenbatch.arrays import read_arrays
from greenbatch.design.study import make_study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import (
    Cell,
    Conditions,
    EnergyFigure,
    EnergySource,
    Flag,
    Repetition,
    Status,
    WarmUp,
)
from greenbatch.runners.child import handle
from greenbatch.runners.child.messages import Ended, Fits, Measured, Message, Ready, Warm, encode
from greenbatch.runners.host.load import HostSampler
from greenbatch.runners.metering import Domain, EnergyMeter, Metering, MeterOptions, Reading
from greenbatch.runners.run import repetition
from greenbatch.runners.run.repetition import RunContext, _timeout_s, measure
from greenbatch.runners.run.shared_code import SharedCode
from greenbatch.runners.run.window_conditions import repetition_flags
from greenbatch.runners.scheduling.order import Slot
from tests.fakes.messages import MEASURED

if TYPE_CHECKING:
    from greenbatch.records import Manifest

UNSETTLED = replace(MEASURED, warm_up=WarmUp(iterations=1, duration_s=1.0, settled=False))
UNSTEADY = replace(MEASURED, figures=replace(MEASURED.figures, steady=False))
OVERLOADED = replace(MEASURED, figures=replace(MEASURED.figures, overloaded=True))
LATE = replace(MEASURED, figures=replace(MEASURED.figures, late=True))


def counted(other_energy_j: float) -> EnergyFigure:
    return EnergyFigure(
        domain="gpu-0",
        source=EnergySource.COUNTER,
        energy_j=100.0,
        uncertainty_j=1.0,
        other_source=EnergySource.INTEGRATED,
        other_energy_j=other_energy_j,
    )


def test_two_ways_that_differ_by_what_their_bands_explain_do_not_disagree() -> None:
    """Power that lags behind makes short windows differ; what is common explains nothing."""
    wide = replace(counted(90.0), uncertainty_j=8.0, common_j=0.0, other_uncertainty_j=4.0)
    assert not repetition_flags(MEASURED, (wide,), Conditions()) & Flag.METER_DISAGREES
    common = replace(wide, common_j=7.0)
    assert repetition_flags(MEASURED, (common,), Conditions()) & Flag.METER_DISAGREES


@pytest.mark.parametrize(
    ("reply", "other_energy_j", "conditions", "flags"),
    [
        (MEASURED, 96.0, Conditions(foreign_load=0.09), Flag(0)),
        (MEASURED, 100.0, Conditions(), Flag(0)),
        (UNSETTLED, 100.0, Conditions(), Flag.UNSTEADY),
        (UNSTEADY, 100.0, Conditions(), Flag.UNSTEADY),
        (OVERLOADED, 100.0, Conditions(), Flag.OVERLOADED),
        (LATE, 100.0, Conditions(), Flag.LATE),
        (replace(MEASURED, fell_back=True), 100.0, Conditions(), Flag.FALLBACK),
        (MEASURED, 94.0, Conditions(), Flag.METER_DISAGREES),
        (MEASURED, 100.0, Conditions(foreign_load=0.11), Flag.DISTURBED),
        (MEASURED, 100.0, Conditions(foreign_processes=("gpu-0: 7",)), Flag.DISTURBED),
        (MEASURED, 100.0, Conditions(throttle_reasons=("hw_slowdown",)), Flag.THROTTLED),
        (MEASURED, 100.0, Conditions(power_capped={"gpu-0": 0.5}), Flag.POWER_CAPPED),
        (MEASURED, 100.0, Conditions(power_capped={"gpu-0": 0.0}), Flag(0)),
    ],
)
def test_each_doubt_has_its_flag(
    reply: Measured, other_energy_j: float, conditions: Conditions, flags: Flag
) -> None:
    assert repetition_flags(reply, (counted(other_energy_j),), conditions) == flags


CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=4)
FIGURES = replace(MEASURED.figures, queue=None, pipeline=None)
SOUND = replace(MEASURED, figures=FIGURES)
CUDA_CELL = replace(CELL, backend="onnxruntime-cuda")
ODD = replace(MEASURED, figures=replace(FIGURES, images=81))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[RunContext]:
    """What repetitions share, without meters."""
    design = make_study({"models": ["alexnet"], "backends": [CELL.backend], "batch_sizes": [4]})
    manifest = SimpleNamespace(file="a.onnx", weights=SimpleNamespace(file="a.safetensors"))
    (tmp_path / "traces").mkdir()
    with HostSampler() as host:
        yield RunContext(
            study=design,
            artifacts={"alexnet": Artifact(tmp_path, cast("Manifest", manifest))},
            metering=Metering(),
            host=host,
            cores=1.0,
            traces=tmp_path / "traces",
            references={"alexnet": tmp_path / "alexnet.npy"},
            cache=tmp_path / "cache",
        )


def measure_with(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, *messages: Message
) -> Repetition:
    """Measure a repetition whose child sends these messages and writes its arrays."""
    np.savez(context.traces / f".child-{CELL.slug}_r0.npz", latency_s=np.ones(20))
    lines = b"".join(map(encode, (Ready(), *messages)))
    code = f"import sys; sys.stdout.buffer.write({lines!r}); sys.stdout.flush(); sys.stdin.read()"
    monkeypatch.setattr(handle, "python_command", lambda *_: [sys.executable, "-S", "-c", code])
    *_, record = measure(Slot(CELL, block=0, position=0), context, Conditions)
    assert isinstance(record, Repetition)
    return record


def test_peaks_of_memory_after_another_batch_are_not_known(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Conditions(memory_device_bytes={"gpu-0": 7})
    monkeypatch.setattr(repetition, "conditions_around", lambda *_: seen)
    alone = measure_with(context, monkeypatch, SOUND)
    assert alone.memory_host_bytes == SOUND.memory_host_bytes
    assert alone.conditions.memory_device_bytes == {"gpu-0": 7}
    after = measure_with(context, monkeypatch, replace(SOUND, was_loaded=False))
    assert after.memory_host_bytes is None
    assert after.conditions.memory_device_bytes == {}


def test_what_a_child_measured_is_its_record(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = measure_with(context, monkeypatch, Warm(window_s=2.0), Ended(), SOUND)
    assert record.status is Status.OK
    assert (record.iterations, record.images, record.cache) == (20, 80, "warm")
    assert record.duration_s == pytest.approx(2.1)
    assert (record.warm_up, record.agreement) == (SOUND.warm_up, SOUND.agreement)
    assert record.one_off["first"].duration_s == 0.5
    assert list(read_arrays(context.traces / f"{CELL.slug}_r0.npz")) == ["latency_s"]


class Calls(SharedCode):
    """Notes what it is asked for, and gives a file."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def take(self, cell: Cell, artifact: Artifact, into: Path) -> bool:
        self.calls.append("take")
        (into / "kernel").write_text("of another run")
        return True

    def give(self, cell: Cell, artifact: Artifact, compiled: Path) -> None:
        self.calls.append(f"give {[path.name for path in compiled.iterdir()]}")

    def forget(self, cell: Cell, artifact: Artifact) -> None:
        self.calls.append("forget")


def test_compiled_code_is_shared_where_a_repetition_went_well(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Calls()
    sharing = replace(context, shared=shared)
    measure_with(sharing, monkeypatch, SOUND)
    assert shared.calls == ["take", "give ['kernel']"]
    failed = measure_with(sharing, monkeypatch, Fits())
    assert failed.status is Status.ERROR
    assert shared.calls[2:] == ["take", "forget"]
    assert not list(context.cache.rglob("kernel"))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ((Fits(),), "got the message 'Fits', wanted Measured or Loaded or Idling or Warm or Ended"),
        ((ODD,), "figures that make no record: images must be iterations x batch size"),
    ],
)
def test_a_child_that_sends_nonsense_costs_its_repetition_alone(
    context: RunContext,
    monkeypatch: pytest.MonkeyPatch,
    messages: tuple[Message, ...],
    reason: str,
) -> None:
    failed = measure_with(context, monkeypatch, *messages)
    assert failed.status is Status.ERROR
    assert reason in str(failed.reason)
    assert measure_with(context, monkeypatch, SOUND).status is Status.OK


def test_a_child_that_writes_no_arrays_costs_its_repetition(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "savez", lambda *_, **__: None)
    failed = measure_with(context, monkeypatch, SOUND)
    assert failed.status is Status.ERROR
    assert "No such file or directory" in str(failed.reason)


class OneGpu(EnergyMeter):
    """Reads a GPU of 100 W, beside another one."""

    name = "one"
    interval_s = 0.01

    def __init__(self) -> None:
        self.domains = tuple(
            Domain(
                name=f"gpu-{i}",
                source=EnergySource.INTEGRATED,
                tick_s=0.02,
                part="gpu",
                vendor="nvidia",
                uuid=f"GPU-{i}",
            )
            for i in (3, 4)
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        return cls()

    def read(self) -> Mapping[str, Reading]:
        return {domain.name: Reading(power_w=100.0) for domain in self.domains}


@pytest.mark.parametrize("reported", ["GPU-3", "GPU-4", None])
def test_a_cell_gets_its_gpu_and_is_an_error_where_it_computed_on_another(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, reported: str | None
) -> None:
    started: list[dict[str, str]] = []
    popen = subprocess.Popen

    def noted(*args: Any, **keywords: Any) -> Any:
        started.append(dict(keywords["env"]))
        return popen(*args, **keywords)

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr("tests.unit.runners.run.test_repetition.CELL", CUDA_CELL)
    shared = replace(context, metering=Metering((OneGpu(),)))
    record = measure_with(shared, monkeypatch, replace(SOUND, gpu_uuid=reported))
    assert started[0]["CUDA_VISIBLE_DEVICES"] == "GPU-3"
    assert started[0]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    if reported == "GPU-4":
        assert record.status is Status.ERROR
        assert "computed on the GPU GPU-4, and the meter reads GPU-3" in str(record.reason)
    else:
        assert record.status is Status.OK
        assert record.settings["gpu_uuid"] == (reported or "not reported by the process")
        assert {figure.domain: figure.counts for figure in record.energy} == {
            "gpu-3": True,
            "gpu-4": False,
        }


def test_no_repetition_takes_longer_than_is_left_of_a_budget(context: RunContext) -> None:
    rules = context.study.rules
    assert _timeout_s(CELL, context) == rules.timeout_s
    assert _timeout_s(CELL, replace(context, most_s=7.0)) == 7.0
    assert _timeout_s(CELL, replace(context, most_s=1e6)) == rules.timeout_s
