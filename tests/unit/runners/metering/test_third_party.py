"""The example of a meter of one's own, which docs/meters.md shows."""

import re
import sys
import time
import tomllib
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import EnergyMeter, MeterOptions, Recorder, open_meters, opening

pytestmark = pytest.mark.alone


ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "meters.md").read_text()
EXAMPLE = ROOT / "examples" / "supply-meter"
POINTS = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"][
    opening.GROUP
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The example as a module that can be imported, and its entry point; its name."""
    ((name, target),) = POINTS.items()
    module = target.partition(":")[0]
    code = (EXAMPLE / f"{module}.py").read_text()
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(opening, "targets", lambda: opening.METERS | {name: target})
    assert len(code.splitlines()) <= 40
    return str(name)


def test_the_page_shows_the_example_as_it_is() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert tomllib.loads(table)["project"]["entry-points"][opening.GROUP] == POINTS
    assert code == (EXAMPLE / "laptop_supply.py").read_text()


def test_the_pages_meter_measures(installed: str, tmp_path: Path) -> None:
    supply = tmp_path / "class" / "power_supply" / "BAT1"
    supply.mkdir(parents=True)
    (supply / "power_now").write_text("12500000\n")
    options = MeterOptions(environ={"GB_SYSFS": str(tmp_path)})
    with open_meters([f"{installed}:BAT1"], options) as metering, Recorder(metering.meters) as seen:
        time.sleep(0.2)
        t0_s = time.perf_counter()
        time.sleep(0.3)
        t1_s = time.perf_counter()
        seen.settle(t1_s)
        (figure,) = seen.energy(t0_s, t1_s)
        (supply / "power_now").write_text("unknown\n")
        (reading,) = metering.meters[0].read().values()
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(12.5 * (t1_s - t0_s), rel=1e-3)
    assert "cannot read" in str(reading.reason)


def test_the_pages_meter_is_absent_with_a_reason_elsewhere(installed: str, tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="name it, as in --meter supply:BAT1"):
        open_meters([installed], MeterOptions(environ={"GB_SYSFS": str(tmp_path)}))


def test_the_meters_that_this_distribution_adds_are_where_it_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][opening.GROUP]
    for name, target in points.items():
        module, _, attribute = target.partition(":")
        meter = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert issubclass(meter, EnergyMeter)
        assert meter.name == name
        assert f"| `{name}` |" in PAGE
    assert {"wall", "zeus"} <= project["optional-dependencies"].keys()
