"""Reading ahead: threads prepare the next batches while the device works on this one.

They are threads and no processes: decoding and copying let go of Python's lock, and the energy,
the memory and the load of the training stay those of one process.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from types import TracebackType
from typing import Self, TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class Readers:
    """Threads that work ahead, in order; with none of them each item is made when it is asked for.

    Args:
        workers: How many threads.
        ahead: How many items each of them may be ahead.
    """

    def __init__(self, workers: int, ahead: int) -> None:
        self._depth = workers * ahead
        self._pool = ThreadPoolExecutor(workers, "reader") if workers else None
        if self._pool:
            _one_thread_each(self._pool, workers)

    def map(self, make: Callable[[_Item], _Made], items: Iterable[_Item]) -> Iterator[_Made]:
        """Yield what is made of each item, in their order; an error is raised at its place."""
        if self._pool is None:
            yield from map(make, items)
            return
        waiting: deque[Future[_Made]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(make, item))
                if len(waiting) > self._depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _one_thread_each(pool: ThreadPoolExecutor, workers: int) -> None:
    """Start the threads, and keep torch from computing with several threads in each of them."""
    import torch

    own = torch.get_num_threads()
    started = Barrier(workers + 1)

    def start() -> None:
        torch.set_num_threads(1)
        started.wait()

    for _ in range(workers):
        pool.submit(start)
    started.wait()
    torch.set_num_threads(own)  # a new thread begins with what was set last, in whatever thread
