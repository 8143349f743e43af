"""``gb meter -- CMD``: the energy of any command."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.foreground import CannotRun, check_command, run
from greenbatch.cli.options import CpuTdp, Meters
from greenbatch.cli.output.printing import note, print_whole
from greenbatch.csv_text import csv_text
from greenbatch.errors import FileError, UsageError
from greenbatch.files import explain, write_output
from greenbatch.processes import signals_for_this_thread

if TYPE_CHECKING:
    from rich.table import Table

    from greenbatch.runners.metering.meter_context import Measurement

TRACE_FORMATS = (".csv", ".npz")
WIDTH_ELSEWHERE = 100


def meter(
    command: Annotated[
        list[str], typer.Argument(metavar="-- CMD [ARGS]...", help="Command to measure.")
    ],
    meter: Meters = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Sampling interval of the meters in s. Default: the interval of each meter."
        ),
    ] = None,
    cpu_tdp: CpuTdp = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write the meter readings to this .csv or .npz file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the result to this file. Default: standard error.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON to standard output.")
    ] = False,
) -> None:
    """Run a command and measure its energy on this machine.

    The exit code is that of the command: 128 + n where signal n ended it, 127 or 126 where it
    cannot be run.
    """
    if trace is not None and trace.suffix not in TRACE_FORMATS:
        raise UsageError(
            f"--trace {trace} ends in {trace.suffix or 'nothing'!r}; "
            f"wanted {' or '.join(TRACE_FORMATS)}"
        )
    for path in (trace, output):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"the folder of {path} does not exist; make {path.parent} first")
    with signals_for_this_thread():  # its libraries start threads
        from greenbatch.runners.metering.meter_context import Meter
    try:
        check_command(command[0])
        with Meter(
            meter or ("auto",),
            interval_s=interval,
            cpu_tdp_w=cpu_tdp,
            keep_trace=trace is not None,
        ) as session:
            code = run(command)
    except CannotRun as refusal:
        note(f"cannot run {command[0]!r}: {refusal}")
        raise typer.Exit(refusal.exit_code) from refusal
    measurement = session.measurement
    if as_json:
        result = {"schema_version": None, "command": command, "exit_code": code}
        text = json.dumps(result | measurement.as_dict(), indent=2) + "\n"
    else:
        text = _as_text(command, code, measurement, output)
    faults = [_deliver(text, output, as_json=as_json)]
    if trace is not None:
        try:
            write_trace(trace, measurement)
        except FileError as error:
            faults.append(str(error))
    for fault in filter(None, faults):
        note(fault)
        code = code or FileError.exit_code
    raise typer.Exit(code)


def _deliver(text: str, output: Path | None, *, as_json: bool) -> str:
    """Write the result to its file or print it; return what failed, or an empty text."""
    if output is None:
        return _print(text, as_json=as_json)
    try:
        write_output(output, text)
    except FileError as error:
        elsewhere = _print(text, as_json=False)
        return f"{error}; {elsewhere or 'the result is on standard error'}"
    return ""


def _print(text: str, *, as_json: bool) -> str:
    """Print the result; where that fails, on the other stream, so that it is not lost.

    Returns:
        Why it is not where it was to be; empty where it is.
    """
    streams = {"standard output": sys.stdout, "standard error": sys.stderr}
    wanted, other = streams if as_json else reversed(streams)
    fault = ""
    for name in (wanted, other):
        try:
            print_whole(streams[name], text)
        except OSError as error:
            fault = fault or f"cannot write to {wanted}: {explain(error)[0]}"
        else:
            return fault and f"{fault}; the result is on {other}"
    return f"{fault}; the result is lost, as {other} fails too: name a file with --output"


def write_trace(path: Path, measurement: "Measurement") -> None:
    """Write what was read: arrays as they are, or a row for each read.

    The CSV has the columns ``domain``, ``t_s`` (since the window's start), ``energy_j`` (since the
    domain's first row) and ``power_w``; empty where a read had no such value.
    """
    import io
    import math

    from greenbatch.arrays import write_arrays

    if path.suffix == ".npz":
        packed = io.BytesIO()
        write_arrays(packed, measurement.trace, packed=True)
        write_output(path, packed.getvalue())
        return
    lines: list[Sequence[object]] = [("domain", "t_s", "energy_j", "power_w")]
    for figure in measurement.domains:
        times_s = measurement.trace.get(f"{figure.domain}_t_s", ())
        columns = [
            measurement.trace.get(f"{figure.domain}_{name}", [math.nan] * len(times_s))
            for name in ("energy_j", "power_w")
        ]
        for t_s, *values in zip(times_s, *columns, strict=True):
            cells = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
            lines.append([figure.domain, f"{t_s:.6f}", *cells])
    write_output(path, csv_text(lines))


def _as_text(
    command: Sequence[str], code: int, measurement: "Measurement", output: Path | None
) -> str:
    from io import StringIO

    from rich.text import Text

    from greenbatch.cli.output.console import TextConsole

    terminal = output is None and sys.stderr is not None and sys.stderr.isatty()
    buffer = StringIO()
    console = TextConsole(file=buffer, force_terminal=terminal)
    if not terminal:
        console.width = WIDTH_ELSEWHERE
    console.print()
    ended = f"; exit code {code}" if code else ""
    console.print(Text(f"{command[0]}: {measurement.duration_s:.3f} s{ended}", style="bold"))
    if not measurement.domains:
        console.print("no meter was read (--meter none)")
        return buffer.getvalue()
    console.print(figures_table(measurement))
    notes = [
        f"{f.domain}: {f.reason.removeprefix(f'{f.domain}: ')}"
        for f in measurement.domains
        if f.reason
    ]
    notes += [
        f"{f.domain}: its error is above 100 %; {f.remedy}" for f in measurement.domains if f.remedy
    ]
    for sentence in notes:
        console.print(Text(sentence, style="yellow"))
    return buffer.getvalue()


def figures_table(measurement: "Measurement") -> "Table":
    """Lay out a row for each domain, and the total where more than one counts."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("domain", no_wrap=True)
    for heading in ("energy", "mean power", "highest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source")
    for figure in measurement.domains:
        source = str(figure.source) if figure.counts else f"{figure.source}, not added"
        table.add_row(
            figure.domain,
            _energy(figure.energy_j, figure.uncertainty_j),
            _power(figure.power_mean_w),
            _power(figure.power_max_w),
            source,
        )
    total = measurement.total
    if sum(figure.counts for figure in measurement.domains) > 1:
        mean_w = None if total.energy_j is None else total.energy_j / measurement.duration_s
        table.add_row(
            "total",
            _energy(total.energy_j, total.uncertainty_j),
            _power(mean_w),
            "",
            " + ".join(map(str, total.sources)) or "missing",
            style="bold",
        )
    return table


def _energy(energy_j: float | None, uncertainty_j: float | None) -> str:
    if energy_j is None or uncertainty_j is None:
        return "–"
    return f"{units.si(energy_j, 'J')} ± {units.si(uncertainty_j, 'J')}"


def _power(power_w: float | None) -> str:
    return "–" if power_w is None else units.si(power_w, "W")
