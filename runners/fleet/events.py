"""What happened in a fleet: ``events.jsonl``."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from greenbatch import files

_MOST_BYTES = 1000 * files.MEGABYTE_BYTES


class Event(msgspec.Struct, frozen=True):
    """Something that happened in a fleet.

    Attributes:
        at: When, in s since 1970.
        what: ``accepted``, ``refused``, ``finished``, ``failed``, ``lost``, ``returned``,
            ``second``, ``control``, ``flagged``, ``cancelled``.
        machine: Whose; empty where it is the fleet's.
        unit: Which; empty where it is of no unit.
        reason: Why, or what was found.
        group: Of an accepted machine: those with one group share the repetitions of a study.
    """

    at: float
    what: str
    machine: str = ""
    unit: str = ""
    reason: str = ""
    group: str = ""


def read_events(path: Path) -> Iterator[Event]:
    """Read the events of a file; one that does not exist has none."""
    if not path.exists():
        return
    for line in files.read_bytes(path, _MOST_BYTES).splitlines():
        with suppress(msgspec.MsgspecError):  # a torn line; it is no measurement
            yield msgspec.json.decode(line, type=Event)


def end_torn_line(path: Path) -> None:
    """End the last line of a file whose writer died, so that the next event has a line."""
    if path.exists():
        events = files.read_bytes(path, _MOST_BYTES)
        if events and not events.endswith(b"\n"):
            files.append_to(path, b"\n")
