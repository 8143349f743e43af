"""The batch size of least energy whose latency is acceptable, and whether that is shown."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import bases_of
from greenbatch.analysis.dataset.factors import LabelsOfPlaces
from greenbatch.analysis.dataset.flagged import flags_in, with_flags
from greenbatch.analysis.dataset.groups import is_of_servers
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.variables import FLAGS, STATUSES
from greenbatch.analysis.findings.wording import one_or_count, ranked_by
from greenbatch.analysis.statistics.by_dimension import figure_of
from greenbatch.analysis.statistics.claims import least
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.analysis.statistics.quantile_claims import CONFIDENCE, exists, is_shown, most_over
from greenbatch.analysis.tradeoffs.curve_selection import free_factors, named, narrowed
from greenbatch.analysis.tradeoffs.pareto import energy_metric
from greenbatch.errors import UsageError
from greenbatch.queueing.policies import parse_policy

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestBatch:
    """The cell of least energy per image among those that are fast enough.

    Attributes:
        labels: Of the cell; ``None`` where no cell has both figures.
        name: The cell in words.
        energy_j: Per image.
        latency_s: Of one batch, at ``quantile``; of a server the response time of a request.
        observations: Batches, or requests, of the cell's repetitions together.
        fewest: Of one repetition; below ``1 / (1 - quantile)`` its quantile is the slowest of them.
        max_latency_s: The requested limit.
        meets: Whether the latency's centre is within it; if not, this is the fastest cell.
        surely: Whether the upper bound of the latency is, and the observations show at 99 %
            confidence that the quantile is; never with fewer than three repetitions.
        shown: Whether the observations show it, see
            `greenbatch.analysis.statistics.quantile_claims`.
        runner_up: The next best cell that meets it, and ``margin``, its energy over the best's,
            paired by block; ``None`` where they share no block, or an energy is not positive.
        clear: Whether the best is shown to need less than every other cell that meets the limit; at
            most 5 % of such claims are false (`greenbatch.analysis.statistics.claims.least`).
        alike: Cells with no significant difference from the best.
        apart: Cells that share no chain of blocks with the best, and are not comparable.
        adjusted: Whether cells were measured in different blocks, so that they are ranked by means
            adjusted for blocks.
        adjusted_energy_j: That mean of the best cell, where ``adjusted``. ``energy_j`` is of the
            cell's own blocks, as in every table.
        candidates: Cells that have both figures.
        overloaded: Cells of servers that do not sustain the rate; none of them is an answer.
        flagged: How many repetitions of the cell, and of the next best, carry each flag, in words.
    """

    name: str
    labels: dict[str, Hashable] | None = None
    batch_size: int | None = None
    energy_j: Interval | None = None
    latency_s: Interval | None = None
    observations: int = 0
    fewest: int = 0
    of: str = "batches"
    net: bool = False
    quantile: float = 0.99
    max_latency_s: float | None = None
    meets: bool = True
    surely: bool = True
    shown: bool = True
    runner_up: str | None = None
    margin: Interval | None = None
    clear: bool = False
    alike: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    adjusted: bool = False
    adjusted_energy_j: float | None = None
    candidates: int = 0
    estimated: bool = False
    overloaded: int = 0
    flagged: str = ""

    def __str__(self) -> str:
        return with_flags(self._sentence, self.flagged)

    @property
    def _sentence(self) -> str:
        if self.energy_j is None or self.latency_s is None:
            if self.overloaded:
                cells = units.are(self.overloaded, "cell")
                return f"{self.name} sustains the rate in no cell: {cells} overloaded."
            return f"{self.name} has no cell with both energy and latency."
        kind = ("net energy" if self.net else "energy") + (" (estimated)" if self.estimated else "")
        latency = f"{self._called} {_with_interval(self.latency_s, 's')}"
        figures = f"{_with_interval(self.energy_j, 'J')} of {kind} per image, {latency}"
        if not self.meets:
            return (
                f"None of {units.count(self.candidates, 'cell')} has a mean "
                f"{self._requested} within {units.si(self.max_latency_s, 's')}; the fastest is "
                f"{self.name}: {figures}."
            )
        text = f"{self.name} needs least: {figures}"
        if self.max_latency_s is not None:
            text += f", within {units.si(self.max_latency_s, 's')}{self._doubt}"
        return f"{text}{self._next}."

    @property
    def _next(self) -> str:
        """How far off the next cell is, and from how many the best does not differ."""
        apart = ""
        if self.apart:
            apart = f"; not comparable with {one_or_count(self.apart)}: no chain of shared blocks"
        if self.adjusted:
            apart += f"; {'; '.join(ranked_by(units.si(self.adjusted_energy_j, 'J')))}"
        if self.runner_up is None:
            return apart
        text = f"; next is {self.runner_up}"
        others = [name for name in self.alike if name != self.runner_up]
        tie = ": no significant difference" if self.runner_up in self.alike else ""
        nor = f", no significant difference from {one_or_count(others)}" if others else ""
        if self.margin is None:
            return f"{text}{tie}{nor}{apart}"
        more = f"{100 * (self.margin.centre - 1):.2g} % more"
        if self.margin.low is None or self.margin.high is None:
            return f"{text} with {more} (no interval: one repetition){apart}"
        low, high = (100 * (bound - 1) for bound in (self.margin.low, self.margin.high))
        interval_text = f"{_word(self.margin)}{low:.2g} … {high:.2g} %"
        if self.margin.kind != "t":
            return f"{text} with {more} ({interval_text}: too few repetitions to be sure){apart}"
        return f"{text} with {more} ({interval_text}{tie}){nor}{apart}"

    @property
    def _requested(self) -> str:
        what = "latency" if self.of == "batches" else "response time"
        return f"p{100 * self.quantile:g} {what}"

    @property
    def _called(self) -> str:
        """What the latency is: a quantile that its observations do not have is no quantile."""
        if exists(self.fewest, self.quantile):
            return self._requested
        what = "latency" if self.of == "batches" else "response time"
        return f"{what} (slowest of {self._counted(self.fewest)})"

    def _counted(self, number: int) -> str:
        one, several = ("batch", "batches") if self.of == "batches" else ("request", "requests")
        return units.count(number, one, several)

    @property
    def _doubt(self) -> str:
        """What shows that the limit is met, and what does not."""
        observed = self._counted(self.observations)
        if not self.shown:
            verb = "does" if self.observations == 1 else "do"
            return f", though {observed} {verb} not show that the p{100 * self.quantile:g} is"
        if self.latency_s is None or self.latency_s.kind != "t":
            few = units.are(self.latency_s.n if self.latency_s else 0, "repetition")
            return f", as {observed} show; {few} too few for an interval"
        if not self.surely:
            return ", though its upper bound is not"
        return f", as {observed} show at {100 * CONFIDENCE:g} % confidence"


def best_batch(
    dataset: "xr.Dataset",
    *,
    max_latency: float | None = None,
    quantile: float = 0.99,
    net: bool = False,
    **labels: Hashable,
) -> BestBatch:
    """Find the cell of least energy per image whose latency is acceptable.

    Among the batch sizes, and the backends, precisions and settings that ``labels`` leave open.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        max_latency: In s, of one batch at ``quantile``, of a server of one request; ``None`` for
            any.
        quantile: Of the latency; one that the dataset has.
        net: Less idle power.
        labels: What is needed to name one model; of servers one of arrivals and rate as well.

    Raises:
        UnknownNameError: There is no such label or quantile.
        UsageError: Several models are left, the latency is not positive, or energies that compete
            rest on different things.
    """
    import numpy as np

    if max_latency is not None and not (isinstance(max_latency, Real) and max_latency > 0):
        raise UsageError(f"the latency allowed is {max_latency!r}; give a time above 0 in s")
    part = narrowed(dataset, labels, free_factors(dataset), "the best batch")
    server = is_of_servers(part)
    metric = "response_time" if server else "latency"
    energy, latency = figure_of(part, energy_metric(net)), figure_of(part, metric, quantile)
    dims = [str(dim) for dim in energy.cells.dims]
    e, t = (
        f.values.transpose(*dims, "repetition").values.reshape(-1, f.values.sizes["repetition"])
        for f in (energy, latency)
    )
    assert energy.source is not None
    sources = energy.source.transpose(*dims).values.reshape(-1)
    growing = np.zeros(len(t), dtype=bool)
    if server:  # one that did not keep up is slower the longer it runs
        overloaded = _flagged(part, "overloaded").transpose(*dims, "repetition").values
        growing = np.asarray(overloaded.reshape(t.shape).any(1))
        t = np.where(growing[:, np.newaxis], np.nan, t)
    known = np.isfinite(e).any(1) & np.isfinite(t).any(1)
    nothing = BestBatch(
        name=named(dataset, LabelsOfPlaces(part, ())(())),
        net=net,
        quantile=quantile,
        max_latency_s=max_latency,
        overloaded=int(growing.sum()),
    )
    if not known.any():
        return nothing
    bases = bases_of(part)
    bases.refuse_unlike(bases.codes.transpose(*dims).values.reshape(-1)[known], "the best batch")
    places = np.flatnonzero(known).tolist()
    energies = {i: found for i in places if (found := interval(e[i]))}
    latencies = {i: found for i in places if (found := interval(t[i]))}
    limit = float("inf") if max_latency is None else max_latency
    able = [i for i in places if latencies[i].centre <= limit]
    ranked = least(e[able]) if able else None
    best = able[ranked.best] if ranked else min(places, key=lambda i: latencies[i].centre)

    labels_at = LabelsOfPlaces(part, dims)

    def labels_of(i: int) -> dict[str, Hashable]:
        return labels_at(tuple(map(int, np.unravel_index(i, energy.cells.shape))))

    def names(of: Sequence[int]) -> tuple[str, ...]:
        return tuple(named(dataset, labels_of(able[i])) for i in of)

    second = None if ranked is None or ranked.runner_up is None else able[ranked.runner_up]
    latest = latencies[best]
    spot = dict(zip(dims, np.unravel_index(best, energy.cells.shape), strict=True))
    counts, over = _observed(part.isel(spot), metric, limit)
    shown = max_latency is None or is_shown(sum(counts), over, quantile)
    return replace(
        nothing,
        name=named(dataset, labels_of(best)),
        labels=labels_of(best),
        batch_size=_batch_size(labels_of(best)),
        energy_j=energies[best],
        latency_s=latencies[best],
        observations=sum(counts),
        fewest=min(counts, default=0),
        of="requests" if server else "batches",
        meets=bool(able),
        shown=shown,
        surely=shown and latest.kind == "t" and latest.high is not None and latest.high <= limit,
        runner_up=named(dataset, labels_of(second)) if second is not None else None,
        margin=_margin(e[second], e[best]) if second is not None else None,
        clear=ranked is not None and ranked.shown,
        alike=names(ranked.alike) if ranked else (),
        apart=names(ranked.apart) if ranked else (),
        adjusted=ranked is not None and ranked.adjusted,
        adjusted_energy_j=ranked.means[0] if ranked is not None and ranked.adjusted else None,
        candidates=len(places),
        estimated=provenance_of(sources[known]).in_part_estimated,
        flagged=_flags(part, dims, [best] if second is None else [best, second]),
    )


def _margin(over: "Array", under: "Array") -> Interval | None:
    """Bound a ratio over the blocks of both; net energies at or below zero have none."""
    import numpy as np

    both = np.isfinite(over) & np.isfinite(under)
    if (np.concatenate([over[both], under[both]]) <= 0).any():
        return None
    return interval(over[both] / under[both])


def _flags(part: "xr.Dataset", dims: Sequence[str], cells: Sequence[int]) -> str:
    """Say how many repetitions of the best cell, and of the next best, carry each flag."""
    import numpy as np

    shape = [part.sizes[dim] for dim in dims]
    texts = []
    for name, cell in zip(("the best", "the next"), cells, strict=False):
        spot = dict(zip(dims, map(int, np.unravel_index(cell, shape)), strict=True))
        if text := flags_in(part.isel(spot)):
            texts.append(f"{name}: {text}")
    return "; ".join(texts)


def _batch_size(labels: Mapping[str, Hashable]) -> int:
    """Return the batch size of a cell; of a server the largest that its policy allows."""
    if "policy" in labels:
        return parse_policy(str(labels["policy"])).largest
    return int(str(labels["batch_size"]))


def _flagged(dataset: "xr.Dataset", name: str) -> "xr.DataArray":
    """Say of each repetition whether it has a flag."""
    if "flags" not in dataset:
        return dataset["status"] < 0
    return (dataset["flags"].astype(int) & int(FLAGS[name])) > 0


def _observed(cell: "xr.Dataset", metric: str, limit: float) -> tuple[list[int], int]:
    """Return how many latencies each repetition has, and how many of all are over a limit.

    Args:
        cell: With the dimensions of one cell's repetitions alone.
        metric: ``latency``, or ``response_time``.
        limit: In s.
    """
    ok = cell["status"].values == STATUSES.index("ok")
    number = cell["iterations" if metric == "latency" else "requests"].values
    values = cell[metric].transpose("repetition", "quantile").values
    quantiles = cell["quantile"].values.tolist()
    counts, over = [], 0
    for good, count, of_repetition in zip(ok, number, values, strict=True):
        if not good or not count > 0:
            continue
        counts.append(int(count))
        known = dict(zip(quantiles, of_repetition.tolist(), strict=True))
        over += most_over(int(count), known, limit)
    return counts, over


def _with_interval(summary: Interval, unit: str) -> str:
    text = units.si(summary.centre, unit)
    if summary.low is None or summary.high is None:
        return f"{text} (no interval: one repetition)"
    low, high = units.si(summary.low, unit), units.si(summary.high, unit)
    return f"{text} ({_word(summary)}{low} … {high})"


def _word(summary: Interval) -> str:
    return "range " if summary.kind == "range" else ""
