"""The largest batch that fits into memory, found in processes of their own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from greenbatch.design.study import Study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Capacity, Cell
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.messages import Fits, TryBatch
from greenbatch.runners.run.repetition import loading

_RESOLUTION = 16  # the answer is exact to a sixteenth of itself


def find_capacity(
    cell: Cell, artifact: Artifact, study: Study, environment: Mapping[str, str]
) -> Capacity:
    """Find the largest batch of a cell that fits, up to the study's ``probe_max_batch``.

    Args:
        cell: Its batch size does not matter.
        artifact: Of its model and precision.
        study: Says threads, seed, time limit and bound.
        environment: Variables that make a process use the device of the cell.

    Returns:
        The largest that fits; for any other failure than for memory, too, the reason is kept.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    reasons: dict[int, str] = {}

    def fits(batch_size: int) -> bool:
        reason = _try(replace(cell, batch_size=batch_size), artifact, study, environment)
        if reason:
            reasons[batch_size] = reason
        return reason is None

    largest, failing = largest_fitting(fits, study.probe_max_batch)
    return Capacity(
        cell=replace(cell, batch_size=max(largest, 1)),
        fits=largest > 0,
        smallest_failing=failing,
        reason=reasons[failing] if failing else "",
        started_at=started_at,
    )


def largest_fitting(fits: Callable[[int], bool], bound: int) -> tuple[int, int | None]:
    """Double from 1 until it fails, then halve the gap until it is small.

    Args:
        fits: Whether a batch size fits; if one does not, no larger one does.
        bound: Largest that is tried.

    Returns:
        The largest that fits (0: none), and the smallest that was seen not to (``None``: all fit).
    """
    good, bad, size = 0, None, 1
    while bad is None and good < bound:
        if fits(size):
            good, size = size, min(2 * size, bound)
        else:
            bad = size
    while bad is not None and bad - good > max(1, good // _RESOLUTION):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good, bad


def _try(
    cell: Cell, artifact: Artifact, study: Study, environment: Mapping[str, str]
) -> str | None:
    """Run a batch; say why it does not run, if it does not."""
    try:
        with ChildProcess(study.rules.timeout_s, environment=environment) as child:
            child.begin("batch", cell.backend)
            child.finish(TryBatch(load=loading(cell, artifact, study)), Fits)
    except ChildFailed as failure:
        return failure.reason
    return None
