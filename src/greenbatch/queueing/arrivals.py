"""When requests arrive: seeded processes, written as a text, and instants from a file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.queueing.durations import seconds
from greenbatch.queueing.recordings import Recording, read_recording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_REQUESTS = 10_000_000
_FEWEST_IN_CYCLE = 0.01
_MOST_CYCLES = 1_000_000

_FORMS = {
    "poisson": "poisson",
    "uniform": "uniform:0.8:1.2",
    "constant": "constant",
    "bursty": "bursty:4:2s:0.1",
    "replay": "replay:FILE",
}


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A way for requests to arrive; the kinds are its subclasses, made by `parse_arrivals`.

    Requests have been arriving for ever when the instants begin (the process is stationary): the
    mean rate holds in every stretch of time, from 0 on.

    Attributes:
        text: As it is written.
    """

    text: str

    def times(
        self,
        rate_hz: float | None,
        *,
        seed: int,
        count: int | None = None,
        duration_s: float | None = None,
    ) -> "NDArray[np.float64]":
        """Return the instants of arrival, in s from 0, rising.

        The same seed gives the same instants, and a longer series begins with a shorter one.

        Args:
            rate_hz: Mean requests per second; ``None``: as recorded, for a replay only.
            seed: Of everything that is drawn.
            count: How many requests.
            duration_s: Or: all that arrive before this instant.

        Raises:
            UsageError: The rate, count or duration is invalid.
        """
        import numpy as np

        if (count is None) == (duration_s is None):
            raise UsageError("arrivals need either a count or a duration; give one of the two")
        if rate_hz is not None and not (rate_hz > 0 and math.isfinite(rate_hz)):
            raise UsageError(f"a rate of {rate_hz:g} requests/s cannot arrive; give one above 0")
        rate_hz = self._rate_hz(rate_hz)
        self.check(rate_hz)
        length = duration_s * rate_hz if duration_s is not None else count
        if length is None or not 0 < length <= MOST_REQUESTS:
            raise UsageError(
                f"arrivals of {length:g} requests cannot be measured; "
                f"ask for more than 0 and at most {MOST_REQUESTS}"
            )
        if count is not None:
            return self._first(count, rate_hz, seed)
        assert duration_s is not None
        drawn = math.ceil(length + 4 * math.sqrt(length)) + 16
        while True:
            instants_s = self._first(drawn, rate_hz, seed)
            if len(instants_s) < drawn or instants_s[-1] >= duration_s:
                return instants_s[: np.searchsorted(instants_s, duration_s)]
            drawn *= 2

    def check(self, rate_hz: float) -> None:
        """Refuse a mean rate, in requests/s, at which they cannot arrive.

        Raises:
            UsageError: They cannot.
        """

    def _rate_hz(self, asked_hz: float | None) -> float:
        """Return the rate that holds."""
        if asked_hz is None:
            raise UsageError(f"arrivals {self.text!r} have no rate of their own; give a rate")
        return asked_hz

    def _first(self, count: int, rate_hz: float, seed: int) -> "NDArray[np.float64]":
        """Return the first instants; fewer only where a recording ends."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Poisson(Arrivals):
    """Independent requests: exponential gaps."""

    def _first(self, count: int, rate_hz: float, seed: int) -> "NDArray[np.float64]":
        import numpy as np

        gaps = np.random.default_rng(seed).standard_exponential(count)
        return np.cumsum(gaps) / rate_hz


@dataclass(frozen=True, slots=True)
class Uniform(Arrivals):
    """Gaps of 1/rate x U(low, high), whose mean is 1/rate; constant where both are 1."""

    low: float
    high: float

    def _first(self, count: int, rate_hz: float, seed: int) -> "NDArray[np.float64]":
        import numpy as np

        rng = np.random.default_rng(seed)
        # The instant 0 falls into a gap with a probability in proportion to its length, and
        # anywhere in it (the paradox of residual life; Kleinrock, Queueing Systems, section 5.2).
        into, along = rng.random(2)
        struck = math.sqrt(self.low**2 + into * (self.high**2 - self.low**2))
        gaps = self.low + (self.high - self.low) * rng.random(count)
        gaps[0] = struck * (1 - along)
        return np.cumsum(gaps) / rate_hz


@dataclass(frozen=True, slots=True)
class Bursty(Arrivals):
    """A Poisson process whose rate switches between two (a two-state MMPP).

    Bursts and the quiet between them last exponential times. The quiet rate is such that the mean
    is the requested rate.

    Attributes:
        ratio: Rate in a burst over the mean rate.
        burst_s: Mean length of a burst, in s.
        share: Share of the time that is burst.
    """

    ratio: float
    burst_s: float
    share: float

    def check(self, rate_hz: float) -> None:
        """Refuse bursts so short that requests hardly ever meet one.

        Raises:
            UsageError: There are a hundred bursts and more for each request.
        """
        cycle = rate_hz * self.burst_s / self.share
        if cycle < _FEWEST_IN_CYCLE:
            raise UsageError(
                f"arrivals {self.text!r} have {1 / cycle:.3g} bursts for each request at "
                f"{rate_hz:g} requests/s, which do not differ from poisson; write poisson, or "
                f"bursts of at least {_FEWEST_IN_CYCLE * self.share / rate_hz:.2g} s"
            )

    def _first(self, count: int, rate_hz: float, seed: int) -> "NDArray[np.float64]":
        import numpy as np

        states, points = (np.random.default_rng(child) for child in _children(seed))
        # A Poisson process of rate 1, seen on the clock that the changing rate drives.
        ticks = np.cumsum(points.standard_exponential(count))
        quiet_hz = rate_hz * (1 - self.share * self.ratio) / (1 - self.share)
        quiet_s = self.burst_s * (1 - self.share) / self.share
        cycle = rate_hz * self.burst_s / self.share  # requests in a burst and the quiet after it
        in_burst = states.random() < self.share
        length_s = np.array([self.burst_s, quiet_s])
        height_hz = np.array([self.ratio * rate_hz, quiet_hz])
        if not in_burst:
            length_s, height_hz = length_s[::-1], height_hz[::-1]
        found_s = np.empty(count)
        from_s, from_tick, done = 0.0, 0.0, 0
        while done < count:
            cycles = min(math.ceil((ticks[-1] - from_tick) / cycle) + 8, _MOST_CYCLES)
            lasts_s = states.standard_exponential((cycles, 2)) * length_s
            at_s = from_s + np.cumsum(np.append(0.0, lasts_s))
            at_ticks = from_tick + np.cumsum(np.append(0.0, lasts_s * height_hz))
            behind = int(np.searchsorted(ticks, at_ticks[-1]))
            found_s[done:behind] = np.interp(ticks[done:behind], at_ticks, at_s)
            from_s, from_tick, done = float(at_s[-1]), float(at_ticks[-1]), behind
        return found_s


@dataclass(frozen=True, slots=True, eq=False)
class Replay(Arrivals):
    """Instants from a file, from the first on; stretched evenly if a rate is requested."""

    recording: Recording

    @property
    def instants_s(self) -> "NDArray[np.float64]":
        """As recorded, in s, rising, from 0 on."""
        return self.recording.instants_s

    @property
    def recorded_hz(self) -> float:
        """The mean rate of the recording, in requests/s."""
        return (len(self.instants_s) - 1) / float(self.instants_s[-1])

    def _rate_hz(self, asked_hz: float | None) -> float:
        return asked_hz if asked_hz is not None else self.recorded_hz

    def _first(self, count: int, rate_hz: float, seed: int) -> "NDArray[np.float64]":
        return self.instants_s[:count] * (self.recorded_hz / rate_hz)

    def times(
        self,
        rate_hz: float | None,
        *,
        seed: int,
        count: int | None = None,
        duration_s: float | None = None,
    ) -> "NDArray[np.float64]":
        """Return the instants, as `Arrivals.times`; nothing is drawn.

        Raises:
            UsageError: The recording is shorter than requested.
        """
        instants_s = Arrivals.times(self, rate_hz, seed=seed, count=count, duration_s=duration_s)
        last_s = float(self.instants_s[-1]) * self.recorded_hz / self._rate_hz(rate_hz)
        if (count or 0) > len(self.instants_s) or (duration_s or 0.0) > last_s:
            requested = units.count(count, "request") if count else f"{duration_s:g} s"
            raise UsageError(
                f"{self.text!r} holds {units.count(len(self.instants_s), 'request')} in {last_s:g} "
                f"s, {requested} were requested; request fewer, or record more"
            )
        return instants_s


def is_replay(text: str) -> bool:
    """Return whether arrivals, written as for `parse_arrivals`, are those of a recording."""
    return text.strip().partition(":")[0] == "replay"


def parse_arrivals(text: str, folder: Path = Path()) -> Arrivals:
    """Read how requests arrive.

    ``poisson``, ``constant``, ``uniform:LOW:HIGH`` (``uniform`` alone: 0.8 and 1.2, the gaps of
    arXiv 2307.11434), ``bursty:RATIO:LENGTH:SHARE`` (see `Bursty`; SHARE may be left out: 0.1),
    ``replay:FILE`` or ``replay:FILE#COLUMN`` (see `read_recording`).

    Args:
        text: One of these.
        folder: Where a relative FILE lies.

    Raises:
        UsageError: It is none of them, or the file cannot be used.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in _FORMS:
        raise UnknownNameError("arrivals", kind, _FORMS.values())
    if kind == "replay":
        path, column = _file_and_column(rest, folder)
        return Replay(text, read_recording(path, column))
    parts = rest.split(":") if rest else []
    try:
        if kind == "uniform":
            low, high = (float(part) for part in parts or ("0.8", "1.2"))
            return _uniform(text, low, high)
        if kind == "bursty":
            ratio, length, share = parts if len(parts) == 3 else (*parts, "0.1")
            return _bursty(text, float(ratio), seconds(length, bare="s"), float(share))
        if parts:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"arrivals {text!r} cannot be read; write them as {_FORMS[kind]}"
        ) from None
    return Poisson(text) if kind == "poisson" else Uniform(text, 1.0, 1.0)


def _file_and_column(text: str, folder: Path) -> tuple[Path, str | None]:
    """Part ``FILE#COLUMN``; either may hold a ``#``: the longest FILE that exists is meant."""
    ends = [place for place, letter in enumerate(text) if letter == "#"]
    for end in (len(text), *reversed(ends)):
        if end and (folder / text[:end]).exists():
            return folder / text[:end], text[end + 1 :] or None
    path, _, column = text.partition("#")
    return folder / path, column or None


def _uniform(text: str, low: float, high: float) -> Uniform:
    if not (0 <= low <= high and math.isclose(low + high, 2.0)):
        raise UsageError(
            f"arrivals {text!r} have gaps of {low:g} to {high:g} times 1/rate; wanted two factors "
            "of 0 or more whose mean is 1, so that the rate is the requested one, e.g. 0.8:1.2"
        )
    return Uniform(text, low, high)


def _bursty(text: str, ratio: float, burst_s: float, share: float) -> Bursty:
    if not (0 < burst_s < math.inf and 0 < share < 1 < ratio and ratio * share <= 1):
        raise UsageError(
            f"arrivals {text!r} request bursts of {ratio:g} times the mean rate and {burst_s:g} s, "
            f"in {share:g} of the time; wanted a ratio above 1, a length above 0 and a share of at "
            f"most 1/ratio, such as {_FORMS['bursty']}"
        )
    return Bursty(text, ratio, burst_s, share)


def _children(seed: int) -> "list[np.random.SeedSequence]":
    import numpy as np

    return np.random.SeedSequence(seed).spawn(2)
