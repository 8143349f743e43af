"""``gb meter -- CMD``: the energy of any command."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.options import CpuTdp, Meters
from greenbatch.cli.output.printing import note
from greenbatch.cli.signals import BY_SIGNAL
from greenbatch.csv_text import csv_text
from greenbatch.errors import UsageError
from greenbatch.files import write_output

if TYPE_CHECKING:
    from rich.table import Table

    from greenbatch.runners.metering.meter_context import Measurement

TRACE_FORMATS = (".csv", ".npz")
# As a shell does: 127 and 126 where a command cannot be started, 128 + n where signal n ended it.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
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

    The exit code is that of the command.
    """
    from greenbatch.runners.metering.meter_context import Meter

    if trace is not None and trace.suffix not in TRACE_FORMATS:
        raise UsageError(
            f"--trace {trace} ends in {trace.suffix or 'nothing'!r}; "
            f"wanted {' or '.join(TRACE_FORMATS)}"
        )
    for path in (trace, output):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"the folder of {path} does not exist; make {path.parent} first")
    _check_command(command[0])
    with Meter(
        meter or ("auto",), interval_s=interval, cpu_tdp_w=cpu_tdp, keep_trace=trace is not None
    ) as session:
        code = _run(command)
    measurement = session.measurement
    if trace is not None:
        write_trace(trace, measurement)
    if as_json:
        result = {"schema_version": None, "command": command, "exit_code": code}
        text = json.dumps(result | measurement.as_dict(), indent=2) + "\n"
    else:
        text = _as_text(command, code, measurement, output)
    if output is not None:
        write_output(output, text)
    else:
        (sys.stdout if as_json else sys.stderr).write(text)
    raise typer.Exit(code)


def _check_command(name: str) -> None:
    """Exit as a shell would where a command cannot be run, before anything is opened."""
    if shutil.which(name):
        return
    found = Path(name).exists()
    cause = "it is not executable" if found else "there is no such command"
    note(f"cannot run {name!r}: {cause}")
    raise typer.Exit(NOT_EXECUTABLE if found else NOT_FOUND)


def _run(command: Sequence[str]) -> int:
    """Run the command in the foreground and return its exit code, as a shell would state it."""
    with _signals_for_the_command() as child:
        child.append(subprocess.Popen(command))
        code = child[0].wait()
    return code if code >= 0 else BY_SIGNAL - code


@contextmanager
def _signals_for_the_command() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Leave Ctrl-C to the command, which gets it too, and forward a request to terminate.

    What was measured until then is still reported.
    """
    child: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: object) -> None:
        if child and number != signal.SIGINT:
            child[0].send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        yield child
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

    terminal = output is None and sys.stderr.isatty()
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
