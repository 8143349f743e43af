"""``ds.gb``: the trade-offs of a dataset, at hand on the dataset itself.

Registered by importing this module, which `greenbatch.open` does.
"""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from greenbatch.analysis.dataset.factors import Labels, designed, select
from greenbatch.analysis.dataset.flagged import ALL, without_flagged
from greenbatch.analysis.dataset.groups import is_of_servers, servers_of
from greenbatch.analysis.dataset.tidy import tidy
from greenbatch.analysis.statistics.by_dimension import (
    figure_of,
    intervals_of,
    ratios_of,
)
from greenbatch.analysis.statistics.interval_methods import LOGARITHMIC
from greenbatch.analysis.tradeoffs import pareto as tradeoffs
from greenbatch.analysis.tradeoffs.best_batch import BestBatch, best_batch
from greenbatch.analysis.tradeoffs.crossovers import Crossover, Method, crossover
from greenbatch.analysis.tradeoffs.curve_selection import curves
from greenbatch.analysis.tradeoffs.footprint import carbon_and_cost
from greenbatch.analysis.tradeoffs.turning_points import Knee, Saturation, knee, saturation
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from greenbatch.analysis.dataset.traces import Trace

__all__ = ["Accessor"]

_NEEDED = ("energy_per_image", "energy_per_image_source", "status")


@xr.register_dataset_accessor("gb")  # type: ignore[no-untyped-call]
class Accessor:
    """Trade-offs of a dataset that `greenbatch.open` gave, or of a part of it (``sel``).

    Each method says in its own words what the function of the same name does; their docstrings
    have the arguments, units, sources and errors in full.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._any = dataset

    @property
    def _dataset(self) -> xr.Dataset:
        """The dataset, if it has what the methods need.

        Raises:
            UsageError: It has not.
        """
        lacking = [name for name in _NEEDED if name not in self._any]
        if lacking:
            raise UsageError(
                f"the dataset has no {' and no '.join(lacking)}; ds.gb works on what "
                "greenbatch.open gives"
            )
        return self._any

    def sel(self, **labels: Hashable) -> xr.Dataset:
        """Narrow the dataset, or a result, by labels of any factor; see `select`.

        Examples:
            >>> ds.gb.sel(backend="onnxruntime-cpu", allow_spinning=0)  # doctest: +SKIP
        """
        return designed(select(self._any, labels))

    @property
    def servers(self) -> xr.Dataset:
        """The servers of the run, along ``model``, ``variant``, ``traffic`` and ``repetition``.

        Raises:
            UsageError: The run has none.
        """
        if is_of_servers(self._dataset):
            return self._dataset
        if (found := servers_of(self._dataset)) is None:
            raise UsageError(
                "the dataset has no servers; measure some with: gb bench --scenario server"
            )
        return found

    def energy_per_image(self, *, net: bool = False, method: str = LOGARITHMIC) -> xr.Dataset:
        """Bound the energy per image (J) of each cell, gross or net; see `intervals_of`."""
        return intervals_of(figure_of(self._dataset, tradeoffs.energy_metric(net)), method)

    def summary(
        self, metric: str, *, quantile: float = 0.5, method: str = LOGARITHMIC
    ) -> xr.Dataset:
        """Bound any metric of each cell: ``latency``, ``throughput``, ...; see `figure_of`."""
        return intervals_of(figure_of(self._dataset, metric, quantile), method)

    def relative_to(
        self, *, metric: str = "energy_per_image", quantile: float = 0.5, **reference: Hashable
    ) -> xr.Dataset:
        """Divide every cell by its reference, paired by block; see `ratios_of`."""
        return ratios_of(self._dataset, reference, metric, quantile)

    def pareto(
        self, *, accuracy: bool = False, net: bool = False, quantile: float = 0.5
    ) -> xr.Dataset:
        """Mark the energy-latency(-accuracy) front; see `tradeoffs.pareto`."""
        return tradeoffs.pareto(self._dataset, accuracy=accuracy, net=net, quantile=quantile)

    def energy_delay_product(
        self, *, net: bool = False, quantile: float = 0.5, exponent: int = 1
    ) -> xr.Dataset:
        """Bound energy times latency; see `tradeoffs.energy_delay_product`."""
        return tradeoffs.energy_delay_product(
            self._dataset, net=net, quantile=quantile, exponent=exponent
        )

    def footprint(
        self,
        *,
        carbon_intensity: float | str | None = None,
        price: float | None = None,
        currency: str = "currency",
        net: bool = False,
        images: float = 1e6,
    ) -> xr.Dataset:
        """Say what a million images cost in carbon and money; see `carbon_and_cost`."""
        return carbon_and_cost(
            self._dataset,
            carbon_intensity=carbon_intensity,
            price=price,
            currency=currency,
            net=net,
            images=images,
        )

    def best_batch(
        self,
        *,
        max_latency: float | None = None,
        quantile: float = 0.99,
        net: bool = False,
        **labels: Hashable,
    ) -> BestBatch:
        """Find the cell of least energy that is fast enough; see `best_batch`."""
        return best_batch(
            self._dataset, max_latency=max_latency, quantile=quantile, net=net, **labels
        )

    def crossover(
        self,
        a: str | Labels,
        b: str | Labels,
        *,
        metric: str = "energy_per_image",
        method: Method = "inversion",
        **labels: Hashable,
    ) -> Crossover:
        """Find from which batch size one needs less than the other; see `crossover`."""
        return crossover(self._dataset, a, b, metric=metric, method=method, **labels)

    def knee(self, *, metric: str = "energy_per_image", **labels: Hashable) -> Knee:
        """Find the knee of a curve over the batch size, by kneedle's rule; see `knee`."""
        return knee(self._dataset, metric=metric, **labels)

    def saturation(
        self, percent: float, *, metric: str = "energy_per_image", **labels: Hashable
    ) -> Saturation:
        """Find from where it falls by less than ``percent`` per doubling; see `saturation`."""
        return saturation(self._dataset, percent, metric=metric, **labels)

    def curves(self) -> Iterator[dict[str, Hashable]]:
        """List the labels of every curve over the batch size: what the methods above ask for."""
        return curves(designed(self._dataset))

    def traces(self, run: Path | str | None = None, /, **labels: Hashable) -> "list[Trace]":
        """Find the traces of the repetitions; see `greenbatch.analysis.dataset.traces.open_traces`.

        Args:
            run: The run directory; ``None`` is that which the dataset was opened from.
            labels: Which, as ``batch_size=4, repetition=0``.
        """
        from greenbatch.analysis.dataset.traces import traces_of

        source = self._dataset.encoding.get("source")
        if run is None and source is None:
            raise UsageError(
                "the dataset has no record of the run that it was opened from; name its directory: "
                "ds.gb.traces('runs/a')"
            )
        folder = Path(str(source)).parent if run is None else Path(run)
        return traces_of(self._dataset, folder, labels)

    def without_flagged(self, *flags: str) -> xr.Dataset:
        """Leave out the repetitions with these flags, all by default; see `without_flagged`."""
        return without_flagged(self._dataset, flags or (ALL,))

    def to_dataframe(self) -> "pd.DataFrame":
        """Lay out one row for each cell and repetition; units in ``.attrs["units"]``."""
        return tidy(self._dataset)
