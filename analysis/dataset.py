"""A run's dataset: compiled, written whole or not at all, opened, made again when out of date."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.compilation import DATASET_SCHEMA, from_files
from greenbatch.analysis.run_files import RunFiles, digest, read_run
from greenbatch.analysis.variables import VARIABLES
from greenbatch.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

DATASET = "dataset.nc"


def compile_dataset(run: Path) -> "xr.Dataset":
    """Compile a run's journal in memory.

    Args:
        run: The run directory.

    Returns:
        A dataset over the full grid of the study: a repetition without a record has status
        ``not_run`` and NaN in every number. The order of the journal's lines does not matter.

    Raises:
        RunError: The run cannot be read, or measured a repetition twice.
    """
    with _without_collector():
        return from_files(read_run(run))


def write_dataset(run: Path) -> Path:
    """Compile a run and write ``dataset.nc`` (netCDF4, by h5netcdf) into it.

    Returns:
        The file's path; it opens with plain ``xarray.open_dataset``.

    Raises:
        RunError: The run cannot be read or written to.
    """
    return store(compile_dataset(run), run / DATASET)


def open_run(run: Path | str) -> "xr.Dataset":
    """Open a run's dataset, compiled again where it is missing or not of this journal.

    Whether it is up to date is told by a hash of the run's files, not by modification times.
    A run that cannot be written to is compiled in memory.

    Args:
        run: The run directory; or a dataset file alone, which is taken as it is.

    Returns:
        The dataset, loaded; no file stays open.

    Raises:
        RunError: The run cannot be read.
    """
    import greenbatch.analysis.accessor  # noqa: F401  # registers ``ds.gb``

    run = Path(run)
    if run.is_file():
        return _open_file(run)
    stored = _stored(run, digest(run))
    if stored is not None:
        return stored
    with _without_collector():
        files = read_run(run)
    return _compiled(run, files)


def open_with_files(run: Path) -> "tuple[xr.Dataset, RunFiles]":
    """Open a run's dataset as `open_run` does, and its files: the journal is read once.

    Raises:
        RunError: The run cannot be read.
    """
    with _without_collector():
        files = read_run(run)
    stored = _stored(run, files.digest)
    return (_compiled(run, files) if stored is None else stored), files


def _stored(run: Path, current: str) -> "xr.Dataset | None":
    """Load the dataset in a run's directory, if it is of the files with this digest."""
    import xarray as xr

    path = run / DATASET
    if not path.is_file():
        return None
    try:
        stored = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError):  # damaged: it can be made again at any time
        return None
    known = (stored.attrs.get("run_digest"), int(stored.attrs.get("schema", 0)))
    whole = VARIABLES.keys() <= stored.keys()
    return stored if whole and known == (current, DATASET_SCHEMA) else None


def _compiled(run: Path, files: RunFiles) -> "xr.Dataset":
    with _without_collector():
        dataset = from_files(files)
    path = run / DATASET
    if os.access(run, os.W_OK):
        store(dataset, path)
    dataset.encoding["source"] = str(path)  # as of one that was loaded
    return dataset


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let the cycle collector rest: among millions of records, none is in a cycle."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _open_file(path: Path) -> "xr.Dataset":
    import xarray as xr

    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise RunError(
            f"cannot read {path} as a dataset: {error}; give a directory that 'gb bench' wrote, "
            "or a dataset.nc"
        ) from error
    if "run_digest" not in dataset.attrs:
        raise RunError(
            f"{path} is no dataset of greenbatch; give a directory that 'gb bench' wrote, or a "
            "dataset.nc"
        )
    return dataset


def store(dataset: "xr.Dataset", path: Path) -> Path:
    """Write a dataset to a file, whole or not at all.

    Raises:
        RunError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Deflate: most of a grid is NaN or repeated codes.
        numeric = [name for name in dataset.data_vars if dataset[name].dtype.kind in "fi"]
        encoding = {name: {"zlib": True, "complevel": 4} for name in numeric if dataset[name].size}
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {(error.strerror or 'unknown cause').lower()}; "
            "make the run's directory writable or copy the run"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path
