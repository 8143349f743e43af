"""The page of ``gb doctor``: the verdict, what was found, and what mends the rest."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from greenbatch import units
from greenbatch.extras import EXTRAS, install_line, missing

if TYPE_CHECKING:
    from rich.console import Console

    from greenbatch.runners.doctor import Diagnosis
    from greenbatch.runners.doctor.backends import BackendState
    from greenbatch.runners.doctor.gpus import Gpu, Gpus
    from greenbatch.runners.doctor.machine import Machine
    from greenbatch.runners.doctor.meters import MeterState, SamplerCost
    from greenbatch.runners.metering.sensors import Sensor

Mark = Literal["ok", "warning", "missing", "not known"]
_STYLES: dict[str, str] = {
    "ok": "green",
    "warning": "yellow",
    "missing": "red",
    "not known": "dim",
}
_SUBJECT = 18  # columns, unless a name needs more
_MARK = 11
_SLOW_CALL_S = 0.002
_COSTLY_ABOVE = 0.05  # of a core: the reading then shows in what is read
_UNREPORTED = "the kernel does not report it"
_GUESSED = "'gb meter' reports energy that is ESTIMATED from CPU time"
_LIGHT = f"Here gb reads and compares runs, and {_GUESSED}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the page: what was looked at, how it stands, what was found, what mends it."""

    mark: Mark
    subject: str
    text: str
    commands: tuple[str, ...] = ()


def show(diagnosis: "Diagnosis", console: "Console | None" = None) -> None:
    """Print the verdict, then the page; off a terminal a finding stays on one line."""
    from rich.text import Text

    from greenbatch.cli.output.console import TextConsole

    console = console or TextConsole()
    width = console.width if console.is_terminal else None
    mark, verdict = summary(diagnosis)
    for part in _wrapped(verdict, width):
        console.print(Text(part, style=f"bold {_STYLES[mark]}"), soft_wrap=True)
    sections = {
        "Machine": _machine(diagnosis.machine),
        "GPUs": _gpus(diagnosis.gpus),
        "Meters": _meters(diagnosis.meters, diagnosis.sampler_cost),
        "Backends": _backends(diagnosis.backends or ()),
        "Disturbances now": _disturbances(diagnosis),
    }
    for title, found in sections.items():
        if not (lines := list(found)):
            continue
        console.print()
        console.print(Text(title, style="bold"))
        subject = max([_SUBJECT, *(len(line.subject) + 2 for line in lines)])
        for line in lines:
            _print(console, line, subject, width)


def _print(console: "Console", line: Line, subject: int, width: int | None) -> None:
    from rich.text import Text

    indent = 2 + _MARK + subject
    first, *rest = _wrapped(line.text, width and width - indent)
    mark = (f"  {line.mark:<{_MARK}}", _STYLES[line.mark])
    console.print(Text.assemble(mark, f"{line.subject:<{subject}}{first}"), soft_wrap=True)
    for part in rest:
        console.print(Text(f"{'':{indent}}{part}"), soft_wrap=True)
    for command in line.commands:  # whole, so that it can be copied
        console.print(Text(f"{'':{indent}}run: {command}"), soft_wrap=True)


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False) or [
        ""
    ]


def summary(diagnosis: "Diagnosis") -> tuple[Mark, str]:
    """Say in one sentence what can be measured here, and how good that is."""
    from greenbatch.records import EnergySource

    working = ", ".join(diagnosis.working_backends)
    real = [n for n, source in diagnosis.domains.items() if source is not EnergySource.ESTIMATED]
    guessed = [n for n, source in diagnosis.domains.items() if source is EnergySource.ESTIMATED]
    energy = f"energy of {', '.join(real)}"
    if diagnosis.backends is None:
        return _untried(real, guessed)
    if not working:
        if real:
            return "warning", f"No backend works here; only {energy} can be measured ('gb meter')."
        if guessed and not missing(EXTRAS["bench"]):
            return "missing", f"No backend works here; {_GUESSED}."
        if guessed:
            line = install_line(missing(EXTRAS["bench"]))
            return "missing", f"No runtime is installed: run {line} to measure networks. {_LIGHT}."
        return "missing", "Nothing can be measured here: no backend works and no meter can be read."
    if real and guessed:
        return "warning", (
            f"Here gb can measure latency and {energy} with {working}. "
            "The CPU's energy would be ESTIMATED, not measured."
        )
    if real:
        return "ok", f"Here gb can measure latency and {energy} with {working}."
    loud = "be ESTIMATED from CPU time, not measured" if guessed else "be missing"
    return "warning", f"Here gb can measure latency with {working}. Energy would {loud}."


def _untried(real: list[str], guessed: list[str]) -> tuple[Mark, str]:
    """Say what is known without a trial of a backend."""
    found: dict[Mark, str] = {
        "ok": f"Here gb can measure the energy of {', '.join(real)}.",
        "warning": "Energy would be ESTIMATED from CPU time, not measured.",
        "missing": "Energy would be missing: no meter can be read.",
    }
    mark: Mark = "ok" if real else "warning" if guessed else "missing"
    if lacking := missing(EXTRAS["bench"]):
        return mark, f"{found[mark]} To measure networks, run {install_line(lacking)}."
    return mark, f"{found[mark]} No backend was tried; 'gb doctor' without --quick tries them."


def _machine(machine: "Machine") -> Iterator[Line]:
    counts = [
        _sockets(machine.sockets, machine.sockets_used),
        _count(machine.cores, "core"),
        _count(machine.hardware_threads, "hardware thread"),
    ]
    name = machine.cpu or f"{machine.architecture} (name not known)"
    yield Line("ok", "processor", ", ".join([name, *counts]))
    few = machine.hardware_threads is not None and machine.cores_granted < machine.hardware_threads
    of = f" of {machine.hardware_threads}" if few else ""
    yield Line("ok", "cores granted", f"{machine.cores_granted:g}{of}")
    limit_bytes = machine.memory_limit_bytes
    memory = _gib(machine.memory_bytes)
    if limit_bytes is not None and limit_bytes < machine.memory_bytes:
        memory += f", of which the cgroup allows {_gib(limit_bytes)}"
    yield Line("ok", "memory", memory)
    for subject, state in (
        ("governor", machine.governor),
        ("boost", _on_off(machine.boost)),
        ("SMT", _on_off(machine.smt)),
    ):
        yield Line("ok", subject, state) if state else Line("not known", subject, _UNREPORTED)
    for subject, mode in (
        ("power mode", machine.power_mode),
        ("platform profile", machine.platform_profile),
    ):
        if mode:  # most machines have none
            yield Line("not known" if mode.startswith("not known") else "ok", subject, mode)
    if machine.virtualized is None:
        yield Line("not known", "virtual machine", "the processor does not report it")
    elif machine.virtualized:
        yield Line(
            "warning",
            "virtual machine",
            f"yes, {machine.hypervisor or 'which hypervisor is not known'}: other machines may "
            "share its cores, and energy counters are usually hidden",
        )
    else:
        yield Line("ok", "virtual machine", "no")
    yield Line("ok", "container", machine.container or "no sign of one")
    yield Line("ok", "system", f"{machine.os}, kernel {machine.kernel}, {machine.architecture}")


def _gpus(gpus: "Gpus") -> Iterator[Line]:
    if gpus.absent:
        yield Line("missing", "NVML", gpus.absent)
        return
    yield Line("ok", "driver", f"{_known(gpus.driver)}, CUDA up to {_known(gpus.cuda)}")
    for gpu in gpus.devices:
        yield from _gpu(gpu)


def _gpu(gpu: "Gpu") -> Iterator[Line]:
    name = f"gpu-{gpu.index}"
    yield Line(
        "ok",
        name,
        f"{_known(gpu.name)}, {_known(gpu.uuid)}, compute capability "
        f"{_known(gpu.compute_capability)}, {_gib(gpu.memory_bytes)} memory, "
        f"{_gib(gpu.memory_used_bytes)} in use",
    )
    yield Line(
        "warning" if gpu.mig or gpu.compute_mode == "prohibited" else "ok",
        f"{name} modes",
        f"MIG {_state(gpu.mig)}, ECC {_state(gpu.ecc)}, persistence {_state(gpu.persistence)}, "
        f"compute mode {_known(gpu.compute_mode)}"
        + ("; the energy is that of the whole GPU, not of a MIG instance" if gpu.mig else "")
        + ("; computing is prohibited" if gpu.compute_mode == "prohibited" else ""),
    )
    limited = None not in (gpu.power_limit_w, gpu.power_limit_default_w) and (
        gpu.power_limit_w != gpu.power_limit_default_w
    )
    yield Line(
        "warning" if limited else "ok",
        f"{name} power",
        f"limit {units.si(gpu.power_limit_w, 'W')}"
        f" (default {units.si(gpu.power_limit_default_w, 'W')})".replace("–", "not known"),
    )
    yield Line(
        "ok",
        f"{name} clock",
        f"{units.si(gpu.clock_hz, 'Hz')} now, at most {units.si(gpu.clock_max_hz, 'Hz')}; "
        f"PCIe {_known(gpu.pcie)} now, at most {_known(gpu.pcie_max)}".replace("–", "not known"),
    )


def _meters(meters: Iterable["MeterState"], cost: "SamplerCost") -> Iterator[Line]:
    for meter in meters:
        if not meter.usable:
            yield Line("missing", meter.name, meter.reason or "", meter.commands)
            continue
        domains = ", ".join(
            f"{domain.name} ({domain.source}, ticks every {units.si(domain.tick_s, 's')}"
            f"{'' if domain.counts else ', not counted'}{_sensor(domain.sensor)})"
            for domain in meter.domains
        )
        use = "" if meter.automatic else f"; only with --meter {meter.name}"
        notes = "".join(f"; {domain.note}" for domain in meter.domains if domain.note)
        own = [domain.name for domain in meter.domains if domain.counts]
        if meter.name == "nvml" and len(own) > 1:
            notes += f"; a cell on CUDA counts {own[0]} alone, and one on the CPU none of them"
        yield Line(
            "ok" if meter.measures else "warning",
            meter.name,
            f"{domains}; read every {units.si(meter.interval_s, 's')}{use}{notes}",
        )
        for domain_name, calls_s in meter.calls_s.items():
            costs = ", ".join(f"{what} {units.si(call_s, 's')}" for what, call_s in calls_s.items())
            slow = any(calls_s[what] > _SLOW_CALL_S for what in ("energy", "power"))
            yield Line(
                "warning" if slow else "ok",
                f"{domain_name} calls",
                f"{costs}" + ("; reading so slowly makes ticks less certain" if slow else ""),
            )
    if cost.share is None:
        yield Line("not known", "cost of reading", cost.reason or "not known")
    else:
        yield Line(
            "warning" if cost.share > _COSTLY_ABOVE else "ok",
            "cost of reading",
            f"{cost.share:.2%} of one core for {', '.join(cost.meters) or 'no meter'}",
        )


def _sensor(sensor: "Sensor | None") -> str:
    if sensor is None:
        return ""
    return (
        f", power is the mean over {units.si(sensor.window_s, 's')}, every "
        f"{units.si(sensor.period_s, 's')}, ±{sensor.gain:.0%} ±{units.si(sensor.offset_w, 'W')}"
    )


def _backends(backends: "Iterable[BackendState]") -> Iterator[Line]:
    """Report each backend; a cause that several share is given once."""
    first: dict[str, str] = {}
    for backend in backends:
        if backend.reason is not None:
            same = first.setdefault(backend.reason, backend.name)
            cause = backend.reason if same == backend.name else f"for the same reason as {same}"
            yield Line("missing", backend.name, cause)
            continue
        placement = ", ".join(f"{count} on {where}" for where, count in backend.placement.items())
        yield Line(
            "ok",
            backend.name,
            f"version {_known(backend.version)}, ran a network of one node ({placement}) in "
            f"{units.si(backend.trial_s, 's')}",
        )


def _disturbances(diagnosis: "Diagnosis") -> Iterator[Line]:
    marks: dict[bool | None, Mark] = {True: "warning", False: "ok", None: "not known"}
    for found in diagnosis.disturbances:
        yield Line(marks[found.disturbs], found.code.replace("_", " "), found.text)


def _sockets(sockets: int | None, used: tuple[int, ...] | None) -> str:
    """Write how many sockets there are, and on which of several the granted cores lie."""
    text = _count(sockets, "socket")
    if (sockets or 1) < 2 or not used:
        return text
    which = ", ".join(map(str, used))
    return f"{text} (the granted cores lie on {which}; the energy of all counts)"


def _count(number: int | None, what: str) -> str:
    if number is None:
        return f"{what}s not known"
    return units.count(number, what)


def _known(value: object) -> str:
    return "not known" if value is None else str(value)


def _on_off(switch: bool | None) -> str | None:
    return None if switch is None else "on" if switch else "off"


def _state(switch: bool | None) -> str:
    return _on_off(switch) or "not known"


def _gib(size_bytes: int | None) -> str:
    return "not known" if size_bytes is None else f"{size_bytes / (1 << 30):.3g} GiB"
