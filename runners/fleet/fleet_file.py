"""What a fleet measures how: ``fleet.json``."""

from pathlib import Path

import msgspec

from greenbatch import files
from greenbatch.design.study import Study, make_study
from greenbatch.documents import parse_yaml_lines
from greenbatch.errors import RunError

FLEET = "fleet.json"
_SCHEMA = 1
_MOST_BYTES = 10 * files.MEGABYTE_BYTES


class FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fleet is: ``fleet.json``.

    Attributes:
        id: Identifies the fleet, 12 hex digits.
        study: The design, bound to its artifacts, as the text of a study file.
        machines: ``each``, ``any`` or ``KIND=N``.
        whole: Whether a unit is the whole study, else a block.
        executor: Name of what runs the units, with its options as text.
        options: Of the run: ``wait_s``, ``trust``, ``versions``, ...
        control: The study of the control cell, as ``study``; empty: there is none.
    """

    id: str
    study: str
    machines: str
    whole: bool
    executor: dict[str, str]
    options: dict[str, str] = {}
    control: str = ""
    schema: int = _SCHEMA


def study_of(text: str, source: str) -> Study:
    """Read a study from its text; names are taken as they are."""
    members, lines = parse_yaml_lines(text.encode())
    if not isinstance(members, dict):
        raise RunError(f"{source} holds no study; restore the file, or begin a new fleet")
    return make_study(members, source, lines)


def read_fleet(path: Path) -> FleetFile:
    """Read what the fleet in a folder is.

    Raises:
        RunError: There is none, or its file is damaged.
    """
    file = path / FLEET
    try:
        fleet = msgspec.json.decode(files.read_bytes(file, _MOST_BYTES), type=FleetFile)
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is not a fleet: it has no {FLEET}; name a folder that 'gb fleet run' made"
        ) from error
    except msgspec.MsgspecError as error:
        raise RunError(f"cannot read {file}: {error}; restore the file") from error
    if fleet.schema != _SCHEMA:
        raise RunError(
            f"{file} has schema {fleet.schema}, and this program reads schema {_SCHEMA}; use the "
            "version of greenbatch that began the fleet"
        )
    return fleet
