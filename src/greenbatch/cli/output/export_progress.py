"""Many exports on the screen: a bar on a terminal, plain lines elsewhere, a table at the end."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from greenbatch import units
from greenbatch.cli.output.console import TextConsole, open_console
from greenbatch.cli.output.export import event
from greenbatch.cli.output.printing import note
from greenbatch.errors import ExportError
from greenbatch.exporter.export import find_up_to_date
from greenbatch.exporter.parallel import Fleet, Outcome, Plan, cost
from greenbatch.models import ModelSpec
from greenbatch.models.artifacts import Artifact

NOT_PROVED = ExportError.exit_code
_ROOMY = 90  # columns from which those of the table have a gap of two


def show_fleet(
    specs: Sequence[ModelSpec],
    plan: Plan,
    weights: str,
    seed: int,
    *,
    force: bool,
    as_json: bool,
    kept: list[str],
) -> int:
    """Export networks by a plan and show how it goes.

    Args:
        specs: The networks.
        plan: How.
        weights: As an option says them.
        seed: Of random weights.
        force: Export what is up to date too.
        as_json: Print a JSON line for each instead.
        kept: Is given the name of each network that is proved, as it is.

    Returns:
        The exit code: 0 if all are proved, 3 otherwise.
    """
    began_s = began = time.perf_counter()
    outcomes: list[Outcome] = []
    shown: set[str] = set()
    fleet = Fleet(plan)
    with _Screen(len(specs), quiet=as_json) as screen:

        def take(outcome: Outcome, left: Sequence[ModelSpec]) -> None:
            outcomes.append(outcome)
            if outcome.good:
                kept.append(outcome.model)
            gpu_notes = () if as_json else outcome.gpu_notes  # JSON has them apart
            notes = [note for note in (*outcome.notes, *gpu_notes) if note not in shown]
            shown.update(notes)  # a note about all models is shown once
            if as_json:
                print(json.dumps(_event(outcome, plan.folder, notes)), flush=True)
            else:
                screen.show(outcome, plan.folder, notes, _left_s(outcomes, left, specs, began))

        stale = []
        for spec in specs:
            manifest = (
                None
                if force
                else find_up_to_date(spec.name, plan.folder, weights=weights, seed=seed)
            )
            if manifest is None:
                stale.append(spec)
                continue
            take(Outcome(model=spec.name, verdict="up to date", manifest=manifest), ())
        began = time.perf_counter()
        left = list(stale)
        with closing(fleet.run(stale, lambda: screen.at_work(fleet.at_work))) as running:
            for outcome in running:
                left = [spec for spec in left if spec.name != outcome.model]
                take(outcome, left)
    failed = [outcome for outcome in outcomes if not outcome.good]
    if as_json:
        if failed:
            note(_failure(failed, len(specs)))
    else:
        order = {spec.name: place for place, spec in enumerate(specs)}
        outcomes.sort(key=lambda outcome: order[outcome.model])
        console = open_console()
        console.print(outcome_table(outcomes, plan.folder, console.width))
        for outcome in filter(lambda outcome: not outcome.good, outcomes):
            console.print(Text(f"{outcome.model}: {outcome.reason}"), soft_wrap=True)
        console.print(Text(summary(outcomes, time.perf_counter() - began_s, fleet)))
    return NOT_PROVED if failed else 0


def _left_s(
    outcomes: Sequence[Outcome], left: Sequence[ModelSpec], specs: Sequence[ModelSpec], began: float
) -> float | None:
    """Estimate the time that is left, in s, from what was exported so far."""
    exported = {outcome.model for outcome in outcomes if outcome.verdict != "up to date"}
    done = sum(cost(spec) for spec in specs if spec.name in exported)
    if not done or not left:
        return None
    return (time.perf_counter() - began) / done * sum(map(cost, left))


class _Screen:
    """Shows progress on standard error; a context manager."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._console = TextConsole(file=sys.stderr)
        self._lines = not self._console.is_terminal and not quiet
        self._done, self._total = 0, total
        self._left = ""
        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("", total=total)

    def __enter__(self) -> "_Screen":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def at_work(self, names: Sequence[str]) -> None:
        """Show what is being exported."""
        parts = filter(None, (self._left, ", ".join(names)))
        self._bar.update(self._task, completed=self._done, description="; ".join(parts))

    def show(
        self, outcome: Outcome, folder: Path, notes: Sequence[str], left_s: float | None
    ) -> None:
        """Show what ended: on a terminal only what failed, as the rest is in the table."""
        self._done += 1
        self._left = "" if left_s is None else f"about {units.duration(left_s)} left"
        self._bar.update(self._task, completed=self._done)
        for one in notes:
            self._console.print(Text(f"gb: {one}"), soft_wrap=True)
        if self._lines or not outcome.good:
            place = f"[{self._done:{len(str(self._total))}}/{self._total}]"
            left = f", {self._left}" if self._left else ""
            line = f"{place} {outcome.model}: {_result(outcome, folder)}{left}"
            self._console.print(Text(line), soft_wrap=True)


def _result(outcome: Outcome, folder: Path) -> str:
    if not outcome.good:
        return f"failed: {outcome.reason}"
    if outcome.verdict == "up to date":
        return "up to date"
    cells = _cells(outcome, folder)
    return (
        f"{outcome.verdict} in {units.duration(outcome.seconds)}, {cells['size']}, largest error "
        f"{cells['error']}, peak {cells['memory']}"
    )


def _cells(outcome: Outcome, folder: Path) -> dict[str, str]:
    """Write the figures of an outcome as a person reads them."""
    manifest, ran = outcome.manifest, outcome.memory_peak_bytes is not None
    return {
        "time": units.duration(outcome.seconds) if ran else "–",
        "size": units.si(Artifact(folder, manifest).size_bytes, "B") if manifest else "–",
        "nodes": str(manifest.nodes) if manifest else "–",
        "error": f"{max(p.max_rel for p in manifest.parity):.1e}" if manifest else "–",
        "rows": f"{max(p.rows_rel for p in manifest.parity):.1e}" if manifest else "–",
        "memory": units.si(outcome.memory_peak_bytes, "B") if ran else "–",
    }


def outcome_table(outcomes: Sequence[Outcome], folder: Path, width: int) -> Table:
    """Lay out a row for each network in ``width`` columns, of which it needs 80."""
    gap = 2 if width >= _ROOMY else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in ("time", "size", "nodes", "error", "rows", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for outcome in outcomes:
        cells = (outcome.model, *_cells(outcome, folder).values(), outcome.verdict)
        table.add_row(*map(Text, cells))
    return table


def summary(outcomes: Sequence[Outcome], seconds: float, fleet: Fleet) -> str:
    """Say in a line how many ended how, and what it all took."""
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = [
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in ("proved", "up to date", "failed")
        if verdict in verdicts
    ]
    peak = fleet.memory_peak_bytes
    memory = f", {units.si(peak, 'B')} of memory at most at once" if peak else ""
    return f"{', '.join(counts)} in {units.duration(seconds)}{memory}"


def _failure(failed: Sequence[Outcome], total: int) -> str:
    more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
    return (
        f"{len(failed)} of {units.count(total, 'network')} did not become a verified artifact: "
        f"{failed[0].model}: {failed[0].reason}{more}"
    )


def _event(outcome: Outcome, folder: Path, notes: Sequence[str]) -> dict[str, object]:
    manifest = outcome.manifest
    line: dict[str, object] = {
        "model": outcome.model,
        "verdict": outcome.verdict,
        "up_to_date": outcome.verdict == "up to date",
        "export_s": round(outcome.seconds, 3),
        "notes": list(notes),
        "gpu_notes": list(outcome.gpu_notes),
    }
    if manifest:
        line = event(manifest, folder, outcome.verdict, notes, outcome.gpu_notes)
    return {
        **line,
        "reason": outcome.reason or None,
        "seconds": round(outcome.seconds, 3),
        "memory_peak_bytes": outcome.memory_peak_bytes,
    }
