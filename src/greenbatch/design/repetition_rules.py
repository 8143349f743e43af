"""How often the cells of a study are measured: as it says, to a precision, or within a budget."""

from collections.abc import Sequence

from greenbatch.records.race import Decide

FEWEST_WITH_TARGET = 5
"""Repetitions before an interval is looked at, where a study does not say: with three, a series
that happens to begin alike is too often taken for a narrow one (docs/method.md has the table)."""
MOST_WITH_TARGET = 30
FEWEST_WITH_BUDGET = 2
FEWEST_OF_KNEE = 4
"""Batch sizes in which a knee can be seen: of three, any bend makes the middle one."""
WITHIN = 0.03
"""The difference that does not matter to a run with a budget, where a study does not say."""


def repetition_bounds(
    fewest: int | None, most: int | None, *, target: float | None, budget: float | None
) -> tuple[int | None, int | None]:
    """Return the fewest and the most repetitions of a cell.

    Args:
        fewest, most: As a study gives them; ``None``: it does not.
        target: Its ``precision_target``.
        budget: Its ``budget``, in s.

    Returns:
        Both as they were given where there is neither a target nor a budget.

    Raises:
        ValueError: They do not go together.
    """
    if target is not None and budget is not None:
        raise ValueError(
            f"precision_target is {target:g} and budget {budget:g} s; the "
            "budget decides how often a cell is measured: give one of them"
        )
    if target is None and budget is None:
        if most is not None:
            raise ValueError(
                "max_repetitions has no meaning without precision_target or budget; give both, "
                "or repetitions alone"
            )
        return fewest, most
    usual = FEWEST_WITH_TARGET if budget is None else FEWEST_WITH_BUDGET
    least = min(usual, most or usual) if fewest is None else fewest
    if least < 2:
        what = "a precision_target" if budget is None else "a budget"
        raise ValueError(f"repetitions is {least}; an interval, and so {what}, needs at least 2")
    largest = most or max(MOST_WITH_TARGET, least)
    if largest < least:
        raise ValueError(
            f"max_repetitions is {largest} and repetitions, the fewest, {least}; "
            "wanted at least as many"
        )
    return least, largest


def check_decidable(
    decide: Decide, *, order: str, scenarios: Sequence[str], batch_sizes: int, variants: int
) -> None:
    """Check that a budget can be spent on a question.

    Args:
        decide: The question.
        order, scenarios: Of the study.
        batch_sizes: How many it has.
        variants: How many backends, each as set in every way.

    Raises:
        ValueError: The design cannot answer it.
    """
    if order != "shuffled":
        raise ValueError(
            f"order is {order}, and a budget chooses the cells of a block; leave one out"
        )
    if decide in ("knee", "crossover", "ratio") and tuple(scenarios) != ("offline",):
        raise ValueError(
            f"decide is {decide}, which is about batch sizes, and the scenarios are "
            f"{', '.join(scenarios)}; decide best or front, or measure offline alone"
        )
    if decide == "knee" and batch_sizes < FEWEST_OF_KNEE:
        raise ValueError(
            f"decide is knee, which needs {FEWEST_OF_KNEE} batch sizes, and there are "
            f"{batch_sizes}; give more, or decide best"
        )
    if decide in ("crossover", "ratio") and variants != 2:
        raise ValueError(
            f"decide is {decide}, which compares two backends, and the study has "
            f"{variants}; give two, or decide best"
        )
