"""A setting of a training: its values as texts, read and refused in one place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A factor of a training that has a name.

    Attributes:
        name: As in a study's ``settings`` and in a search space.
        default: Its value where none is given.
        about: What it sets, in a few words.
        choices: Words that it may be.
        low, high: Ends of the numbers that it may be; ``low`` is ``None`` where it is a word.
        beyond_low, below_high: Whether that end itself is refused.
        whole: Whether only whole numbers count.
    """

    name: str
    default: str
    about: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float = math.inf
    beyond_low: bool = False
    below_high: bool = False
    whole: bool = False

    @property
    def wanted(self) -> str:
        """What it may be, for a person: ``a number above 0``."""
        words = ", ".join(self.choices)
        if self.low is None:
            return f"one of {words}"
        number = "a whole number" if self.whole else "a number"
        interval = f"above {self.low:g}" if self.beyond_low else f"of at least {self.low:g}"
        if self.high < math.inf:
            interval += f" and {'below' if self.below_high else 'at most'} {self.high:g}"
        return f"{words}, or {number} {interval}" if words else f"{number} {interval}"

    def check(self, text: str) -> None:
        """Check a value.

        Raises:
            ValueError: It may not be that, in one sentence.
        """
        if text in self.choices or (self.low is not None and self._within(text)):
            return
        raise ValueError(f"{self.name} is {text}; wanted {self.wanted}")

    def text(self, settings: Mapping[str, str]) -> str:
        """Return its value among settings, else its default.

        Raises:
            ValueError: It may not be that.
        """
        text = settings.get(self.name, self.default)
        self.check(text)
        return text

    def number(self, settings: Mapping[str, str]) -> float:
        """Return its value among settings as a number, see `text`."""
        return float(self.text(settings))

    def count(self, settings: Mapping[str, str]) -> int:
        """Return its value among settings as a whole number, see `text`."""
        return int(self.number(settings))

    def _within(self, text: str) -> bool:
        assert self.low is not None
        try:
            value = float(text)
        except ValueError:
            return False
        if not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        if value < self.low or (self.beyond_low and value == self.low):
            return False
        return value < self.high or (not self.below_high and value == self.high)
