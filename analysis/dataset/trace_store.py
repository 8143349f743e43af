"""The traces of many repetitions in one file, as contiguous ragged arrays (CF 1.11, section 9.3.3).

All latencies stand behind one another along ``observation``, all readings of the meters along
``reading``; ``latency_count`` and ``reading_count`` say how many belong to each trace.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from greenbatch.analysis.dataset.store import netcdf
from greenbatch.analysis.dataset.traces import Trace
from greenbatch.analysis.dataset.variables import CELL_FACTORS, COORDINATES
from greenbatch.errors import RunError, UsageError
from greenbatch.files import draft_folder, write_atomically

if TYPE_CHECKING:
    from greenbatch.analysis.dataset.variables import AnyArray

Format = Literal["netcdf", "zarr"]
_QUANTITIES = {
    "time": ("s", "time of the reading, from the start of the window"),
    "energy": ("J", "energy since the trace's first reading"),
    "power": ("W", "power as sampled, else mean since the reading before"),
}


def gathered(traces: Mapping[str, Sequence[Trace]]) -> xr.Dataset:
    """Read traces into one dataset.

    Args:
        traces: By the name of their run.

    Returns:
        ``latency(observation)`` in s with ``latency_count(trace)``; ``time``, ``energy`` and
        ``power`` along ``reading`` with ``reading_count(trace, domain)``, the domains of a trace
        behind one another; and along ``trace`` the run, the factors of the cell, its title and the
        repetition.

    Raises:
        RunError: A trace is damaged.
    """
    every = [(run, trace) for run, some in traces.items() for trace in some]
    opened = [trace.open() for _, trace in every]
    domains = list(dict.fromkeys(domain for one in opened for domain in _domains(one)))
    counts = np.array([[one.sizes.get(f"reading_{d}", 0) for d in domains] for one in opened])
    labels: dict[str, list[object]] = {
        "run": [run for run, _ in every],
        "title": [str(trace.cell) for _, trace in every],
        "repetition": [trace.repetition for _, trace in every],
    }
    labels |= {name: [getattr(trace.cell, name) for _, trace in every] for name in CELL_FACTORS}
    latencies = [one["latency"].values if "latency" in one else np.empty(0) for one in opened]
    variables: dict[str, object] = {
        "latency": (
            "observation",
            np.concatenate([np.empty(0), *latencies]),
            {"units": "s", "long_name": "latency of one batch, from submit to result"},
        ),
        "latency_count": (
            "trace",
            np.array([len(some) for some in latencies], dtype="i8"),
            _counting("latencies of the trace", "observation"),
        ),
        "reading_count": (
            ("trace", "domain"),
            counts.reshape(len(every), len(domains)).astype("i8"),
            _counting("readings of the domain in the trace", "reading"),
        ),
    }
    for quantity, (units, long_name) in _QUANTITIES.items():
        found = [_values(one, quantity, domain) for one in opened for domain in domains]
        attrs = {"units": units, "long_name": long_name}
        variables[quantity] = ("reading", np.concatenate([np.empty(0), *found]), attrs)
    coords = {
        name: ("trace", np.array(values), _described(name)) for name, values in labels.items()
    }
    coords["domain"] = ("domain", np.array(domains, dtype=str), _described("domain"))
    return xr.Dataset(variables, coords, {"Conventions": "CF-1.11", "featureType": "timeSeries"})


def write_traces(dataset: xr.Dataset, path: Path, file_format: Format) -> None:
    """Write what `gathered` gave.

    Args:
        dataset: The traces.
        path: The file to write, or of zarr the folder; it opens with ``xarray.open_dataset``.
        file_format: ``netcdf``, or ``zarr`` where zarr is installed.

    Raises:
        UsageError: zarr is not installed.
        RunError: It exists.
        FileError: It cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise RunError(f"{path} exists; move it away, or choose another --out")
    if file_format == "netcdf":
        large = ("latency", *_QUANTITIES)
        write_atomically(path, netcdf(dataset, [name for name in large if dataset[name].size]))
        return
    check_format(file_format)
    with draft_folder(path) as unfinished:
        dataset.to_zarr(unfinished, mode="w", zarr_format=2, consolidated=True)


def check_format(file_format: Format) -> None:
    """Check that a format can be written here.

    Raises:
        UsageError: zarr is not installed.
    """
    from importlib.util import find_spec

    if file_format == "zarr" and find_spec("zarr") is None:
        raise UsageError("zarr is not installed; pip install zarr, or pass --traces netcdf")


def _counting(long_name: str, dim: str) -> dict[str, str]:
    return {"units": "1", "long_name": long_name, "sample_dimension": dim}


def _described(name: str) -> dict[str, str]:
    long_names = {
        "run": "run that the trace is of",
        "title": "cell",
        "repetition": "number of the block",
        "scenario": "scenario",
    }
    return {"units": "1", "long_name": long_names.get(name) or COORDINATES[name].long_name}


def _domains(opened: xr.Dataset) -> list[str]:
    return [str(dim).removeprefix("reading_") for dim in opened.dims if dim != "iteration"]


def _values(opened: xr.Dataset, quantity: str, domain: str) -> "AnyArray":
    name = f"{quantity}_{domain}"
    if name in opened.variables:
        return opened[name].values
    return np.full(opened.sizes.get(f"reading_{domain}", 0), np.nan)
