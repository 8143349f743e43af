"""What a study printed beside what its preset gives here."""

from collections.abc import Callable, Mapping, Sequence

from greenbatch.analysis.findings.wording import DASH, Table
from greenbatch.analysis.published.studies import PublishedFigure, published_studies
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.statistics.intervals import ratio_of_runs
from greenbatch.analysis.training.dataset.contexts import Context
from greenbatch.analysis.training.findings.correctness import Correctness
from greenbatch.analysis.training.findings.factorial import Factorial
from greenbatch.analysis.training.findings.searches import SearchRow
from greenbatch.design.recorded import RecordedTrainingStudy

_WORDS = {
    "eta_squared": "eta squared of {}, without blocks",
    "eta_squared_h": "eta squared of H between the choices, {}",
    "most_over_least": "most over least {} of a variant",
    "arrived": "{}: within the bound of the best of all strategies",
    "spearman_trainings": "Spearman's rho of {} with correctness, over trainings",
    "greatest_saving": "greatest saving of {} per image seen between two choices",
}

_BY_CHANCE = "not better than guessing"


def published_sections(
    study: RecordedTrainingStudy,
    factors: Sequence[Factorial] = (),
    judged: Sequence[Correctness] = (),
    searches: Sequence[SearchRow] = (),
    learned_nothing: Sequence[Context] = (),
) -> list[TableSection]:
    """Set the figures of a study beside those of a run of its preset.

    Args:
        study: Of the run; others than those that are listed have no such table.
        factors, judged, searches: What the run shows.
        learned_nothing: Where no training is better than guessing, so that figures of correctness
            are those of chance.
    """
    published = published_studies().get(study.name or "")
    if published is None:
        return []
    body = []
    for figure in published.figures:
        here = _here(figure, factors, judged, searches, learned_nothing)
        words = _WORDS[figure.kind].format(figure.of.replace("_", " "))
        body.append((words, figure.value, here or DASH))
    table = Table(
        "published",
        "Published, and here",
        ("figure", "published", "here"),
        tuple(body),
        (False, False, False),
        wraps=True,
    )
    note = (
        f"Published by {published.source}. The data, the device and what the preset changes differ "
        "(see the design below), so the figures need not agree."
    )
    return [TableSection(table, note)]


def _here(
    figure: PublishedFigure,
    factors: Sequence[Factorial],
    judged: Sequence[Correctness],
    searches: Sequence[SearchRow],
    learned_nothing: Sequence[Context],
) -> str:
    """Compute a figure; of several networks or data sets one after the other."""
    computed: Mapping[str, Callable[[], list[tuple[Context, str]]]] = {
        "eta_squared": lambda: [
            (one.context, f"{term.eta_squared:.3f}")
            for one in factors
            for term in one.unblocked.terms
            if term.test.of == figure.of
        ],
        "eta_squared_h": lambda: [
            (one.context, f"{test.effect.centre:.3f} (H = {test.statistic:.2f})")
            for one in judged
            if (test := one.tests[figure.of].kruskal) and test.effect
        ],
        "most_over_least": lambda: _extremes(judged, lambda over: f"{over:.2f}"),
        "greatest_saving": lambda: _extremes(
            judged, lambda factor: f"{100 * (1 - 1 / factor):.1f} %"
        ),
        "spearman_trainings": lambda: [
            (one.context, f"{test.statistic:.2f}")
            for one in judged
            if (test := one.spearman_trainings)
        ],
        "arrived": lambda: [
            (row.curve.context, f"{len(row.near_all.trials)} of {row.searches} searches")
            for row in searches
            if row.strategy == figure.of
        ],
    }
    found = computed[figure.kind]()
    by_chance = learned_nothing if _is_of_correctness(figure) else ()
    if found and all(context in by_chance for context, _ in found):
        return _BY_CHANCE
    return "; ".join(
        _of(context, _BY_CHANCE if context in by_chance else text) for context, text in found
    )


def _is_of_correctness(figure: PublishedFigure) -> bool:
    by_kind = figure.kind in ("arrived", "spearman_trainings")
    return by_kind or (figure.kind == "eta_squared_h" and figure.of != "energy")


def _of(context: Context, text: str) -> str:
    return f"{text} ({context.name})" if context.name else text


def _extremes(
    judged: Sequence[Correctness], write: Callable[[float], str]
) -> list[tuple[Context, str]]:
    """Divide the most energy per image seen of a choice by the least."""
    found = []
    for one in judged:
        known = sorted(
            (row for row in one.rows if row.energy_j),
            key=lambda row: row.energy_j.centre if row.energy_j else 0.0,
        )
        if len(known) < 2 or len({row.source for row in known}) > 1:
            continue
        least, most = known[0], known[-1]
        over = ratio_of_runs(most.energy.values(), least.energy.values())
        if over is not None:
            text = f"{write(over.centre)} ({least.name} against {most.name})"
            found.append((one.context, text))
    return found
