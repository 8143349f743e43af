"""The steps in their order, each with a limit of its own within one for all."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu_check.lines import Line, failed, not_run

BACKENDS_FIRST = ("onnxruntime-cuda", "torch-cuda")
"""What `gb bench --provider cuda` measures."""


@dataclass
class Check:
    """What the steps share.

    Attributes:
        folder: For all that is left behind.
        scratch: For artifacts, gigabytes that are deleted at the end.
        models: The names of those to measure.
        no_gpu: Why nothing computes on a CUDA device, one sentence; empty: something does.
        backends: The names of the CUDA backends that work here.
        artifacts: The precisions that were exported, by model.
    """

    folder: Path
    scratch: Path
    models: tuple[str, ...]
    no_gpu: str = "it was not looked for"
    backends: list[str] = field(default_factory=list)
    artifacts: dict[str, list[str]] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        """Return the file for what a process prints."""
        path = self.folder / "logs" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


Run = Callable[[Check, float], Iterator[Line]]
"""Gives the lines of a step as they come; the second argument is its limit in s."""


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        name: Of its table.
        limit_s: How long it may take, in s.
        run: See `Run`.
    """

    name: str
    limit_s: float
    run: Run


@dataclass
class Taken:
    """A step that was taken: its lines, its limit and how long it took, in s."""

    name: str
    limit_s: float
    lines: list[Line] = field(default_factory=list)
    duration_s: float = 0.0


def study_models() -> tuple[str, ...]:
    """Return the five study models."""
    from greenbatch.models import registry

    return tuple(registry.STUDY)


def standard() -> list[Step]:
    """Return the steps.

    What a user measures comes first, and the tests come last: they are many, and those that do not
    fit any more are named.
    """
    from benchmarks.gpu_check import artifacts, gpu_tests, machine, meters, models

    return [
        Step("Machine", 75.0, machine.lines),
        Step("Artifacts", 150.0, artifacts.lines),
        Step("Models", 340.0, models.lines),
        Step("Meters", 70.0, meters.lines),
        Step("Tests", 600.0, gpu_tests.lines),
    ]


def take(
    steps: list[Step],
    check: Check,
    total_s: float,
    seen: Callable[[list[Taken]], None] = lambda taken: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Taken]:
    """Take the steps one after the other.

    Args:
        steps: In their order.
        check: What they share.
        total_s: How long all of them may take, in s; what does not fit is not run.
        seen: Called after each line with all that was taken so far.
        clock: Returns the time in s.
    """
    end_s = clock() + total_s
    taken: list[Taken] = []
    for step in steps:
        began_s = clock()
        limit_s = min(step.limit_s, end_s - began_s)
        mine = Taken(step.name, limit_s)
        taken.append(mine)
        if limit_s <= _LEAST_S:
            mine.lines.append(not_run(step.name, f"the {total_s:.0f} s of the check were used up"))
            seen(taken)
            continue
        try:
            for line in step.run(check, limit_s):
                mine.lines.append(line)
                mine.duration_s = clock() - began_s
                seen(taken)
        except KeyboardInterrupt:
            mine.lines.append(not_run(step.name, "the check was interrupted"))
            seen(taken)
            return taken
        except ModuleNotFoundError as error:
            mine.lines.append(not_run(step.name, f"the package {error.name} is not installed"))
        except Exception as error:
            mine.lines.append(failed(step.name, f"the step ended: {type(error).__name__}: {error}"))
        mine.duration_s = clock() - began_s
        seen(taken)
    return taken


_LEAST_S = 5.0
