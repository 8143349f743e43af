"""The trainings as text: tables for the page, Markdown, CSV and LaTeX."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.training_variables import cell_dims
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.findings.wording import DASH, Table, share, spread
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.training.dataset.compilation import hyperparameters_of
from greenbatch.analysis.training.dataset.totals import counted
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.csv_text import csv_text
from greenbatch.design.recorded import RecordedTrainingStudy
from greenbatch.records import Training, TrainingCell

if TYPE_CHECKING:
    import xarray as xr

_FACTORS = ("backend", "precision", "batch_size")


def trainings_table(rows: Sequence[TrainingRow]) -> Table:
    """Every cell: what it reaches, and what it takes."""
    factors = Factors([row.cell for row in rows])
    found = {row.energy_source for row in rows} - {"missing"}
    header = f" ({found.pop()})" if len(found) == 1 else ""
    source = ("source",) if found else ()  # more than one: a column says it of each line
    losses = ("lost, at least",) if any(row.lost_s for row in rows) else ()
    columns = (
        *factors.columns,
        "best accuracy",
        "F1",
        f"energy/image seen{header}",
        *source,
        "net",
        "training images",
        "validation images",
        "a training",
        "time",
        "epochs",
        "ok",
        *losses,
        "flags and failures",
    )
    body = tuple(
        (
            *factors(row.cell),
            share(row.summary("accuracy")),
            share(row.summary("f1")),
            spread(row.summary("image"), "J"),
            *((row.energy_source,) if source else ()),
            spread(row.summary("image_net"), "J"),
            spread(row.summary("train_image"), "J"),
            spread(row.summary("validation_image"), "J"),
            spread(row.summary("energy"), "J"),
            _time(row.summary("duration")),
            epochs(row),
            f"{row.ok}/{row.planned}",
            *((lost(row) or DASH,) if losses else ()),
            notes(row),
        )
        for row in rows
    )
    texts = {*factors.text_columns, "source", "flags and failures"}
    numeric = tuple(column not in texts for column in columns)
    return Table("trainings", "All trainings", columns, body, numeric)


def settings_table(trainings: Iterable[Training]) -> Table:
    """Effective settings: one line for each, and how many trainings had which value."""
    found: dict[str, Counter[str]] = {}
    for training in trainings:
        for name, value in training.settings.items():
            found.setdefault(name, Counter())[_text(value)] += 1
    rows = tuple(
        (
            name.replace("_", " "),
            next(iter(values))
            if len(values) == 1
            else "≠ " + "; ".join(f"{text} ({count}×)" for text, count in values.items()),
        )
        for name, values in found.items()
    )
    columns = ("setting", "value")
    return Table("settings", "Effective settings", columns, rows, (False, False), wraps=True)


def _text(value: str | float | bool | None) -> str:
    if value is None:
        return "not reported"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def substitutions_table(study: RecordedTrainingStudy) -> Table:
    """What stands in for a network of the study that is repeated."""
    rows = tuple(study.substitutions.items())
    columns = ("in the study that is repeated", "here")
    return Table("substitutions", "Substitutions", columns, rows, (False, False), wraps=True)


def trainings_csv(rows: Sequence[TrainingRow]) -> str:
    """Write every cell for a program: SI units in the headers, every digit, empty if missing."""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.cell.settings))
    figures = {
        "best_accuracy": "accuracy",
        "final_accuracy": "final_accuracy",
        "best_f1": "f1",
        "energy_per_image_seen_J": "image",
        "energy_per_image_seen_net_J": "image_net",
        "energy_per_train_image_J": "train_image",
        "energy_per_validation_image_J": "validation_image",
        "energy_J": "energy",
        "duration_s": "duration",
        "epochs": "epochs",
    }
    header = ["model", "data", "backend", "precision", "batch_size"]
    header += [f"setting.{name}" for name in names] + ["energy_source"]
    for name in figures:
        header += [name, f"{name}_low", f"{name}_high"]
    header += ["parameters", "macs", "n_ok", "n_planned", "lost_s", "lost_J", "flags", "failures"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        cell, settings = row.cell, dict(row.cell.settings)
        line: list[object] = [cell.model, cell.data, cell.backend, cell.precision, cell.batch_size]
        line += [settings.get(name) for name in names] + [row.energy_source]
        for series in figures.values():
            value = row.summary(series)
            line += [value.centre, value.low, value.high] if value else [None, None, None]
        line += [row.parameters, row.macs, row.ok, row.planned, row.lost_s, row.lost_j]
        line += [
            " ".join(f"{name}:{count}" for name, count in row.flags.items()),
            "; ".join(row.failures),
        ]
        lines.append(line)
    return csv_text(lines)


def trials_csv(dataset: "xr.Dataset") -> str:
    """Write every trial of a search for a program, a line for each repetition."""
    searched = hyperparameters_of(dataset)
    energy_j = counted(dataset, "energy")
    dims = (*cell_dims(dataset), "repetition")
    figures = {
        "best_accuracy": dataset["best_accuracy"],
        "best_f1": dataset["best_f1"],
        "energy_J": energy_j,
        "spent_energy_J": dataset["spent_energy"],
        "duration_s": dataset["duration"],
    }
    header = [*dims, *searched.values(), "status", *figures, "reason"]
    columns = [
        *(dataset[name].transpose(*dims).values for name in searched),
        dataset["status"].transpose(*dims).values,
        *(figure.transpose(*dims).values for figure in figures.values()),
        dataset["reason"].transpose(*dims).values,
    ]
    labels = [dataset[dim].values.tolist() for dim in dims]
    lines: list[Sequence[object]] = [header]
    for place in product(*map(range, map(len, labels))):
        line: list[object] = [known[at] for known, at in zip(labels, place, strict=True)]
        for name, column in zip(header[len(dims) :], columns, strict=True):
            value = column[place]
            if name == "status":
                line.append(STATUSES[value])
            else:
                line.append(None if value != value else value)
        lines.append(line)
    return csv_text(lines)


def table_csv(table: Table) -> str:
    """Write a table's own text as CSV."""
    return csv_text([table.columns, *table.rows])


def epochs(row: TrainingRow) -> str:
    """Write how many epochs the repetitions took: ``25``, or ``9 to 14, 3 early``."""
    counts = [round(count) for count in row.series["epochs"].values()]
    if not counts:
        return DASH
    low, high = min(counts), max(counts)
    text = str(low) if low == high else f"{low} to {high}"
    return f"{text}, {row.stopped_early} early" if row.stopped_early else text


def lost(row: TrainingRow) -> str:
    """Write what interruptions and failures lost: ``5 J in 12 s``; empty where nothing was."""
    if not row.lost_s:
        return ""
    time = units.duration(row.lost_s) if row.lost_s >= 1 else units.si(row.lost_s, "s")
    energy = "energy not known" if row.lost_j is None else units.si(row.lost_j, "J")
    return f"{energy} in {time}"


def notes(row: TrainingRow) -> str:
    """Write what to know of a cell: flags, interruptions, repetitions that are not ok."""
    parts = [f"{name.replace('_', ' ')} {count}×" for name, count in row.flags.items()]
    parts += [f"interrupted {row.sessions}×"] if row.sessions else []
    parts += [f"{n.replace('_', ' ')} {c}×" for n, c in row.statuses.items() if n != "ok"]
    return ", ".join(parts)


def _time(value: Interval | None) -> str:
    if value is None or value.centre < 60:
        return spread(value, "s")
    return units.duration(value.centre)


class Factors:
    """The columns that name a cell; a factor with one level everywhere is left out.

    Attributes:
        columns: The model first.
        text_columns: Those that hold no numbers.
    """

    def __init__(self, cells: Sequence[TrainingCell]) -> None:
        texts = {
            name: {dict(c.settings).get(name) for c in cells}
            for c in cells[:1]
            for name, _ in c.settings
        }
        self._settings = [name for name, found in texts.items() if len(found) > 1]
        self._factors = [
            name
            for name in ("model", "data", *_FACTORS)
            if name == "model" or len({getattr(cell, name) for cell in cells}) > 1
        ]
        words = [name.replace("_", " ") for name in (*self._factors, *self._settings)]
        self.columns = tuple("batch" if word == "batch size" else word for word in words)
        self.text_columns = {column for column in self.columns if column != "batch"}

    def __call__(self, cell: TrainingCell) -> tuple[str, ...]:
        """Write the entries of a cell."""
        settings = dict(cell.settings)
        return (
            *(str(getattr(cell, name)) for name in self._factors),
            *(settings.get(name, DASH) for name in self._settings),
        )
