"""The wall meter against a simulated plug."""

import math
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable, UsageError
from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import MeterLost, MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.adapters.wall import WallMeter, _step
from greenbatch.runners.metering.adapters.wall_option import parse
from tests.fakes.plug import FakePlug, pdu, shelly, tasmota

pytest.importorskip("jmespath")

pytestmark = pytest.mark.alone

POWER_W = 60.0


@pytest.fixture
def plug() -> Iterator[FakePlug]:
    with FakePlug(lambda t_s: shelly(POWER_W, POWER_W * t_s)) as running:
        yield running


def _open(plug: FakePlug, fragment: str, **environ: str) -> WallMeter:
    return WallMeter.open(MeterOptions(argument=f"{plug.url}#{fragment}", environ=environ))


def _measured(meter: WallMeter, window_s: float) -> tuple[EnergyFigure, float]:
    with Recorder([meter]) as recorder:
        time.sleep(0.3)
        t0_s = time.perf_counter()
        time.sleep(window_s)
        t1_s = time.perf_counter()
        time.sleep(0.2)  # a domain that does not count is not waited for
        (figure,) = recorder.energy(t0_s, t1_s)
    return figure, t1_s - t0_s


@pytest.mark.parametrize(
    ("shape", "fragment"),
    [
        (shelly, "power=apower&energy_wh=aenergy.total"),
        (tasmota, "power=StatusSNS.ENERGY.Power&energy_kwh=StatusSNS.ENERGY.Total"),
        (pdu, "power=to_number(outlets[?label=='node 1'].watts | [0])"),
    ],
)
def test_power_is_integrated_where_the_counter_is_coarse(
    shape: Callable[[float, float], object], fragment: str
) -> None:
    with FakePlug(lambda t_s: shape(POWER_W, POWER_W * t_s)) as plug:
        meter = _open(plug, f"{fragment}&interval=0.05")
        figure, window_s = _measured(meter, 0.5)
    assert meter.domains[0].source is EnergySource.INTEGRATED
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(POWER_W * window_s, rel=1e-3)


def test_a_fine_counter_comes_first_and_power_second() -> None:
    def answer(t_s: float) -> object:
        return pdu(POWER_W, POWER_W * t_s)

    with FakePlug(answer, refresh_s=0.1) as plug:
        meter = _open(
            plug,
            "energy_j=outlets[1].joules&power=to_number(outlets[1].watts)&interval=0.03",
        )
        figure, window_s = _measured(meter, 1.0)
    assert meter.domains[0].tick_s == pytest.approx(0.1, rel=0.5)
    assert figure.source is EnergySource.COUNTER
    assert figure.other_source is EnergySource.INTEGRATED
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - POWER_W * window_s) <= figure.uncertainty_j


@pytest.mark.parametrize(("key", "unit_j"), [("energy_j", 1), ("energy_wh", 3600)])
def test_energy_is_read_in_joules(key: str, unit_j: float) -> None:
    with FakePlug(lambda t_s: {"e": round(t_s, 4)}, refresh_s=0.02) as plug:
        meter = _open(plug, f"{key}=e&interval=0.02")
        (reading,) = meter.read().values()
        now_s = time.perf_counter()
    assert meter.domains[0].source is EnergySource.COUNTER
    assert reading.power_w is None
    assert reading.energy_j == pytest.approx(now_s * unit_j, rel=1e-2, abs=unit_j)


def test_both_numbers_are_read_whichever_comes_first(plug: FakePlug) -> None:
    meter = _open(plug, "power=apower&energy_wh=aenergy.total")
    (reading,) = meter.read().values()
    assert reading.power_w == POWER_W
    assert reading.energy_j == pytest.approx(POWER_W * time.perf_counter(), rel=0.01, abs=10)


def test_the_domain_holds_others_and_is_counted_only_on_request(plug: FakePlug) -> None:
    (domain,) = _open(plug, "power=apower").domains
    assert (domain.name, domain.part, domain.counts) == ("wall", "machine", False)
    assert domain.tick_s == domain.lag_s == 1.0
    (named,) = _open(plug, "power=apower&name=rack-7&counts=yes").domains
    assert (named.name, named.counts) == ("rack-7", True)


def test_the_step_of_a_counter_is_its_last_digit() -> None:
    assert _step(12.34) == pytest.approx(0.01)
    assert _step(0.1 + 0.2) == pytest.approx(0.1), "noise of the last bits is no digit"
    assert _step(12000.0) == 1.0
    assert _step(1.5e-7) == pytest.approx(1e-8)


def test_it_opens_by_name_with_what_stands_behind_it(plug: FakePlug) -> None:
    with open_meters([f"wall:{plug.url}#power=apower"]) as metering:
        assert [domain.name for domain in metering.domains] == ["wall"]
        assert plug.url in metering.domains[0].device


def test_credentials_come_from_the_environment_and_stay_out_of_the_url(plug: FakePlug) -> None:
    plug.credentials = "ada:secret"
    with pytest.raises(MeterUnavailable, match="HTTP status 401; set GB_WALL_AUTH=HOST=USER:PASS"):
        _open(plug, "power=apower")
    meter = _open(plug, "power=apower", GB_WALL_AUTH="127.0.0.1=ada:secret")
    assert "secret" not in repr(meter.domains)
    with pytest.raises(UsageError) as caught:
        WallMeter.open(MeterOptions(argument="http://ada:secret@plug.local/#power=apower"))
    assert "set GB_WALL_AUTH=HOST=USER:PASSWORD" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_an_argument_it_says_how_to_write_one() -> None:
    with pytest.raises(MeterUnavailable, match=re.escape("--meter 'wall:http://plug.local/")):
        WallMeter.open(MeterOptions())


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("plug.local#power=w", "no http or https URL"),
        ("file:///etc/passwd#power=w", "no http or https URL"),
        ("http://plug:x/#power=w", "is no URL"),
        ("http://plug/", "neither power nor energy"),
        ("http://plug/#energy_j=a&energy_wh=b", "energy_j= and energy_wh="),
        ("http://plug/#watts=w", "'watts=w' behind the #"),
        ("http://plug/#power=w&power=v", "power= stands twice"),
        ("http://plug/#power=w[", "'w[' is no JMESPath expression"),
        ("http://plug/#power=w&timeout=soon", "timeout=soon"),
        ("http://plug/#power=w&interval=-1", "interval=-1"),
        ("http://plug/#power=w&counts=maybe", "wanted yes or no"),
    ],
)
def test_an_invalid_argument_costs_one_sentence(argument: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        WallMeter.open(MeterOptions(argument=argument))


def test_an_expression_may_hold_an_escaped_ampersand() -> None:
    with FakePlug(lambda _: {"lines": [{"w": 7.5}, {"w": 2.5}]}) as plug:
        meter = _open(plug, "power=max_by(lines, %26w).w")
        assert meter.read()["wall"].power_w == 7.5


@pytest.mark.parametrize(
    ("answer", "fragment", "words"),
    [
        ({"w": 1}, "power=watts", "there is no 'watts' in the answer of"),
        ({"w": "12"}, "power=w", "is the text '12'; write to_number(w)"),
        ({"w": True}, "power=w", "is true, wanted a number"),
        ({"w": -3.5}, "power=w", "is -3.5 W, wanted a number that is not negative"),
        ({"w": math.nan}, "power=w", "is nan W"),
        ({"w": "x"}, "power=abs(w)", "cannot evaluate 'abs(w)'"),
        ({"w": 5}, "power=w&energy_wh=e", "there is no 'e' in the answer of"),
    ],
)
def test_an_answer_without_the_number_says_what_it_holds(
    answer: object, fragment: str, words: str
) -> None:
    with FakePlug(lambda _: answer) as plug:
        with pytest.raises(MeterUnavailable, match=re.escape(words)) as caught:
            _open(plug, fragment)
        assert plug.url in str(caught.value)


def test_a_plug_that_cannot_be_read_says_why(plug: FakePlug) -> None:
    plug.raw = b"<html>Please log in"
    with pytest.raises(MeterUnavailable, match="not JSON but begins with '<html>Please log in'"):
        _open(plug, "power=apower")
    plug.raw, plug.status = None, 503
    with pytest.raises(MeterUnavailable, match="HTTP status 503"):
        _open(plug, "power=apower")
    plug.status, plug.hold_s = 200, 0.5
    with pytest.raises(MeterUnavailable, match=r"no answer within 0\.1 s"):
        _open(plug, "power=apower&timeout=0.1")


def test_a_plug_that_is_not_there_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = MeterOptions(argument=f"http://127.0.0.1:{port}/#power=apower")
    with pytest.raises(MeterUnavailable, match=rf"cannot reach http://127.0.0.1:{port}/"):
        WallMeter.open(options)
    with pytest.raises(MeterUnavailable, match=r"cannot read http://a\.\.b/"):
        WallMeter.open(MeterOptions(argument="http://a..b/#power=apower"))


def test_without_the_package_it_says_how_to_get_it(
    plug: FakePlug, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jmespath", None)
    with pytest.raises(MeterUnavailable, match=re.escape("pip install 'greenbatch[wall]'")):
        _open(plug, "power=apower")


def test_faults_in_mid_run_are_missing_figures_with_the_reason(plug: FakePlug) -> None:
    meter = _open(plug, "power=apower&interval=0.05")
    plug.answer = lambda _: {"id": 0}
    assert "there is no 'apower'" in str(meter.read()["wall"].reason)
    plug.unplug()
    with pytest.raises(MeterLost, match="cannot reach"):
        meter.read()
    figure, _ = _measured(meter, 0.1)
    assert figure.source is EnergySource.MISSING
    assert "cannot reach" in str(figure.reason)


def test_a_number_that_comes_back_is_read_again(plug: FakePlug) -> None:
    meter = _open(plug, "power=apower&energy_wh=aenergy.total")
    plug.answer = lambda _: {"apower": 5.0}
    (reading,) = meter.read().values()
    assert (reading.power_w, reading.energy_j, reading.reason) == (5.0, None, None)
    plug.answer = lambda _: shelly(POWER_W, 7200.0)
    assert meter.read()["wall"].energy_j == 7200.0


def test_proxies_are_passed_by(plug: FakePlug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert _open(plug, "power=apower").read()["wall"].power_w == POWER_W


def test_every_example_of_the_guide_can_be_meant() -> None:
    text = (Path(__file__).parents[5] / "docs" / "meters.md").read_text()
    written = re.findall(r"--meter '?wall:([^'\s]+#[^'\s]+)'?", text)
    assert len(written) >= 3
    for argument in written:
        assert parse(argument).url.startswith("http")
