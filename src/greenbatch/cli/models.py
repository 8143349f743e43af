"""``gb models``: what can be measured."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models: year, parameters, operations and published accuracy."""
    from greenbatch.models import registry

    specs = [registry.find(name) for name in registry.names()]
    if as_json:
        typer.echo(json.dumps([asdict(spec) for spec in specs], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in ("year", "parameters", "multiply-adds", "published top-1", "input"):
        table.add_column(heading, justify="right", no_wrap=True)
    for spec in specs:
        table.add_row(
            spec.name,
            str(spec.year),
            f"{spec.parameters / 1e6:.2f} M",
            f"{spec.flops / 1e9:.2f} G",
            f"{spec.top1:.2f} %",
            "x".join(str(dim) for dim in spec.input.shape),
        )
    Console().print(table)
