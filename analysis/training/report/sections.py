"""The figures of the page: a question each, with the charts that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.report.charts import (
    MOST_LINES,
    by_data,
    drawn,
    epoch_charts,
    front_charts,
    learning_charts,
    learning_curve,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Charts that answer one question, or why there are none.

    Attributes:
        name: In the page, and of the figure's file.
        title: The question.
        text: What is drawn, and where better is.
        sentences: What the charts show, above them.
        key: Whether it is drawn by what the page compares.
        second_line: Whether training and validation are drawn apart.
        estimated: Whether an energy in it is an estimate.
    """

    name: str
    title: str
    text: str
    charts: Sequence[Chart]
    absent: str = ""
    sentences: Sequence[str] = ()
    key: bool = True
    second_line: bool = False
    estimated: bool = False


def training_sections(
    rows: Sequence[TrainingRow],
    names: Sequence[str],
    front: Sequence[TrainingRow],
    why_no_energy: str = "",
) -> list[Figures]:
    """Learning curves, energy by epoch, and energy against correctness.

    Args:
        rows: Cells of a run without a search.
        names: Of the legend.
        front: Cells that no other one of their data set beats in both.
        why_no_energy: A sentence, where there is none.
    """
    shown = drawn(rows)
    estimated = any(row.estimated for row in rows)
    kind = " (estimated)" if estimated else ""
    mark = " Estimates are dashed and hollow." if estimated else ""
    left_out = []
    for data, members in by_data([row for row in rows if row.ok]).items():
        if len(members) > MOST_LINES:
            left_out.append(
                f"Of {len(members)} cells on {data} the {MOST_LINES} of highest accuracy are "
                "drawn; the table below has all."
            )
    uneven = [row.label for row in shown if len(set(row.series["epochs"].values())) > 1]
    if uneven:
        left_out.append(
            f"A curve ends where the first of its repetitions did: those of {', '.join(uneven)} "
            "went on for a different number of epochs."
        )
    unpaid = [row.label for row in shown if row.series["accuracy"] and not learning_curve(row)[1]]
    if unpaid and not why_no_energy:
        left_out.append(
            f"Not drawn against energy, for that of an epoch is missing: {', '.join(unpaid)}."
        )
    band = (
        " Bands are 95 % intervals over repetitions."
        if any(len(row.series["accuracy"]) > 2 for row in shown)
        else " Bands span the two repetitions."
        if any(len(row.series["accuracy"]) == 2 for row in shown)
        else ""
    )
    why = why_no_energy or "There is no energy of an epoch."
    several = any(len(members) > 1 for members in by_data(shown).values())
    sections = [
        Figures(
            "learning",
            f"What does accuracy cost?{kind}",
            f"Accuracy on the validation images after each epoch; high and left is better.{band}"
            f"{mark}",
            learning_charts(shown, names),
            "No training ended well.",
            sentences=left_out,
            estimated=estimated,
        ),
        Figures(
            "epochs",
            f"What does an epoch cost?{kind}",
            "Gross energy of each epoch: its pass over the training images in full, that over the "
            f"validation images dotted; writing the checkpoint is in neither.{mark}",
            epoch_charts(shown, names),
            why,
            second_line=True,
            estimated=estimated,
        ),
    ]
    if several:
        sections.append(
            Figures(
                "front",
                f"Which choices are worth their energy?{kind}",
                "Best validation accuracy against energy per image seen; high and left is better. "
                "The line joins those that no other beats in both, by the centres."
                f"{mark}",
                front_charts(shown, names, front),
                why,
                estimated=estimated,
            )
        )
    return sections
