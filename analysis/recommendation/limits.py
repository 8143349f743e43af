"""Limits on the response time, and by how much a prediction may miss."""

from dataclasses import dataclass

from greenbatch.queueing.policies import Policy

ENERGY_ERROR = 0.05
"""Of a predicted energy: what ``benchmarks/recommend_reality.py`` found between policies."""
RESPONSE_ERROR = 0.10
"""Of a predicted response time, but for the policies of `response_error`."""
_AT_ONCE_ERROR = 0.70
_SHORT_S = 0.005


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest response times allowed, in s; ``None``: any."""

    p99_s: float | None = None
    mean_s: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.known_s)

    @property
    def known_s(self) -> tuple[float, ...]:
        """Those that are given."""
        return tuple(limit_s for limit_s in (self.p99_s, self.mean_s) if limit_s is not None)

    def strain(self, p99_s: float, mean_s: float) -> float:
        """Return the response time over its limit, the worse of two; 0 where there is none."""
        parts = ((p99_s, self.p99_s), (mean_s, self.mean_s))
        return max((got / limit for got, limit in parts if limit), default=0.0)


def response_error(policy: Policy, single_s: float) -> float:
    """Return by what share a response time may exceed its prediction.

    A server that starts a batch at once wakes up for many of them, which takes some tenths of a
    millisecond: much where a batch takes a millisecond (docs/recommending.md, 'Validation').

    Args:
        policy: When a batch starts.
        single_s: Time of the smallest batch, in s.
    """
    at_once = policy.wait_s <= single_s < _SHORT_S
    return _AT_ONCE_ERROR if at_once else RESPONSE_ERROR
