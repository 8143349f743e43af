"""What a user may set on a backend: declared by its class, checked before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from greenbatch.errors import StudyError
from greenbatch.records.cells import THREADS

Setting = str | int | float | bool | None

_FLAGS = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a backend, named as its runtime names it.

    Attributes:
        meaning: In a few words, with what holds when it is not set.
        kind: ``count`` (a whole number from 0), ``number`` (from 1), ``flag`` (0 or 1), ``choice``
            or ``text``.
        choices: Of a ``choice``.
    """

    meaning: str
    kind: Literal["count", "number", "flag", "choice", "text"] = "text"
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Setting:
        """Return the value that ``text`` means.

        Raises:
            ValueError: It means none; the message says what was wanted.
        """
        if self.kind in ("count", "number"):
            least = int(self.kind == "number")
            if not text.isdecimal() or int(text) < least:
                raise ValueError("a whole number, " + ("1 or more" if least else "not negative"))
            return int(text)
        if self.kind == "flag":
            if text.lower() not in _FLAGS:
                raise ValueError("0 or 1")
            return _FLAGS[text.lower()]
        if self.kind == "choice" and text not in self.choices:
            raise ValueError(f"one of {', '.join(self.choices)}")
        return text


Options = Mapping[str, Option]
"""By name. A name that ends in a dot stands for all that begin with it."""


OF_ALL: Options = {THREADS: Option("threads for work on the CPU; the study's --threads", "number")}
"""What every backend takes: it comes to a backend as `greenbatch.runners.backends.Task.threads`."""


def parse_settings(
    backend: str, options: Options, requested: Mapping[str, str]
) -> dict[str, Setting]:
    """Check the settings requested of a backend.

    Args:
        backend: Its name, for messages.
        options: What its class declares.
        requested: Texts by the name of the setting.

    Returns:
        The values by name.

    Raises:
        StudyError: It has no such setting, or not with such a value.
    """
    settings = {}
    for name, text in requested.items():
        option = options.get(name) or options.get(name[: name.find(".") + 1])
        if option is None:
            known = ", ".join(f"{key}*" if key.endswith(".") else key for key in options)
            raise StudyError(f"{backend} has no setting {name!r}; it has {known or 'none'}")
        try:
            settings[name] = option.parse(text)
        except ValueError as wanted:
            raise StudyError(f"{backend}.{name} is {text!r}; wanted {wanted}") from None
    return settings
