"""Which cells are as they should be on a GPU, and what is wrong with the others."""

from dataclasses import replace

import pytest

from benchmarks.gpu_check import judging
from benchmarks.gpu_check.lines import Verdict
from greenbatch.records import (
    Cell,
    EnergyFigure,
    EnergySource,
    Idle,
    IdleFigure,
    Repetition,
    Status,
)

ENERGY = EnergyFigure(
    domain="gpu-0",
    source=EnergySource.COUNTER,
    energy_j=100.0,
    uncertainty_j=2.0,
    other_source=EnergySource.INTEGRATED,
    other_energy_j=101.0,
)
GOOD = Repetition(
    cell=Cell("vit_b_16", "onnxruntime-cuda", precision="fp16", batch_size=32),
    block=0,
    position=0,
    status=Status.OK,
    started_at="2026-01-01T00:00:00Z",
    duration_s=0.5,
    images=320,
    iterations=10,
    latency_s={"0.5": 0.05},
    energy=(ENERGY,),
    placement={"CUDAExecutionProvider": 9},
    settings={"gpu_uuid": "GPU-aaaaaaaa"},
)
IDLE_W = {"gpu-0": 60.0}


def test_a_good_cell_shows_energy_idle_net_placement_and_its_gpu() -> None:
    line = judging.judge(GOOD, IDLE_W)
    assert line.verdict is Verdict.OK
    assert line.on_gpu
    assert line.what == "vit_b_16 on onnxruntime-cuda in fp16 at batch 32"
    assert line.values["GPU mJ/image"] == "312.50 ±2.0% (counter)"
    assert line.values["by power"] == "+1.0%"
    assert line.values["net mJ/image"] == "218.75"
    assert line.values["placement"] == "9 CUDAExecutionProvider"
    assert line.values["GPU"] == "GPU-aaaaaaaa"


@pytest.mark.parametrize(
    ("changes", "idle_w", "text"),
    [
        ({"status": Status.ERROR, "reason": "it crashed"}, IDLE_W, "it crashed"),
        ({"status": Status.OOM, "reason": "no memory"}, IDLE_W, "no memory"),
        (
            {"placement": {"CUDAExecutionProvider": 8, "CPUExecutionProvider": 1}},
            IDLE_W,
            "1 nodes ran on the CPU",
        ),
        ({"energy": ()}, IDLE_W, "no meter of a GPU counts"),
        (
            {"energy": (replace(ENERGY, counts=False),)},
            IDLE_W,
            "no meter of a GPU counts",
        ),
        (
            {
                "energy": (
                    EnergyFigure(domain="gpu-0", source=EnergySource.MISSING, reason="it is lost"),
                )
            },
            IDLE_W,
            "energy of gpu-0 is missing: it is lost",
        ),
        ({"energy": (replace(ENERGY, energy_j=0.0),)}, IDLE_W, "0 J under load"),
        (
            {"energy": (replace(ENERGY, other_energy_j=120.0),)},
            IDLE_W,
            "integrated power differs from the counter by +20.0%",
        ),
        ({}, {}, "idle power of gpu-0 is missing"),
        ({}, {"gpu-0": 250.0}, "net energy is negative"),
        ({"settings": {"gpu_uuid": judging.NO_UUID}}, IDLE_W, "is not known"),
    ],
)
def test_what_is_wrong_with_a_cell_is_named(
    changes: dict[str, object], idle_w: dict[str, float], text: str
) -> None:
    line = judging.judge(replace(GOOD, **changes), idle_w)  # type: ignore[arg-type]
    assert line.verdict is Verdict.FAILED
    assert text in line.reason


def test_a_counter_within_its_stated_uncertainty_of_power_is_no_fault() -> None:
    loose = replace(ENERGY, other_energy_j=120.0, uncertainty_j=25.0)
    assert judging.judge(replace(GOOD, energy=(loose,)), IDLE_W).verdict is Verdict.OK


def test_what_a_backend_cannot_do_is_not_run() -> None:
    refused = replace(GOOD, status=Status.UNSUPPORTED, reason="no kernels in bf16")
    line = judging.judge(refused, IDLE_W)
    assert line.verdict is Verdict.NOT_RUN
    assert line.reason == "no kernels in bf16"


def test_the_lowest_idle_power_of_a_backend_counts() -> None:
    def idle(power_w: float) -> Idle:
        figure = IdleFigure(
            domain="gpu-0", source=EnergySource.COUNTER, power_w=power_w, uncertainty_w=1.0
        )
        return Idle(
            backend="torch-cuda",
            model="alexnet",
            block=0,
            when="before",
            started_at="",
            duration_s=0.5,
            figures=(figure,),
        )

    found = judging.idle_powers_w([idle(90.0), idle(60.0)])
    assert found == {"torch-cuda": {"gpu-0": 60.0}}


@pytest.mark.parametrize(("fp16_s", "verdict"), [(0.1, Verdict.OK), (0.9, Verdict.FAILED)])
def test_fp16_without_tensor_cores_is_found_by_its_speed(fp16_s: float, verdict: Verdict) -> None:
    def of(precision: str, duration_s: float) -> Repetition:
        cell = replace(GOOD.cell, precision=precision)
        return replace(GOOD, cell=cell, duration_s=duration_s)

    speeds = judging.times_s([of("fp32", 1.0), of("fp16", fp16_s)])
    (line,) = judging.tensor_cores(speeds)
    assert line.verdict is verdict
    assert list(judging.tensor_cores(judging.times_s([of("fp32", 1.0)]))) == []
