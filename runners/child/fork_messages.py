"""The messages between a parent and its fork server: datagrams, each one line."""

from dataclasses import dataclass

from greenbatch.runners.child.messages import Message

LARGEST_BYTES = 1 << 16
"""Of a datagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving(Message):
    """The server has imported what the backend needs; it comes once.

    Attributes:
        reason: Why it must not be forked, one sentence; ``None`` where it may.
    """

    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork(Message):
    """Fork a child; its standard input, output and error come with the message.

    Attributes:
        cores: Numbers of the cores that it may run on.
    """

    cores: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked(Message):
    """A child was forked.

    Attributes:
        pid: Its process id; ``None`` where it was not forked.
        reason: Why it was not.
    """

    pid: int | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Died(Message):
    """The child has ended; its process id stays its own until the parent has answered `Buried`.

    Attributes:
        code: Its exit code; of a signal the number, negative.
    """

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried(Message):
    """The parent sends the child no more signals."""
