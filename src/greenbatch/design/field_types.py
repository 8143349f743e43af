"""The types of the fields of a study, of every kind, with the checks of each."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
)

from greenbatch.design.protocol import PROFILES, MeasurementProtocol
from greenbatch.names import check_name
from greenbatch.privacy import contracted, expanded
from greenbatch.records.training import check_network

_Value = TypeVar("_Value")
Name = Annotated[str, Field(min_length=1)]
PathText = Annotated[
    str,
    AfterValidator(expanded),
    PlainSerializer(contracted, return_type=str, when_used="json"),
]
"""A path or a word; in a study file, which may be published, a home folder is written ``~``."""
ModelName = Annotated[str, AfterValidator(partial(check_name, "model"))]
NetworkName = Annotated[str, AfterValidator(check_network)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]
Threads = Annotated[int, Field(ge=0, le=65_536, strict=True)]
Power = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
MOST_CELLS = 100_000
"""Of a design: at a second for each, a day for a single repetition."""
_LARGEST_RULE = 10_000_000


def _share(value: object) -> object:
    """Read ``2%`` as 0.02; anything else is left to be checked."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


Share = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_share)]


def _seconds(value: object) -> object:
    """Read ``10m`` as 600.0; what is no text is left to be checked."""
    if not isinstance(value, str):
        return value
    number = value.strip().rstrip("hmins ")
    unit = value.strip().removeprefix(number).strip()
    factor = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}.get(unit)
    try:
        return float(number) * factor if factor else float(value)
    except ValueError:
        raise ValueError("wanted a time, e.g. 90s, 10m or 1h") from None


Seconds = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False), BeforeValidator(_seconds)]
"""A time in s; a text may have the unit: ``90s``, ``10m``, ``1h``."""
Wait = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False), BeforeValidator(_seconds)]
"""The same, and 0: no time at all."""


def as_text(value: object) -> str:
    """Return a value of a factor as it is recorded: ``1`` for a truth."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _as_settings(settings: object) -> object:
    """Take numbers and truths as a user writes them in a file, and one value without a list."""
    if not isinstance(settings, Mapping):
        return settings
    return {
        key: tuple(map(as_text, values if isinstance(values, list | tuple) else [values]))
        for key, values in settings.items()
    }


def distinct(values: tuple[_Value, ...]) -> tuple[_Value, ...]:
    """Return the values of a factor.

    Raises:
        ValueError: One is named twice.
    """
    if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise ValueError(f"{twice[0]!r} is named twice; name each once")
    return values


def _distinct_values(settings: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for key, values in settings.items():
        if not values:
            raise ValueError(f"{key} has no value; give one, or leave it out")
        distinct(values)
    return settings


Settings = Annotated[
    dict[str, tuple[str, ...]], BeforeValidator(_as_settings), AfterValidator(_distinct_values)
]
"""Values of factors by name, as texts."""


def check_cells(count: int) -> None:
    """Check how many cells the factors of a design make, before they are listed.

    Raises:
        ValueError: They are too many.
    """
    if count > MOST_CELLS:
        raise ValueError(
            f"the factors make {count:,} cells; wanted at most {MOST_CELLS:,}: give fewer values, "
            "or split the study"
        )


def check_file_names(slugs: Iterable[str]) -> None:
    """Check that no two cells of a design share the name of their files.

    Raises:
        ValueError: Two do.
    """
    seen: set[str] = set()
    for slug in slugs:
        if slug in seen:
            raise ValueError(
                f"two cells of the study have the same file name, {slug!r}: values that differ in "
                "punctuation alone; change or remove one of them"
            )
        seen.add(slug)


def resolved_rules(profile: str, protocol: Mapping[str, float]) -> dict[str, float]:
    """Return every rule of a profile, with those that a design gives in their place.

    Raises:
        ValueError: There is no such rule, or its value is invalid.
    """
    rules: dict[str, float] = asdict(PROFILES[profile])
    kinds = {field.name: field.type for field in fields(MeasurementProtocol)}
    for key, value in protocol.items():
        if key not in rules:
            raise ValueError(f"protocol has no rule {key!r}; it has {', '.join(rules)}")
        whole = kinds[key] in (int, "int")
        if not 0 <= value <= _LARGEST_RULE or (whole and value != math.floor(value)):
            wanted = "a whole number" if whole else "a number"
            raise ValueError(
                f"protocol.{key} is {value:g}; wanted {wanted} from 0 to {_LARGEST_RULE}"
            )
        rules[key] = int(value) if whole else value
    return rules


def listed(members: Mapping[str, object], key: str) -> list[str]:
    """Return the names that a member of an unchecked study lists."""
    values = members.get(key)
    return (
        [each for each in values if isinstance(each, str)]
        if isinstance(values, list | tuple)
        else []
    )


Kind = Literal["shuffled", "latin-square"]
