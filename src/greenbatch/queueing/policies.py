"""When a free server starts a batch of the requests that wait, and of how many."""

import math
from dataclasses import dataclass
from enum import StrEnum

from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.queueing.durations import seconds

LARGEST_BATCH = 65_536


class PolicyKind(StrEnum):
    """Whether a free server waits for a batch to fill: for ever, not at all, or for a time."""

    FIXED = "fixed"
    GREEDY = "greedy"
    DYNAMIC = "dynamic"


_FORMS = {
    PolicyKind.FIXED: "fixed:16",
    PolicyKind.GREEDY: "greedy:16",
    PolicyKind.DYNAMIC: "dynamic:16:5ms",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a free server does.

    Attributes:
        size: Start a batch of so many of the oldest requests; 0: none now.
        look_s: When to decide again, should nothing arrive before; infinite: not before.
        flushed: Whether the batch is smaller than the policy wants, and starts only because
            nothing more will come.
    """

    size: int
    look_s: float = math.inf
    flushed: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Starts a batch when ``largest`` requests wait, or the oldest has waited ``wait_s``.

    ``fixed:N`` waits for ever, ``greedy:N`` not at all, ``dynamic:N:WAIT`` at most WAIT.

    Attributes:
        text: As it is written, in its shortest form.
        kind: Which of these.
        largest: The most requests in a batch.
        wait_s: How long the oldest request may wait for others while the server is free, counted
            from its arrival, in s.
    """

    text: str
    kind: PolicyKind
    largest: int
    wait_s: float

    def decide(self, waiting: int, oldest_s: float, now_s: float, *, more: bool) -> Decision:
        """Say what a free server does now.

        The batch is made of the oldest requests. The last requests that can never fill a batch of
        a policy that waits for ever are flushed: a batch is made of what there is.

        Args:
            waiting: How many requests have arrived and were not started.
            oldest_s: When the oldest of them arrived, in s; any number if none waits.
            now_s: In s, on the same clock.
            more: Whether requests are still to come.
        """
        if waiting >= self.largest:
            return Decision(self.largest)
        if not waiting:
            return Decision(0)
        look_s = oldest_s + self.wait_s
        if now_s >= look_s:
            return Decision(waiting)
        if not more and math.isinf(look_s):
            return Decision(waiting, flushed=True)
        return Decision(0, look_s)

    def batch_sizes(self) -> tuple[int, ...]:
        """Return the sizes that can occur, but for a flushed batch."""
        if math.isinf(self.wait_s):
            return (self.largest,)
        return tuple(range(1, self.largest + 1))


def parse_policy(text: str) -> Policy:
    """Read ``fixed:N``, ``greedy:N`` or ``dynamic:N:WAIT`` (``5ms``, ``0.1s``, or a number of ms).

    Raises:
        UsageError: It is none of them.
    """
    word, *parts = (part.strip() for part in text.strip().split(":"))
    if word not in _FORMS:
        raise UnknownNameError("batching policy", word, _FORMS.values())
    kind = PolicyKind(word)
    try:
        size, *waits = parts
        largest = int(size)
        if not 1 <= largest <= LARGEST_BATCH or len(waits) != (kind is PolicyKind.DYNAMIC):
            raise ValueError
        if kind is PolicyKind.DYNAMIC:
            wait_s = seconds(waits[0], bare="ms")
        else:
            wait_s = math.inf if kind is PolicyKind.FIXED else 0.0
    except ValueError:
        wait = " and the longest wait, e.g. 5ms" if kind is PolicyKind.DYNAMIC else ""
        raise UsageError(
            f"batching policy {text!r} cannot be read; wanted {kind}, a whole number from 1 "
            f"to {LARGEST_BATCH}{wait}, with colons between, such as {_FORMS[kind]}"
        ) from None
    wait = "inf" if math.isinf(wait_s) else f"{wait_s * 1e3:g}ms"
    written = f"{kind}:{largest}:{wait}" if waits else f"{kind}:{largest}"
    return Policy(written, kind, largest, wait_s)
