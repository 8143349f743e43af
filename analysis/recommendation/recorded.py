"""A recording of arrivals as traffic: judged whole, and in the busiest stretch of it.

The quiet hours of a recording dilute its percentiles, and its mean rate is that of no hour. A
policy therefore has to keep the limits twice: over all requests, and over those of the busiest
stretch. The chance of other arrivals is in no interval: there is one recording.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.recommendation.limits import Limits
from greenbatch.analysis.statistics.quantile_claims import exists
from greenbatch.queueing.arrivals import Replay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_JUDGED = 500_000
"""Requests that are simulated; of a longer recording, those around its busiest stretch."""
_SHORTEST_S = 60.0
_LIMITS_LONG = 200
_FEWEST = 1_000
_CHANCE = 4.0
_PIECES = 10


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, in the time in which it is replayed.

    Attributes:
        first, behind: Places of its first request, and of the first one after it.
        start_s: When it begins, in s from the first request of the recording.
        length_s: How long it lasts.
    """

    first: int
    behind: int
    start_s: float
    length_s: float

    @property
    def requests(self) -> int:
        """How many requests arrive in it."""
        return self.behind - self.first

    @property
    def rate_hz(self) -> float:
        """Requests/s."""
        return self.requests / self.length_s


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What is simulated of a recording.

    Attributes:
        instants_s: Of the requests that are judged, in s from the first of them.
        judged: Where they are in the recording.
        busiest: The busiest stretch; the places are in the recording.
        total: Requests of the recording.
        lasts_s: How long the recording lasts, as it is replayed.
        notes: See `greenbatch.queueing.recordings.Recording`.
    """

    instants_s: "NDArray[np.float64]"
    judged: Stretch
    busiest: Stretch
    total: int
    lasts_s: float
    notes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every request is judged."""
        return self.judged.requests == self.total

    @property
    def has_p99(self) -> bool:
        """Whether there are requests enough for a 99th percentile; of fewer it is the slowest."""
        return exists(len(self.instants_s), 0.99)

    @property
    def rate_hz(self) -> float:
        """The mean rate of what is judged, in requests/s."""
        return (len(self.instants_s) - 1) / float(self.instants_s[-1])

    @property
    def needed_hz(self) -> float:
        """The rate that full batches have to hold, in requests/s.

        That of the busiest stretch, less what chance adds to the busiest of many: four standard
        deviations of a Poisson count.
        """
        count = self.busiest.requests
        surely_hz = (count - _CHANCE * math.sqrt(count)) / self.busiest.length_s
        return max(self.rate_hz, surely_hz)

    @property
    def busiest_places(self) -> slice:
        """Where the busiest stretch is among the requests that are judged."""
        first = self.busiest.first - self.judged.first
        return slice(first, min(first + self.busiest.requests, len(self.instants_s)))


def read_recorded(replay: Replay, rate_hz: float | None, limits: Limits) -> Recorded:
    """Find the busiest stretch of a recording, and what is judged around it.

    The stretch is a minute long, or 200 times the tightest limit if that is longer, and doubled
    until it has 1,000 requests, so that its 99th percentile rests on ten and more.

    Args:
        replay: The recording.
        rate_hz: Its mean rate, for which it is stretched evenly; ``None``: as recorded.
        limits: On the response time.
    """
    instants_s = replay.instants_s * (replay.recorded_hz / (rate_hz or replay.recorded_hz))
    total, lasts_s = len(instants_s), float(instants_s[-1])
    length_s = max([_SHORTEST_S, *(_LIMITS_LONG * limit_s for limit_s in limits.known_s)])
    while True:
        busiest = _busiest(instants_s, min(length_s, lasts_s))
        if busiest.requests >= _FEWEST or busiest.length_s >= lasts_s:
            break
        length_s *= 2
    judged = _judged(instants_s, busiest)
    kept_s = instants_s[judged.first : judged.behind]
    return Recorded(kept_s - kept_s[0], judged, busiest, total, lasts_s, replay.recording.notes)


def in_short(recorded: Recorded, count: int) -> "tuple[NDArray[np.float64], slice]":
    """Make a short series with the gaps of pieces all along, and of the busiest requests at last.

    Args:
        recorded: Of which the pieces are.
        count: How many requests; half of them are the busiest that follow one another.

    Returns:
        Instants in s, and the places of the busiest ones.
    """
    import numpy as np

    total, half = len(recorded.instants_s), count // 2
    if total <= count:
        return recorded.instants_s, recorded.busiest_places
    gaps_s = np.diff(recorded.instants_s, prepend=recorded.instants_s[0])
    piece = half // _PIECES
    starts = np.linspace(0, total - piece, _PIECES).astype(int)
    pieces = [gaps_s[start : start + piece] for start in starts.tolist()]
    within = recorded.busiest_places
    width = min(half, within.stop - within.start)
    first = within.start
    if width > 1:
        spans_s = recorded.instants_s[first + width - 1 : within.stop]
        spans_s = spans_s - recorded.instants_s[first : within.stop - width + 1]
        first += int(np.argmin(spans_s))
    series_s = np.cumsum(np.concatenate([*pieces, gaps_s[first : first + width]]))
    return series_s - series_s[0], slice(len(series_s) - width, len(series_s))


def _busiest(instants_s: "NDArray[np.float64]", length_s: float) -> Stretch:
    import numpy as np

    behind = np.searchsorted(instants_s, instants_s + length_s, side="left")
    behind[instants_s + length_s >= instants_s[-1]] = len(instants_s)
    first = int(np.argmax(behind - np.arange(len(instants_s))))
    return Stretch(first, int(behind[first]), float(instants_s[first]), length_s)


def _judged(instants_s: "NDArray[np.float64]", busiest: Stretch) -> Stretch:
    """Take all, or the `MOST_JUDGED` requests in the shortest time that hold the busiest stretch.

    A busiest stretch of more requests is judged from its first on.
    """
    import numpy as np

    total = len(instants_s)
    width = min(MOST_JUDGED, total)
    low = max(0, min(busiest.behind - width, busiest.first))
    high = min(busiest.first, total - width)
    starts = np.arange(low, max(high, low) + 1)
    spans_s = instants_s[starts + width - 1] - instants_s[starts]
    first = int(starts[np.argmin(spans_s)])
    start_s, end_s = float(instants_s[first]), float(instants_s[first + width - 1])
    return Stretch(first, first + width, start_s, end_s - start_s)
