"""The dataset as plain rows: one for each cell, nothing formatted, nothing printed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.statistics import Interval, interval
from greenbatch.analysis.variables import CELL_DIMS, FLAGS, PROVENANCES, STATUSES
from greenbatch.records import Cell

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of a cell by block; only blocks that are ok and have the figure."""

    by_block: Mapping[int, float] = field(default_factory=dict)

    def interval(self) -> Interval | None:
        """Summarise over the repetitions."""
        return interval(self.by_block.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """A cell and its figures; an interval is ``None`` where the figure is missing.

    Attributes:
        planned: Repetitions in the design.
        statuses: How many repetitions ended how.
        flags: How many ok repetitions carry each flag; they are counted in, not dropped.
        failures: Distinct reasons of the repetitions that are not ok.
        energy_source: ``missing``, ``measured``, ``estimated`` or ``mixed``.
        metering_error: Half-width of the meters' error over the energy per image, mean over
            repetitions; apart from the interval, which is about repetitions.
        power_w: Mean power over the domains that count.
        series: The figures by block, for ratios: ``energy``, ``latency_p50``, ``latency_p99``,
            ``throughput``.
    """

    cell: Cell
    planned: int
    statuses: Mapping[str, int]
    flags: Mapping[str, int]
    failures: tuple[str, ...]
    energy_source: str
    energy_per_image_j: Interval | None
    energy_per_image_net_j: Interval | None
    metering_error: float | None
    latency_p50_s: Interval | None
    latency_p99_s: Interval | None
    throughput: Interval | None
    power_w: Interval | None
    memory_host_bytes: float | None
    series: Mapping[str, Series] = field(repr=False)

    @property
    def ok(self) -> int:
        """Repetitions that were measured."""
        return self.statuses.get("ok", 0)


def cell_rows(dataset: "xr.Dataset") -> list[CellRow]:
    """List every cell of the design, measured or not, in the study's order.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
    """
    import numpy as np

    view = _Arrays(dataset)
    labels = [dataset[dim].values for dim in CELL_DIMS]
    rows = []
    for place in np.ndindex(*(len(values) for values in labels)):
        model, backend, precision, io, scenario, batch = (
            values[i] for values, i in zip(labels, place, strict=True)
        )
        cell = Cell(str(model), str(backend), str(precision), str(io), str(scenario), int(batch))
        rows.append(_row(view, cell, place))
    return rows


class _Arrays:
    """The dataset's values with the cell's dimensions first, read once."""

    def __init__(self, dataset: "xr.Dataset") -> None:
        self._dataset = dataset
        self._values: dict[str, Any] = {}
        self.blocks = [int(block) for block in dataset["repetition"].values]

    def __call__(self, name: str, place: tuple[int, ...], last: float | None = None) -> Any:
        key = f"{name} {last}"
        if key not in self._values:
            array = self._dataset[name]
            if last is not None:
                array = array.sel(quantile=last)
            self._values[key] = array.transpose(*CELL_DIMS, "repetition", ...).values
        return self._values[key][place]


def _row(view: _Arrays, cell: Cell, place: tuple[int, ...]) -> CellRow:
    import numpy as np

    status = [STATUSES[code] for code in view("status", place)]
    ok = [name == "ok" for name in status]
    masks = [int(mask) for mask, good in zip(view("flags", place), ok, strict=True) if good]
    reasons = [str(text) for text in view("reason", place) if text]

    def series(values: Any) -> Series:
        known = zip(view.blocks, values, ok, strict=True)
        return Series({b: float(v) for b, v, good in known if good and np.isfinite(v)})

    images, duration_s = view("images", place), view("duration", place)
    energy = series(view("energy_per_image", place))
    error = series(view("energy_per_image_uncertainty", place) / view("energy_per_image", place))
    memory = series(view("memory_peak", place)[:, 0])
    latency = {
        name: series(view("latency", place, last=quantile))
        for name, quantile in (("latency_p50", 0.5), ("latency_p99", 0.99))
    }
    throughput = series(view("throughput", place))
    return CellRow(
        cell=cell,
        planned=len(status),
        statuses=dict(Counter(status)),
        flags={
            name: count
            for name, bit in FLAGS.items()
            if (count := sum(bool(m & bit) for m in masks))
        },
        failures=tuple(dict.fromkeys(reasons)),
        energy_source=_source(view("energy_per_image_source", place), ok),
        energy_per_image_j=energy.interval(),
        # A difference, which may be zero or below; then its mean is arithmetic (`interval`).
        energy_per_image_net_j=series(view("energy_per_image_net", place)).interval(),
        metering_error=_mean(error),
        latency_p50_s=latency["latency_p50"].interval(),
        latency_p99_s=latency["latency_p99"].interval(),
        throughput=throughput.interval(),
        power_w=series(view("energy_per_image", place) * images / duration_s).interval(),
        memory_host_bytes=max(memory.by_block.values(), default=None),
        series={"energy": energy, "throughput": throughput, **latency},
    )


def _mean(series: Series) -> float | None:
    values = series.by_block.values()
    return sum(values) / len(values) if values else None


def _source(codes: Any, ok: list[bool]) -> str:
    found = {PROVENANCES[code] for code, good in zip(codes, ok, strict=True) if good}
    found.discard("missing")
    if not found:
        return "missing"
    return found.pop() if len(found) == 1 else "mixed"
