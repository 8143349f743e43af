"""The steps of one export on a terminal: one line that is replaced. Elsewhere nothing is shown."""

import sys
from typing import Self

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from greenbatch.cli.output.console import TextConsole


class Steps:
    """Shows the current step and how long all have taken, on standard error; a context manager."""

    def __init__(self) -> None:
        console = TextConsole(file=sys.stderr)
        self._line = Progress(
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._line.add_task("starting")

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def show(self, step: str) -> None:
        """Show a step, in a few words."""
        self._line.update(self._task, description=step, refresh=True)
