"""What searches found, on the terminal: caveats, a row for each strategy, the best trials."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from greenbatch import units
from greenbatch.analysis.findings import wording
from greenbatch.cli.output.console import open_console
from greenbatch.cli.output.tables import fitting
from greenbatch.records import Epoch, Training, TrainingCell

if TYPE_CHECKING:
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.analysis.training.findings.rows import TrainingRow
    from greenbatch.analysis.training.findings.searches import Arrival, SearchRow
    from greenbatch.design.training_study import Search
    from greenbatch.records import Journal
    from greenbatch.workflows.training import Run

_DASH = "–"


@dataclass(frozen=True, slots=True)
class BestTrial:
    """A trial that no other of its network and data beats.

    Attributes:
        training: The trial.
        figures: By name of what the objective looks at.
        chance: No trial of its network is better than guessing, so it may be the best by chance.
    """

    training: Training
    figures: dict[str, float]
    chance: bool = False


def show_searches(run: "Run", search: "Search") -> None:
    """Print a run's caveats, a row for each strategy, the best trials and where the report is."""
    console = open_console()
    best = best_trials(search, run.findings.journal, run.findings.rows)
    for caveat in run.findings.caveats:
        if caveat.severity != "note":
            console.print(Text(caveat.sentence, style="yellow"))
    console.print()
    found = search_table(run.findings.shown.searches)
    console.print(Text(found.title, style="bold"))
    for laid in fitting(found, console.width, ("searches", "failed")):
        console.print(laid)
    console.print()
    for trial in best:
        console.print(Text(_settings_text(trial)), soft_wrap=True)
    if any(not trial.chance for trial in best):
        console.print(Text("each of them is one training, chosen for its figures: train it again"))
    console.print()
    console.print(Text(f"report: {run.report}"), soft_wrap=True)


def searches_as_json(run: "Run", search: "Search") -> str:
    """Write where a run's files are, what each strategy found, and the best trials."""
    facts = {
        "run": str(run.path),
        "dataset": str(run.path / "dataset.nc"),
        "report": str(run.report),
        "objective": search.objective,
        "within": search.within,
        "strategies": [_row_as_json(row) for row in run.findings.shown.searches],
        "best": [
            {
                **{name: getattr(trial.training.cell, name) for name in ("model", "data")},
                "strategy": trial.training.cell.strategy,
                "trial": trial.training.cell.trial,
                "repetition": trial.training.block,
                "better_than_guessing": not trial.chance,
                "batch_size": trial.training.cell.batch_size,
                "settings": dict(trial.training.cell.settings),
                **{_UNITS.get(name, name): value for name, value in trial.figures.items()},
            }
            for trial in best_trials(search, run.findings.journal, run.findings.rows)
        ],
    }
    return json.dumps(facts, indent=2)


_UNITS = {"energy": "energy_j"}


def search_table(rows: Sequence["SearchRow"]) -> wording.Table:
    """Show a row for each strategy: what it found, and what that took."""
    curve = rows[0].curve
    best = {"both": "best area"}.get(curve.objective, f"best {curve.objective}")
    columns = {
        "searched": [row.curve.context.name for row in rows],
        "strategy": [row.strategy for row in rows],
        best: [_figure(row.best, curve.objective) for row in rows],
        "trials to its best": [_trials(row.near_own) for row in rows],
        f"energy until then{_estimated(rows)}": [_energy(row.near_own) for row in rows],
        "trials to the best of all": [_trials(row.near_all) for row in rows],
        f"energy in all{_estimated(rows)}": [_spread(row.total_j, "J") for row in rows],
        "searches": [str(row.searches) for row in rows],
        "failed": [f"{row.curve.failed} of {row.curve.ok + row.curve.failed}" for row in rows],
    }
    if not any(columns["searched"]):
        del columns["searched"]
    names = ("searched", "strategy", best)
    return wording.Table(
        "searches",
        f"Trials until within {100 * curve.within:.3g} % of the best, and their energy",
        tuple(columns),
        tuple(zip(*columns.values(), strict=True)),
        tuple(name not in names for name in columns),
    )


def best_trials(
    search: "Search", journal: "Journal | None", rows: Sequence["TrainingRow"] = ()
) -> list[BestTrial]:
    """Return the best trials by network and data; of two objectives all that no other beats.

    Args:
        search: Whose objective counts.
        journal: Of the run; without one there is none.
        rows: Its trials, by which a network is known that learned nothing.
    """
    from greenbatch.analysis.training.findings.guessing import learned_nothing
    from greenbatch.runners.training.parent.search import DIRECTIONS, values_of

    if journal is None:
        return []
    directions = DIRECTIONS[search.objective]
    signs = [1 if way == "maximize" else -1 for way in directions.values()]
    epochs: dict[tuple[TrainingCell, int], list[Epoch]] = defaultdict(list)
    for epoch in journal.epochs:
        epochs[epoch.cell, epoch.block].append(epoch)
    groups: dict[tuple[str, ...], list[tuple[tuple[float, ...], Training]]] = defaultdict(list)
    for training in journal.trainings:
        cell = training.cell
        values = values_of(search, training, epochs[cell, training.block])
        if values is not None:
            scores = tuple(sign * value for sign, value in zip(signs, values, strict=True))
            groups[cell.model, cell.data, cell.backend, cell.precision].append((scores, training))
    by_chance = learned_nothing(rows, search.objective)
    found = []
    for (model, data, *_), trials in groups.items():
        seen = set()
        for scores, training in sorted(trials, key=lambda trial: trial[0], reverse=True):
            if scores in seen or any(_beats(other, scores) for other, _ in trials):
                continue
            seen.add(scores)
            figures = dict(
                zip(directions, (s * v for s, v in zip(signs, scores, strict=True)), strict=True)
            )
            found.append(BestTrial(training, figures, (model, data) in by_chance))
    return found


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def _settings_text(trial: BestTrial) -> str:
    cell = trial.training.cell
    figures = ", ".join(_plain(name, value) for name, value in trial.figures.items())
    chance = ", not better than guessing" if trial.chance else ""
    return f"best: {figures}{chance}: {cell} (repetition {trial.training.block})"


def _plain(name: str, value: float) -> str:
    return f"energy {units.si(value, 'J')}" if name == "energy" else f"{name} {100 * value:.1f} %"


def _figure(summary: "Interval | None", objective: str) -> str:
    from greenbatch.analysis.findings.wording import share

    return _spread(summary, "J") if objective == "energy" else share(summary)


def _spread(summary: "Interval | None", unit: str) -> str:
    from greenbatch.analysis.findings.wording import spread

    return spread(summary, unit)


def _trials(arrival: "Arrival") -> str:
    return _until(arrival, arrival.mean_trials, arrival.median_trials, "")


def _energy(arrival: "Arrival") -> str:
    return _until(arrival, arrival.mean_energy_j, arrival.median_energy_j, "J")


def _until(arrival: "Arrival", mean: "Interval | None", median: float | None, unit: str) -> str:
    """Write a mean with its interval; where some never arrived, the median and how many did."""
    if mean is not None:
        return _spread(mean, unit)
    there = len(arrival.trials)
    counted = f"{there} of {there + len(arrival.never)} arrived"
    if not arrival.never or median is None:
        return counted if arrival.never else _DASH
    return f"median {units.si(median, unit) if unit else format(median, 'g')}, {counted}"


def _estimated(rows: Sequence["SearchRow"]) -> str:
    sources = {row.curve.source for row in rows} - {"missing", "measured"}
    return ", est." if sources else ""


def _row_as_json(row: "SearchRow") -> dict[str, object]:
    return {
        **{name: label for name, label in row.curve.context.labels if label != ""},
        "strategy": row.strategy,
        "searches": row.searches,
        "best": _summary(row.best),
        "trials_until_near_own_best": _summary(row.near_own.mean_trials),
        "energy_j_until_near_own_best": _summary(row.near_own.mean_energy_j),
        "trials_until_near_best_of_all": _summary(row.near_all.mean_trials),
        "energy_j_until_near_best_of_all": _summary(row.near_all.mean_energy_j),
        "never_near_best_of_all": len(row.near_all.never),
        "energy_j": _summary(row.total_j),
        "energy_source": row.curve.source,
        "trials_ok": row.curve.ok,
        "trials_failed": row.curve.failed,
    }


def _summary(summary: "Interval | None") -> dict[str, object] | None:
    if summary is None:
        return None
    return {
        "value": summary.centre,
        "low": summary.low,
        "high": summary.high,
        "n": summary.n,
        "interval": summary.kind,
    }
