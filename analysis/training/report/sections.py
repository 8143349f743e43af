"""The sections of the page that hold charts."""

from collections.abc import Sequence

from greenbatch.analysis.report.page import Section
from greenbatch.analysis.training.findings.judge import WORDS, Metric
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
from greenbatch.analysis.training.report.repetition_charts import repetition_charts


def training_sections(
    rows: Sequence[TrainingRow],
    names: Sequence[str],
    front: Sequence[TrainingRow],
    why_no_energy: str = "",
    metric: Metric = "accuracy",
) -> list[Section]:
    """Learning curves, energy by epoch, energy against correctness, and single repetitions.

    Args:
        rows: Cells of a run without a search.
        names: Of the legend.
        front: Cells on the Pareto front of their data set.
        why_no_energy: A sentence, where there is none.
        metric: By which correctness is judged.
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
            f"Not drawn against energy, because that of an epoch is missing: {', '.join(unpaid)}."
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
        Section(
            "learning",
            f"Learning curves: accuracy by epoch and by energy{kind}",
            f"Accuracy on the validation images after each epoch; high and left is better.{band}"
            f"{mark}",
            learning_charts(shown, names),
            "No training completed.",
            sentences=left_out,
            estimated=estimated,
        ),
        Section(
            "epochs",
            f"Energy per epoch{kind}",
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
            Section(
                "front",
                f"Pareto front: {WORDS[metric]} against energy per image seen{kind}",
                f"Best validation {WORDS[metric]} against energy per image seen; high and left is "
                "better. The line joins the Pareto front (of the means)."
                f"{mark}",
                front_charts(shown, names, front, metric),
                why,
                estimated=estimated,
            )
        )
    if spreads := repetition_charts(shown, names, metric):
        sections.append(
            Section(
                "repetitions",
                f"Spread of the repetitions{kind}",
                "Each repetition of a choice, as its difference from their median; a bar holds the "
                "middle half of five and more. A cross is a flagged repetition. None is left out "
                f"of any figure.{mark}",
                spreads,
                estimated=estimated,
            )
        )
    return sections
