"""The traces of a run: every latency, and power over time, opened lazily as xarray objects."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from greenbatch.analysis.dataset.factors import LabelsOfPlaces, cell_of, select
from greenbatch.analysis.dataset.groups import groups_of
from greenbatch.analysis.dataset.store import open_run
from greenbatch.analysis.dataset.variables import CELL_FACTORS, STATUSES, settings_of
from greenbatch.arrays import StoredArray, stored_arrays
from greenbatch.errors import FileError, RunError, UnknownNameError, UsageError
from greenbatch.records import Cell

if TYPE_CHECKING:
    from greenbatch.analysis.dataset.variables import AnyArray

FOLDER = "traces"
_READINGS = {
    "time": ("s", "time of the reading, from the start of the window"),
    "energy": ("J", "energy since the first reading"),
    "power": ("W", "power"),
}


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one repetition, a file that is read when its values are.

    Attributes:
        cell: What was measured.
        repetition: Number of the block.
        path: The ``.npz`` file.
    """

    cell: Cell
    repetition: int
    path: Path

    def open(self) -> xr.Dataset:
        """Open the trace; an array is read when its values are used.

        Returns:
            ``latency`` along ``iteration`` (s, of one batch, from submit to result); and for each
            energy domain, along ``reading_DOMAIN``: ``time_DOMAIN`` (s, from the start of the
            window), ``energy_DOMAIN`` (J, since the first reading) where it has a counter or a
            model, and ``power_DOMAIN`` (W): as sampled, else the mean since the reading before.

        Raises:
            RunError: The file is damaged.
        """
        stored = self._arrays()
        domains = [name.removesuffix("_t_s") for name in stored if name.endswith("_t_s")]
        variables: dict[str, xr.Variable] = {}
        if "latency_s" in stored:
            attrs = {"units": "s", "long_name": "latency of one batch, from submit to result"}
            variables["latency"] = _lazy("iteration", stored["latency_s"], attrs)
        for domain in domains:
            dim = f"reading_{domain}"
            for quantity, array in _of_domain(stored, domain).items():
                units, long_name = _READINGS[quantity]
                if isinstance(array, _MeanPower):
                    long_name = "mean power since the reading before"
                attrs = {"units": units, "long_name": long_name}
                variables[f"{quantity}_{domain}"] = _lazy(dim, array, attrs)
        labels = {name: getattr(self.cell, name) for name in CELL_FACTORS}
        own = {"repetition": self.repetition, "title": str(self.cell)}
        found = xr.Dataset(variables, attrs=labels | own)
        return found.set_coords([f"time_{domain}" for domain in domains])

    def _arrays(self) -> "dict[str, _Stored]":
        with _damage_named(self.path):
            return {name: _Stored(array) for name, array in stored_arrays(self.path).items()}


def open_traces(run: Path | str, **labels: Hashable) -> list[Trace]:
    """Find the traces of a run's repetitions that were measured.

    Args:
        run: The run directory.
        labels: Which: a label for any dimension of a cell and for ``repetition``, as
            ``model="alexnet", batch_size=4, repetition=0``.

    Returns:
        In the dataset's order; a repetition whose file is not there is left out. None is read.

    Raises:
        RunError: The run cannot be read, or has no folder of traces.
        UnknownNameError: There is no such dimension or label.
    """
    return traces_of(open_run(run), Path(run), labels)


def traces_of(dataset: xr.Dataset, run: Path, labels: Mapping[str, Hashable]) -> list[Trace]:
    """Find the traces of a dataset, or of a part of it, in its run's directory.

    Raises:
        UsageError: The dataset is of several runs, or narrowed so that cells have no name.
        RunError: The run has no folder of traces.
        UnknownNameError: There is no such dimension or label.
    """
    if "merged_along" in dataset.attrs:
        raise UsageError("a merged dataset has no traces of its own; open the traces of each run")
    folder = run / FOLDER
    if not folder.is_dir():
        raise RunError(
            f"{run} has no folder {FOLDER}; give the directory that 'gb bench' wrote, with all of "
            "its files"
        )
    found = (
        Trace(cell, block, folder / f"{cell.slug}_r{block}.npz")
        for cell, block in _measured(dataset, labels)
    )
    return [trace for trace in found if trace.path.is_file()]


def _measured(dataset: xr.Dataset, labels: Mapping[str, Hashable]) -> Iterator[tuple[Cell, int]]:
    """List the cells and blocks that are ok and have these labels."""
    for dim in ("model", "variant", "repetition"):
        if dim not in dataset["status"].coords:
            raise UsageError(f"the dataset has no {dim}, which names a trace; keep its labels")
    factors = dict(labels)
    block = factors.pop("repetition", None)
    blocks = np.atleast_1d(dataset["repetition"].values).tolist()
    if block is not None and block not in blocks:
        raise UnknownNameError("repetition", str(block), map(str, blocks))
    for group in groups_of(select(dataset, factors)):
        status = group["status"]
        if not factors.keys() <= {*map(str, status.coords)}:
            continue  # only cells of the other group have such labels
        labels_of = LabelsOfPlaces(group, [str(dim) for dim in status.dims])
        for place in np.argwhere(status.values == STATUSES.index("ok")).tolist():
            found = labels_of(place)
            at = blocks[place[status.dims.index("repetition")]] if len(blocks) > 1 else blocks[0]
            if block in (None, at):
                yield cell_of(found, settings_of(group)), at


class _Stored(BackendArray):  # type: ignore[no-any-unimported,misc,unused-ignore]
    """An array in an ``.npz`` file."""

    def __init__(self, array: StoredArray) -> None:
        self.array, self.shape, self.dtype = array, (array.length,), array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> "AnyArray":
        found: AnyArray = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, lambda at: self.read()[at]
        )
        return found

    def read(self) -> "AnyArray":
        with _damage_named(self.array.path):
            return self.array.read()


class _MeanPower(_Stored):
    """Mean power between the readings of an energy; the first has none before it."""

    def __init__(self, time: _Stored, energy: _Stored) -> None:
        super().__init__(energy.array)
        self.dtype = np.dtype("f8")
        self._time, self._energy = time, energy

    def read(self) -> "AnyArray":
        power_w = np.full(self.shape, np.nan)
        power_w[1:] = np.diff(self._energy.read()) / np.diff(self._time.read())
        return power_w


def _of_domain(stored: Mapping[str, _Stored], domain: str) -> dict[str, _Stored]:
    found = {"time": stored[f"{domain}_t_s"]}
    if energy := stored.get(f"{domain}_energy_j"):
        found |= {"energy": energy, "power": _MeanPower(found["time"], energy)}
    if power := stored.get(f"{domain}_power_w"):
        found["power"] = power
    return found


def _lazy(dim: str, array: _Stored, attrs: dict[str, str]) -> xr.Variable:
    return xr.Variable((dim,), indexing.LazilyIndexedArray(array), attrs)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, KeyError) as error:  # since it was listed
        raise RunError(f"cannot read {path}: it has changed; open the trace again") from error
    except FileError as error:
        raise RunError(f"{error}, or leave the trace out") from error
