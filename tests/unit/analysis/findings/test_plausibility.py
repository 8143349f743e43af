"""Energy per multiply-add beside published figures: what is plausible, and what is not."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greenbatch.analysis import open_run
from greenbatch.analysis.findings.answers import answers
from greenbatch.analysis.findings.caveat import Severity
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.findings.plausibility import EnergyWorth, energy_worths
from greenbatch.analysis.published.energy import EnergyRecord, energy_records
from greenbatch.records import Cell, EnergySource
from tests.fakes.runs import environment, figure, repetition, study, write_run

if TYPE_CHECKING:
    import xarray as xr

MACS = 4.089e9
H200 = {"name": "NVIDIA H200", "power_limit_w": 700.0}
BACKENDS = {
    "onnxruntime-cpu": {"runtime": "onnxruntime", "provider": "cpu", "device": "cpu"},
    "onnxruntime-cuda": {"runtime": "onnxruntime", "provider": "cuda", "device": "cuda"},
}


def measured(
    folder: Path,
    energy_j: dict[int, float],
    backend: str = "onnxruntime-cpu",
    source: EnergySource = EnergySource.COUNTER,
    macs: float = MACS,
    **more: Any,
) -> "xr.Dataset":
    """Write and open a run of ResNet-50 with an energy per image for each batch size."""
    domain = "gpu-0" if backend.endswith("cuda") else "package-0"
    records = [
        repetition(
            Cell("resnet50", backend, batch_size=size),
            block,
            energy=[figure(100 * size * joules * (1 + block / 100), domain, source)],
        )
        for block in range(3)
        for size, joules in energy_j.items()
    ]
    meters = [{"name": "some", "domains": [{"name": domain, "counts": True}]}]
    run = write_run(
        folder,
        records,
        study(["resnet50"], [backend], list(energy_j)),
        environment(meters=meters, backends=BACKENDS, **more),
    )
    return open_run(run).assign_coords(flops=("model", [macs]))


def worths(dataset: "xr.Dataset") -> list[EnergyWorth]:
    """What the joules of a run are worth."""
    rows = cell_rows(dataset)
    return energy_worths(dataset, rows, answers(rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    "record",
    [record for record in energy_records() if record.device_class in ("cpu", "gpu")],
    ids=lambda record: f"{record.system}, {record.scenario}",
)
def test_no_published_figure_is_implausible(tmp_path: Path, record: EnergyRecord) -> None:
    device = {"cpu": "cpu", "gpu": "cuda"}[record.device_class]
    (worth,) = worths(
        measured(tmp_path, {1: record.energy_per_image_j / 1.01}, f"onnxruntime-{device}")
    )
    assert worth.best.low == pytest.approx(record.joules_per_mac, rel=0.01)
    assert worth.doubt == ""


def test_an_estimate_far_below_every_published_figure_is_a_serious_caveat(tmp_path: Path) -> None:
    dataset = measured(tmp_path, {1: 0.3, 8: 0.25}, source=EnergySource.ESTIMATED)
    (worth,) = worths(dataset)
    assert worth.too_little
    assert worth.published is not None
    assert worth.least == pytest.approx(0.2525 / MACS, rel=0.001)
    (caveat,) = [c for c in caveats(dataset, worths=[worth]) if c.code == "implausible"]
    assert caveat.severity is Severity.SERIOUS
    assert "62 mJ per 10⁹ multiply-adds (estimated" in caveat.sentence
    assert (
        "0.32 times the least that is published for CPUs (200 mJ, at the wall)" in caveat.sentence
    )
    assert "--cpu-tdp" in caveat.sentence


@pytest.mark.slow
def test_the_limit_is_half_of_the_least_published(tmp_path: Path) -> None:
    least_j = 0.80  # RK3399 at the wall
    (above,) = worths(measured(tmp_path / "above", {1: 0.51 * least_j / 1.01}))
    (below,) = worths(measured(tmp_path / "below", {1: 0.49 * least_j / 1.01}))
    assert not above.doubt
    assert "--cpu-tdp" not in below.doubt  # it was measured
    assert below.doubt


def test_a_gpu_is_held_against_its_peak(tmp_path: Path) -> None:
    fp32_j = 2 * MACS * 700 / 66.9e12

    def on_gpu(name: str, times: float) -> EnergyWorth:
        energy_j = {1: 500 * fp32_j, 64: times * fp32_j}
        (worth,) = worths(measured(tmp_path / name, energy_j, "onnxruntime-cuda", gpus=[H200]))
        return worth

    worth = on_gpu("near", 8)
    assert worth.roofline is not None
    assert worth.roofline.high == pytest.approx(8.08, rel=0.01)
    assert "8.1 times the energy at the peak of H200 and 700 W" in worth.sentence
    assert not worth.doubt  # that batch 1 leaves a GPU idle is no fault of the energy
    assert on_gpu("far", 31).doubt.startswith("Implausibly much energy")


def test_gpus_of_two_kinds_have_no_common_peak(tmp_path: Path) -> None:
    gpus = [H200, {"name": "NVIDIA L4"}]
    (worth,) = worths(measured(tmp_path, {1: 0.1}, "onnxruntime-cuda", gpus=gpus))
    assert worth.roofline is None
    assert "peak" not in worth.sentence


def test_a_jetson_is_held_against_jetsons(tmp_path: Path) -> None:
    gpus = [{"name": "Orin (nvgpu)"}]
    (worth,) = worths(measured(tmp_path, {1: 0.02}, "onnxruntime-cuda", gpus=gpus))
    assert worth.device_class == "soc"
    assert "Jetson modules" in worth.sentence


def test_a_network_of_unknown_work_is_left_out(tmp_path: Path) -> None:
    assert worths(measured(tmp_path, {1: 0.3}, macs=math.nan)) == []


def test_the_sentence_names_the_boundaries(tmp_path: Path) -> None:
    (worth,) = worths(measured(tmp_path, {1: 1.0, 4: 0.9}))
    assert worth.sentence == (
        "The best cells on CPUs need 220 mJ per 10⁹ multiply-adds (measured: the processor "
        "package). Published: 200 mJ to 630 mJ (ResNet-50 on 4 systems, at the wall or the "
        "socket; such figures differ by 25 to 32 % when they are measured again)."
    )


def test_a_network_of_ones_own_is_judged_by_what_its_artifact_counted(tmp_path: Path) -> None:
    names = ["mine", "uncounted"]
    records = [
        repetition(Cell(name, "onnxruntime-cpu", batch_size=1), block, energy=[figure(30.0)])
        for block in range(3)
        for name in names
    ]
    design = study(names, batch_sizes=[1])
    design["artifacts"]["mine"] |= {"multiply_adds": 500_000_000, "parameters": 1_000_000}
    dataset = open_run(write_run(tmp_path, records, design, environment(backends=BACKENDS)))
    assert dataset["flops"].sel(model="mine").item() == 5e8
    assert dataset["parameters"].sel(model="mine").item() == 1e6
    assert math.isnan(dataset["flops"].sel(model="uncounted").item())
    (worth,) = worths(dataset)
    energy_j = dataset["energy_per_image"].sel(model="mine").mean().item()
    assert worth.least == pytest.approx(energy_j / 5e8)
    assert worth.left_out == ("uncounted",)
    assert "The multiply-adds of uncounted are not known." in worth.sentence
