"""The tests of energy and correctness as a table."""

from collections.abc import Iterator, Mapping, Sequence

from greenbatch import units
from greenbatch.analysis.findings.wording import DASH, Table, p_text
from greenbatch.analysis.statistics.hypothesis_tests import Test
from greenbatch.analysis.training.findings.correctness import Correctness, GroupTests
from greenbatch.analysis.training.findings.judge import WORDS
from greenbatch.analysis.training.findings.search_tests import SearchTests

FIGURES: Mapping[str, str] = {"energy": "energy per image seen", **WORDS, "f1": "F1"}
FIGURES = {**FIGURES, "utilization": "utilisation of the GPU"}


def tests_table(found: Sequence[Correctness]) -> Table:
    """Whether choices differ in energy, accuracy and F1, which pairs do, and by how much."""
    named = any(one.context.name for one in found)
    columns = (
        *(("of",) if named else ()),
        "figure",
        "test",
        "between",
        "statistic",
        "p",
        "effect (95 %)",
    )
    body = [
        (
            *((one.context.name,) if named else ()),
            figure,
            test.name,
            test.of.replace("_", " ") if test.name == "Spearman" else test.of,
            f"{test.statistic:.4g}",
            p_text(test.p_holm),
            effect_text(test, "J" if figure == FIGURES["energy"] else "%"),
        )
        for one in found
        for figure, test in _tests(one)
    ]
    numeric = tuple(column in ("statistic", "p") for column in columns)
    title = "Do the choices differ?"
    return Table("tests", title, columns, tuple(body), numeric)


SEARCH_TESTS_NOTE = (
    "Over repetitions, each a whole search. The best found at the end of the budget, and the mean "
    "of the best so far over all trials: the area below the curve. p of Dunn's pairs and of "
    "Shapiro-Wilk corrected by Holm."
)


def search_tests_table(found: Sequence[SearchTests]) -> Table:
    """Whether strategies differ in what they found, and over the whole budget."""
    named = any(one.context.name for one in found)
    columns = (
        *(("of",) if named else ()),
        "figure",
        "test",
        "between",
        "statistic",
        "p",
        "effect (95 %)",
    )
    body = tuple(
        (
            *((one.context.name,) if named else ()),
            group.figure,
            test.name,
            test.of,
            f"{test.statistic:.4g}",
            p_text(test.p_holm),
            effect_text(test),
        )
        for one in found
        for group in one.tests
        for test in _of_group(group)
    )
    numeric = tuple(column in ("statistic", "p") for column in columns)
    return Table("tests", "Do the strategies differ?", columns, body, numeric)


def effect_text(test: Test, unit: str = "") -> str:
    """Write an effect size with its interval: ``Cliff's delta 0.8 (0.5 … 1)``.

    Args:
        test: With the effect.
        unit: Of a difference; ``%``: of shares, which differ by points.
    """
    effect = test.effect
    if effect is None:
        return DASH
    if unit and test.effect_name.startswith("difference"):
        ends = (effect.low, effect.centre, effect.high)
        if unit == "%":
            low, centre, high = (f"{100 * value:+.2f}" for value in ends)
            text = f"{test.effect_name} {centre} ({low} … {high}) points"
        else:
            low, centre, high = (units.si(value, unit) for value in ends)
            text = f"{test.effect_name} {centre} ({low} … {high})"
        return text.replace("-", "−")
    low, centre, high = (
        f"{v:.3g}".replace("-", "−") for v in (effect.low, effect.centre, effect.high)
    )
    return f"{test.effect_name} {centre} ({low} … {high})"


def _tests(one: Correctness) -> Iterator[tuple[str, Test]]:
    for name, group in one.tests.items():
        for test in _of_group(group):
            yield FIGURES[name], test
    if one.spearman is not None:
        yield f"energy with {FIGURES[one.metric]}", one.spearman


def _of_group(group: GroupTests) -> Iterator[Test]:
    yield from group.shapiro
    if group.levene is not None:
        yield group.levene
    if group.kruskal is not None:
        yield group.kruskal
    yield from group.dunn
    if group.welch is not None:
        yield group.welch
    yield from group.games_howell
