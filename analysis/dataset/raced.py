"""What a run with a budget decided, as its dataset keeps it."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.described import study_of
from greenbatch.records import Decision, decode, encode

if TYPE_CHECKING:
    import xarray as xr

ATTRIBUTE = "decisions"


def decisions_text(decisions: Iterable[Decision]) -> str:
    """Write decisions as an attribute of a dataset."""
    return json.dumps([encode(decision).decode() for decision in decisions])


def decisions_of(dataset: "xr.Dataset") -> list[Decision]:
    """Return what a run decided; nothing of one without a budget.

    Raises:
        ValueError: The attribute was changed.
    """
    lines = json.loads(str(dataset.attrs.get(ATTRIBUTE, "[]")))
    found = [decode(line.encode()) for line in lines]
    return [record for record in found if isinstance(record, Decision)]


def is_raced(dataset: "xr.Dataset") -> bool:
    """Whether the run had a budget, so that cells were measured as often as they decide."""
    return study_of(dataset).budget is not None
