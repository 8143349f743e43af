"""What would disturb a measurement, from simulated states and one real one."""

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from greenbatch.runners.doctor import disturbances
from greenbatch.runners.doctor.disturbances import Disturbance
from greenbatch.runners.doctor.gpus import Gpu, Gpus
from greenbatch.runners.doctor.machine import Machine
from greenbatch.runners.doctor.machine import look as look_at_machine

pytestmark = pytest.mark.alone


COOL = Gpu(
    index=0, name="G", uuid="U", compute_capability=None, memory_bytes=None, memory_used_bytes=None,
    mig=None, ecc=None, persistence=None, compute_mode=None, power_limit_w=None,
    power_limit_default_w=None, pcie=None, pcie_max=None, clock_hz=None, clock_max_hz=None,
    temperature_c=40.0, headroom_c=50.0, throttle_reasons=(), pids=(),
)  # fmt: skip


def _look(
    sysfs: Path, machine: Machine | None = None, gpus: Gpus | None = None
) -> dict[str, Disturbance]:
    found = disturbances.look(machine or look_at_machine(sysfs), gpus or Gpus(), sysfs)
    return {disturbance.code: disturbance for disturbance in found}


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbances, "_LOOK_S", 0.01)


@pytest.mark.usefixtures("_at_once")
def test_nothing_to_see_is_not_known_rather_than_fine(tmp_path: Path) -> None:
    found = _look(tmp_path)
    assert found["governor"].disturbs is None
    assert found["temperature"].disturbs is None
    assert found["power_source"].disturbs is False
    assert "gpu" not in found


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize(("governor", "disturbs"), [("performance", False), ("powersave", True)])
def test_a_governor_that_follows_the_load_disturbs(
    tmp_path: Path, governor: str, disturbs: bool
) -> None:
    machine = replace(look_at_machine(tmp_path), governor=governor)
    assert _look(tmp_path, machine)["governor"].disturbs is disturbs


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize(
    ("limit", "disturbs", "text"),
    [
        ("100000", True, "cpu-0 92 °C (8 °C below its limit)"),
        ("105000", False, "cpu-0 92 °C (13 °C below its limit)"),
        (None, None, "cpu-0 92 °C"),
    ],
)
def test_a_processor_close_to_its_limit_disturbs(
    tmp_path: Path, limit: str | None, disturbs: bool | None, text: str
) -> None:
    chip = tmp_path / "class/hwmon/hwmon3"
    chip.mkdir(parents=True)
    (chip / "name").write_text("coretemp\n")
    (chip / "temp1_input").write_text("92000\n")
    if limit:
        (chip / "temp1_crit").write_text(limit)
    found = _look(tmp_path)["temperature"]
    assert found.disturbs is disturbs
    assert text in found.text


@pytest.mark.usefixtures("_at_once")
def test_a_gpu_that_is_hot_throttled_or_shared_disturbs(tmp_path: Path) -> None:
    assert _look(tmp_path, gpus=Gpus(devices=(COOL,)))["gpu"].disturbs is False
    bad = replace(COOL, headroom_c=3.0, throttle_reasons=("hw_slowdown",), pids=(4711,))
    found = _look(tmp_path, gpus=Gpus(devices=(bad,)))
    assert found["temperature"].disturbs is True
    assert found["gpu"].disturbs is True
    assert "hw_slowdown" in found["gpu"].text
    assert "4711" in found["gpu"].text


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize(
    ("files", "disturbs"),
    [
        ({"status": "Discharging", "type": "Battery"}, True),
        ({"status": "Charging", "type": "Battery"}, False),
        ({"status": "Discharging", "type": "Battery", "scope": "Device"}, False),
    ],
)
def test_a_battery_that_drives_the_machine_disturbs(
    tmp_path: Path, files: dict[str, str], disturbs: bool
) -> None:
    supply = tmp_path / "class/power_supply/BAT0"
    supply.mkdir(parents=True)
    for name, text in files.items():
        (supply / name).write_text(f"{text}\n")
    assert _look(tmp_path)["power_source"].disturbs is disturbs


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize(
    ("quota", "affine", "niceness", "disturbs", "text"),
    [
        (math.inf, 4.0, 0, False, "none"),
        (math.inf, 2.0, 0, False, "bound to 2 of 4 hardware threads"),
        (1.5, 4.0, 0, True, "quota of 1.5 cores"),
        (math.inf, 4.0, 10, True, "niceness 10"),
    ],
)
def test_quotas_and_niceness_disturb_but_a_cpuset_does_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quota: float,
    affine: float,
    niceness: int,
    disturbs: bool,
    text: str,
) -> None:
    monkeypatch.setattr(disturbances, "quota_cores", lambda: quota)
    monkeypatch.setattr(disturbances, "affine_cores", lambda: affine)
    monkeypatch.setattr("os.getpriority", lambda *_: niceness)
    machine = replace(look_at_machine(tmp_path), hardware_threads=4)
    found = _look(tmp_path, machine)["limits"]
    assert found.disturbs is disturbs
    assert text in found.text


@pytest.mark.usefixtures("_at_once")
def test_swap_disturbs_while_it_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = SimpleNamespace(used=1 << 30, sin=5 << 30, sout=5 << 30)
    monkeypatch.setattr("psutil.swap_memory", lambda: still)
    found = _look(tmp_path)["swap"]
    assert (found.disturbs, found.text) == (False, "1 GiB in use, none moves")
    looks = iter([still, SimpleNamespace(used=1 << 30, sin=6 << 30, sout=5 << 30)])
    monkeypatch.setattr("psutil.swap_memory", lambda: next(looks))
    found = _look(tmp_path)["swap"]
    assert found.disturbs is True
    assert found.text.startswith("1 GiB moved")


@contextmanager
def _busy_process() -> Iterator[None]:
    program = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_a_process_that_computes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbances, "granted_cores", lambda: 2.0)
    with _busy_process():
        assert _look(tmp_path)["load"].disturbs is True
