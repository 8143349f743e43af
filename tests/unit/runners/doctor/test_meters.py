"""Each meter's state, against simulated hardware."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.runners.doctor import meters
from greenbatch.runners.doctor.machine import look as look_at_machine
from greenbatch.runners.metering import MeterOptions
from greenbatch.runners.metering.opening import targets
from tests.fakes import nvml
from tests.fakes.hwmon import HwmonTree
from tests.fakes.nvml import no_library
from tests.fakes.powercap import Powercap, as_nobody, counting, readable_by_others
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_COST_S", 0.2)


def _look(
    tree: Powercap | HwmonTree, virtualized: bool | None = None
) -> tuple[dict[str, meters.MeterState], meters.SamplerCost]:
    machine = replace(look_at_machine(tree.sysfs), virtualized=virtualized)
    with no_library():
        states, cost = meters.look(machine, MeterOptions(environ=tree.environment()))
    return {state.name: state for state in states}, cost


def test_a_readable_rapl_is_used_and_the_estimate_stands_by(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    with tree.running({"intel-rapl:0": PowerCurve(50.0)}):
        states, cost = _look(tree)
    assert list(states) == list(targets())
    rapl, estimate, absent = states["rapl"], states["estimate"], states["nvml"]
    assert (rapl.usable, rapl.automatic, rapl.measures) == (True, True, True)
    assert [(d.name, str(d.source), d.counts) for d in rapl.domains] == [
        ("package-0", "counter", True)
    ]
    assert (estimate.usable, estimate.automatic, estimate.measures) == (True, False, False)
    assert not absent.usable
    assert "NVML Shared Library Not Found" in str(absent.reason)
    assert cost.meters == ("rapl",)
    assert cost.share is not None
    assert 0 < cost.share < 1


def test_rapl_that_only_root_may_read_comes_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with readable_by_others() as folder:
        tree = Powercap(folder / "sys")
        file = tree.add("intel-rapl:0", "package-0") / "energy_uj"
        file.chmod(0o400 if file.owner() == "root" else 0o000)
        monkeypatch.setenv("GB_SYSFS", str(tree.sysfs))
        import pynvml  # noqa: F401  # while it can still be read

        with as_nobody():
            states, _ = _look(tree)
    assert "permission denied" in str(states["rapl"].reason)
    (command,) = states["rapl"].commands
    assert "GB_SYSFS" not in command
    assert command.endswith("-I -m greenbatch.cli doctor --fix-permissions --apply")
    assert states["estimate"].automatic


def test_a_missing_driver_is_offered_only_where_the_hardware_can_be_there(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "sys")
    states, _ = _look(tree, virtualized=False)
    assert states["rapl"].commands == ("sudo modprobe intel_rapl_msr",)
    states, _ = _look(tree, virtualized=True)
    assert states["rapl"].commands == ()


@pytest.mark.parametrize(("paranoid", "mended"), [("2", True), ("-1", False), (None, False)])
def test_perf_events_are_opened_where_the_kernel_has_them_but_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paranoid: str | None, mended: bool
) -> None:
    tree = Powercap(tmp_path / "sys")
    monkeypatch.setattr(meters, "_PARANOID", tmp_path / "paranoid")
    if paranoid:
        (tmp_path / "paranoid").write_text(f"{paranoid}\n")
    assert _look(tree)[0]["perf"].commands == ()
    (tree.sysfs / "bus/event_source/devices/power").mkdir(parents=True)
    expected = ("sudo sysctl kernel.perf_event_paranoid=0",) if mended else ()
    assert _look(tree)[0]["perf"].commands == expected


def test_what_each_call_of_nvml_takes_is_measured(tmp_path: Path) -> None:
    if not nvml.has_compiler():
        pytest.skip("no C compiler")
    gpu = nvml.FakeNvml(tmp_path / "gpu", nvml.build(tmp_path / "lib"), devices=2, call_s=0.004)
    gpu.set(tick_s=0.05)
    options = MeterOptions(environ={"GB_SYSFS": str(tmp_path)})
    with gpu.installed():
        states, _ = meters.look(look_at_machine(tmp_path), options)
    state = next(state for state in states if state.name == "nvml")
    assert set(state.calls_s) == {"gpu-0", "gpu-1"}
    for calls_s in state.calls_s.values():
        assert {"energy", "power", "average power", "state", "processes"} == set(calls_s)
        assert 0.004 <= calls_s["energy"] < 0.03
        assert calls_s["state"] > 2 * calls_s["energy"]  # several calls


def test_a_server_on_arm_with_a_card_is_metered_and_its_npu_is_missing(tmp_path: Path) -> None:
    tree = HwmonTree(tmp_path / "sys")
    tree.grace("Grace Power Socket 0", 200_000_000)
    file = tree.add("xe", "pci0000:00/0000:03:00.0", energy1_input=1).file("energy1_input")
    with counting({file: (PowerCurve(90.0), 0)}):
        states, cost = _look(tree)
    for name in ("hwmon-power", "intel-gpu"):
        assert (states[name].usable, states[name].automatic) == (True, True), states[name].reason
    assert not states["estimate"].automatic
    assert "no NPU under" in str(states["npu"].reason)
    assert set(cost.meters) == {"hwmon-power", "intel-gpu"}
