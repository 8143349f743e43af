"""Lines that the command prints without tables; what comes from files is text in them."""

import typer

from greenbatch.plain_text import one_line, visible


def echo(*lines: str, error: bool = False) -> None:
    """Print each line on standard output; a line break in one does not begin another.

    Args:
        lines: What to print, without ends of lines.
        error: Print on standard error instead.
    """
    for line in lines:
        typer.echo(visible(line), err=error)


def note(sentence: str) -> None:
    """Print a sentence on standard error, on one line, as one of the command's own."""
    typer.echo(f"gb: {one_line(sentence)}", err=True)
