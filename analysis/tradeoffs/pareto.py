"""Energy against latency and accuracy: the front, the best batch, the energy-delay product."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.statistics.by_dimension import (
    Figure,
    figure_of,
    intervals_of,
    refuse_unlike,
)
from greenbatch.analysis.statistics.dominance import dominating
from greenbatch.analysis.statistics.interval_methods import PLAIN
from greenbatch.analysis.statistics.intervals import LEAST, Interval, bounded, interval
from greenbatch.analysis.tradeoffs.curve_selection import free_dims, named, narrowed, scalars
from greenbatch.errors import UsageError
from greenbatch.records import Provenance

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FRONT = ("missing", "dominated", "unsure", "front")
"""``dominated``: another cell is better in energy and latency, both shown by the intervals of the
paired differences; ``unsure``: only of the means, or with fewer than three repetitions."""


def energy_metric(net: bool) -> str:
    """Name the energy per image, gross or net."""
    return "energy_per_image_net" if net else "energy_per_image"


def energy_delay_product(
    dataset: "xr.Dataset", *, net: bool = False, quantile: float = 0.5, exponent: int = 1
) -> "xr.Dataset":
    """Multiply energy per image by the latency of its batch, each repetition by itself.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        net: Less idle power.
        quantile: Of the latency.
        exponent: Of the latency: 2 weighs delay more.

    Returns:
        As `greenbatch.analysis.statistics.by_dimension.intervals_of`, in J s (J s2, ...).

    Source:
        Gonzalez & Horowitz, IEEE JSSC 31(9), 1996; with an exponent, Penzes & Martin, GLSVLSI 2002.
    """
    if exponent < 1:
        raise UsageError(f"the exponent of the delay is {exponent}; give 1 or more")
    energy = figure_of(dataset, energy_metric(net))
    delay = figure_of(dataset, "latency", quantile)
    raised = "" if exponent == 1 else str(exponent)
    attrs = {
        "units": f"J s{raised}",
        "long_name": f"{energy.values.attrs['long_name']} times {delay.values.attrs['long_name']}",
    }
    values = (energy.values * delay.values**exponent).assign_attrs(attrs)

    def why() -> "xr.DataArray":
        return energy.why.where(energy.values.isnull().all("repetition"), "latency is missing")

    return intervals_of(Figure("energy_delay_product", values, energy.source, why))


def pareto(
    dataset: "xr.Dataset", *, accuracy: bool = False, net: bool = False, quantile: float = 0.5
) -> "xr.Dataset":
    """Mark the cells that no other cell dominates in energy per image and latency (and accuracy).

    Backends, precisions, batch sizes and settings of one model compete; with ``accuracy`` models
    compete as well. Scenarios and what else a dataset has are kept apart.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        accuracy: Take top-1 accuracy as the third objective, by its value.
        net: Less idle power.
        quantile: Of the latency of a batch.

    Returns:
        ``front``, a code with the meanings of ``FRONT``, with energy and latency and their
        intervals.

    Raises:
        UsageError: Energies that compete rest on different things.
    """
    metric = energy_metric(net)
    energy, latency = figure_of(dataset, metric), figure_of(dataset, "latency", quantile)
    front = front_of(dataset, energy, latency, accuracy=accuracy)
    parts = [intervals_of(figure) for figure in (energy, latency)]
    result = parts[0].merge(parts[1].drop_vars(["repetitions", "reason"]))
    result["front"] = front
    lacking = parts[1]["reason"].where(parts[1]["latency"].isnull(), "accuracy is missing")
    explained = (result["front"] != FRONT.index("missing")) | result[metric].isnull()
    result["reason"] = (
        result["reason"].where(explained, lacking).assign_attrs(parts[0]["reason"].attrs)
    )
    if accuracy:
        result["accuracy_top1"] = dataset["accuracy_top1"]
        result["accuracy_source"] = dataset["accuracy_source"]
    result.attrs = parts[0].attrs
    return result


def front_of(
    dataset: "xr.Dataset", energy: Figure, latency: Figure, *, accuracy: bool = False
) -> "xr.DataArray":
    """Give the codes of `pareto` alone.

    Args:
        dataset: What the figures are of; has ``accuracy_top1`` where ``accuracy`` counts.
        energy, latency: As `figure_of` gives them.
        accuracy: As for `pareto`.

    Raises:
        UsageError: Energies that compete rest on different things.
    """
    import numpy as np
    import xarray as xr

    compared = [*free_dims(dataset), *(["model"] if accuracy and "model" in dataset.dims else [])]
    apart = [str(d) for d in energy.values.dims if d not in (*compared, "repetition")]
    order = (*apart, *compared)
    objectives = [
        figure.values.transpose(*order, "repetition").values for figure in (energy, latency)
    ]
    shape = objectives[0].shape[:-1]
    cells = int(np.prod([dataset.sizes[dim] for dim in compared], dtype=int))
    e, t = (array.reshape(-1, cells, array.shape[-1]) for array in objectives)
    top1 = np.zeros(e.shape[:2])
    if accuracy:
        accuracies = dataset["accuracy_top1"].broadcast_like(energy.cells)
        top1 = accuracies.transpose(*order).values.reshape(-1, cells)
    assert energy.source is not None
    source = energy.source.transpose(*order).values.reshape(-1, cells)
    known = np.isfinite(e).any(-1) & np.isfinite(t).any(-1) & np.isfinite(top1)
    codes = np.zeros(known.shape, dtype=np.int8)
    for group, at in enumerate(known):
        refuse_unlike(source[group], at, "the front")
        codes[group, at] = _fronts(e[group, at], t[group, at], top1[group, at])
    attrs = {
        "units": "1",
        "long_name": "standing against the Pareto front of energy per image and latency"
        + (" and accuracy" if accuracy else ""),
        "flag_values": np.arange(len(FRONT), dtype=np.int8),
        "flag_meanings": " ".join(FRONT),
    }
    front = xr.DataArray(codes.reshape(shape), dims=order).transpose(*energy.cells.dims)
    return front.assign_coords(energy.cells.coords).assign_attrs(attrs)


def _fronts(energy: "Array", latency: "Array", top1: "Array") -> "NDArray[np.int8]":
    """Codes of cells that compete; energy and latency of shape (cell, block)."""
    import numpy as np

    if not len(energy):
        return np.full(0, FRONT.index("missing"), dtype=np.int8)
    energy, latency = (np.log(x) if np.nanmin(x) > 0 else x for x in (energy, latency))
    means = np.stack([np.nanmean(energy, 1), np.nanmean(latency, 1), -top1], axis=-1)
    found = np.full(len(means), FRONT.index("front"), dtype=np.int8)
    for i, mean in enumerate(means):
        better = dominating(means, mean)
        if not better.any():
            continue
        shown = np.ones(int(better.sum()), dtype=bool)
        for values in (energy, latency):
            low, _, _, counts = bounded(values[i] - values[better], PLAIN)
            shown &= (low > 0) & (counts >= LEAST)
        found[i] = FRONT.index("dominated" if shown.any() else "unsure")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BestBatch:
    """The cell of least energy per image among those that are fast enough.

    Attributes:
        labels: Of the cell; ``None`` where no cell has both figures.
        name: The cell in words.
        energy_j: Per image.
        latency_s: Of one batch, at ``quantile``.
        max_latency_s: The requested limit.
        meets: Whether the latency's centre is within it; if not, this is the fastest cell.
        surely: Whether the upper bound of the latency is; never with fewer than three repetitions.
        runner_up: The next best cell that meets it, and ``margin``, its energy over the best's,
            paired by block. Neither allows for the best having been picked among many.
        candidates: Cells that have both figures.
    """

    name: str
    labels: dict[str, Hashable] | None = None
    batch_size: int | None = None
    energy_j: Interval | None = None
    latency_s: Interval | None = None
    net: bool = False
    quantile: float = 0.99
    max_latency_s: float | None = None
    meets: bool = True
    surely: bool = True
    runner_up: str | None = None
    margin: Interval | None = None
    candidates: int = 0
    estimated: bool = False

    def __str__(self) -> str:
        if self.energy_j is None or self.latency_s is None:
            return f"{self.name} has no cell with both energy and latency."
        kind = ("net energy" if self.net else "energy") + (" (estimated)" if self.estimated else "")
        latency = f"p{100 * self.quantile:g} latency {_with_interval(self.latency_s, 's')}"
        figures = f"{_with_interval(self.energy_j, 'J')} of {kind} per image, {latency}"
        if not self.meets:
            return (
                f"None of {self.candidates} cells stays within {units.si(self.max_latency_s, 's')}"
                f"; the fastest is {self.name}: {figures}."
            )
        text = f"{self.name} needs least: {figures}"
        if self.max_latency_s is not None:
            doubt = self.latency_s.kind == "t" and not self.surely
            sure = ", though its upper bound is not" if doubt else ""
            text += f", within {units.si(self.max_latency_s, 's')}{sure}"
        if self.runner_up is None or self.margin is None:
            return f"{text}."
        more = f"{100 * (self.margin.centre - 1):.2g} % more"
        if self.margin.low is None or self.margin.high is None:
            return f"{text}; next is {self.runner_up} with {more} (no interval: one repetition)."
        low, high = (100 * (bound - 1) for bound in (self.margin.low, self.margin.high))
        interval_text = f"{_word(self.margin)}{low:.2g} … {high:.2g} %"
        if self.margin.kind != "t":
            tie = ": too few repetitions to be sure"
        else:
            tie = ": no significant difference" if low <= 0 else ""
        return f"{text}; next is {self.runner_up} with {more} ({interval_text}{tie})."


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
        max_latency: In s, of one batch at ``quantile``; ``None`` for any.
        quantile: Of the latency; one that the dataset has.
        net: Less idle power.
        labels: What is needed to name one model, scenario, ...

    Raises:
        UnknownNameError: There is no such label or quantile.
        UsageError: Several models are left, the latency is not positive, or energies that compete
            rest on different things.
    """
    import numpy as np

    if max_latency is not None and not max_latency > 0:
        raise UsageError(f"the latency allowed is {max_latency:g} s; give a time above 0 s")
    part = narrowed(dataset, labels, free_dims(dataset), "the best batch")
    energy, latency = figure_of(part, energy_metric(net)), figure_of(part, "latency", quantile)
    dims = [str(dim) for dim in energy.cells.dims]
    e, t = (
        f.values.transpose(*dims, "repetition").values.reshape(-1, f.values.sizes["repetition"])
        for f in (energy, latency)
    )
    assert energy.source is not None
    sources = energy.source.transpose(*dims).values.reshape(-1)
    known = np.isfinite(e).any(1) & np.isfinite(t).any(1)
    fixed = scalars(part)
    nothing = BestBatch(
        name=named(dataset, fixed), net=net, quantile=quantile, max_latency_s=max_latency
    )
    if not known.any():
        return nothing
    refuse_unlike(sources, known, "the best batch")
    places = np.flatnonzero(known).tolist()
    energies = {i: found for i in places if (found := interval(e[i]))}
    latencies = {i: found for i in places if (found := interval(t[i]))}
    limit = float("inf") if max_latency is None else max_latency
    able = [i for i in places if latencies[i].centre <= limit]
    ordered = sorted(able, key=lambda i: energies[i].centre)
    best = ordered[0] if able else min(places, key=lambda i: latencies[i].centre)

    def labels_of(i: int) -> dict[str, Hashable]:
        spot = np.unravel_index(i, energy.cells.shape)
        return fixed | {d: part[d].values[k].item() for d, k in zip(dims, spot, strict=True)}

    second = ordered[1] if len(ordered) > 1 else None
    pairs = e[second] / e[best] if second is not None else np.array([np.nan])
    latest = latencies[best]
    return replace(
        nothing,
        name=named(dataset, labels_of(best)),
        labels=labels_of(best),
        batch_size=int(str(labels_of(best)["batch_size"])),
        energy_j=energies[best],
        latency_s=latencies[best],
        meets=bool(able),
        surely=latest.kind == "t" and latest.high is not None and latest.high <= limit,
        runner_up=named(dataset, labels_of(second)) if second is not None else None,
        # Net energies may be at or below zero, and then have no ratio.
        margin=interval(pairs) if (e[best] > 0).all() else None,
        candidates=len(places),
        estimated=provenance_of(sources[known]) is Provenance.ESTIMATED,
    )


def _with_interval(summary: Interval, unit: str) -> str:
    text = units.si(summary.centre, unit)
    if summary.low is None or summary.high is None:
        return f"{text} (no interval: one repetition)"
    low, high = units.si(summary.low, unit), units.si(summary.high, unit)
    return f"{text} ({_word(summary)}{low} … {high})"


def _word(summary: Interval) -> str:
    return "range " if summary.kind == "range" else ""
