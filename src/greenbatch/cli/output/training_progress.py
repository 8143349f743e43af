"""How a run of trainings shows where it stands: a bar on a terminal, plain lines elsewhere."""

from typing import TYPE_CHECKING

from rich.text import Text

from greenbatch import units
from greenbatch.cli.output.progress import Display
from greenbatch.records import Status, Training
from greenbatch.workflows.training import Listener

if TYPE_CHECKING:
    from greenbatch.runners.training.parent.execution import Progress

# Drawing costs CPU time, and the CPU is being measured: nothing moves but when an epoch ends.


class TrainingDisplay(Display):
    """Shows steps, epochs and trainings on standard error; a context manager."""

    @property
    def training_listener(self) -> Listener:
        """What the workflow calls."""
        return Listener(on_step=self._step, on_progress=self._trained)

    def _trained(self, progress: "Progress") -> None:
        last = progress.last
        if last and (not self._console.is_terminal or last.status is not Status.OK):
            self._console.print(Text(line(progress)), soft_wrap=True)
        if not self._console.is_terminal:
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=progress.total)
            self._bar.start()
        behind, most = progress.epochs
        left = "" if progress.left_s is None else f"about {units.duration(progress.left_s)} left"
        now = f"{progress.next}, epoch {behind + 1} of {most}" if progress.next else "done"
        self._bar.update(
            self._task,
            completed=progress.done + (min(behind / most, 1.0) if progress.next else 0.0),
            total=progress.total,
            description=", ".join(filter(None, (left, now))),
        )
        self._bar.refresh()


def line(progress: "Progress") -> str:
    """Say in one line what was trained last, and how much is left."""
    training = progress.last
    assert training is not None
    width = len(str(progress.total))
    left = "" if progress.left_s is None else f", about {units.duration(progress.left_s)} left"
    return (
        f"[{progress.done:{width}}/{progress.total}] {training.cell}: {_outcome(training)}"
        f"{left if progress.next else ''}"
    )


def _outcome(training: Training) -> str:
    if training.status is not Status.OK or training.whole is None:
        return f"{training.status}: {training.reason}"
    seen = training.whole.images / training.whole.duration_s if training.whole.duration_s else 0.0
    why = ", stopped early" if training.stopped == "patience" else ""
    flags = f" ({', '.join(training.flags)})" if training.flags else ""
    return f"{units.duration(training.whole.duration_s)}, {seen:.4g} images/s{why}{flags}"
