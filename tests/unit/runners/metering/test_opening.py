"""Which meters a run gets, and what it reports of the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable, UnknownNameError, UsageError
from greenbatch.runners.metering import MeterOptions, open_meters
from greenbatch.runners.metering.opening import targets
from tests.fakes.nvml import no_library
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


def test_auto_takes_the_estimate_only_where_no_cpu_counter_is_read(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "sys")
    options = MeterOptions(environ=tree.environment())
    with no_library(), open_meters(["auto"], options) as metering:
        assert [meter.name for meter in metering.meters] == ["estimate"]
        assert "no RAPL package" in metering.absent["rapl"]
    tree.add("intel-rapl:0", "package-0")
    with (
        no_library(),
        tree.running({"intel-rapl:0": PowerCurve(50.0)}),
        open_meters(["auto"], options) as metering,
    ):
        assert [meter.name for meter in metering.meters] == ["rapl"]
        assert metering.absent["estimate"] == "it is not needed: rapl reads the CPU"
        assert metering.slowest_period_s == pytest.approx(0.005, rel=0.5)


def test_none_is_no_meter_and_every_absence_has_a_reason() -> None:
    with open_meters(["none"]) as metering:
        assert metering.meters == ()
        assert metering.domains == ()
        assert metering.slowest_period_s is None
        assert metering.absent == dict.fromkeys(targets(), "it was not asked for")


def test_a_named_meter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="--meter estimate"):
        open_meters(["estimate", "rapl"], MeterOptions(environ={"GB_SYSFS": str(tmp_path)}))


def test_wrong_names_are_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown meter 'nvlm'; did you mean 'nvml'\?"):
        open_meters(["nvlm"])
    with pytest.raises(UsageError, match="'none' cannot stand beside rapl"):
        open_meters(["none", "rapl"])


def test_importing_metering_loads_no_driver() -> None:
    program = (
        "import sys, greenbatch.runners.metering\n"
        "print([m for m in ('pynvml', 'psutil', 'torch', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr
