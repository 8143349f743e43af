"""The doctor's page: exact text, the verdict, exit codes, JSON."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from greenbatch.cli import main
from greenbatch.cli.output.doctor import show, summary
from greenbatch.records import EnergySource
from greenbatch.runners.doctor import Diagnosis
from greenbatch.runners.doctor.backends import BackendState
from greenbatch.runners.doctor.disturbances import Disturbance
from greenbatch.runners.doctor.gpus import Gpu, Gpus
from greenbatch.runners.doctor.machine import Machine
from greenbatch.runners.doctor.meters import DomainState, MeterState, SamplerCost
from greenbatch.runners.metering.sensors import Sensor

pytestmark = pytest.mark.alone


MACHINE = Machine(
    name="bench", id="5f1c0a2b", cpu="Example CPU 9000", architecture="x86_64", sockets=1, cores=8,
    hardware_threads=16, cores_granted=1.5, smt=True, governor=None, boost=False,
    memory_bytes=64 << 30, memory_limit_bytes=8 << 30, os="Example OS", kernel="6.8.0",
    virtualized=True, hypervisor="KVM", container=None,
)  # fmt: skip
GPU = Gpu(
    index=0, name="Example GPU", uuid="GPU-1", compute_capability="9.0", memory_bytes=80 << 30,
    memory_used_bytes=1 << 30, mig=None, ecc=True, persistence=False, compute_mode="default",
    power_limit_w=500.0, power_limit_default_w=700.0, pcie="4.0 x16", pcie_max="5.0 x16",
    clock_hz=3.45e8, clock_max_hz=None, temperature_c=40.0, headroom_c=None, throttle_reasons=(),
    pids=(),
)  # fmt: skip


def _meter(name: str, domain: str, source: EnergySource, automatic: bool = True) -> MeterState:
    return MeterState(
        name=name,
        automatic=automatic,
        measures=source is not EnergySource.ESTIMATED,
        interval_s=0.02,
        domains=(
            DomainState(
                name=domain, source=source, counts=True, tick_s=0.001, device="", note=None
            ),
        ),
    )


NVML = _meter("nvml", "gpu-0", EnergySource.COUNTER)
NO_RAPL = MeterState(name="rapl", reason="permission denied", commands=("sudo mend",))
ESTIMATE = _meter("estimate", "cpu-estimate", EnergySource.ESTIMATED)
WORKS = BackendState(
    name="torch-cpu", runtime="torch", provider="cpu", version="2.9", placement={"cpu": 1},
    trial_s=1.5,
)  # fmt: skip
FAILS = BackendState(
    name="torch-cuda", runtime="torch", provider="cuda", reason="no driver; get it"
)
FAILS_TOO = replace(FAILS, name="onnxruntime-cuda")
DIAGNOSIS = Diagnosis(
    machine=MACHINE,
    gpus=Gpus(devices=(GPU,), driver="999.00"),
    meters=(NVML, NO_RAPL, ESTIMATE),
    backends=(WORKS, FAILS, FAILS_TOO),
    disturbances=(
        Disturbance(code="load", disturbs=True, text="others use 50%"),
        Disturbance(code="power_source", disturbs=None, text="not reported"),
    ),
    sampler_cost=SamplerCost(share=0.0123, meters=("nvml", "estimate")),
)

ESTIMATED = "Energy would be ESTIMATED from CPU time, not measured."

PAGE = """\
Here gb can measure latency and energy of gpu-0 with torch-cpu. The CPU's energy would be \
ESTIMATED, not measured.

Machine
  ok         processor         Example CPU 9000, 1 socket, 8 cores, 16 hardware threads
  ok         cores granted     1.5 of 16
  ok         memory            64 GiB, of which the cgroup allows 8 GiB
  not known  governor          the kernel does not report it
  ok         boost             off
  ok         SMT               on
  warning    virtual machine   yes, KVM: other machines may share its cores, and energy counters \
are usually hidden
  ok         container         no sign of one
  ok         system            Example OS, kernel 6.8.0, x86_64

GPUs
  ok         driver            999.00, CUDA up to not known
  ok         gpu-0             Example GPU, GPU-1, compute capability 9.0, 80 GiB memory, 1 GiB in \
use
  ok         gpu-0 modes       MIG not known, ECC on, persistence off, compute mode default
  warning    gpu-0 power       limit 500 W (default 700 W)
  ok         gpu-0 clock       345 MHz now, at most not known; PCIe 4.0 x16 now, at most 5.0 x16

Meters
  ok         nvml              gpu-0 (counter, ticks every 1 ms); read every 20 ms
  missing    rapl              permission denied
                               run: sudo mend
  warning    estimate          cpu-estimate (estimated, ticks every 1 ms); read every 20 ms
  ok         cost of reading   1.23% of one core for nvml, estimate

Backends
  ok         torch-cpu         version 2.9, ran a network of one node (1 on cpu) in 1.5 s
  missing    torch-cuda        no driver; get it
  missing    onnxruntime-cuda  for the same reason as torch-cuda

Disturbances now
  warning    load              others use 50%
  not known  power source      not reported
"""


def _text(diagnosis: Diagnosis, **console: object) -> str:
    file = io.StringIO()
    show(diagnosis, Console(file=file, highlight=False, **console))  # type: ignore[arg-type]
    return file.getvalue()


def test_in_a_file_every_finding_is_one_line_without_colour() -> None:
    assert _text(DIAGNOSIS) == PAGE


def test_on_a_terminal_long_lines_wrap_below_their_text_and_commands_stay_whole() -> None:
    long = replace(NO_RAPL, commands=("sudo " + "x" * 60,))
    diagnosis = replace(DIAGNOSIS, meters=(NVML, long, ESTIMATE))
    plain = _text(diagnosis, force_terminal=True, width=70, color_system=None)
    lines = plain.splitlines()
    assert f"{'':31}run: sudo {'x' * 60}" in lines
    assert all(len(line) <= 70 for line in lines if "xxx" not in line)
    place = next(i for i, line in enumerate(lines) if "virtual machine" in line)
    assert lines[place + 1].startswith(" " * 31)
    coloured = _text(diagnosis, force_terminal=True, width=70, color_system="standard")
    assert "\x1b[33m  warning" in coloured


@pytest.mark.parametrize(
    ("meters", "backends", "mark", "sentence"),
    [
        (
            (NVML,),
            (WORKS,),
            "ok",
            "Here gb can measure latency and energy of gpu-0 with torch-cpu.",
        ),
        (
            (NO_RAPL, ESTIMATE),
            (WORKS,),
            "warning",
            "Here gb can measure latency with torch-cpu. " + ESTIMATED,
        ),
        (
            (NVML,),
            (FAILS,),
            "warning",
            "No backend works here; only energy of gpu-0 can be measured ('gb meter').",
        ),
        (
            (NO_RAPL, ESTIMATE),
            (FAILS,),
            "missing",
            "No backend works here; 'gb meter' reports energy that is ESTIMATED from CPU time.",
        ),
    ],
)
def test_the_first_line_says_what_can_be_measured(
    meters: tuple[MeterState, ...], backends: tuple[BackendState, ...], mark: str, sentence: str
) -> None:
    diagnosis = replace(DIAGNOSIS, meters=meters, backends=backends)
    assert summary(diagnosis) == (mark, sentence)
    assert diagnosis.measurable is (mark != "missing")


@pytest.mark.parametrize(
    ("backends", "code"), [((WORKS,), 0), ((FAILS,), 3)], ids=["something", "nothing"]
)
def test_it_exits_with_3_where_nothing_can_be_measured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backends: tuple[BackendState, ...],
    code: int,
) -> None:
    found = replace(DIAGNOSIS, meters=(NO_RAPL, ESTIMATE), backends=backends)
    monkeypatch.setattr("greenbatch.runners.doctor.examine", lambda on_step, names: found)
    for arguments in (["doctor"], ["doctor", "--json"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert (exit_.value.code or 0) == code
    out = capsys.readouterr().out
    data = json.loads(out[out.index("{") :])
    assert data["schema_version"] == 1
    assert data["measurable"] is (code == 0)
    assert data["domains"] == {"cpu-estimate": "estimated"}
    assert data["meters"][0]["commands"] == ["sudo mend"]
    assert [m["usable"] for m in data["meters"]] == [False, True]


@pytest.mark.parametrize(
    ("meters", "mark", "energy"),
    [
        ((NVML, ESTIMATE), "ok", "Here gb can measure the energy of gpu-0."),
        ((NO_RAPL, ESTIMATE), "warning", ESTIMATED),
        ((NO_RAPL,), "missing", "Energy would be missing: no meter can be read."),
    ],
)
def test_without_trials_the_verdict_is_about_energy_and_nothing_is_said_of_backends(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    meters: tuple[MeterState, ...],
    mark: str,
    energy: str,
) -> None:
    found = replace(DIAGNOSIS, meters=meters, backends=None)
    assert summary(found)[0] == mark
    tried = []

    def examine(_: object, names: object) -> Diagnosis:
        tried.append(names)
        return found

    monkeypatch.setattr("greenbatch.runners.doctor.examine", examine)
    for arguments in (["doctor", "--quick"], ["doctor", "--quick", "--json"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert not exit_.value.code
    page, _, data = capsys.readouterr().out.partition("{")
    first = f"{energy} No backend was tried; 'gb doctor' without --quick tries them."
    assert page.splitlines()[0] == first
    assert "Backends" not in page
    result = json.loads("{" + data)
    assert (result["backends"], result["working_backends"]) == (None, None)
    assert result["measurable"] is (True if mark == "ok" else None)
    assert tried == [(), ()]


@pytest.mark.parametrize("arguments", [["--apply"], ["--group", "x"]])
def test_options_of_the_fix_need_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", *arguments])
    assert exit_.value.code == 2
    assert f"{arguments[0]} needs --fix-permissions" in capsys.readouterr().err


def test_what_calls_of_a_driver_take_and_how_a_sensor_looks_is_shown() -> None:
    calls_s = {"gpu-0": {"energy": 0.0031, "power": 2e-5, "processes": 0.0045}}
    (domain,) = NVML.domains
    sensor = Sensor(period_s=0.1, window_s=0.025)
    meter = replace(NVML, calls_s=calls_s, domains=(replace(domain, sensor=sensor),))
    text = _text(replace(DIAGNOSIS, meters=(meter,)))
    assert "power is the mean over 25 ms, every 100 ms, ±5% ±5 W" in text
    assert "gpu-0 calls" in text
    assert "energy 3.1 ms, power 20 us, processes 4.5 ms" in text.replace("µs", "us")
    assert "makes ticks less certain" in text


def test_modes_of_power_are_shown_where_the_machine_has_them() -> None:
    machine = replace(MACHINE, power_mode="MODE_15W (2)", platform_profile="quiet")
    page = _text(replace(DIAGNOSIS, machine=machine))
    assert "  ok         power mode        MODE_15W (2)\n" in page
    assert "  ok         platform profile  quiet\n" in page
    unknown = replace(MACHINE, power_mode="not known: nvpmodel -q ended with 1 (no words)")
    assert "  not known  power mode        not known" in _text(replace(DIAGNOSIS, machine=unknown))
