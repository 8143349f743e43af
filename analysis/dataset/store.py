"""A run's dataset: compiled, written whole or not at all, opened, made again when out of date."""

import os
import warnings
from collections.abc import Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.compilation import DATASET_SCHEMA, from_files
from greenbatch.analysis.dataset.dataset_files import NOTE, read_dataset_file, sealed
from greenbatch.analysis.dataset.run_files import RunFiles, digest, read_run, read_study
from greenbatch.analysis.dataset.variables import table
from greenbatch.errors import FileError, GreenbatchError, RunError, first_line
from greenbatch.files import write_atomically

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
    files = _read(run)
    with compiling(run):
        return from_files(files)


def write_dataset(run: Path) -> Path:
    """Compile a run and write ``dataset.nc`` (netCDF4) into it.

    Returns:
        The file's path; it opens with plain ``xarray.open_dataset``.

    Raises:
        RunError: The run cannot be read.
        FileError: It holds a link, or cannot be written to.
    """
    return store(compile_dataset(run), run / DATASET)


def open_run(run: Path | str) -> "xr.Dataset":
    """Open a run's dataset, compiled again where it is missing or not of this journal.

    A stored dataset is used if it is of the run's files, by their hash, and holds what was written
    into it, by a hash of its contents. A run that cannot be written to is compiled in memory.

    Args:
        run: The run directory; or a dataset file alone, of which a warning says if it was edited.

    Returns:
        The dataset, loaded; no file stays open.

    Raises:
        RunError: The run cannot be read.
    """
    run = Path(run)
    if run.is_file():
        dataset = load_dataset(run)
        _require_inference(dataset.attrs.get("kind"), run)
        return dataset
    found = stored(run, digest(run))
    return _compiled(run, _read(run)) if found is None else found


def open_with_files(run: Path) -> "tuple[xr.Dataset, RunFiles]":
    """Compile a run's dataset from its journal, and return its files too: they are read once.

    Raises:
        RunError: The run cannot be read.
    """
    files = _read(run)
    stored(run, files.digest)  # for its warning: an edited one is replaced now
    return _compiled(run, files), files


def kind_of(run: Path | str) -> str:
    """Return what a run measured: ``inference`` or ``training``.

    Args:
        run: The run directory, or a dataset file.

    Raises:
        RunError: It cannot be read.
    """
    run = Path(run)
    if not run.is_file():
        return read_study(run).kind
    return str(read_dataset_file(run).attrs.get("kind", "inference"))


def _read(run: Path) -> RunFiles:
    with _without_collector():
        files = read_run(run)
    _require_inference(files.study.kind, run)
    return files


def _require_inference(kind: object, run: Path) -> None:
    if kind == "training":
        raise RunError(
            f"{run} is a run of trainings, and this needs one of inference; 'gb report' and "
            "greenbatch.open take both"
        )


def stored(
    run: Path,
    current: str,
    variables: Collection[str] | None = None,
    schema: int = DATASET_SCHEMA,
) -> "xr.Dataset | None":
    """Load the dataset in a run's directory, if it is of the files with this digest.

    Args:
        run: The run directory.
        current: Digest of its files.
        variables, schema: What a dataset of this program has; by default, one of inference.
    """
    path = run / DATASET
    if not path.is_file():
        return None
    try:
        found = read_dataset_file(path)
    except GreenbatchError:  # damaged, or not ours: it can be made again at any time
        return None
    if variables is None:
        variables = table(servers="traffic" in found.dims)
    known = (found.attrs["run_digest"], int(found.attrs.get("schema", 0)))
    if known != (current, schema) or not {*variables} <= found.keys():
        return None
    if note := found.attrs.get(NOTE):
        warnings.warn(
            f"{note}: {path} is compiled again from the journal; keep what you edit in another "
            "folder",
            stacklevel=2,
        )
        return None
    return found


def _compiled(run: Path, files: RunFiles) -> "xr.Dataset":
    with compiling(run):
        dataset = from_files(files)
    return compiled(run, dataset)


def compiled(run: Path, dataset: "xr.Dataset") -> "xr.Dataset":
    """Keep a dataset in its run's directory, where that can be written to."""
    path = run / DATASET
    if os.access(run, os.W_OK):
        try:
            store(dataset, path)
        except FileError as error:  # it can be compiled again at any time
            warnings.warn(f"the dataset is not kept: {error}", stacklevel=2)
    dataset.encoding["source"] = str(path)  # as of one that was loaded
    return dataset


@contextmanager
def compiling(run: Path) -> Iterator[None]:
    """Compile a run's files; what is in them is typed, and may still be impossible.

    Raises:
        RunError: Records have values that no run has, or contradict each other.
    """
    try:
        with _without_collector():
            yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"cannot compile {run}: its records hold values that no measurement has "
            f"({first_line(error)}); restore its files as greenbatch wrote them"
        ) from error


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


def load_dataset(path: Path) -> "xr.Dataset":
    """Load a dataset file; a warning says if it was edited, or may have been.

    Raises:
        RunError: It cannot be read, is none of greenbatch, or lacks what is needed.
    """
    dataset = read_dataset_file(path)
    if note := dataset.attrs.get(NOTE):
        warnings.warn(
            f"{note}; only 'gb report' of the run's directory shows what was measured", stacklevel=2
        )
    return dataset


def store(dataset: "xr.Dataset", path: Path) -> Path:
    """Write a dataset to a file, whole or not at all.

    Raises:
        FileError: It cannot be written.
    """
    # Deflate: most of a grid is NaN or repeated codes.
    numeric = [name for name in dataset.data_vars if dataset[name].dtype.kind in "fi"]
    write_atomically(
        path, netcdf(sealed(dataset), [name for name in numeric if dataset[name].size])
    )
    return path


def netcdf(dataset: "xr.Dataset", deflated: Iterable[Hashable]) -> memoryview:
    """Return a dataset as the bytes of a netCDF4 file.

    The netCDF library writes and reads many small variables several times faster than h5netcdf
    (``benchmarks/dataset_files.py``). Made in memory: on a full disk the HDF5 library (1.14) ends
    the process by a segmentation fault.

    Args:
        dataset: What is written.
        deflated: Names of variables to compress; none of them is empty.
    """
    # Higher levels take a quarter longer, for less than 1 % of the size.
    encoding = {name: {"zlib": True, "complevel": 1} for name in deflated}
    return dataset.to_netcdf(engine="netcdf4", encoding=encoding)
