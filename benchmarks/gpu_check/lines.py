"""A line of the page, and what all of them amount to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Values: TypeAlias = dict[str, str]


class Verdict(StrEnum):
    """What became of a line."""

    OK = "ok"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Line:
    """One thing that was checked.

    Attributes:
        what: Was checked.
        verdict: What became of it.
        reason: Why it failed or was not run, one sentence; empty where it is ok.
        values: What was found, texts by name: columns of the step's table.
        on_gpu: Whether it computes on a CUDA device.

    Raises:
        ValueError: It is not ok and has no reason.
    """

    what: str
    verdict: Verdict = Verdict.OK
    reason: str = ""
    values: Values = field(default_factory=dict)
    on_gpu: bool = False

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.OK and not self.reason:
            raise ValueError(f"{self.what} is {self.verdict}; it needs a reason")


def failed(what: str, reason: str, *, on_gpu: bool = False, values: Values | None = None) -> Line:
    """Make a line that failed."""
    return Line(what, Verdict.FAILED, reason, values or {}, on_gpu)


def not_run(what: str, reason: str, *, on_gpu: bool = False, values: Values | None = None) -> Line:
    """Make a line that was not run."""
    return Line(what, Verdict.NOT_RUN, reason, values or {}, on_gpu)


def exit_code(lines: Sequence[Line]) -> int:
    """Return 1 where a line failed, 3 where nothing ran on a CUDA device, else 0."""
    if any(line.verdict is Verdict.FAILED for line in lines):
        return 1
    return 0 if any(line.on_gpu and line.verdict is Verdict.OK for line in lines) else 3
