"""How a run shows where it stands: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from greenbatch import units
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.plan import opening_line
from greenbatch.cli.output.printing import note
from greenbatch.records import Repetition, Status
from greenbatch.workflows.inference import Listener

if TYPE_CHECKING:
    from greenbatch.runners.run import execute

# Drawing costs CPU time, and the CPU is being measured: the bar moves when a repetition ends, and
# elsewhere than on a terminal a line is written for each.


class Display:
    """Shows steps and progress on standard error; a context manager."""

    def __init__(self) -> None:
        self._console = TextConsole(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task: TaskID | None = None
        self._began_s = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def listener(self) -> Listener:
        """What the workflow calls."""
        return Listener(
            on_design=lambda study: note(opening_line(study)),
            on_step=self._step,
            on_progress=self._progress,
        )

    def _step(self, sentence: str) -> None:
        self._stop()
        self._console.print(Text(sentence, style="dim"), soft_wrap=True)

    def _stop(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._task = None

    def _progress(self, progress: "execute.Progress") -> None:
        if progress.last is not None and (
            not self._console.is_terminal or progress.last.status is not Status.OK
        ):
            self._console.print(Text(line(progress)), soft_wrap=True)
        if not self._console.is_terminal:
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=progress.total)
            self._bar.start()
        left = "" if progress.left_s is None else f"about {units.duration(progress.left_s)} left"
        now = str(progress.next.cell) if progress.next else "done"
        parts = filter(None, (progress.answered, left, now))
        self._bar.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            description=", ".join(parts),
        )
        self._bar.refresh()


def line(progress: "execute.Progress") -> str:
    """Say in one line what was measured last, and how much is left."""
    repetition = progress.last
    assert repetition is not None
    width = len(str(progress.total))
    parts = [_outcome(repetition), progress.answered]
    if progress.next and progress.left_s is not None:
        parts.append(f"about {units.duration(progress.left_s)} left")
    return (
        f"[{progress.done:{width}}/{progress.total}] {repetition.cell}: "
        f"{', '.join(filter(None, parts))}"
    )


def _outcome(repetition: Repetition) -> str:
    if repetition.status is not Status.OK:
        return f"{repetition.status}: {repetition.reason}"
    latency = units.si(repetition.latency_s["0.5"], "s")
    flags = f" ({', '.join(repetition.flags)})" if repetition.flags else ""
    assert repetition.images is not None
    assert repetition.duration_s is not None
    return f"median {latency}, {repetition.images / repetition.duration_s:.4g} images/s{flags}"
