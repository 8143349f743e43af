"""The memory that a stretch of this process's work takes."""

import threading
from typing import Self

_TICK_S = 0.005


class PeakMemory:
    """Watches the resident memory of this process while it is entered.

    Attributes:
        before_bytes: When it was entered.
        peak_bytes: The most since then, as sampled.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.before_bytes = self.peak_bytes = self._resident_bytes()

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(_TICK_S):
            self.peak_bytes = max(self.peak_bytes, self._resident_bytes())

    def _resident_bytes(self) -> int:
        resident: int = self._process.memory_info().rss
        return resident
