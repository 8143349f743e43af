"""Machines side by side: what each choice takes on each of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.training_variables import is_search
from greenbatch.analysis.findings.wording import DASH, Table, p_text, share, spread
from greenbatch.analysis.training.findings.environments import environments, machines_compared
from greenbatch.analysis.training.findings.judge import Metric
from greenbatch.analysis.training.findings.rows import TrainingRow, training_rows
from greenbatch.analysis.training.report.hypothesis_table import effect_text

if TYPE_CHECKING:
    import xarray as xr

MACHINES_NOTE = (
    "Gross energy per image seen with its 95 % interval over repetitions; and whether the machines "
    "differ in it (Kruskal-Wallis over repetitions, each choice by itself). Machines differ in "
    "what their meters see, too: look at the domains in each report."
)

UTILIZATION_NOTE = (
    "Share of a training in which the GPU had work, with its 95 % interval over repetitions, and "
    "whether the machines differ in it (Kruskal-Wallis). A GPU that has little work is larger than "
    "the choice needs."
)

PAIRS_NOTE = (
    "Each pair of machines: Dunn's test, corrected by Holm over the pairs of a choice, with "
    "Cliff's delta."
)
MEANS_NOTE = " Of means: Welch's analysis of variance, and Games and Howell's test of each pair."


def machines_table(dataset: "xr.Dataset", parts: "Mapping[str, xr.Dataset]") -> Table:
    """Set the energy per image seen of every choice on every machine side by side.

    Args:
        dataset: As `greenbatch.analysis.training.merge_training` gives it.
        parts: The same by machine.
    """
    rows = {machine: _by_label(training_rows(part)) for machine, part in parts.items()}
    labels = list(dict.fromkeys(label for found in rows.values() for label in found))
    tests = {} if is_search(dataset) else {c.name: t for c, t in environments(dataset)}
    columns = ("choice", *parts, "p", "effect (95 %)")
    body = []
    for label in [] if is_search(dataset) else labels:
        test = tests[label].kruskal if label in tests else None
        body.append(
            (
                label,
                *(_energy(found.get(label)) for found in rows.values()),
                p_text(test.p_holm) if test else DASH,
                effect_text(test) if test else DASH,
            )
        )
    numeric = (False, *(True for _ in parts), True, False)
    title = "Energy per image seen by machine"
    return Table("machines", title, columns, tuple(body), numeric)


def machine_utilization_table(dataset: "xr.Dataset", parts: "Mapping[str, xr.Dataset]") -> Table:
    """Set the utilisation of every machine's GPU by every choice side by side."""
    rows = {machine: _by_label(training_rows(part)) for machine, part in parts.items()}
    compared = [] if is_search(dataset) else environments(dataset, "utilization")
    body = []
    for context, tests in compared:
        there = [found.get(context.name) or _only(found) for found in rows.values()]
        summaries = [row.summary("utilization") if row else None for row in there]
        if any(summaries):
            test = tests.kruskal
            body.append(
                (
                    context.name or "all",
                    *map(share, summaries),
                    p_text(test.p_holm) if test else DASH,
                    effect_text(test) if test else DASH,
                )
            )
    columns = ("choice", *parts, "p", "effect (95 %)")
    numeric = (False, *(True for _ in parts), True, False)
    title = "Utilisation of the GPU by machine"
    return Table("machine-utilization", title, columns, tuple(body), numeric)


def _only(rows: Mapping[str, TrainingRow]) -> TrainingRow | None:
    return next(iter(rows.values())) if len(rows) == 1 else None


def machine_pairs_table(dataset: "xr.Dataset", *, welch: bool = False) -> Table:
    """Which pairs of machines differ in energy per image seen, each choice by itself.

    Args:
        dataset: As `greenbatch.analysis.training.merge_training` gives it.
        welch: Test means beside ranks.
    """
    columns = ("choice", "machines", "test", "p", "effect (95 %)")
    compared = [] if is_search(dataset) else environments(dataset, welch=welch)
    body = [
        (context.name or "all", test.of, test.name, p_text(test.p_holm), effect_text(test, "J"))
        for context, tests in compared
        for test in (*tests.dunn, *([tests.welch] if tests.welch else ()), *tests.games_howell)
    ]
    title = "Pairwise comparison of machines"
    numeric = (False, False, False, True, False)
    return Table("machine-pairs", title, columns, tuple(body), numeric)


def machine_sentences(dataset: "xr.Dataset", metric: Metric = "accuracy") -> list[str]:
    """Say what is saved over choices and machines; of searches, nothing is."""
    if is_search(dataset):
        return []
    several = dataset.sizes.get("data", 1) > 1
    return [
        f"On {compared.context.name}: {sentence}" if several else sentence
        for compared in machines_compared(dataset, metric)
        for sentence in compared.sentences(metric)
    ]


def _by_label(rows: list[TrainingRow]) -> dict[str, TrainingRow]:
    several = len({row.cell.data for row in rows}) > 1
    return {f"{row.label}, on {row.cell.data}" if several else row.label: row for row in rows}


def _energy(row: TrainingRow | None) -> str:
    if row is None:
        return DASH
    estimated = " (estimated)" if row.estimated else ""
    return spread(row.summary("image"), "J") + estimated
