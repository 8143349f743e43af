"""Between repetitions: rest, the estimate of the time left, and the machine's own load."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from greenbatch.design.protocol import PROFILES
from greenbatch.records import Cell, Conditions
from greenbatch.runners.host.cores import granted_cores
from greenbatch.runners.host.load import HostSampler, cpu_temperatures_c
from greenbatch.runners.run.execute import _set_aside, rest, time_left_s
from greenbatch.runners.scheduling.order import Slot
from tests.fakes.records import repetition

pytestmark = pytest.mark.alone


STANDARD = PROFILES["standard"]


class Cooling:
    """A sensor that loses a degree each second that is slept."""

    def __init__(self, start_c: float) -> None:
        self.now_s = 0.0
        self._start_c = start_c

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s

    def read_c(self) -> dict[str, float]:
        return {"gpu-0": self._start_c - self.now_s}


def rested(start_c: float, reference_c: float) -> Conditions:
    sensor = Cooling(start_c)
    return rest(STANDARD, {"gpu-0": reference_c}, sensor.read_c, sensor.sleep, sensor.clock)


def test_a_warm_device_rests_until_it_is_back_within_the_band() -> None:
    conditions = rested(60.0, 45.0)
    assert conditions.temperature_c["gpu-0"] == pytest.approx(48.0)
    assert conditions.rest_s == pytest.approx(12.0)


def test_a_cool_device_rests_the_least_and_a_hot_one_the_most_that_is_allowed() -> None:
    assert rested(45.0, 45.0).rest_s == STANDARD.rest_min_s
    assert rested(500.0, 45.0).rest_s == pytest.approx(STANDARD.rest_max_s)


def test_time_left_follows_what_the_same_cell_took() -> None:
    def took(cell: Cell, seconds: float) -> Any:
        return repetition(cell=cell, images=10 * cell.batch_size, phases_s={"wall": seconds})

    small, large = Cell("alexnet", "torch-cpu"), Cell("alexnet", "torch-cpu", batch_size=64)
    other = Cell("vit_b_16", "torch-cpu")
    done = [took(small, 2.0), took(small, 4.0), took(large, 30.0)]
    assert time_left_s(done, [Slot(small, 1, 0), Slot(large, 1, 1)]) == pytest.approx(33.0)
    assert time_left_s(done, [Slot(other, 0, 0)]) == pytest.approx(12.0)
    assert time_left_s(done, []) == 0
    assert time_left_s([], [Slot(other, 0, 0)]) is None


def test_the_trace_of_a_superseded_attempt_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    for attempt in (0, 1):
        (tmp_path / "cell_r0.npz").write_text(f"attempt {attempt}")
        kept = _set_aside(repetition(trace="cell_r0.npz", attempt=attempt), tmp_path)
        assert kept.trace == f"cell_r0_attempt{attempt}.npz"
        assert (tmp_path / kept.trace).read_text() == f"attempt {attempt}"
    assert not (tmp_path / "cell_r0.npz").exists()
    without = repetition(trace=None)
    assert _set_aside(without, tmp_path) is without


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_load_by_others_is_seen_and_our_own_is_not_counted() -> None:
    with HostSampler() as host:
        other = multiprocessing.get_context("spawn").Process(target=burn, args=(3.0,))
        other.start()
        time.sleep(1.5)  # until the other has begun
        start_s = time.perf_counter()
        time.sleep(1.0)
        end_s = time.perf_counter()
        seen = host.foreign_load(start_s, end_s, measured_cpu_s=0.0, cores=1.0)
        as_ours = host.foreign_load(start_s, end_s, measured_cpu_s=1.0, cores=1.0)
        other.join()
        assert host.foreign_load(start_s - 60, end_s, 0.0, 1.0) is None
    assert seen is not None
    assert as_ours is not None
    assert seen > 0.5
    assert seen - as_ours == pytest.approx(1.0, abs=0.05)


def test_cpu_temperature_is_read_from_the_hwmon_chips_that_are_cpus(tmp_path: Path) -> None:
    for number, (name, value) in enumerate([("nvme", "40000"), ("k10temp", "51250")]):
        chip = tmp_path / f"class/hwmon/hwmon{number}"
        chip.mkdir(parents=True)
        (chip / "name").write_text(name + "\n")
        (chip / "temp1_input").write_text(value + "\n")
    assert cpu_temperatures_c(tmp_path) == {"cpu-0": 51.25}
    assert cpu_temperatures_c(tmp_path / "nothing") == {}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "50000 100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"}, 0.25),
    ],
)
def test_a_cgroup_quota_limits_the_cores(
    tmp_path: Path, files: dict[str, str], cores: float
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert granted_cores(tmp_path) == cores


@pytest.mark.parametrize("text", ["max 100000", None])
def test_without_a_quota_affinity_decides(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "cpu.max").write_text(text)
    assert granted_cores(tmp_path) >= 1
