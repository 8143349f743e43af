"""What trainings came to, on the terminal: a row for each cell, what was lost, the report."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from greenbatch import units
from greenbatch.analysis.findings.wording import margin
from greenbatch.cli.output.console import open_console
from greenbatch.cli.output.tables import plus_minus
from greenbatch.records import (
    Epoch,
    Phase,
    Status,
    Training,
    TrainingCell,
    holding,
    total_energy,
)

if TYPE_CHECKING:
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.workflows.training import Run

WIDTH_ELSEWHERE = 140  # its rows have more columns than those of other tables


@dataclass(frozen=True)
class TrainingRow:
    """A cell over its repetitions; ``None`` where nothing is known.

    Attributes:
        cell: What was trained.
        planned: Repetitions that were begun.
        ok: That came to their end.
        epochs: The fewest and the most.
        accuracy, f1: The best of a training, on the validation images.
        energy_j: Of a whole training, gross, over the domains that count.
        sources: How that was obtained.
        train_j, validation_j: Per image seen, gross.
        duration_s: Of a whole training.
        flags: How many repetitions carry each flag, or failed.
    """

    cell: TrainingCell
    planned: int
    ok: int
    epochs: tuple[int, int] | None
    accuracy: "Interval | None"
    f1: "Interval | None"
    energy_j: "Interval | None"
    sources: tuple[str, ...]
    train_j: "Interval | None"
    validation_j: "Interval | None"
    duration_s: "Interval | None"
    flags: dict[str, int]


def training_rows(trainings: Sequence[Training], epochs: Iterable[Epoch]) -> list[TrainingRow]:
    """Return a row for each cell, in the order of the cells."""
    of: dict[tuple[TrainingCell, int], list[Epoch]] = {}
    for epoch in holding(epochs):
        of.setdefault((epoch.cell, epoch.block), []).append(epoch)
    return [
        _row(cell, [t for t in trainings if t.cell == cell], of)
        for cell in sorted({t.cell for t in trainings}, key=str)
    ]


def _row(
    cell: TrainingCell,
    every: Sequence[Training],
    of: dict[tuple[TrainingCell, int], list[Epoch]],
) -> TrainingRow:
    ok = [training for training in every if training.status is Status.OK]
    parts = [of[training.cell, training.block] for training in ok]
    wholes = [training.whole for training in ok if training.whole]
    totals = [total_energy(whole.energy) for whole in wholes]
    flags: dict[str, int] = {}
    for training in every:
        names = training.flags if training.status is Status.OK else (str(training.status),)
        for name in names:
            flags[name] = flags.get(name, 0) + 1
    return TrainingRow(
        cell=cell,
        planned=len(every),
        ok=len(ok),
        epochs=(min(map(len, parts)), max(map(len, parts))) if parts else None,
        accuracy=_interval([max(e.accuracy for e in part) for part in parts], geometric=False),
        f1=_interval([max(e.f1 for e in part) for part in parts], geometric=False),
        energy_j=_interval([total.energy_j for total in totals]),
        sources=tuple(dict.fromkeys(str(s) for total in totals for s in total.sources)),
        train_j=_interval([_per_image(part, lambda e: e.train) for part in parts]),
        validation_j=_interval([_per_image(part, lambda e: e.validation) for part in parts]),
        duration_s=_interval([whole.duration_s for whole in wholes]),
        flags=flags,
    )


def _interval(values: Sequence[float | None], *, geometric: bool = True) -> "Interval | None":
    """Summarise one figure as the report does; nothing, where a repetition lacks it."""
    from greenbatch.analysis.statistics.intervals import interval

    known = [value for value in values if value is not None]
    return interval(known, geometric=geometric) if known and len(known) == len(values) else None


def _per_image(part: Sequence[Epoch], phase_of: Callable[[Epoch], Phase]) -> float | None:
    phases = [phase_of(epoch) for epoch in part]
    energies = [total_energy(phase.energy).energy_j for phase in phases]
    known = [energy_j for energy_j in energies if energy_j is not None]
    images = sum(phase.images for phase in phases)
    return sum(known) / images if images and len(known) == len(phases) else None


def show_trainings(run: "Run") -> None:
    """Print the table of a run, what was lost in it, and the path of its report."""
    console = open_console(width=WIDTH_ELSEWHERE)
    rows = _rows_of(run)
    console.print()
    console.print(training_table(rows))
    figures = [(row.energy_j, row.train_j, row.validation_j, row.duration_s) for row in rows]
    for meaning in plus_minus(figure for row in figures for figure in row):
        console.print(meaning)
    console.print()
    for sentence in lost_sentences(run.trainings):
        console.print(Text(sentence, style="yellow"), soft_wrap=True)
    for reason in dict.fromkeys(t.reason for t in run.trainings if t.reason):
        console.print(Text(f"a training failed: {reason}", style="yellow"), soft_wrap=True)
    console.print(Text(f"report: {run.report}"), soft_wrap=True)


def _rows_of(run: "Run") -> list[TrainingRow]:
    journal = run.findings.journal
    return training_rows(run.trainings, journal.epochs if journal else ())


def training_table(rows: Sequence[TrainingRow]) -> Table:
    """Lay out a row for each cell; columns that are alike in all of them are left out."""
    estimated = any("estimated" in row.sources for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    factors = _factors([row.cell for row in rows])
    for name in factors:
        table.add_column(name, no_wrap=name == "model")
    energy = "energy, est." if estimated else "energy"
    for name in ("epochs", "accuracy", "F1", energy, "train/image", "val./image", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("energy by")
    table.add_column("flags")
    for row in rows:
        table.add_row(
            *(factor(row.cell) for factor in factors.values()),
            _range(row.epochs),
            _share(row.accuracy),
            _share(row.f1),
            _spread(row.energy_j, "J"),
            _spread(row.train_j, "J"),
            _spread(row.validation_j, "J"),
            _spread(row.duration_s, "s"),
            ", ".join(row.sources) or "missing",
            ", ".join(f"{name} {count}/{row.planned}" for name, count in row.flags.items()),
        )
    return table


def _factors(
    cells: Sequence[TrainingCell],
) -> dict[str, Callable[[TrainingCell], str]]:
    """Return what distinguishes the cells: the model, always, and each factor that varies."""

    def setting(key: str) -> Callable[[TrainingCell], str]:
        return lambda cell: dict(cell.settings).get(key, "–")

    keys = dict.fromkeys(key for cell in cells for key, _ in cell.settings)
    known: dict[str, Callable[[TrainingCell], str]] = {
        "data": lambda cell: cell.data,
        "backend": lambda cell: cell.backend,
        "precision": lambda cell: cell.precision,
        "batch": lambda cell: str(cell.batch_size),
        **{key: setting(key) for key in keys},
        "strategy": lambda cell: cell.strategy,
        "trial": lambda cell: "" if cell.trial is None else str(cell.trial),
    }
    varying = {
        name: factor for name, factor in known.items() if len({factor(cell) for cell in cells}) > 1
    }
    return {"model": lambda cell: cell.model, **varying}


def lost_sentences(trainings: Iterable[Training]) -> list[str]:
    """Say what interruptions and failures cost, apart from the figures of the table."""
    found = []
    for training in trainings:
        if training.lost is None:
            continue
        energy = total_energy(training.lost.energy)
        cost = units.si(energy.energy_j, "J") if energy.energy_j is not None else "energy unknown"
        found.append(
            f"lost of {training.cell}, repetition {training.block + 1}, in "
            f"{units.count(training.sessions, 'session')}: {cost} in "
            f"{units.si(training.lost.duration_s, 's')} at least; no other figure includes it"
        )
    return found


def trainings_as_json(run: "Run") -> str:
    """Write where a run's files are and the rows of its table, for a script to read."""

    def summary(found: "Interval | None") -> dict[str, float | int | None] | None:
        if found is None:
            return None
        return {"value": found.centre, "low": found.low, "high": found.high, "n": found.n}

    result = {
        "run": str(run.path),
        "dataset": str(run.path / "dataset.nc"),
        "report": str(run.report),
        "trainings": [
            {
                "model": row.cell.model,
                "data": row.cell.data,
                "backend": row.cell.backend,
                "precision": row.cell.precision,
                "batch_size": row.cell.batch_size,
                "settings": dict(row.cell.settings),
                "strategy": row.cell.strategy or None,
                "trial": row.cell.trial,
                "repetitions": row.planned,
                "ok": row.ok,
                "epochs": row.epochs,
                "best_accuracy": summary(row.accuracy),
                "best_f1": summary(row.f1),
                "energy_j": summary(row.energy_j),
                "energy_sources": row.sources,
                "train_j_per_image": summary(row.train_j),
                "validation_j_per_image": summary(row.validation_j),
                "duration_s": summary(row.duration_s),
                "flags": row.flags,
            }
            for row in _rows_of(run)
        ],
        "lost": lost_sentences(run.trainings),
        "failed": [t.reason for t in run.trainings if t.reason],
    }
    return json.dumps(result, indent=2)


def _range(ends: tuple[int, int] | None) -> str:
    if ends is None:
        return "–"
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def _share(found: "Interval | None") -> str:
    return "–" if found is None else f"{found.centre:.1%}"


def _spread(found: "Interval | None", unit: str) -> str:
    if found is None:
        return "–"
    return units.si(found.centre, unit) + margin(found)
