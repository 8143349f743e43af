"""Repetitions that carry flags: how many, in words, and a dataset without them."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.variables import FLAGS, SERVER, STATUSES
from greenbatch.errors import UnknownNameError

if TYPE_CHECKING:
    import xarray as xr

ALL = "all"
"""Stands for every flag."""


def flags_text(flags: Mapping[str, int], repetitions: int) -> str:
    """Say how many repetitions carry each flag, the most first; empty where none does.

    >>> flags_text({"throttled": 1, "disturbed": 2}, 5)
    '2 of 5 flagged disturbed, 1 of 5 throttled'
    """
    ordered = sorted(flags.items(), key=lambda pair: -pair[1])
    counts = [f"{count} of {repetitions} {{}}{name}" for name, count in ordered if count]
    return ", ".join(text.format("" if at else "flagged ") for at, text in enumerate(counts))


def flags_in(dataset: "xr.Dataset") -> str:
    """Say how many ok repetitions of a part of a dataset carry each flag; empty where none does."""
    if "flags" not in dataset:
        return ""
    ok = dataset["status"].values == STATUSES.index("ok")
    masks = dataset["flags"].transpose(*dataset["status"].dims).values[ok].astype(int)
    return flags_text(
        {name: int(((masks & int(bit)) > 0).sum()) for name, bit in FLAGS.items()}, len(masks)
    )


def mostly_disturbed(disturbed: int, repetitions: int) -> str:
    """Say that most repetitions were disturbed; empty where they were not.

    >>> mostly_disturbed(2, 3)
    'Most repetitions were disturbed by other work (2 of 3): measure again on a quiet machine.'
    """
    if 2 * disturbed <= repetitions:
        return ""
    return (
        f"Most repetitions were disturbed by other work ({disturbed} of {repetitions}): measure "
        "again on a quiet machine."
    )


def with_flags(sentence: str, flagged: str) -> str:
    """Put flags behind a sentence.

    >>> with_flags("Batch 4 needs least.", "2 of 3 flagged disturbed")
    'Batch 4 needs least. Repetitions: 2 of 3 flagged disturbed.'
    """
    return f"{sentence} Repetitions: {flagged}." if flagged else sentence


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
    left_out = (
        f"left out: flagged {' or '.join(every)}" if ALL not in names else "left out: flagged"
    )
    changed: dict[str, xr.DataArray] = {}
    for group in ("", SERVER) if f"{SERVER}flags" in dataset else ("",):
        status, reason = dataset[f"{group}status"], dataset[f"{group}reason"]
        out = (dataset[f"{group}flags"].astype(int) & mask) > 0
        out &= status == STATUSES.index("ok")
        not_run = status.dtype.type(STATUSES.index("not_run"))
        changed |= {
            f"{group}status": status.where(~out, not_run).assign_attrs(status.attrs),
            f"{group}reason": reason.where(~out, left_out)
            .astype(object)
            .assign_attrs(reason.attrs),
        }
    return dataset.assign(changed)
