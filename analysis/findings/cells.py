"""The dataset as plain rows: one for each cell, nothing formatted, nothing printed."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbatch.analysis.dataset.counted import counts_of, mask_of
from greenbatch.analysis.dataset.energy_basis import Basis, bases_of
from greenbatch.analysis.dataset.factors import cells_of
from greenbatch.analysis.dataset.groups import dims_of_cells, groups_of
from greenbatch.analysis.dataset.raced import is_raced
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.variables import (
    ACCURACIES,
    FLAGS,
    LEFT,
    QUANTILES,
    STATUSES,
    STOPS,
    VARIABLES,
)
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.errors import RunError
from greenbatch.records import Cell, Provenance

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.variables import AnyArray

    Array = NDArray[np.float64]

SLOW = "not measured: slow"
"""`CellRow.left` of a cell whose batches take too long for the budget."""


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of a cell by block; only blocks that are ok and have the figure."""

    by_block: Mapping[int, float] = field(default_factory=dict)

    def interval(self, *, geometric: bool = True) -> Interval | None:
        """Summarise over the repetitions."""
        return interval(self.by_block.values(), geometric=geometric)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyFigure:
    """Top-1 accuracy of a cell's artifact, in percent.

    Attributes:
        source: ``measured`` (on ``images`` images, of this artifact), or ``published`` (for its
            pretrained weights in fp32).
        low, high: Wilson's 95 % interval; ``None`` where published.
    """

    top1: float
    source: str
    low: float | None = None
    high: float | None = None
    images: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """A cell and its figures; an interval is ``None`` where the figure is missing.

    Attributes:
        planned: Repetitions in the design; fewer of a cell that was within its target before, or
            that a run with a budget left.
        left: Why a run with a budget measured it no more, ``left: no better at block 2``; empty
            where it was measured to the end.
        left_reason: More of that.
        statuses: How many repetitions ended how.
        flags: How many ok repetitions carry each flag; they are counted in, not dropped.
        failures: Distinct reasons of the repetitions that are not ok.
        energy_source: What the energies rest on.
        basis: The same domain by domain: whether they may be divided by another cell's.
        metering_error: Half-width of the meters' error over the energy per image, mean over
            repetitions; apart from the interval, which is about repetitions.
        power_w: Mean power over the domains that count.
        memory_host_bytes, memory_device_bytes, memory_children_bytes: Highest peak over the
            repetitions: of the process, of its device, of the largest process that it started.
        agreement_max_rel, agreement_cosine, agreement_equal: The worst over all repetitions that
            were compared with the reference, failed ones included.
        agreement_weak: Outputs that are mostly rounding for these images.
        max_batch_size: The largest batch that fits into memory, 0 where none does; ``None``
            where it was not probed.
        min_failing_batch_size: The smallest batch that was tried and does not.
        accuracy: Of the artifact; ``None`` where nothing is known.
        response_mean_s, response_p99_s, response_max_s: Of a server's requests.
        busy: Share of a server's window in which a batch was running.
        power_busy_w: Mean power of a server while a batch is running: its energy without what idle
            power takes while none is, over that time.
        waiting_share: Share of a server's energy that idle power takes while no batch is running.
        as_published_j: Energy per request by the estimator of the study that is repeated.
        batch_size_mean: Of the batches that a server formed.
        utilization, memory_utilization: Share of the window in which the processors of the device
            had work, and in which its memory was read or written; arithmetic means.
        memory_in_use_bytes: The most device memory in use by anybody, over the repetitions.
        temperature_c: Mean in the window, of the sensor with the highest one.
        series: The figures by block, for ratios: ``energy``, ``energy_net``, ``latency_p50``,
            ``latency_p99``, ``throughput``, ``response_p99``, ``response_mean``.
    """

    cell: Cell
    planned: int
    statuses: Mapping[str, int]
    flags: Mapping[str, int]
    failures: tuple[str, ...]
    energy_source: Provenance
    energy_per_image_j: Interval | None
    energy_per_image_net_j: Interval | None
    metering_error: float | None
    latency_p50_s: Interval | None
    latency_p99_s: Interval | None
    throughput: Interval | None
    power_w: Interval | None
    memory_host_bytes: float | None
    memory_device_bytes: float | None = None
    memory_children_bytes: float | None = None
    agreement_max_rel: float | None = None
    agreement_cosine: float | None = None
    agreement_equal: float | None = None
    agreement_weak: str = ""
    max_batch_size: int | None = None
    min_failing_batch_size: int | None = None
    accuracy: AccuracyFigure | None = None
    response_mean_s: Interval | None = None
    response_p99_s: Interval | None = None
    response_max_s: Interval | None = None
    busy: Interval | None = None
    power_busy_w: Interval | None = None
    waiting_share: Interval | None = None
    as_published_j: Interval | None = None
    batch_size_mean: Interval | None = None
    utilization: Interval | None = None
    memory_utilization: Interval | None = None
    memory_in_use_bytes: float | None = None
    temperature_c: Interval | None = None
    basis: Basis = field(default_factory=Basis)
    left: str = ""
    left_reason: str = ""
    series: Mapping[str, Series] = field(repr=False)

    @property
    def ok(self) -> int:
        """Repetitions that were measured."""
        return self.statuses.get("ok", 0)


def cell_rows(dataset: "xr.Dataset") -> list[CellRow]:
    """List every cell of the design, measured or not, in the study's order.

    A place in the grid that the design does not have (a setting of one backend on another) is no
    cell.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
    """
    arrays = CellArrays(dataset)
    return [_row(arrays, cell, place) for cell, place in arrays.cells()]


class Place(NamedTuple):
    """Where a cell stands: in which group of the dataset, and at which index there."""

    group: int
    at: tuple[int, ...]


class CellArrays:
    """A dataset's values by cell, each variable read once.

    Attributes:
        blocks: Numbers of the repetitions.
        raced: Whether the run had a budget.
        memories: Labels of ``memory_peak``.
        domains: Labels of the energy domains.
    """

    def __init__(self, dataset: "xr.Dataset") -> None:
        for dim in ("machine", "run"):
            if dataset.sizes.get(dim, 1) > 1:
                raise RunError(
                    f"the dataset holds {dataset.sizes[dim]} {dim}s, whose cells are not alike; "
                    "take one, e.g. of greenbatch.analysis.dataset.merging.separate, or give "
                    "its run"
                )
        dataset = dataset.squeeze([d for d in ("machine", "run") if d in dataset.dims], drop=True)
        self._groups = groups_of(dataset)
        self._values: dict[tuple[int, str], AnyArray] = {}
        self._counts = counts_of(dataset)
        self.raced = is_raced(dataset)
        found = ((group, bases_of(group)) for group in self._groups)
        self._bases = [
            (bases.codes.transpose(*dims_of_cells(group)).values, bases.table)
            for group, bases in found
        ]
        self.blocks = dataset["repetition"].values
        self.domains = [str(label) for label in dataset["domain"].values]
        self.memories = [str(label) for label in dataset["memory"].values]

    def counted(self, place: Place) -> "NDArray[np.bool_]":
        """Return whether each domain counts in a cell, shape (repetition, domain)."""
        return mask_of(self("energy_counted", place), self._counts)

    def basis(self, place: Place) -> Basis:
        """Return what the energy per image of a cell rests on."""
        codes, table = self._bases[place.group]
        return table[int(codes[place.at])]

    def cells(self) -> list[tuple[Cell, Place]]:
        """List the design's cells with their places, those of a model and variant together."""
        found = [
            (cell, Place(number, at))
            for number, group in enumerate(self._groups)
            for cell, at in cells_of(group)
        ]
        return sorted(found, key=lambda pair: pair[1].at[:2])

    def __call__(self, name: str, place: Place) -> Any:
        """Return a variable's values at a cell: its dimensions but those of the cell are left.

        What a dataset of an older schema does not have is missing.
        """
        values = self._get(name, place.group)
        return values[place.at if VARIABLES[name].of_cells else place.at[:2]]

    def _get(self, name: str, number: int) -> "AnyArray":
        import numpy as np

        key = (number, name)
        if key not in self._values:
            variable, group = VARIABLES[name], self._groups[number]
            dims = variable.along(dims_of_cells(group))
            if name in group:
                self._values[key] = group[name].transpose(*dims).values
            else:
                shape = [group.sizes.get(dim, 1) for dim in dims]
                self._values[key] = np.full(shape, variable.missing, variable.dtype)
        return self._values[key]


def _row(view: CellArrays, cell: Cell, place: Place) -> CellRow:
    import numpy as np

    status = [STATUSES[code] for code in view("status", place)]
    ok = np.array([name == "ok" for name in status])
    requested = status
    why = STOPS[int(view("stopped", place))]
    if view.raced or why in ("target", "failed"):  # later blocks went without it
        reported = zip(status, view("reason", place), strict=True)
        requested = [name for name, reason in reported if name != "not_run" or reason]
    masks = view("flags", place)[ok].tolist()
    reasons = [str(text) for text in view("reason", place) if text]

    def series(values: "Array") -> Series:
        known = ok & np.isfinite(values)
        return Series(dict(zip(view.blocks[known].tolist(), values[known].tolist(), strict=True)))

    images, duration_s = view("images", place), view("duration", place)
    energy = series(view("energy_per_image", place))
    error = series(view("energy_per_image_uncertainty", place) / view("energy_per_image", place))
    memory = {
        label: max(series(peaks).by_block.values(), default=None)
        for label, peaks in zip(view.memories, view("memory_peak", place).T, strict=True)
    }
    latency = {
        name: series(view("latency", place)[:, QUANTILES.index(quantile)])
        for name, quantile in (("latency_p50", 0.5), ("latency_p99", 0.99))
    }
    throughput = series(view("throughput", place))
    net = series(view("energy_per_image_net", place))
    energies = view("energy_per_image", place)
    waiting, busy = view("energy_per_request_waiting", place), view("busy", place)
    with np.errstate(divide="ignore", invalid="ignore"):  # no batch ran
        power_busy_w = (energies - waiting) * images / (busy * duration_s)

    response_mean = series(view("response_time_mean", place))

    def response(quantile: float) -> Series:
        return series(view("response_time", place)[:, QUANTILES.index(quantile)])

    def known(name: str, summary: "Callable[[Array], Array]") -> Series:
        """Summarise a figure of domains or sensors in each repetition, of those that have it."""
        values = view(name, place)
        found = np.full(len(values), np.nan)
        if (has := np.isfinite(values).any(axis=-1)).any():
            found[has] = summary(values[has])
        return series(found)

    def mean(name: str) -> Interval | None:
        return known(name, lambda values: np.nanmean(values, axis=-1)).interval(geometric=False)

    temperature = known("temperature_mean", lambda values: np.nanmax(values, axis=-1))
    in_use = known("memory_device", lambda values: np.nanmax(values, axis=-1))
    return CellRow(
        cell=cell,
        planned=len(requested),
        statuses=dict(Counter(requested)),
        flags={
            name: count
            for name, bit in FLAGS.items()
            if (count := sum(bool(m & bit) for m in masks))
        },
        failures=tuple(dict.fromkeys(reasons)),
        energy_source=provenance_of(view("energy_per_image_source", place)[ok]),
        basis=view.basis(place),
        energy_per_image_j=energy.interval(),
        # A difference, which may be zero or below; then its mean is arithmetic (`interval`).
        energy_per_image_net_j=net.interval(),
        metering_error=_mean(error),
        latency_p50_s=latency["latency_p50"].interval(),
        latency_p99_s=latency["latency_p99"].interval(),
        throughput=throughput.interval(),
        power_w=series(energies * images / duration_s).interval(),
        memory_host_bytes=memory.get("host"),
        memory_device_bytes=memory.get("device"),
        memory_children_bytes=memory.get("children"),
        agreement_max_rel=max(_known(view("agreement_max_rel", place)), default=None),
        agreement_cosine=min(_known(view("agreement_cosine", place)), default=None),
        agreement_equal=min(_known(view("agreement_equal", place)), default=None),
        agreement_weak=max(map(str, view("agreement_weak", place)), default=""),
        max_batch_size=_whole(view("max_batch_size", place)),
        min_failing_batch_size=_whole(view("min_failing_batch_size", place)),
        accuracy=_accuracy(view, place),
        response_mean_s=response_mean.interval(),
        response_p99_s=response(0.99).interval(),
        response_max_s=response(1.0).interval(),
        busy=series(busy).interval(),
        power_busy_w=series(power_busy_w).interval(),
        waiting_share=series(waiting / energies).interval(),
        as_published_j=series(view("energy_per_request_as_published", place)).interval(),
        batch_size_mean=series(view("batch_size_mean", place)).interval(),
        utilization=mean("utilization"),
        memory_utilization=mean("memory_utilization"),
        memory_in_use_bytes=max(in_use.by_block.values(), default=None),
        temperature_c=temperature.interval(geometric=False),
        left=_left(why, view("stopped_block", place), bool(requested)) if view.raced else "",
        left_reason=str(view("stopped_reason", place)),
        series={
            "energy": energy,
            "energy_net": net,
            "throughput": throughput,
            "response_p99": response(0.99),
            "response_mean": response_mean,
            **latency,
        },
    )


def _left(why: str, block: float, tried: bool) -> str:
    """Say why and when a run with a budget left a cell; blocks are counted from 1."""
    if why in (*LEFT, "failed") and not tried:
        return f"not measured: {why}"
    if why in (*LEFT, "failed"):
        return f"left: {why.replace('_', ' ')} at block {block + 1:.0f}"
    return ""


def _accuracy(view: CellArrays, place: Place) -> AccuracyFigure | None:
    source = ACCURACIES[view("accuracy_source", place)]
    if source == "missing":
        return None
    top1 = float(view("accuracy_top1", place))
    if source == "published":
        return AccuracyFigure(top1=top1, source=source)
    return AccuracyFigure(
        top1=top1,
        source=source,
        low=float(view("accuracy_top1_low", place)),
        high=float(view("accuracy_top1_high", place)),
        images=_whole(view("accuracy_images", place)),
    )


def _known(values: "Array") -> list[float]:
    return [float(value) for value in values if value == value]


def _whole(value: float) -> int | None:
    return int(value) if value == value else None


def _mean(series: Series) -> float | None:
    values = series.by_block.values()
    return sum(values) / len(values) if values else None
