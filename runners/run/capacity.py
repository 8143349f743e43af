"""The largest batch that fits into memory, found in processes of their own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from greenbatch.design.study import Study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Capacity, Cell, Status
from greenbatch.runners.child.environment import variables_of
from greenbatch.runners.child.handle import ChildFailed
from greenbatch.runners.child.messages import Fits, TryBatch
from greenbatch.runners.child.starting import Starter
from greenbatch.runners.run.repetition import loading

_RESOLUTION = 16  # the answer is exact to a sixteenth of itself


def find_capacity(
    cell: Cell,
    artifact: Artifact,
    study: Study,
    environment: Mapping[str, str],
    starter: Starter | None = None,
) -> Capacity:
    """Find the largest batch of a cell that fits, up to the study's ``probe_max_batch``.

    Args:
        cell: Its batch size does not matter.
        artifact: Of its model and precision.
        study: Says threads, seed, time limit and bound.
        environment: Variables that make a process use the device of the cell.
        starter: Starts the processes; ``None``: each is a fresh interpreter.

    Returns:
        The largest that fits. A failure for another reason than memory ends the search: it says
        nothing about what fits.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    fitting: list[int] = []
    reasons: dict[int, str] = {}

    def fits(batch_size: int) -> bool:
        failure = _try(replace(cell, batch_size=batch_size), artifact, study, environment, starter)
        if failure is None:
            fitting.append(batch_size)
            return True
        if failure.status is not Status.OOM:
            reason = f"the search ended at batch size {batch_size}: {failure.reason}"
            raise ChildFailed(failure.status, reason)
        reasons[batch_size] = failure.reason
        return False

    ended = ""
    try:
        largest_fitting(fits, study.probe_max_batch)
    except ChildFailed as failure:
        ended = failure.reason
    failing = min(reasons, default=None)
    return Capacity(
        cell=replace(cell, batch_size=max(fitting, default=1)),
        fits=bool(fitting),
        smallest_failing=failing,
        reason=reasons[failing] if failing else "",
        ended=ended,
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
    cell: Cell,
    artifact: Artifact,
    study: Study,
    environment: Mapping[str, str],
    starter: Starter | None,
) -> ChildFailed | None:
    """Run a batch; return its failure, if it does not run."""
    variables = {**variables_of(cell), **environment}
    try:
        starter = starter or Starter("spawn")
        with starter.start(cell.backend, study.rules.timeout_s, variables) as child:
            child.begin("batch", cell.backend)
            child.finish(TryBatch(load=loading(cell, artifact, study)), Fits)
    except ChildFailed as failure:
        return failure
    return None
