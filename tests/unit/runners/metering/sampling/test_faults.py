"""What goes wrong with counters in mid-run: a reason each time, nothing negative, nothing zero."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

pytestmark = [
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler"),
    pytest.mark.alone,
]
OPTIONS = MeterOptions(environ={})
POWER_W = 200.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpu(tmp_path: Path, library: Path) -> Iterator[nvml.FakeNvml]:
    fake = nvml.FakeNvml(tmp_path, library, tick_s=0.02, low_w=POWER_W)
    with fake.installed():
        yield fake


def _measure(
    gpu: nvml.FakeNvml, fault: Callable[[float], None], window_s: float = 1.0
) -> tuple[EnergyFigure, float]:
    """Measure a window into which ``fault`` puts something; it is given the start of the window."""
    # read often: what happens between two reads cannot be distinguished from less power
    with NvmlMeter.open(OPTIONS) as meter, Recorder([meter], interval_s=0.005) as recorder:
        start_s = recorder.begin()
        fault(start_s)
        time.sleep(window_s)
        end_s = recorder.end()
        (figure,) = recorder.energy(start_s, end_s)
    assert figure.energy_j is None or figure.energy_j > 0
    return figure, POWER_W * (end_s - start_s)


def test_a_call_that_blocks_for_a_second_costs_nothing_inside_the_window(
    gpu: nvml.FakeNvml,
) -> None:
    figure, truth_j = _measure(
        gpu, lambda t_s: gpu.set(blocked_from_s=t_s + 0.2, blocked_to_s=t_s + 1.2), window_s=1.6
    )
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert figure.other_energy_j is None, "power was integrated over a second without samples"


def test_a_call_that_blocks_over_the_windows_end_widens_the_band(gpu: nvml.FakeNvml) -> None:
    figure, truth_j = _measure(
        gpu, lambda t_s: gpu.set(blocked_from_s=t_s + 0.7, blocked_to_s=t_s + 1.3)
    )
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    assert figure.uncertainty_j > 0.1 * truth_j


def test_a_counter_that_freezes_for_long_gives_way_to_power(gpu: nvml.FakeNvml) -> None:
    figure, truth_j = _measure(gpu, lambda t_s: gpu.set(frozen_from_s=t_s + 0.2))
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert "the counter stood still for" in str(figure.reason)


def test_a_counter_that_freezes_for_long_is_missing_without_power(gpu: nvml.FakeNvml) -> None:
    gpu.set(power=0, instant=0)
    figure, _ = _measure(
        gpu, lambda t_s: gpu.set(frozen_from_s=t_s + 0.1, frozen_to_s=t_s + 0.9), window_s=1.2
    )
    assert figure.source is EnergySource.MISSING
    assert "the counter stood still for" in str(figure.reason)


def test_what_a_short_freeze_may_have_lost_is_in_the_band(gpu: nvml.FakeNvml) -> None:
    gpu.set(power=0, instant=0)
    figure, truth_j = _measure(
        gpu, lambda t_s: gpu.set(frozen_from_s=t_s + 0.4, frozen_to_s=t_s + 0.6)
    )
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert figure.energy_j == pytest.approx(truth_j - 0.2 * POWER_W, rel=0.05)
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j


def test_a_step_back_of_a_few_ticks_is_no_reset(gpu: nvml.FakeNvml) -> None:
    def step_back(start_s: float) -> None:
        time.sleep(0.3)
        gpu.set(counter_offset_j=-2 * 0.02 * POWER_W)

    figure, truth_j = _measure(gpu, step_back)
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j


def test_a_counter_that_is_reset_gives_way_to_power_and_is_good_afterwards(
    gpu: nvml.FakeNvml,
) -> None:
    with NvmlMeter.open(OPTIONS) as meter, Recorder([meter]) as recorder:
        start_s = recorder.begin()
        time.sleep(0.3)
        gpu.set(counter_offset_j=-0.9 * POWER_W * time.perf_counter())
        time.sleep(0.3)
        end_s = recorder.end()
        (broken,) = recorder.energy(start_s, end_s)
        time.sleep(0.6)  # as far from the reset as a fault reaches
        start_s = recorder.begin()
        time.sleep(0.5)
        end_s = recorder.end()
        (good,) = recorder.energy(start_s, end_s)
    assert broken.source is EnergySource.INTEGRATED
    assert "it was reset" in str(broken.reason)
    assert good.source is EnergySource.COUNTER
    assert good.energy_j == pytest.approx(POWER_W * (end_s - start_s), rel=0.02)


def test_one_gpu_that_is_lost_does_not_hide_the_other(gpu: nvml.FakeNvml, tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    with (
        tree.running({"intel-rapl:0": PowerCurve(50.0)}),
        open_meters(["nvml", "rapl"], MeterOptions(environ=tree.environment())) as metering,
        Recorder(metering.meters) as recorder,
    ):
        start_s = recorder.begin()
        gpu.set(lost_from_s=start_s + 0.2)
        time.sleep(0.6)
        end_s = recorder.end()
        lost, package = recorder.energy(start_s, end_s)
    assert lost.source is EnergySource.MISSING
    assert "GPU is lost" in str(lost.reason)
    assert package.source is EnergySource.COUNTER
    assert package.energy_j == pytest.approx(50.0 * (end_s - start_s), rel=0.02)


def test_a_lost_gpu_that_comes_back_is_missing_for_that_stretch_alone(gpu: nvml.FakeNvml) -> None:
    with NvmlMeter.open(OPTIONS) as meter, Recorder([meter]) as recorder:
        start_s = recorder.begin()
        gpu.set(lost_from_s=start_s + 0.1, lost_to_s=start_s + 1.0)
        time.sleep(1.5)
        end_s = recorder.end()
        (through,) = recorder.energy(start_s, end_s)
        start_s = recorder.begin()
        time.sleep(0.4)
        end_s = recorder.end()
        (after,) = recorder.energy(start_s, end_s)
    assert through.source is EnergySource.MISSING
    assert "GPU is lost" in str(through.reason)
    assert after.energy_j == pytest.approx(POWER_W * (end_s - start_s), rel=0.03)
