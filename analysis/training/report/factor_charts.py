"""Charts of factors: a figure at each level, and the energy at the levels of two together."""

from collections.abc import Sequence

from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.report.charts.facts import (
    EffectsFacts,
    InteractionCurve,
    InteractionFacts,
    LevelFacts,
    bounded,
)
from greenbatch.analysis.training.findings.factorial import Factorial
from greenbatch.analysis.training.findings.judge import WORDS
from greenbatch.analysis.training.findings.levels import ByLevel
from greenbatch.analysis.training.report.charts import sentence_case

MOST_PAIRS = 6
"""Of more pairs of factors, those whose interaction explains most of the energy are drawn."""


def effect_charts(found: Sequence[Factorial]) -> list[Chart]:
    """Energy and correctness at each level of a factor, over all levels of the others."""
    charts = []
    for number, one in enumerate(found):
        correct = WORDS[one.metric]
        figures = (
            ("effects", one.levels, "J", "energy of a training"),
            ("effects-correct", one.correctness, "%", correct),
        )
        for name, levels, unit, words in figures:
            title = ": ".join(filter(None, (one.context.name, words)))
            label = f"{sentence_case(words)} by {', '.join(one.factors)}, {one.context.name}"
            if facts := _effects(levels, unit, words):
                charts.append(Chart(f"{name}-{number}", title, label.rstrip(", "), facts))
    return charts


def _effects(levels: ByLevel, unit: str, words: str) -> EffectsFacts | None:
    found: list[LevelFacts] = [
        {"factor": factor, "level": level, "value": bounded(value)}
        for factor, members in levels.items()
        for level, value in members.items()
    ]
    return {"kind": "effects", "unit": unit, "words": words, "levels": found} if found else None


def interaction_charts(found: Sequence[Factorial]) -> list[Chart]:
    """Energy at the levels of two factors together; a chart for each pair."""
    charts = []
    for number, one in enumerate(found):
        for place, pair in enumerate(interacting(one)):
            first, second = pair
            cells = one.pairs[pair]
            levels = list(dict.fromkeys(a for a, _ in cells))
            curves: list[InteractionCurve] = [
                {
                    "label": f"{_words(second)} {b}",
                    "y": [bounded(cells[a, b]) if (a, b) in cells else None for a in levels],
                }
                for b in dict.fromkeys(b for _, b in cells)
            ]
            facts: InteractionFacts = {
                "kind": "interaction",
                "factor": _words(first),
                "levels": levels,
                "curves": curves,
            }
            title = f"{_words(first)} and {_words(second)}"
            if one.context.name:
                title = f"{one.context.name}: {title}"
            label = f"Energy of a training by {title}"
            charts.append(Chart(f"interaction-{number}-{place}", title, label, facts))
    return charts


def interacting(found: Factorial) -> list[tuple[str, str]]:
    """Choose the pairs of factors that are drawn, in the order of the study."""
    shares = {term.test.of: term.eta_squared for term in found.blocked.terms}
    pairs = [pair for pair in found.pairs if len(found.pairs[pair]) > 1]
    by_share = sorted(pairs, key=lambda pair: -shares.get(" x ".join(pair), 0.0))[:MOST_PAIRS]
    return [pair for pair in pairs if pair in by_share]


def _words(name: str) -> str:
    return name.replace("_", " ")
