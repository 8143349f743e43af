"""The children of repetitions: one for each, or one for the batch sizes of a network in a block.

Where a study asks for sessions, a child whose network goes on is kept until the next repetition.
If that is of the same network in the same block, it is measured in the same process: the network is
not loaded again, and the warm-up is shorter. The process of a repetition is still its own in the
next block, so repetitions of a cell stay independent.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from greenbatch.records import Cell
from greenbatch.runners.child.handle import ChildProcess
from greenbatch.runners.child.starting import Starter

_Key = tuple[Cell, int, Mapping[str, str]]


class Sessions:
    """Gives the child of each repetition; a context manager, which ends the one that is kept.

    Args:
        starter: Starts them.
        shared: Whether a child whose network goes on is kept for the next batch size.
    """

    def __init__(self, starter: Starter, *, shared: bool) -> None:
        self._starter = starter
        self._shared = shared
        self._key: _Key | None = None
        self._kept: ChildProcess | None = None
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def servers_s(self) -> float:
        """How long the servers that children are forked from took to start, in s."""
        return self._starter.servers_s

    def isolation(self, child: ChildProcess) -> str:
        """Say, for the record, how far a repetition that has ended is by itself."""
        return "session" if self._shared and child.goes_on else child.isolation

    @contextmanager
    def child(
        self, cell: Cell, block: int, timeout_s: float, environment: Mapping[str, str]
    ) -> Iterator[ChildProcess]:
        """Give a child that is ready, or gets ready, to be sent the request of a repetition.

        It ends with the context, unless it is kept: then it may be given again.

        Args:
            cell: What it measures.
            block: Of the repetition.
            timeout_s: From now, for all that is asked of it.
            environment: Variables that it gets beside those of this process.
        """
        key = (replace(cell, batch_size=1), block, environment)
        child = self._kept if key == self._key else None
        if child is None or child.has_ended:
            self._end()
            child = self._starter.start(cell.backend, timeout_s, environment)
            self._ending.enter_context(child)
            child.begin("repetition", cell.backend)
        child.allow(timeout_s)
        self._kept = self._key = None
        with ExitStack() as stack:
            stack.push(self._ending.pop_all())
            yield child
            if self._shared and child.goes_on:
                self._ending = stack.pop_all()
                self._key, self._kept = key, child

    def _end(self) -> None:
        self._ending.close()
        self._key = self._kept = None
