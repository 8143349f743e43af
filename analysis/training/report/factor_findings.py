"""What the factors of a design have to say: which of them explains the energy of a training."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.findings.wording import DASH, Table, factor, p_text, share, spread
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.statistics.hypothesis_tests import Test
from greenbatch.analysis.statistics.intervals import Interval, bounds
from greenbatch.analysis.training.findings.factorial import (
    BLOCK,
    Factorial,
    Variance,
    factorial,
    factors_of,
)
from greenbatch.analysis.training.findings.judge import WORDS, Metric
from greenbatch.analysis.training.findings.levels import LevelStep
from greenbatch.analysis.training.report.factor_charts import (
    MOST_PAIRS,
    effect_charts,
    interaction_charts,
)
from greenbatch.analysis.training.report.hypothesis_table import effect_text
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.statistics.linear_models import Term

_SURE = 0.05
_NO_CHANGE = 0.0005  # a share: less is printed as 0.0 percentage points

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


LEVELS_NOTE = (
    "Means over the levels of all other factors, with 95 % intervals over repetitions: the energy "
    "of a training by the geometric mean, the correctness by the arithmetic one."
)


def factor_analyses(
    dataset: "xr.Dataset", metric: Metric = "accuracy"
) -> tuple[list[Factorial], str]:
    """Analyse the factors of a design, where it has two or more.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        metric: By which correctness is judged.

    Returns:
        An analysis for each network and data set; and why there is none.
    """
    if len(factors_of(dataset)) < 2:
        return [], ""
    try:
        return factorial(dataset, metric=metric), ""
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


def step_sentences(found: Factorial) -> list[str]:
    """Say of each factor what its last level takes and gains against its first one."""
    name = f"For {found.context.name}: " if found.context.name else ""
    kind = "" if found.source == "measured" else f"{found.source} "
    return [f"{name}{_step(step, kind, WORDS[found.metric])}" for step in found.steps]


def _step(step: LevelStep, kind: str, word: str) -> str:
    name = _words(step.factor)
    text = (
        f"With {name} {step.last} instead of {step.first}, a training needs "
        f"{_bounded(step.times, factor)} times the {kind}energy"
    )
    if step.gained is None:
        return f"{text}."
    low, high = bounds(step.gained)
    if max(abs(low), abs(high)) < _NO_CHANGE:
        return f"{text}, with the same best {word}."
    points = _bounded(step.gained, lambda value: f"{100 * value:+.1f}".replace("-", "−"))
    return f"{text}, and its best {word} changes by {points} percentage points."


def _bounded(value: Interval, write: Callable[[float], str]) -> str:
    if value.low is None or value.high is None:
        return write(value.centre)
    word = "" if value.kind == "t" else "range "
    return f"{write(value.centre)} ({word}{write(value.low)} … {write(value.high)})"


def factor_sections(found: Sequence[Factorial], why: str) -> list[Section]:
    """Draw energy and correctness at each level of each factor, and the energy at pairs of them.

    Returns:
        None where there is no factor, nor a reason why it is not analysed.
    """
    if not found and not why:
        return []
    estimated = any(one.source in ("estimated", "mixed") for one in found)
    kind = " (estimated)" if estimated else ""
    pairs = interaction_charts(found)
    most = max((len(one.pairs) for one in found), default=0)
    left_out = (
        f" Of {most} pairs the {MOST_PAIRS} whose interaction explains most are drawn."
        if most > MOST_PAIRS
        else ""
    )
    return [
        Section(
            "effects",
            f"Energy and correctness by factor: layers and settings{kind}",
            "A mean at each level of a factor over the levels of all others; lines are 95 % "
            "intervals over repetitions (the range of two). They include what repetitions have in "
            "common, which cancels where the sentences and tables compare levels.",
            effect_charts(found),
            why or "There is no energy to analyse.",
            key=False,
            estimated=estimated,
        ),
        *(
            [
                Section(
                    "interaction",
                    f"Interaction of factors{kind}",
                    "Energy of a training at the levels of two factors together, a mean over the "
                    "levels of all others, with 95 % intervals over repetitions (the range of "
                    "two). On logarithmic axes lines are parallel where one factor multiplies the "
                    "energy alike at all levels of the other; on linear axes where it adds alike, "
                    f"which is what the analysis of variance tests.{left_out}",
                    pairs,
                    key=False,
                    estimated=estimated,
                )
            ]
            if pairs
            else []
        ),
    ]


def levels_table(found: Sequence[Factorial]) -> Table:
    """Energy and correctness at each level of each factor."""
    named = any(one.context.name for one in found)
    word = WORDS[found[0].metric] if found else ""
    columns = (*(("of",) if named else ()), "factor", "level", "a training", f"best {word}")
    body = tuple(
        (
            *((one.context.name,) if named else ()),
            _words(factor),
            level,
            spread(one.levels[factor].get(level), "J"),
            share(one.correctness[factor].get(level)),
        )
        for one in found
        for factor in one.factors
        for level in dict.fromkeys((*one.levels[factor], *one.correctness[factor]))
    )
    numeric = tuple(column not in ("of", "factor", "level") for column in columns)
    title = "Energy and correctness by factor"
    return Table("levels", title, columns, body, numeric)


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
