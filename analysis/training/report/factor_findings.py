"""What the factors of a design have to say: which of them explains the energy of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.findings.wording import DASH, Table, p_text
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.statistics.hypothesis_tests import Test
from greenbatch.analysis.training.findings.factorial import (
    BLOCK,
    Factorial,
    Variance,
    factorial,
    factors_of,
)
from greenbatch.analysis.training.report.charts import effect_chart
from greenbatch.analysis.training.report.hypothesis_table import effect_text
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.report.charts.charts import Chart
    from greenbatch.analysis.statistics.linear_models import Term

_SURE = 0.05

ANOVA_NOTE = (
    "Analysis of variance of the energy of a training, type III with contrasts that sum to zero; p "
    "corrected by Holm. A training is one value, and its repetition a block. The last columns are "
    "without blocks, as in the original (Yarally et al., CAIN 2023), whose rows are trainings too; "
    "there 24 trainings of each of 16 sets of hyperparameters were taken to be independent."
)
PAIRS_NOTE = (
    "Differences of the mean energy of a training between the levels of a factor (Tukey), with the "
    "repetition as the unit; and Kruskal-Wallis, which leaves the other factors aside."
)


def factor_analyses(dataset: "xr.Dataset") -> tuple[list[Factorial], str]:
    """Analyse the factors of a design, where it has two or more.

    Returns:
        An analysis for each network and data set; and why there is none.
    """
    if len(factors_of(dataset)) < 2:
        return [], ""
    try:
        return factorial(dataset), ""
    except UsageError as error:
        text = str(error)
        return [], f"The factors are not analysed: {text}."


def factor_sentence(found: Factorial) -> str:
    """Say which factor explains the energy of a training, with the block as a term."""
    name = f"For {found.context.name}: " if found.context.name else ""
    terms = [term for term in found.blocked.terms if term.test.of in found.factors]
    if not terms:
        return name + " ".join(found.blocked.notes or ("The factors are not analysed.",))
    kind = "" if found.source == "measured" else f" ({found.source})"
    first, *others = sorted(terms, key=lambda term: -term.eta_squared)
    rest = ", ".join(f"{_words(t.test.of)} {_percent(t.eta_squared)}" for t in others)
    p = p_text(first.test.p_holm)
    if not first.test.p_holm < _SURE:
        return (
            f"{name}No factor is shown to explain the energy of a training{kind}: the largest "
            f"share of its variation goes with {_words(first.test.of)}, "
            f"{_percent(first.eta_squared)} (p = {p})."
        )
    uncertain = "" if found.blocked.crossed else " " + " ".join(found.blocked.notes)
    return (
        f"{name}The factor that explains most of the energy of a training{kind} is "
        f"{_words(first.test.of)}: {_percent(first.eta_squared)} of its variation (eta squared; "
        f"p {p if p.startswith('<') else f'= {p}'}); {rest}.{uncertain}"
    )


def factor_section(found: Sequence[Factorial], why: str) -> Section:
    """Draw the energy at each level of each factor."""
    charts: list[Chart] = []
    for number, one in enumerate(found):
        charts += effect_chart(one.levels, one.context.name, number)
    estimated = any(one.source in ("estimated", "mixed") for one in found)
    return Section(
        "effects",
        "Energy by factor: layers and settings" + (" (estimated)" if estimated else ""),
        "Energy of a training at each level of a factor, a mean over the levels of all others; "
        "lines are 95 % intervals over repetitions (the range of two).",
        charts,
        why or "There is no energy to analyse.",
        key=False,
        estimated=estimated,
    )


def anova_table(found: Sequence[Factorial]) -> Table:
    """Both analyses of variance, side by side."""
    named = any(one.context.name for one in found)
    columns = (
        *(("of",) if named else ()),
        "term",
        "eta squared",
        "partial (95 %)",
        "F",
        "p",
        "without blocks: eta squared",
        "F without blocks",
        "p without blocks",
    )
    body = []
    for one in found:
        repeated = {term.test.of: term for term in one.blocked.terms}
        original = {term.test.of: term for term in one.unblocked.terms}
        for name in dict.fromkeys([*repeated, *original]):
            a, b = repeated.get(name), original.get(name)
            body.append(
                (
                    *((one.context.name,) if named else ()),
                    "repetition (block)" if name == BLOCK else _words(name),
                    _share(a),
                    _partial(a),
                    _f(a),
                    p_text(a.test.p_holm) if a else DASH,
                    _share(b),
                    _f(b),
                    p_text(b.test.p_holm) if b else DASH,
                )
            )
    numeric = tuple(column not in ("of", "term") for column in columns)
    title = "Analysis of variance of the energy"
    return Table("anova", title, columns, tuple(body), numeric)


def pairs_table(found: Sequence[Factorial]) -> Table:
    """Differences between levels, and the ranks' test of each factor."""
    named = any(one.context.name for one in found)
    columns = (*(("of",) if named else ()), "factor or pair", "test", "difference (95 %)", "p")
    body = [
        (
            *((one.context.name,) if named else ()),
            _words(test.of),
            test.name,
            _difference(test),
            p_text(test.p_holm),
        )
        for one in found
        for test in _tests(one.blocked)
    ]
    numeric = tuple(column in ("difference (95 %)", "p") for column in columns)
    return Table("pairs", "Pairwise comparison of levels", columns, tuple(body), numeric)


def _tests(variance: Variance) -> list[Test]:
    return [*variance.pairs, *variance.ranks]


def _difference(test: Test) -> str:
    effect = test.effect
    if effect is None:
        return DASH
    if test.name.startswith("Kruskal"):
        return effect_text(test)
    low, centre, high = (units.si(v, "J") for v in (effect.low, effect.centre, effect.high))
    return f"{centre} ({low} … {high})"


def _share(term: "Term | None") -> str:
    return f"{term.eta_squared:.3f}" if term else DASH


def _partial(term: "Term | None") -> str:
    effect = term.test.effect if term else None
    return f"{effect.centre:.3f} ({effect.low:.3f} … {effect.high:.3f})" if effect else DASH


def _f(term: "Term | None") -> str:
    if term is None:
        return DASH
    degrees = ", ".join(f"{value:g}" for value in term.test.degrees_of_freedom)
    return f"F({degrees}) = {term.test.statistic:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.0005 else "less than 0.1 %"


def _words(name: str) -> str:
    return name.replace("_", " ")
