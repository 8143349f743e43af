"""The terms of help texts and reports, on the terminal."""

from rich.table import Table

from greenbatch.analysis.report.glossary import glossary
from greenbatch.cli.output.console import open_console


def print_glossary() -> None:
    """Print each term with its meaning."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for term, meaning in glossary().items():
        table.add_row(term, meaning.replace("`", ""))
    open_console().print(table)
