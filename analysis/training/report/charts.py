"""What the figures on the page of a training run draw, as plain JSON.

The page's script (``templates/training.js``) turns them into plotly figures.
"""

from collections.abc import Sequence

from greenbatch.analysis.dataset.training_variables import EPOCH_PHASES
from greenbatch.analysis.report.charts.charts import Chart, Style
from greenbatch.analysis.report.charts.facts import (
    Across,
    Band,
    BandsFacts,
    FrontFacts,
    FrontPoint,
    Up,
    bounded,
)
from greenbatch.analysis.report.charts.palette import IN_ORDER, MARKERS, on_dark
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.analysis.training.findings.judge import WORDS, Metric
from greenbatch.analysis.training.findings.rows import TrainingRow

MOST_LINES = 12
"""Of more in one chart, those with the highest accuracy are drawn."""


def colour(place: int) -> str:
    """Colour of the line at this place of the legend, on light ground."""
    return IN_ORDER[place % len(IN_ORDER)]


def styles(names: Sequence[str]) -> list[Style]:
    """Give each name its colours and marker."""
    return [
        Style(name, colour(place), on_dark(colour(place)), MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    ]


def drawn(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """Choose what is drawn: of each data set the cells of highest accuracy, in their order."""
    chosen: set[int] = set()
    for data in dict.fromkeys(row.cell.data for row in rows):
        measured = [
            (found.centre, -place)
            for place, row in enumerate(rows)
            if row.cell.data == data and (found := row.summary("accuracy"))
        ]
        chosen |= {-place for _, place in sorted(measured, reverse=True)[:MOST_LINES]}
    return [rows[place] for place in sorted(chosen)]


def learning_charts(rows: Sequence[TrainingRow], names: Sequence[str]) -> list[Chart]:
    """Accuracy against the epoch, and against the energy spent; two charts for each data set.

    A curve goes as far as every repetition went.

    Args:
        rows: As `drawn` gives them.
        names: Of the legend, to which a row's label belongs.
    """
    charts = []
    for number, (data, members) in enumerate(by_data(rows).items()):
        curves = [learning_curve(row) for row in members]
        over_epochs = [
            _curve(row, names, epochs, accuracy)
            for row, (epochs, _, accuracy) in zip(members, curves, strict=True)
            if accuracy
        ]
        over_energy = [
            _curve(row, names, spent_j, accuracy, estimated=row.estimated)
            for row, (_, spent_j, accuracy) in zip(members, curves, strict=True)
            if accuracy and spent_j
        ]
        epochs_axis: Across = {"title": "epoch", "unit": "", "whole": True}
        energy_axis: Across = {"title": "energy spent on the training", "unit": "J"}
        for kind, against, x, found in (
            ("epochs", "epoch", epochs_axis, over_epochs),
            ("energy", "energy spent", energy_axis, over_energy),
        ):
            if found:
                label = f"Validation accuracy on {data} against {x['title']}"
                y: Up = {"unit": "%", "words": "accuracy"}
                facts: BandsFacts = {"kind": "bands", "x": x, "y": y, "curves": found}
                title = f"{data}: against the {against}"
                charts.append(Chart(f"learning-{kind}-{number}", title, label, facts))
    return charts


def learning_curve(row: TrainingRow) -> tuple[list[float], list[float], list[Interval]]:
    """Return epochs from 1, energy until each ended (J, geometric mean), and the accuracy there.

    The energy is empty where that of an epoch is missing.
    """
    import numpy as np

    accuracy = row.curves.accuracy
    known = np.isfinite(accuracy).sum(axis=-1)
    if not known.size or not known.min():
        return [], [], []
    last = int(known.min())
    summaries = [interval(accuracy[:, place], geometric=False) for place in range(last)]
    passes_j = [row.curves.energy_j[name][:, :last] for name in EPOCH_PHASES]
    spent_j = np.sum(passes_j, axis=0).cumsum(axis=-1)
    until_j = [interval(spent_j[:, place]) for place in range(last)]
    return (
        [float(place + 1) for place in range(last)],
        [float(f"{one.centre:.6g}") for one in until_j if one]
        if np.isfinite(spent_j).all()
        else [],
        [summary for summary in summaries if summary],
    )


def epoch_charts(rows: Sequence[TrainingRow], names: Sequence[str]) -> list[Chart]:
    """Energy of each epoch, of its pass over training images and over those of validation."""
    charts = []
    for number, (data, members) in enumerate(by_data(rows).items()):
        curves = []
        for layer, name in enumerate(("train", "validation")):
            for row in members:
                summaries = epoch_energies(row, name)
                if summaries:
                    epochs = [float(place + 1) for place in range(len(summaries))]
                    curve = _curve(row, names, epochs, summaries, estimated=row.estimated)
                    curves.append(curve | {"layer": layer, "words": name})
        if curves:
            label = f"Energy of each epoch on {data}: training and validation"
            x: Across = {"title": "epoch", "unit": "", "whole": True}
            facts: BandsFacts = {
                "kind": "bands",
                "x": x,
                "y": {"unit": "J", "words": ""},
                "curves": curves,
            }
            charts.append(Chart(f"epochs-{number}", data, label, facts))
    return charts


def epoch_energies(row: TrainingRow, name: str) -> list[Interval]:
    """Summarise the energy of a pass over the repetitions, epoch by epoch; empty where missing."""
    energies_j = row.curves.energy_j[name]
    summaries = []
    for place in range(energies_j.shape[-1] if energies_j.size else 0):
        if (found := interval(energies_j[:, place])) is None or found.centre <= 0:
            break
        summaries.append(found)
    return summaries


def front_charts(
    rows: Sequence[TrainingRow],
    names: Sequence[str],
    front: Sequence[TrainingRow],
    metric: Metric = "accuracy",
) -> list[Chart]:
    """Best correctness against energy per image seen, with the front; a chart a data set."""
    charts = []
    for number, (data, members) in enumerate(by_data(rows).items()):
        points: list[FrontPoint] = [
            {
                "variant": names.index(row.label),
                "label": row.label,
                "energy": bounded(energy),
                "accuracy": bounded(accuracy),
                "estimated": row.estimated,
                "front": row in front,
            }
            for row in members
            if (energy := row.summary("image")) and (accuracy := row.summary(metric))
        ]
        if len(points) > 1:
            word = WORDS[metric]
            label = f"Best validation {word} on {data} against energy per image seen"
            facts: FrontFacts = {"kind": "front", "points": points, "words": word}
            charts.append(Chart(f"front-{number}", data, label, facts))
    return charts


def sentence_case(words: str) -> str:
    """Begin with a capital letter, and leave the others: ``Area under the ROC curve``."""
    return words[:1].upper() + words[1:]


def by_data(rows: Sequence[TrainingRow]) -> dict[str, list[TrainingRow]]:
    """Group rows by their data set."""
    found: dict[str, list[TrainingRow]] = {}
    for row in rows:
        found.setdefault(row.cell.data, []).append(row)
    return found


def _curve(
    row: TrainingRow,
    names: Sequence[str],
    x: Sequence[float],
    y: Sequence[Interval],
    *,
    estimated: bool = False,
) -> Band:
    return {
        "variant": names.index(row.label),
        "label": row.label,
        "estimated": estimated,
        "layer": 0,
        "words": "",
        "x": list(x),
        "y": [bounded(value) for value in y],
    }
