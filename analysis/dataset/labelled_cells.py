"""Cells made from the labels of a dataset, which anybody may have written."""

from collections.abc import Callable
from typing import TypeVar

from greenbatch.errors import RunError

_Cell = TypeVar("_Cell")


def make_cell(kind: Callable[..., _Cell], **members: object) -> _Cell:
    """Return a cell with these members.

    Args:
        kind: `greenbatch.records.Cell` or `greenbatch.records.TrainingCell`.
        members: Its factors.

    Raises:
        RunError: There is no such cell: a name or a factor of the dataset is unfit.
    """
    try:
        return kind(**members)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"the dataset has a cell that no run can have: {error}; compile it again from its "
            "journal, with gb report"
        ) from error
