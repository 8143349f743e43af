"""How a fleet shows where it stands: a line per machine on a terminal, plain lines elsewhere."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from greenbatch import units
from greenbatch.cli.output.console import TextConsole
from greenbatch.records import Status
from greenbatch.workflows.inference import Listener as StepListener

if TYPE_CHECKING:
    from greenbatch.analysis.findings.machines import Interaction, MachineChoice
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.runners.fleet.coordination import Listener
    from greenbatch.runners.fleet.events import Event
    from greenbatch.runners.fleet.home import Home
    from greenbatch.runners.fleet.messages import Progressed
    from greenbatch.workflows.fleet.running import FleetRun

_EVERY_S = 1.0  # how often the table is drawn, at most


class FleetDisplay:
    """Shows events and progress on standard error; a context manager."""

    def __init__(self) -> None:
        self._console = TextConsole(file=sys.stderr)
        self._machines: dict[str, Progressed | None] = {}
        self._failures: dict[str, str] = {}
        self._live: Live | None = None
        self._drawn_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def listener(self) -> "Listener":
        """What the coordinator calls."""
        from greenbatch.runners.fleet.coordination import Listener

        return Listener(on_event=self._event, on_progress=self._progress)

    @property
    def steps(self) -> StepListener:
        """What the workflow calls."""
        return StepListener(on_step=lambda text: self._print(text, "dim"))

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _event(self, event: "Event") -> None:
        self._print(event_line(event))
        if event.what == "accepted":
            self._machines.setdefault(event.machine, None)
        if event.what == "failed":
            self._failures[event.machine] = event.reason
        self._draw(now=True)

    def _progress(self, progress: "Progressed") -> None:
        self._machines[progress.machine] = progress
        if progress.failure:
            self._failures[progress.machine] = progress.failure
        if not self._console.is_terminal:
            self._print(progress_line(progress))
        self._draw()

    def _draw(self, *, now: bool = False) -> None:
        if not self._console.is_terminal:
            return
        if not now and time.monotonic() - self._drawn_s < _EVERY_S:
            return
        self._drawn_s = time.monotonic()
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("machine", "done", "left", "now", "last failure", box=None, padding=(0, 1))
        for name, progress in self._machines.items():
            done = f"{progress.done}/{progress.total}" if progress else ""
            left_s = progress.left_s if progress else None
            left = units.duration(left_s) if left_s is not None else ""
            now = progress.now if progress else ""
            table.add_row(name, done, left, now, self._failures.get(name, ""))
        return table


def progress_line(progress: "Progressed") -> str:
    """Say in one line where a machine stands."""
    parts = [f"{progress.machine} [{progress.done}/{progress.total}] {progress.unit}"]
    if progress.left_s is not None and progress.now:
        parts.append(f"about {units.duration(progress.left_s)} left")
    parts += [text for text in (progress.now, progress.failure) if text]
    return ", ".join(parts)


def event_line(event: "Event") -> str:
    """Say in one line what happened."""
    where = " ".join(filter(None, (event.machine, event.unit)))
    return f"{where}: {event.what}{f': {event.reason}' if event.reason else ''}"


def run_lines(done: "FleetRun") -> list[str]:
    """Say what a fleet measured, a line per machine."""
    width = max(map(len, done.machines), default=0)
    lines = [f"{name:{width}}  {count} repetitions" for name, count in done.machines.items()]
    lines += [f"{name:{width}}  refused: {reason}" for name, reason in done.refused.items()]
    lines += [f"flagged: {sentence}" for sentence in done.flagged]
    if done.dataset:
        lines += [f"dataset: {done.dataset}", f"report: {done.report}"]
    return lines


def run_as_json(done: "FleetRun") -> str:
    """Return what a fleet measured as JSON."""
    members = {
        "fleet": str(done.path),
        "repetitions": dict(done.machines),
        "planned": done.planned,
        "failed": list(done.failed),
        "refused": dict(done.refused),
        "flagged": list(done.flagged),
        "dataset": str(done.dataset) if done.dataset else None,
        "report": str(done.report) if done.report else None,
    }
    return json.dumps(members, indent=2)


def best_lines(choices: "Sequence[MachineChoice]", interaction: "Interaction | None") -> list[str]:
    """Say for each network which machine costs the least energy, a line per machine."""
    lines = []
    for model in dict.fromkeys(choice.model for choice in choices):
        lines.append(f"{model}:")
        for choice in (each for each in choices if each.model == model):
            over = choice.over_best
            ratio = f", {over.centre:.3g} times the best {_ends(over)}" if over else ""
            lines.append(
                f"  {choice.machine}: {units.si(choice.energy_j.centre, 'J')}/image "
                f"{_ends(choice.energy_j)} on {choice.variant} at batch {choice.batch_size}, p99 "
                f"{units.si(choice.latency_s, 's')}{ratio}"
            )
    if not choices:
        return ["no machine has a cell with energies within the limit"]
    if interaction:
        depends = "depends" if interaction.p < 0.05 else "is not shown to depend"
        lines.append(
            f"the ratio between machines {depends} on the network: "
            f"F({interaction.degrees_of_freedom[0]}, {interaction.degrees_of_freedom[1]}) = "
            f"{interaction.f:.3g}, p = {interaction.p:.2g}"
        )
    return lines


def _ends(found: "Interval") -> str:
    if found.low is None or found.high is None:
        return "(interval not known)"
    return f"[{found.low:.3g}, {found.high:.3g}]"


def best_as_json(choices: "Sequence[MachineChoice]", interaction: "Interaction | None") -> str:
    """Return the same as JSON."""
    members = {
        "choices": [asdict(choice) for choice in choices],
        "interaction": asdict(interaction) if interaction else None,
    }
    return json.dumps(members, indent=2)


def _states(home: "Home") -> dict[str, dict[str, object]]:
    """Return where each machine stands, from what is in the folder."""
    last = {event.machine: event for event in home.events if event.machine}
    finished = home.finished()
    found: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys([*home.groups, *home.machines, *last]):
        done = home.done(name).values()
        failures = [e.reason for e in home.events if e.machine == name and e.what == "failed"]
        found[name] = {
            "group": home.groups.get(name, ""),
            "repetitions": sum(status is Status.OK for status in done),
            "failed": sum(status in (Status.ERROR, Status.TIMEOUT) for status in done),
            "units": sorted(unit for machine, unit in finished if machine == name),
            "last": event_line(last[name]) if name in last else "",
            "last_failure": failures[-1] if failures else "",
        }
    return found


def status_lines(home: "Home") -> list[str]:
    """Say where a fleet stands, a line per machine."""
    each = len(home.study.cells()) * home.study.repetitions
    lines = [f"fleet {home.fleet.id}: {each} repetitions for {home.fleet.machines} machine"]
    states = _states(home)
    width = max(map(len, states), default=0)
    for name, state in states.items():
        parts = [f"{state['repetitions']} repetitions", f"{state['failed']} failed"]
        if state["last_failure"]:
            parts.append(f"last failure: {state['last_failure']}")
        lines.append(f"{name:{width}}  {', '.join(parts)}; last: {state['last']}")
    return lines


def status_as_json(home: "Home") -> str:
    """Return where a fleet stands as JSON."""
    members = {
        "id": home.fleet.id,
        "planned_each": len(home.study.cells()) * home.study.repetitions,
        "machines": _states(home),
    }
    return json.dumps(members, indent=2)
