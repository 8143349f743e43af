"""What trainings side by side show: energy, correctness, and what explains the energy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import training_study_of
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.training.findings.answers import saving_sentence
from greenbatch.analysis.training.findings.complexity import Complexity, complexity
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.guessing import learned_nothing
from greenbatch.analysis.training.findings.judge import BY_ACCURACY, Judge
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.report.charts import by_data
from greenbatch.analysis.training.report.factor_findings import (
    ANOVA_NOTE,
    LEVELS_NOTE,
    PAIRS_NOTE,
    anova_table,
    factor_analyses,
    factor_sections,
    factor_sentence,
    levels_table,
    pairs_table,
    step_sentences,
)
from greenbatch.analysis.training.report.findings import Card, Findings, best_cards, comparison
from greenbatch.analysis.training.report.hypothesis_table import tests_table
from greenbatch.analysis.training.report.published_table import published_sections
from greenbatch.analysis.training.report.sections import training_sections
from greenbatch.analysis.training.report.size_tables import size_sections, size_sentences
from greenbatch.analysis.training.report.tables import trainings_table

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.training.dataset.contexts import Context

_NOTHING_LEARNED = (
    "No network was shown to be better than guessing, so no saving at equal correctness is stated."
)

_TRAININGS_NOTE = (
    "Mean over repetitions ± the wider side of its 95 % interval (bounds where they are far from "
    "even); energies by the geometric mean. Flagged repetitions are included."
)

_TESTS_NOTE = (
    "Over repetitions, each training a value. p of Dunn's pairs and of Shapiro-Wilk corrected by "
    "Holm. A large p is no sign of equality, nor of normality where there are few repetitions."
)


def plain_findings(
    dataset: "xr.Dataset",
    rows: Sequence[TrainingRow],
    names: Sequence[str],
    why: str,
    judge: Judge = BY_ACCURACY,
) -> Findings:
    """Gather what a run without a search shows.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        rows: Its cells.
        names: Of the legend.
        why: Why there is no energy; empty where there is.
        judge: By what, and how exactly, correctness is judged.
    """
    groups = by_data(rows)
    several = len(groups) > 1
    metric = judge.metric
    judged = correctness(dataset, judge.within, metric, welch=judge.welch)
    guessing = learned_nothing(rows)
    guessed: list[Context] = []
    summaries: list[str] = []
    sentences: list[str] = []
    cards: list[Card] = []
    front: list[TrainingRow] = []
    sizes: list[tuple[str, Complexity]] = []
    for (data, members), found in zip(groups.items(), judged, strict=True):
        summary, more = comparison(data, members, several=several, metric=metric)
        summaries.append(summary)
        measured = [row for row in members if row.ok]
        if len(measured) > 1:
            if {(row.cell.model, row.cell.data) for row in measured} <= guessing:
                guessed.append(found.context)
                where = f"On {data}: " if several else ""
                sentences.append(f"{where}{_NOTHING_LEARNED}")
            elif not why:
                sentences.append(saving_sentence(found))
            cards += best_cards(data, members, several=several, metric=metric)
        sentences += more
        choices = zip(members, found.rows, strict=True)
        own = [row for row, choice in choices if choice.pareto_status == "front"]
        front += own
        if size := complexity(members, own):
            sizes.append((data, size))
            sentences += size_sentences(data, size, several=several)
    factors, refused = factor_analyses(dataset, metric)
    explained = [factor_sentence(one) for one in factors]
    steps = [sentence for one in factors for sentence in step_sentences(one)]
    return Findings(
        summary=" ".join(explained or summaries),
        sentences=[*steps, *(summaries if explained else []), *sentences],
        answers=cards,
        sections=[
            *training_sections(rows, names, front, why, metric),
            *factor_sections(factors, refused),
        ],
        tables=[
            *published_sections(
                training_study_of(dataset),
                factors=factors,
                judged=judged,
                learned_nothing=guessed,
            ),
            TableSection(trainings_table(rows), _TRAININGS_NOTE),
            TableSection(tests_table(judged), _TESTS_NOTE),
            *size_sections(rows, sizes),
            TableSection(levels_table(factors), LEVELS_NOTE),
            TableSection(anova_table(factors), ANOVA_NOTE),
            TableSection(pairs_table(factors), PAIRS_NOTE),
        ],
    )
