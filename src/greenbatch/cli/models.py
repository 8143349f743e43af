"""``gb models``: what can be measured."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch.cli.options import by_comma
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    from greenbatch.models import ModelSpec

_SCALES = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_LEAST_COLUMNS = 80  # narrower terminals wrap the lines: names are never cut
_PIPE_COLUMNS = 100
_NARROW_COLUMNS = 90


def models(
    family: Annotated[
        list[str] | None,
        typer.Option(
            callback=by_comma,
            help="List only this family, e.g. resnet or detection; 'all' lists all families. "
            "Repeatable, or with commas. Default: classification.",
        ),
    ] = None,
    max_parameters: Annotated[
        str | None,
        typer.Option(help="List only models with at most this many parameters, e.g. 30M."),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="List only the five study models, oldest first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the models with family, year, size and published accuracy."""
    from greenbatch.models import registry

    listed = [name for each in family or [registry.CLASSIFICATION] for name in registry.names(each)]
    limit = None if max_parameters is None else parse_count(max_parameters)
    specs = [
        spec
        for spec in map(registry.find, registry.STUDY if study else dict.fromkeys(listed))
        if spec.name in listed and (limit is None or spec.parameters <= limit)
    ]
    if as_json:
        typer.echo(json.dumps([asdict(spec) for spec in specs], indent=2))
    elif specs:
        _print_table(specs)
    else:
        typer.echo("gb: no model matches all filters; remove one", err=True)


def parse_count(text: str) -> float:
    """Read a number of parameters: ``30M``, ``30e6`` or ``25_000_000``.

    Raises:
        UsageError: It is none.
    """
    number = text.strip().upper()
    scale = _SCALES.get(number[-1:], 1.0)
    try:
        count = float(number[:-1] if number[-1:] in _SCALES else number) * scale
    except ValueError:
        count = float("nan")
    if not 0 < count < float("inf"):
        raise UsageError(
            f"--max-parameters is {text!r}, which is not a positive number; "
            "write 30M, 30e6 or 30_000_000"
        )
    return count


def _print_table(specs: "Sequence[ModelSpec]") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    least = _LEAST_COLUMNS if console.is_terminal else _PIPE_COLUMNS
    console.width = max(console.width, least)
    gap = 1 if console.width < _NARROW_COLUMNS else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for heading in ("model", "family"):
        table.add_column(f"\n{heading}", no_wrap=True)
    for heading in ("\nyear", "\nparameters", "multiply-\nadds", "published\ntop-1", "\ninput"):
        table.add_column(heading, justify="right", no_wrap=True)
    for spec in specs:
        table.add_row(
            spec.name,
            spec.family,
            str(spec.year or "–"),
            f"{spec.parameters / 1e6:.2f} M",
            "–" if spec.flops is None else f"{spec.flops / 1e9:.2f} G",
            "–" if spec.top1 is None else f"{spec.top1:.2f} %",
            "x".join(str(dim) for dim in spec.input.shape),
        )
    console.print(table)
