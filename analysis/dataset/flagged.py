"""Repetitions that carry flags: how many, in words, and a dataset without them."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.variables import FLAGS, STATUSES
from greenbatch.errors import UnknownNameError

if TYPE_CHECKING:
    import xarray as xr

ALL = "all"
"""Stands for every flag."""


def flags_text(flags: Mapping[str, int], repetitions: int) -> str:
    """Say how many repetitions carry each flag; empty where none does.

    >>> flags_text({"disturbed": 2, "throttled": 1}, 5)
    '2 of 5 flagged disturbed, 1 of 5 throttled'
    """
    counts = [f"{count} of {repetitions} {{}}{name}" for name, count in flags.items() if count]
    return ", ".join(text.format("" if at else "flagged ") for at, text in enumerate(counts))


def without_flagged(dataset: "xr.Dataset", names: Collection[str]) -> "xr.Dataset":
    """Leave out the repetitions that carry a flag: they become ``not_run``, with a reason.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        names: Flags, e.g. ``disturbed``; ``all`` for any.

    Raises:
        UnknownNameError: There is no such flag.
    """
    for name in names:
        if name not in FLAGS and name != ALL:
            raise UnknownNameError("flag", name, (*FLAGS, ALL))
    every = [name for name in FLAGS if name in names or ALL in names]
    mask = sum(int(FLAGS[name]) for name in every)
    out = (dataset["flags"].astype(int) & mask) > 0
    out &= dataset["status"] == STATUSES.index("ok")
    status, reason = dataset["status"], dataset["reason"]
    not_run = status.dtype.type(STATUSES.index("not_run"))
    left_out = (
        f"left out: flagged {' or '.join(every)}" if ALL not in names else "left out: flagged"
    )
    return dataset.assign(
        status=status.where(~out, not_run).assign_attrs(status.attrs),
        reason=reason.where(~out, left_out).astype(object).assign_attrs(reason.attrs),
    )
