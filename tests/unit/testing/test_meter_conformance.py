"""The conformance suite of meters: it passes what is sound and names what is not."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Self

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import (
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
)
from greenbatch.testing import meter_observation
from greenbatch.testing.meter_checks import CHECKS
from greenbatch.testing.meter_observation import Observation, observe

pytestmark = pytest.mark.alone

POWER_W = 50.0


def failed(seen: Observation) -> dict[str, str]:
    """Return what each check that fails says, by its name."""
    found = {}
    for check in CHECKS:
        try:
            check(seen)
        except AssertionError as error:
            found[check.__name__] = str(error)
    return found


class Sound(EnergyMeter):
    """A counter in steps of 5 ms, and the power beside it."""

    name = "sound"
    interval_s = 0.02
    opened: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).opened += 1
        self.closed = 0
        self.reads = 0
        self.domains = (self._domain(),)

    def _domain(self, **changed: object) -> Domain:
        fields = {"name": "box", "source": EnergySource.COUNTER, "tick_s": 0.005, "part": "cpu"}
        return Domain(**{**fields, **changed})  # type: ignore[arg-type]

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        return cls()

    def energy_j(self) -> float:
        return POWER_W * (time.perf_counter() // 0.005 * 0.005)

    def reading(self) -> Reading:
        return Reading(energy_j=self.energy_j(), power_w=POWER_W)

    def read(self) -> Mapping[str, Reading]:
        self.reads += 1
        return {"box": self.reading()}

    def close(self) -> None:
        self.closed += 1


class OtherName(Sound):
    name = "another"


class NoTick(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.domains = (self._domain(tick_s=0.004, lag_s=float("nan")),)


class NoDomains(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.domains = ()

    def read(self) -> Mapping[str, Reading]:
        return {}


class FocusTooSlow(Sound):
    focus_interval_s = 0.5


class MoreDomains(Sound):
    def __init__(self) -> None:
        super().__init__()
        names = ["box", *(f"box-{number}" for number in range(type(self).opened % 2))]
        self.domains = tuple(self._domain(name=name) for name in names)

    def read(self) -> Mapping[str, Reading]:
        return {domain.name: self.reading() for domain in self.domains}


class Raises(Sound):
    def reading(self) -> Reading:
        if self.reads % 5 == 4:
            raise OSError(11, "Resource temporarily unavailable")
        return super().reading()


class LostAtOnce(Sound):
    def reading(self) -> Reading:
        if self.reads % 5 == 4:
            raise MeterLost("it cannot be read")
        return super().reading()


class LeavesOut(Sound):
    def read(self) -> Mapping[str, Reading]:
        self.reads += 1
        return {} if self.reads % 5 == 4 else {"box": self.reading()}


class NeitherValueNorReason(Sound):
    def reading(self) -> Reading:
        return Reading() if self.reads % 5 == 4 else super().reading()


class ValueAndReason(Sound):
    def reading(self) -> Reading:
        return Reading(energy_j=self.energy_j(), reason="it was difficult")


class NotANumber(Sound):
    def reading(self) -> Reading:
        return Reading(energy_j=self.energy_j(), power_w=float("nan"))


class PowerForACounter(Sound):
    def reading(self) -> Reading:
        return Reading(power_w=POWER_W)


class AbsentIsZero(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.domains = (self._domain(), self._domain(name="memory", part="memory"))

    def read(self) -> Mapping[str, Reading]:
        return {"box": self.reading(), "memory": Reading(energy_j=0.0)}


class ZeroWatts(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.domains = (self._domain(source=EnergySource.INTEGRATED),)

    def reading(self) -> Reading:
        return Reading(power_w=0.0)


class RunsBack(Sound):
    def energy_j(self) -> float:
        return 1e9 - super().energy_j()


class WrapsUnstated(Sound):
    def energy_j(self) -> float:
        return super().energy_j() % 5.0


class TicksSeldom(Sound):
    def energy_j(self) -> float:
        return POWER_W * (time.perf_counter() // 0.09 * 0.09)


class Milliwatts(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.domains = (self._domain(source=EnergySource.INTEGRATED),)

    def reading(self) -> Reading:
        return Reading(power_w=POWER_W * 1e3)


class Microjoules(Sound):
    def energy_j(self) -> float:
        return super().energy_j() * 1e6


class TwoUnits(Sound):
    def reading(self) -> Reading:
        return Reading(energy_j=self.energy_j() / 1e3, power_w=POWER_W)


class FailsInTheRecorder(Sound):
    def reading(self) -> Reading:
        if time.perf_counter() - self.began_s > 0.35:
            return Reading(reason="the sensor is gone")
        return super().reading()

    def __init__(self) -> None:
        super().__init__()
        self.began_s = time.perf_counter()


class SlowRead(Sound):
    def reading(self) -> Reading:
        time.sleep(0.03)
        return super().reading()


class CannotFollow(Sound):
    def follow(self, pid: int | None) -> None:
        if pid is None:
            raise TypeError("an int is required")


class ClosesOnce(Sound):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise OSError(9, "Bad file descriptor")


class OpensOnce(Sound):
    opened_before: ClassVar[bool] = False

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        if cls.opened_before:
            raise MeterUnavailable("the device is in use")
        cls.opened_before = True
        return cls()


class LeaksFiles(Sound):
    kept: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__()
        self.kept.append(os.open(os.devnull, os.O_RDONLY))


class TracebackElsewhere(Sound):
    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        if "GB_SYSFS" in options.environ:
            raise FileNotFoundError(2, "No such file or directory", "/sys/class/mine")
        return cls()


BROKEN: dict[str, list[Callable[[], Sound]]] = {
    "it_is_called_as_it_is_opened": [OtherName],
    "its_domains_are_sound": [NoTick, NoDomains],
    "its_intervals_are_sound": [FocusTooSlow],
    "its_domains_stay": [MoreDomains],
    "a_read_does_not_raise": [Raises, LostAtOnce],
    "every_domain_is_read": [LeavesOut],
    "a_reading_is_a_value_or_a_reason": [NeitherValueNorReason, ValueAndReason],
    "values_are_numbers": [NotANumber],
    "what_counts_is_read_by_its_source": [PowerForACounter],
    "nothing_that_counts_reads_0": [AbsentIsZero, ZeroWatts],
    "a_counter_never_runs_back": [RunsBack, WrapsUnstated],
    "a_counter_ticks_as_stated": [TicksSeldom, AbsentIsZero],
    "its_power_is_plausible": [Milliwatts, Microjoules, TwoUnits],
    "a_window_has_energy_and_adds_up": [FailsInTheRecorder],
    "a_read_takes_less_than_the_interval": [SlowRead],
    "following_a_process_does_not_raise": [CannotFollow],
    "closing_twice_does_nothing_more": [ClosesOnce],
    "it_can_be_opened_again": [OpensOnce],
    "closing_leaves_no_file_open": [LeaksFiles],
    "elsewhere_it_is_unavailable_in_one_sentence": [TracebackElsewhere],
}


def _seen(made: type[Sound]) -> Observation:
    return observe("sound", made.open, MeterOptions(environ={}))


def test_a_file_that_is_closed_a_moment_later_is_not_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = meter_observation._descriptors()
    with (tmp_path / "late").open("w") as late:
        timer = threading.Timer(0.1, late.close)
        timer.start()
        assert meter_observation._left_open(before) == 0
        timer.join()
    monkeypatch.setattr(meter_observation, "_CLOSING_S", 0.05)
    with (tmp_path / "kept").open("w"):
        assert meter_observation._left_open(before) == 1


def test_a_sound_meter_passes() -> None:
    assert failed(_seen(Sound)) == {}


def test_every_check_has_a_meter_that_fails_it() -> None:
    assert BROKEN.keys() == {check.__name__ for check in CHECKS}
    assert all(check.__doc__ for check in CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize(("check", "made"), [(c, m) for c, every in BROKEN.items() for m in every])
def test_each_check_sees_the_fault_that_it_is_for(check: str, made: type[Sound]) -> None:
    found = failed(_seen(made))
    assert check in found
    assert found[check].strip(), "it says nothing"


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--pyargs", "greenbatch.testing", "-q", "-rA"]
    return subprocess.run(
        [*command, "--tb=line", "-p", "no:cacheprovider", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_checks_the_pages_meter_and_finds_milliwatts(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "meters.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (target,) = re.findall(r'= "(.*)"', table)
    info = tmp_path / "gb_supply-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gb-supply\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[greenbatch.meters]\nsupply = {target}\n")
    supply = tmp_path / "sys" / "class" / "power_supply" / "BAT1"
    supply.mkdir(parents=True)
    (supply / "power_now").write_text("12500000\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    completed = []
    for unit in ("1e-6", "1e-3"):
        (tmp_path / "laptop_supply.py").write_text(code.replace("1e-6", unit))
        completed.append(
            _run("--meter=supply:BAT1", PYTHONPATH=path, GB_SYSFS=str(tmp_path / "sys"))
        )
    sound, milliwatts = completed
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert len(re.findall("^PASSED", sound.stdout, re.MULTILINE)) == len(CHECKS)
    assert re.findall(r"^FAILED .*?its_power_is_plausible", milliwatts.stdout, re.MULTILINE)
    assert "1 failed" in milliwatts.stdout


@pytest.mark.slow
def test_a_meter_that_cannot_be_checked_says_why() -> None:
    assert "unknown meter 'nvlm'; did you mean 'nvml'?" in _run("--meter=nvlm").stdout
    completed = _run("--meter=npu", GB_SYSFS="/nonexistent")
    assert "cannot be opened here: no NPU under" in completed.stdout
    assert completed.returncode != 0
