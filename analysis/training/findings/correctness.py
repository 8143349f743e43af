"""Energy against correctness: the front, the tests, and what the greenest good choice saves."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.training_variables import cell_dims, is_search
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.statistics import hypothesis_tests
from greenbatch.analysis.statistics.claims import (
    FRONT,
    ParetoStatus,
    by_block,
    front_codes,
    least,
    picked_is_less,
)
from greenbatch.analysis.statistics.hypothesis_tests import Groups, Test
from greenbatch.analysis.statistics.intervals import Interval, interval, ratio
from greenbatch.analysis.statistics.mean_tests import games_howell, welch_anova
from greenbatch.analysis.training.dataset.contexts import Context, contexts, name_of
from greenbatch.analysis.training.findings.judge import Judge, Metric, word_of
from greenbatch.errors import UsageError
from greenbatch.estimates.block_adjustment import fit_blocks
from greenbatch.records.provenance import Provenance, comparable

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

_OK = STATUSES.index("ok")
_EVEN = 1e-12
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectnessRow:
    """One choice: a network, with its precision, batch size and settings where they vary.

    Attributes:
        name: Of the choice.
        labels: By dimension.
        energy: J per image seen, by block.
        accuracy, f1, precision, recall, auc: The best of any epoch, by block; all but the first
            two are empty in runs of earlier versions.
        utilization: Share of the training in which the GPU had work, by block; empty where it was
            not recorded.
        source: What the energies rest on, one of ``PROVENANCES``.
        pareto_status: ``front``: no other choice is better in energy and in accuracy;
            ``dominated``: another is shown to be in both, see
            `greenbatch.analysis.statistics.claims.front_codes`; ``unsure``: of the means only;
            ``missing``: energy or accuracy is not known.
        why: Why nothing is known of it, or no energy.
    """

    name: str
    labels: Mapping[str, Hashable]
    energy: Mapping[int, float] = field(repr=False)
    accuracy: Mapping[int, float] = field(repr=False)
    f1: Mapping[int, float] = field(repr=False)
    precision: Mapping[int, float] = field(repr=False, default_factory=dict)
    recall: Mapping[int, float] = field(repr=False, default_factory=dict)
    auc: Mapping[int, float] = field(repr=False, default_factory=dict)
    utilization: Mapping[int, float] = field(repr=False, default_factory=dict)
    source: Provenance
    pareto_status: ParetoStatus = "missing"
    why: str = ""

    @property
    def energy_j(self) -> Interval | None:
        """Energy per image seen over blocks, geometric mean."""
        return interval(self.energy.values())

    def correctness(self, metric: Metric = "accuracy") -> Interval | None:
        """A measure of correctness over blocks, arithmetic mean."""
        return interval(getattr(self, metric).values(), geometric=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTests:
    """The tests of one figure over groups.

    Attributes:
        figure: ``energy``, or what `Metric` names.
        shapiro: Of each group, for normality.
        levene: For equal spread; ``None`` where it cannot be had.
        kruskal: Whether any group differs, with eta squared of H.
        dunn: Which pairs do, by Holm, with Cliff's delta.
        welch: Whether any mean differs, spreads unequal; ``None`` also where it was not asked for.
        games_howell: Which pairs of means do; empty where they were not asked for.
        notes: Why a test has nothing to say.
    """

    figure: str
    shapiro: tuple[Test, ...]
    levene: Test | None
    kruskal: Test | None
    dunn: tuple[Test, ...]
    welch: Test | None = None
    games_howell: tuple[Test, ...] = ()
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What the greenest choice that is nearly as correct as the best one saves.

    Attributes:
        best: Of the highest mean correctness whose energy is known; of several alike, the greenest.
        ties: Others that are exactly as correct.
        greenest: Of the least energy among those within ``within`` of it; may be ``best`` itself.
        within: A share of the best correctness.
        candidates: Choices within it, ``best`` included.
        saved: Share of the energy of ``best`` that ``greenest`` saves, over paired blocks; ``None``
            where it is ``best`` itself.
        saved_shown: Whether it is shown to save any, corrected for the number of choices from which
            it was picked (`greenbatch.analysis.statistics.claims.picked_is_less`).
        surely_within: Whether the paired difference in correctness is shown to be within it.
    """

    best: CorrectnessRow
    ties: tuple[CorrectnessRow, ...]
    greenest: CorrectnessRow
    within: float
    candidates: int
    saved: Interval | None
    saved_shown: bool
    surely_within: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Correctness:
    """Energy against correctness of all choices on one data set and machine.

    Attributes:
        context: Data set and machine.
        metric: By which correctness is judged.
        rows: The choices, in the order of the study.
        tests: Over the choices: of energy, accuracy, F1, ``metric``, and of the utilisation of the
            GPU where it was recorded.
        spearman: Of mean energy with mean correctness, over the choices.
        spearman_trainings: The same over all trainings, as del Rey et al. did: those of one
            choice are no independent pairs, and its p is too small.
        saving: ``None`` where it is not known; ``why`` has the reason.
        why: A sentence.
    """

    context: Context
    metric: Metric
    rows: tuple[CorrectnessRow, ...]
    tests: Mapping[str, GroupTests]
    spearman: Test | None
    spearman_trainings: Test | None
    saving: Saving | None
    why: str = ""


def correctness(
    dataset: "xr.Dataset",
    within: float = 0.01,
    metric: Metric = "accuracy",
    *,
    welch: bool = False,
) -> list[Correctness]:
    """Set energy per image seen against correctness.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` or `merge_training` gives it.
        within: How much less correct the greenest choice may be, as a share of the best.
        metric: By which correctness is judged, on the validation images: the best of any epoch.
        welch: Test means beside ranks.

    Returns:
        One for each data set and machine.

    Raises:
        UsageError: The run was a search, or ``within`` is not between 0 and 1.
        UnknownNameError: There is no such metric.
    """
    judge = Judge(metric, within, welch)
    if is_search(dataset):
        raise UsageError("the run is a search: its trials are no choices that were repeated")
    apart = [dim for dim in cell_dims(dataset) if dim != "data"]
    return [_correctness(context, part, judge) for context, part in contexts(dataset, apart)]


def _correctness(context: Context, part: "xr.Dataset", judge: Judge) -> Correctness:
    metric = judge.metric
    rows = _pareto_statuses(correctness_rows(part), metric)
    known = [row for row in rows if row.energy and getattr(row, metric)]
    saving, why = _saving(rows, judge.within, metric)
    refused = _incomparable(known)
    tests = {
        "energy": group_tests(
            "energy",
            {} if refused else {r.name: [*r.energy.values()] for r in rows},
            welch=judge.welch,
        ),
    }
    for figure in dict.fromkeys(("accuracy", "f1", metric)):
        values = {row.name: [*getattr(row, figure).values()] for row in rows}
        tests[figure] = group_tests(figure, values, welch=judge.welch)
    if any(row.utilization for row in rows):
        used = {row.name: [*row.utilization.values()] for row in rows}
        tests["utilization"] = group_tests("utilization", used, welch=judge.welch)
    if refused:
        tests["energy"] = replace(tests["energy"], notes=(refused,))
    means = {r.name: (_centre(r.energy_j), _centre(r.correctness(metric))) for r in known}
    each = {
        f"{row.name}, {block}": (energy_j, getattr(row, metric)[block])
        for row in known
        for block, energy_j in row.energy.items()
        if block in getattr(row, metric)
    }
    return Correctness(
        context=context,
        metric=metric,
        rows=tuple(rows),
        tests=tests,
        spearman=None if refused else _tried(lambda: hypothesis_tests.spearman(means), []),
        spearman_trainings=None if refused else _tried(lambda: hypothesis_tests.spearman(each), []),
        saving=saving,
        why=why,
    )


def correctness_rows(part: "xr.Dataset") -> list[CorrectnessRow]:
    """Read every choice of a data set on a machine, in the order of the study."""
    from itertools import product

    dims = [str(dim) for dim in part["in_design"].dims]
    labels = [part[dim].values.tolist() for dim in dims]
    varying = [dim for dim, found in zip(dims, labels, strict=True) if len(found) > 1]
    rows = []
    for places in product(*labels):
        at = dict(zip(dims, places, strict=True))
        cell = part.sel(at, drop=True)
        if int(cell["in_design"]) == 1:
            rows.append(correctness_row(name_of(at, varying) or str(at["model"]), at, cell))
    return rows


def correctness_row(
    name: str, labels: Mapping[str, Hashable], cell: "xr.Dataset"
) -> CorrectnessRow:
    ok = cell["status"].values == _OK
    blocks = cell["repetition"].values.tolist()

    def by_block(variable: str) -> dict[int, float]:
        found = zip(blocks, ok, cell[variable].values.tolist(), strict=True)
        return {block: value for block, good, value in found if good and not math.isnan(value)}

    energy = by_block("energy_per_image_seen")
    reasons = [str(text) for text in cell["reason"].values if text]
    if not energy and ok.any():
        reasons = [str(text) for text in cell["energy_reason"].values[ok].flat if text]
    return CorrectnessRow(
        name=name,
        labels=labels,
        energy=energy,
        accuracy=by_block("best_accuracy"),
        f1=by_block("best_f1"),
        precision=by_block("best_precision"),
        recall=by_block("best_recall"),
        auc=by_block("best_auc"),
        utilization=_utilization(cell, ok, blocks),
        source=provenance_of(cell["energy_per_image_seen_source"].values[ok]),
        why="" if energy else next(iter(reasons), "it was not trained"),
    )


def _utilization(
    cell: "xr.Dataset", ok: "NDArray[np.bool_]", blocks: Sequence[int]
) -> dict[int, float]:
    """Return the mean over the domains that have it, by block."""
    import numpy as np

    found = {}
    values = cell["utilization"].transpose("repetition", ...).values
    for block, good, shares in zip(blocks, ok, values, strict=True):
        known = shares[np.isfinite(shares)]
        if good and known.size:
            found[block] = float(known.mean())
    return found


def _pareto_statuses(rows: Sequence[CorrectnessRow], metric: Metric) -> list[CorrectnessRow]:
    """Say which choices are on the Pareto front; energies of different sources have none."""
    known = [row for row in rows if row.energy and getattr(row, metric)]
    if _incomparable(known):
        return list(rows)
    codes = front_codes(
        [
            by_block([row.energy for row in known]),
            -by_block([getattr(row, metric) for row in known]),
        ]
    )
    found = {id(row): FRONT[code] for row, code in zip(known, codes.tolist(), strict=True)}
    return [replace(row, pareto_status=found.get(id(row), "missing")) for row in rows]


def _saving(
    rows: Sequence[CorrectnessRow], within: float, metric: Metric
) -> tuple[Saving | None, str]:
    judged = [row for row in rows if getattr(row, metric)]
    if not judged and metric not in ("accuracy", "f1") and any(row.accuracy for row in rows):
        return None, f"No {word_of(metric)} was recorded; judge by accuracy or f1."
    if not judged:
        return None, "No training ended well, so there is no result."
    known = [row for row in judged if row.energy]
    if not known:
        why = next((row.why for row in judged if row.why), "")
        because = f" ({why.rstrip('.')})" if why else ""
        return None, f"There is no energy in it{because}: what a choice saves is not known."
    if refused := _incomparable(known):
        return None, refused

    means = fit_blocks(by_block([getattr(row, metric) for row in judged])).means
    correct = {row.name: float(mean) for row, mean in zip(judged, means, strict=True)}
    top = max(correct.values())
    best_of_all = [row for row in judged if correct[row.name] >= top * (1 - _EVEN)]
    tied = sorted((row for row in best_of_all if row.energy), key=lambda r: _centre(r.energy_j))
    if not tied:
        names = " and ".join(row.name for row in best_of_all)
        why = best_of_all[0].why.rstrip(".")
        return None, (
            f"The energy of {names}, of the best {word_of(metric)}, is not known ({why}): what "
            "another choice saves against it is not known."
        )
    best = tied[0]
    near = [row for row in known if correct[row.name] >= top * (1 - within) * (1 - _EVEN)]
    energies = by_block([row.energy for row in near])
    ranked = least(energies)
    greenest = near[ranked.best] if ranked else best
    saved, shown, sure = None, False, True
    if greenest is not best:
        over = ratio(greenest.energy, best.energy)
        if over is None:
            return None, (
                f"{greenest.name} and {best.name} have no repetition in common in which the energy "
                "of both is known: what one saves against the other is not known."
            )
        ends = (over.high, over.low)
        low, high = (None if end is None else 1 - end for end in ends)
        saved = Interval(low, 1 - over.centre, high, over.n, over.method)
        shown = picked_is_less(energies, near.index(greenest), near.index(best))
        lacking = _differences(getattr(best, metric), getattr(greenest, metric))
        allowed = [top * within - value for value in lacking]
        sure = _above_zero(allowed)
    return Saving(
        best=best,
        ties=tuple(row for row in best_of_all if row is not best),
        greenest=greenest,
        within=within,
        candidates=len(near),
        saved=saved,
        saved_shown=shown,
        surely_within=sure,
    ), ""


def _incomparable(rows: Sequence[CorrectnessRow]) -> str:
    if not comparable(row.source for row in rows):
        return "Some energies are estimated and others measured: they are not compared."
    return ""


def _centre(summary: Interval | None) -> float:
    return math.nan if summary is None else summary.centre


def _differences(over: Mapping[int, float], under: Mapping[int, float]) -> list[float]:
    """Differences of the blocks that both have: what a block shares cancels."""
    return [over[block] - under[block] for block in sorted(over.keys() & under.keys())]


def _above_zero(differences: Sequence[float]) -> bool:
    """Whether the 95 % interval of the mean lies above zero."""
    found = interval(differences, geometric=False)
    return found is not None and found.kind == "t" and found.low is not None and found.low > 0


def group_tests(figure: str, groups: Groups, *, welch: bool = False) -> GroupTests:
    """Do what tests can be done; groups without values are left out, with a note.

    Args:
        figure: What is tested.
        groups: Its values by group.
        welch: Test means beside ranks.
    """
    notes = [f"{name} has no {figure} and is left out." for name, v in groups.items() if not v]
    found = {name: values for name, values in groups.items() if values}
    return GroupTests(
        figure=figure,
        shapiro=tuple(_tried(lambda: hypothesis_tests.shapiro_wilk(found), notes) or ()),
        levene=_tried(lambda: hypothesis_tests.levene(found), notes),
        kruskal=_tried(lambda: hypothesis_tests.kruskal_wallis(found), notes),
        dunn=tuple(_tried(lambda: hypothesis_tests.dunn(found), notes) or ()),
        welch=_tried(lambda: welch_anova(found), notes) if welch else None,
        games_howell=tuple(_tried(lambda: games_howell(found), notes) or ()) if welch else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _tried(make: Callable[[], _Result], notes: list[str]) -> _Result | None:
    """Return what a test says, or note why it has nothing to say."""
    try:
        return make()
    except UsageError as error:
        notes.append(f"{error}.")
        return None
