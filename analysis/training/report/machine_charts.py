"""Charts of machines side by side: bars for each choice, as the tables have them."""

from collections.abc import Callable, Mapping, Sequence

from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.report.charts.facts import BarsFacts, MachineBars, bounded
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.training.findings.judge import WORDS, Metric
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.report.charts import by_data, sentence_case

MOST_GROUPS = 24
"""Of more choices on a data set, the first are drawn."""


def machine_sections(
    rows: Mapping[str, Sequence[TrainingRow]], metric: Metric = "accuracy"
) -> list[Section]:
    """Draw energy, utilisation and correctness of every choice on every machine.

    Args:
        rows: By machine, as `greenbatch.analysis.training.findings.rows.training_rows` gives them.
        metric: By which correctness is judged.
    """
    estimated = any(row.estimated for found in rows.values() for row in found)
    kind = " (estimated)" if estimated else ""
    mark = " Estimates are hollow." if estimated else ""
    intervals = "lines are 95 % intervals over repetitions (the range of two)"
    sections = [
        Section(
            "machines",
            f"Energy per image seen by choice and machine{kind}",
            f"Gross energy per image seen, a bar for each machine; {intervals}.{mark}",
            _charts(rows, "image", "J", "energy per image seen"),
            "There is no energy to compare.",
            estimated=estimated,
        ),
        Section(
            "machine-utilization",
            "Utilisation of the GPU by choice and machine",
            "Share of a training in which the GPU had work, a bar for each machine; "
            f"{intervals}. A GPU that has little work is larger than the choice needs.",
            _charts(rows, "utilization", "%", "utilisation of the GPU"),
        ),
        Section(
            "machine-correctness",
            f"{sentence_case(WORDS[metric])} by choice and machine",
            f"Best validation {WORDS[metric]}, a bar for each machine; {intervals}.",
            _charts(rows, metric, "%", f"best {WORDS[metric]}"),
            "No training completed.",
        ),
    ]
    return [section for section in sections if section.charts or section.absent]


def _charts(
    rows: Mapping[str, Sequence[TrainingRow]], series: str, unit: str, words: str
) -> list[Chart]:
    charts = []
    data = dict.fromkeys(row.cell.data for found in rows.values() for row in found)
    for number, name in enumerate(data):
        members = {machine: by_data(found).get(name, []) for machine, found in rows.items()}
        groups = list(dict.fromkeys(row.label for found in members.values() for row in found))
        groups = groups[:MOST_GROUPS]
        found: list[MachineBars] = []
        for variant, (machine, own) in enumerate(members.items()):
            by_label = {row.label: row for row in own}
            y = [_bounds(by_label.get(group), lambda row: row.summary(series)) for group in groups]
            if any(y):
                estimated = unit == "J" and any(row.estimated for row in own)
                found.append({"variant": variant, "label": machine, "estimated": estimated, "y": y})
        if found:
            facts: BarsFacts = {
                "kind": "bars",
                "unit": unit,
                "words": words,
                "groups": groups,
                "series": found,
            }
            label = f"{sentence_case(words)} on {name} by choice and machine"
            charts.append(Chart(f"machines-{series}-{number}", name, label, facts))
    return charts


def _bounds(
    row: TrainingRow | None, of: Callable[[TrainingRow], Interval | None]
) -> tuple[float, float, float, str] | None:
    value = of(row) if row else None
    return bounded(value) if value else None
