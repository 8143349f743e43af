"""The estimate from CPU time."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from greenbatch.errors import UsageError
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder
from greenbatch.runners.metering.sources import estimate
from greenbatch.runners.metering.sources.cpu_models import (
    AVERAGE,
    ThreadPower,
    cpu_name,
    thread_power,
)
from greenbatch.runners.metering.sources.estimate import EstimateMeter

pytestmark = pytest.mark.alone


BUSY = "import sys, time\nprint('on', flush=True)\nwhile time.process_time() < {}: pass\n"


class SetClock:
    """A clock that stands until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _energy_j(meter: EstimateMeter) -> float:
    energy_j = meter.read()["cpu-estimate"].energy_j
    assert energy_j is not None
    return energy_j


def _band_j(meter: EstimateMeter, power_w: float) -> float:
    (domain,) = meter.domains
    return domain.band_relative * power_w + domain.band_power_w


def test_at_rest_each_granted_thread_draws_its_minimum() -> None:
    clock = SetClock()
    meter = EstimateMeter(clock, cores=4)
    clock.now_s += 10
    assert _energy_j(meter) == pytest.approx(4 * 0.74 * 10)


def test_cpu_time_adds_the_difference_to_the_maximum() -> None:
    clock = SetClock()
    meter = EstimateMeter(clock, cores=2)
    meter.follow(os.getpid())
    start_s = time.process_time()
    while time.process_time() < start_s + 0.3:
        pass
    used_s = time.process_time() - start_s
    assert _energy_j(meter) == pytest.approx(used_s * (3.5 - 0.74), rel=0.15)


def test_what_the_process_used_before_it_was_followed_is_not_counted() -> None:
    assert time.process_time() > 0.1
    meter = EstimateMeter(SetClock(), cores=2)
    meter.follow(os.getpid())
    assert _energy_j(meter) < 0.1 * (3.5 - 0.74)


def test_energy_never_falls_when_another_process_is_followed() -> None:
    meter = EstimateMeter(time.perf_counter, cores=2)
    energies_j = [_energy_j(meter)]
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", BUSY.format(0.1)], stdout=subprocess.DEVNULL
        ) as child:
            meter.follow(child.pid)
            energies_j.append(_energy_j(meter))
        energies_j.append(_energy_j(meter))
    meter.follow(None)
    energies_j.append(_energy_j(meter))
    assert energies_j == sorted(energies_j)


def test_following_a_process_that_has_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    meter = EstimateMeter(SetClock(), cores=2)
    meter.follow(child.pid)
    assert _energy_j(meter) == 0.0


def _band_at(power: ThreadPower, share: float) -> tuple[float, float]:
    """Return the lowest and highest power of a thread that is busy for a share of the time."""
    power_w = power.rest_w + share * (power.full_w - power.rest_w)
    band_w = _band_j(EstimateMeter(SetClock(), 1, power), power_w)
    return power_w - band_w, power_w + band_w


def test_the_band_of_the_average_reaches_every_microarchitecture_of_the_data_set() -> None:
    low_w, high_w = _band_at(AVERAGE, 0.0)
    assert low_w <= 0.24
    assert high_w == pytest.approx(3.04)  # Ivy Bridge
    low_w, high_w = _band_at(AVERAGE, 1.0)
    assert low_w <= 1.33
    assert high_w == pytest.approx(8.63)  # Sandy Bridge


@pytest.mark.parametrize("cores", [1, 8])
@pytest.mark.parametrize(
    ("rest", "full"), [((1.0, 0.5), (4.0, 2.5)), ((1.0, 2.0), (4.0, 1.0)), ((1.0, 0.1), (4.0, 3.9))]
)
def test_the_band_holds_at_rest_and_at_full_load_and_between(
    rest: tuple[float, float], full: tuple[float, float], cores: int
) -> None:
    power = ThreadPower(
        rest_w=rest[0], rest_band_w=rest[1], full_w=full[0], full_band_w=full[1], origin="made up"
    )
    meter = EstimateMeter(SetClock(), cores, power)
    for share in (0.0, 0.25, 1.0):
        power_w = cores * (rest[0] + share * (full[0] - rest[0]))
        wanted_w = cores * (rest[1] + share * (full[1] - rest[1]))
        assert _band_j(meter, power_w) >= wanted_w * (1 - 1e-12)
    assert meter.domains[0].band_relative >= 0
    assert meter.domains[0].band_power_w >= 0


@pytest.mark.parametrize(
    ("name", "model", "rest_w", "full_w"),
    [
        ("Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz", "Sandy Bridge", 2.15, 8.41),
        ("Intel(R) Xeon(R) CPU E5-2680 v2 @ 2.80GHz", "Ivy Bridge", 1.71, 5.56),
        ("Intel(R) Xeon(R) CPU E5-2676 v3 @ 2.40GHz", "Haswell", 0.67, 3.90),
        ("Intel(R) Xeon(R) CPU E7-8880 v3 @ 2.30GHz", "Haswell", 0.67, 3.90),
        ("Intel(R) Xeon(R) CPU E5-2699A v4 @ 2.40GHz", "Broadwell", 0.71, 3.69),
        ("Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz", "Coffee Lake", 1.14, 5.42),
        ("Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", "Skylake", 0.55, 4.01),
        ("Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", "Skylake", 0.55, 4.01),
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "Cascade Lake", 0.69, 4.06),
        ("Intel(R) Xeon(R) Silver 4214 CPU @ 2.20GHz", "Cascade Lake", 0.69, 4.06),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "Ice Lake", 0.77, 3.76),
        ("Intel(R) Xeon(R) Platinum 8488C", "Sapphire Rapids", 0.97, 3.95),
        ("INTEL(R) XEON(R) PLATINUM 8581C CPU @ 2.30GHz", "Emerald Rapids", 0.85, 3.80),
        ("Intel(R) Xeon(R) 6980P", "Granite Rapids", 0.58, 2.53),
        ("AMD EPYC 7571", "EPYC 7xx1", 0.85, 2.60),
        ("AMD EPYC 7R32", "EPYC 7xx2", 0.47, 1.69),
        ("AMD EPYC 7R13 Processor", "EPYC 7xx3", 0.46, 1.96),
        ("AMD EPYC 7V73X 64-Core Processor", "EPYC 7xx3", 0.46, 1.96),
        ("AMD EPYC 8324P 32-Core Processor", "EPYC 8xx4", 1.12, 2.67),
        ("AMD EPYC 9R14", "EPYC 9xx4", 0.34, 1.88),
        ("AMD EPYC 9965 192-Core Processor", "EPYC 9xx5", 0.24, 1.33),
    ],
)
def test_a_known_cpu_is_looked_up_by_its_model_number(
    name: str, model: str, rest_w: float, full_w: float
) -> None:
    power = thread_power(name)
    assert power.origin == f"looked up for {name}: {model}, Cloud Carbon Footprint"
    assert (power.rest_w, power.full_w) == (rest_w, full_w)
    assert power.rest_band_w >= 0.5 * rest_w
    assert power.full_band_w >= 0.5 * full_w
    EstimateMeter(SetClock(), 4, power)  # it accepts them


@pytest.mark.parametrize(
    "name",
    [
        "AMD EPYC",
        "AMD EPYC-Rome Processor",  # the hypervisor's baseline, not the machine
        "AMD Ryzen 9 5950X 16-Core Processor",
        "Intel(R) Xeon(R) CPU @ 2.20GHz",
        "Intel(R) Xeon(R) Platinum 8380HL CPU @ 2.90GHz",  # Cooper Lake, not Ice Lake
        "Intel(R) Xeon(R) Silver 4514Y",
        "Intel(R) Xeon(R) 6780E",
        "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz",
        "aarch64",
    ],
)
def test_a_cpu_that_is_not_in_the_table_has_the_average_and_says_so(name: str) -> None:
    power = thread_power(name)
    assert "average of servers" in power.origin
    assert power.origin.endswith(f"no entry for {name}")
    assert (power.rest_w, power.full_w) == (AVERAGE.rest_w, AVERAGE.full_w)
    assert power.full_band_w == AVERAGE.full_band_w


def test_the_band_of_a_known_cpu_reaches_the_hungriest_server_that_has_it() -> None:
    low_w, high_w = _band_at(thread_power("Intel(R) Xeon(R) Gold 5218"), 1.0)
    assert low_w <= 2.96
    assert high_w >= 6.02


def test_the_meter_opens_with_the_numbers_of_this_machines_cpu() -> None:
    with mock.patch.object(estimate, "cpu_name", return_value="AMD EPYC 7R13 Processor"):
        meter = EstimateMeter.open(MeterOptions(cores=4))
    assert meter.domains[0].note == (
        "estimated, not measured: 4 hardware threads at 0.46 W each, up to 1.96 W with their CPU "
        "time (looked up for AMD EPYC 7R13 Processor: EPYC 7xx3, Cloud Carbon Footprint); they "
        "may be wrong by 63% at rest and 50% at full load"
    )


def test_a_known_tdp_takes_the_place_of_the_maximum() -> None:
    with mock.patch.object(estimate, "cpu_name", return_value="something else"):
        meter = EstimateMeter.open(MeterOptions(cores=4, cpu_tdp_w=60.0))
        note = str(meter.domains[0].note)
        assert "up to 15 W" in note
        assert "full load given by --cpu-tdp; rest: average of servers" in note
        assert note.endswith("at rest and 50% at full load")
        assert _band_j(meter, 60.0) == pytest.approx(30.0)
        with pytest.raises(UsageError, match="give a higher cpu_tdp_w"):
            EstimateMeter.open(MeterOptions(cores=4, cpu_tdp_w=2.0))
        with pytest.raises(UsageError, match="cores is 0"):
            EstimateMeter.open(MeterOptions(cores=0, cpu_tdp_w=60.0))


def test_the_cpus_name_is_what_the_kernel_gives_or_else_the_architecture(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7R13 Processor\nflags\t: fpu\n")
    assert cpu_name(cpuinfo) == "AMD EPYC 7R13 Processor"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 243.75\n")
    architecture = platform.processor() or platform.machine()
    assert cpu_name(cpuinfo) == cpu_name(tmp_path / "none") == architecture != ""


def test_a_recorded_estimate_says_that_it_is_one_and_how_wrong_it_may_be() -> None:
    meter = EstimateMeter(time.perf_counter, cores=2)
    with Recorder([meter]) as recorder:
        t0_s = recorder.begin()
        time.sleep(0.3)
        t1_s = recorder.end()
        (figure,) = recorder.energy(t0_s, t1_s)
    assert figure.source is EnergySource.ESTIMATED
    assert figure.energy_j == pytest.approx(2 * 0.74 * (t1_s - t0_s), rel=0.1)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert figure.uncertainty_j > 1.5 * figure.energy_j
    assert "Cloud Carbon Footprint" in str(figure.reason)
