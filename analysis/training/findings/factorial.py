"""What each factor of a design does to the energy of a training: analysis of variance.

Twice, side by side: with the block as a term; and as Yarally et al. did (CAIN 2023), whose rows are
whole trainings too, but without blocks. What a block has in common is then in the residual.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from greenbatch.analysis.dataset.energy_basis import bases_of
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.training_variables import cell_dims
from greenbatch.analysis.dataset.variables import PROVENANCES, STATUSES, settings_of
from greenbatch.analysis.statistics.hypothesis_tests import Test, corrected, kruskal_wallis
from greenbatch.analysis.statistics.linear_models import Term, anova, tukey
from greenbatch.analysis.training.dataset.contexts import Context, contexts
from greenbatch.analysis.training.dataset.totals import counted
from greenbatch.analysis.training.findings.judge import Metric
from greenbatch.analysis.training.findings.levels import (
    ByLevel,
    ByLevels,
    LevelStep,
    by_level,
    by_levels,
    level_steps,
)
from greenbatch.errors import UsageError
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import xarray as xr

BLOCK = "block"
_VALUE = "energy"
_OK = STATUSES.index("ok")
_MISSING = PROVENANCES.index("missing")
_Result = TypeVar("_Result")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    """One way of analysing the variance.

    Attributes:
        rows: How many trainings there are.
        crossed: Whether interactions are terms; if not, they are in the residual.
        blocked: Whether the block is a term.
        terms: Type III; p corrected by Holm over all but the block.
        pairs: Tukey's comparisons of the levels of each factor.
        ranks: Kruskal-Wallis for each factor, the others left aside; corrected by Holm.
        notes: Why something is missing, a sentence each.
    """

    rows: int
    crossed: bool
    blocked: bool
    terms: tuple[Term, ...]
    pairs: tuple[Test, ...]
    ranks: tuple[Test, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorial:
    """What the factors of a design do to the energy of a training.

    Attributes:
        context: What is the same in all: network, data, ...
        factors: Names of the factors.
        levels: Energy of a training in J by factor and level, over blocks: each a mean over the
            levels of the others.
        correctness: The same of the correctness, a share; empty levels where it is not known.
        pairs: Energy of a training in J by two factors and a level of each.
        steps: The last level of each factor against its first one.
        metric: By which correctness is judged.
        blocks: Repetitions in which any training has an energy.
        blocked: With the block as a term, where there are several.
        unblocked: Without it, as in the original.
        source: What the energies rest on, one of ``PROVENANCES``.
    """

    context: Context
    factors: tuple[str, ...]
    levels: ByLevel
    correctness: ByLevel
    pairs: ByLevels
    steps: tuple[LevelStep, ...]
    metric: Metric
    blocks: int
    blocked: Variance
    unblocked: Variance
    source: Provenance


def factors_of(dataset: "xr.Dataset") -> tuple[str, ...]:
    """List the dimensions that can be factors: settings, batch size and precision that vary."""
    wanted = {*settings_of(dataset), "batch_size", "precision"}
    return tuple(dim for dim in cell_dims(dataset) if dim in wanted and dataset.sizes[dim] > 1)


def factorial(
    dataset: "xr.Dataset", factors: Sequence[str] = (), metric: Metric = "accuracy"
) -> list[Factorial]:
    """Analyse the variance of the energy of a training over factors.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        factors: Dimensions of a cell; by default those of `factors_of`.
        metric: By which correctness is judged: the best of any epoch of this.

    Returns:
        One analysis for each network, data set, ... that the factors leave apart. Where there is
        no energy, or too little, the terms are empty and the notes say why.

    Raises:
        UsageError: Nothing varies; a factor is no dimension of the run; or energies that would be
            compared rest on different things.
    """
    chosen = tuple(factors) or factors_of(dataset)
    if not chosen:
        raise UsageError(
            "no setting, batch size or precision varies in the run; there is no factor"
        )
    for name in chosen:
        if name not in cell_dims(dataset):
            raise UsageError(
                f"{name} is no dimension of the run; it has {', '.join(cell_dims(dataset))}"
            )
    parts = contexts(dataset, apart=chosen)
    return [_factorial(context, part, chosen, metric) for context, part in parts]


def _factorial(
    context: Context, part: "xr.Dataset", factors: tuple[str, ...], metric: Metric
) -> Factorial:
    ok = part["status"] == _OK
    sources = part["energy_per_image_seen_source"].where(ok, _MISSING).astype("i1").values
    bases = bases_of(part, "energy_per_image_seen_source")
    bases.refuse_unlike(bases.codes.values, "an analysis of variance")
    whole = counted(part, "energy").where(ok)
    correct = part[f"best_{metric}"].where(ok)
    rows = [*_rows(whole, factors)]
    blocks = len({row[BLOCK] for row in rows})
    return Factorial(
        context=context,
        factors=factors,
        levels=by_level(whole, factors),
        correctness=by_level(correct, factors, geometric=False),
        pairs=by_levels(whole, factors),
        steps=tuple(level_steps(whole, correct, factors)),
        metric=metric,
        blocks=blocks,
        blocked=_variance(rows, factors, blocks, BLOCK if blocks > 1 else None),
        unblocked=_variance(rows, factors, blocks, None),
        source=provenance_of(sources),
    )


def _rows(values: "xr.DataArray", factors: Sequence[str]) -> Iterator[Row]:
    """List the values that are known, each with its levels and block."""
    import numpy as np

    order = (*factors, "repetition")
    values = values.transpose(*order)
    labels = [values[dim].values for dim in order]
    for place in zip(*np.nonzero(np.isfinite(values.values)), strict=True):
        at = {dim: labels[i][place[i]] for i, dim in enumerate(order)}
        yield {name: str(at[name]) for name in factors} | {
            BLOCK: int(at["repetition"]),
            _VALUE: float(values.values[place]),
        }


def _variance(
    rows: Sequence[Row], factors: Sequence[str], blocks: int, block: str | None
) -> Variance:
    notes: list[str] = []
    # Unreplicated, interactions and noise cannot be distinguished.
    crossed = blocks > 1 or len(factors) == 1
    if not rows:
        notes.append("There is no energy in it.")
    elif not crossed:
        notes.append(
            "There is one repetition: interactions stand for the noise, and an effect is only "
            "shown if the factors do not interact."
        )
    terms, pairs, ranks = [], [], []
    if rows:
        terms = _tried(
            lambda: anova(rows, _VALUE, factors, crossed=crossed, typ=3, block=block), notes
        )
    if terms:
        for name in factors:
            pairs += _tried(
                lambda name=name: tukey(  # type: ignore[misc]
                    rows, _VALUE, factors, name, crossed=crossed, block=block
                ),
                notes,
            )
            ranks += _tried(lambda name=name: [_ranked(rows, name)], notes)  # type: ignore[misc]
    return Variance(
        rows=len(rows),
        crossed=crossed,
        blocked=block is not None,
        terms=tuple(terms),
        pairs=tuple(pairs),
        ranks=tuple(corrected(ranks)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _ranked(rows: Sequence[Row], name: str) -> Test:
    from dataclasses import replace

    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row[_VALUE])
    return replace(kruskal_wallis(groups), of=name)


def _tried(make: Callable[[], list[_Result]], notes: list[str]) -> list[_Result]:
    """Return what a test says, or note why it has nothing to say."""
    try:
        return make()
    except UsageError as error:
        text = str(error)
        notes.append(f"{text[:1].upper()}{text[1:]}.")
        return []
