"""Charts of single repetitions, in which one that lies apart is seen."""

from collections.abc import Sequence
from statistics import median, quantiles

from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.report.charts.facts import (
    RepetitionPoint,
    RepetitionsFacts,
    RepetitionsRow,
)
from greenbatch.analysis.training.findings.judge import WORDS, Metric
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.report.charts import by_data, sentence_case

LEAST = 3
"""Repetitions of a choice whose spread is drawn."""
_LEAST_QUARTILES = 5


def repetition_charts(
    rows: Sequence[TrainingRow], names: Sequence[str], metric: Metric = "accuracy"
) -> list[Chart]:
    """Energy per image seen and best correctness of each repetition, against their median.

    Args:
        rows: As `greenbatch.analysis.training.report.charts.drawn` gives them.
        names: Of the legend, to which a row's label belongs.
        metric: By which correctness is judged.
    """
    charts = []
    for number, (data, members) in enumerate(by_data(rows).items()):
        for series, unit, words in (
            ("image", "J", "energy per image seen"),
            (metric, "%", f"best {WORDS[metric]}"),
        ):
            found = [
                _row(row, names.index(row.label), series)
                for row in members
                if len(row.series[series]) >= LEAST
            ]
            if found:
                facts: RepetitionsFacts = {
                    "kind": "repetitions",
                    "unit": unit,
                    "words": words,
                    "rows": found,
                }
                label = f"{sentence_case(words)} of each repetition on {data} against the median"
                name = f"repetitions-{'energy' if unit == 'J' else 'correct'}-{number}"
                charts.append(Chart(name, f"{data}: {words}", label, facts))
    return charts


def _row(row: TrainingRow, variant: int, series: str) -> RepetitionsRow:
    values = row.series[series]
    middle = median(values.values())
    relative = series == "image"

    def off(value: float) -> float:
        return float(f"{value / middle - 1 if relative else value - middle:.6g}")

    points: list[RepetitionPoint] = [
        {
            "number": block + 1,
            "value": float(f"{value:.6g}"),
            "off": off(value),
            "flagged": block in row.flagged_blocks,
        }
        for block, value in values.items()
    ]
    ends: tuple[float, float] | None = None
    if len(values) >= _LEAST_QUARTILES:
        low, _, high = quantiles(values.values(), n=4, method="inclusive")
        ends = off(low), off(high)
    return {
        "variant": variant,
        "label": row.label,
        "estimated": relative and row.estimated,
        "points": points,
        "middle": ends,
    }
