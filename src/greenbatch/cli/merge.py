"""``gb merge``: several runs as one dataset file."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.options import AllowDifference, names_in
from greenbatch.cli.output.printing import echo
from greenbatch.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from greenbatch.analysis.dataset.merging import Along


class TraceFormat(StrEnum):
    """How all traces are written into one file."""

    NETCDF = "netcdf"
    ZARR = "zarr"


class Dimension(StrEnum):
    """What runs are merged along; ``auto`` goes by the machines that they ran on."""

    AUTO = "auto"
    MACHINE = "machine"
    REPETITION = "repetition"


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or dataset files.")],
    out: Annotated[Path, typer.Option(help="Dataset file to write, e.g. all.nc.")],
    along: Annotated[
        Dimension,
        typer.Option(
            help="Dimension to merge along. machine: runs of different machines. "
            "repetition: more repetitions of one design. auto: decide by the machines "
            "of the runs."
        ),
    ] = Dimension.AUTO,
    apart: Annotated[
        bool,
        typer.Option(
            "--apart", help="Keep the runs apart along a dimension 'run', compatible or not."
        ),
    ] = False,
    allow_difference: AllowDifference = None,
    traces: Annotated[
        TraceFormat | None,
        typer.Option(help="Write all traces to one more file beside the dataset."),
    ] = None,
) -> None:
    """Merge compatible runs into one dataset.

    Incompatible runs are refused; the message names the difference.
    """
    from greenbatch.analysis.dataset.store import store
    from greenbatch.analysis.runs import merge as merged

    if apart and along is not Dimension.AUTO:
        raise UsageError(f"--apart and --along {along} are both given; choose one")
    if out.exists() or out.is_symlink():
        raise RunError(f"{out} exists; choose another --out")
    if not out.parent.is_dir():
        raise RunError(f"{out.parent} is not a directory; create it, or choose another --out")
    where: Along | None = "run" if apart else _ALONG[along]
    if traces is not None:
        _check_traces(runs, traces)
    dataset = merged(runs, where, names_in(allow_difference))
    store(dataset, out)
    echo(_summary(dataset))
    if differing := dataset.attrs.get("allowed_differences"):
        echo(f"differs, as allowed: {differing}")
    echo(f"dataset: {out}")
    if traces is not None:
        echo(f"traces: {_write_traces(runs, out, traces)}")


_ALONG: "dict[Dimension, Along | None]" = {
    Dimension.AUTO: None,
    Dimension.MACHINE: "machine",
    Dimension.REPETITION: "repetition",
}


def _check_traces(runs: "Sequence[Path]", trace_format: TraceFormat) -> None:
    from greenbatch.analysis.dataset.store import kind_of
    from greenbatch.analysis.dataset.trace_store import check_format

    check_format(trace_format.value)
    for run in runs:
        if not (run / "traces").is_dir():
            raise RunError(f"{run} has no folder of traces; remove --traces, or name the run")
        if kind_of(run) == "training":
            raise RunError(
                f"{run} is a training run, whose traces cannot be merged; remove --traces "
                f"(they are in {run / 'traces'})"
            )


def _write_traces(runs: "Sequence[Path]", out: Path, trace_format: TraceFormat) -> Path:
    from greenbatch.analysis.dataset.compatibility import distinct
    from greenbatch.analysis.dataset.trace_store import gathered, write_traces
    from greenbatch.analysis.dataset.traces import open_traces

    suffix = {TraceFormat.NETCDF: ".nc", TraceFormat.ZARR: ".zarr"}[trace_format]
    path = out.with_name(f"{out.stem}-traces{suffix}")
    names = distinct([run.resolve().name for run in runs])
    found = {name: open_traces(run) for name, run in zip(names, runs, strict=True)}
    write_traces(gathered(found), path, trace_format.value)
    return path


def _summary(dataset: "xr.Dataset") -> str:
    """Say in one sentence what became of the runs."""
    from greenbatch.analysis.dataset.groups import values_of

    cells = int((values_of(dataset, "in_design") == 1).sum())
    size = (
        f"{units.count(cells, 'cell')} x {units.count(dataset.sizes['repetition'], 'repetition')}"
    )
    dim = dataset.attrs.get("merged_along")
    if dim in ("machine", "run"):
        names = ", ".join(str(label) for label in dataset[dim].values)
        return f"{dataset.sizes[dim]} {dim}s side by side ({names}): {size}"
    if dim is None:
        return f"one run, as it is: {size}"
    return f"repetitions of {', '.join(dict.fromkeys(dataset['run'].values.tolist()))}: {size}"
