"""The ``gb`` command: a file per command, and here the entry."""

import os
import sys


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with one of `greenbatch.cli.commands.EXIT_CODES`."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--help"] and "_GB_COMPLETE" not in os.environ and _print_help():
        sys.exit(0)
    from greenbatch.cli.application import run

    run(given)


def _print_help() -> bool:
    """Print the help without loading Typer; return whether that could be done."""
    from greenbatch.cli.commands import front_page

    try:
        page = front_page()
        if page is None or sys.stdout is None:
            return False
        sys.stdout.write(page)
        sys.stdout.flush()
    except OSError:  # the other way says what is wrong with the output
        return False
    return True
