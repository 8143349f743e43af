"""The process that lets requests arrive at their instants, whatever the server is doing.

``python -m greenbatch.runners.scenarios.generator SPIN`` reads doubles (a count, so many instants
from the start, and, once it has reported that it is ready, the start) and writes doubles: 0 when
ready, at each instant when it handed the request over, and at the end the CPU time that it used.
Instants are in s on `time.perf_counter`, which every process of a machine shares.

It sleeps until each instant and does not spin: a spinning process would use a core, and its energy,
on the machine that is measured. How late that makes a request is recorded.
``benchmarks/arrival_lateness.py`` compares the ways.
"""

import array
import contextlib
import gc
import math
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from greenbatch import units
from greenbatch.errors import MeasurementError
from greenbatch.processes import python_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DOUBLE_BYTES = 8
# Room for 131,072 requests that the server has not looked at: a full pipe would hold arrivals up.
_PIPE_BYTES = 1 << 20
_TIMEOUT_S = 60.0


class Generator:
    """Hands requests over at their instants, from a process of its own; a context manager.

    Args:
        arrivals_s: When each request arrives, in s from the start, rising.
        spin_s: How long before an instant to stop sleeping and spin; for benchmarks.

    Raises:
        MeasurementError: The process does not get ready.
    """

    def __init__(self, arrivals_s: "Floats", spin_s: float = 0.0) -> None:
        self._arrivals_s = arrivals_s
        self._received = bytearray()
        self._process = subprocess.Popen(
            python_command("greenbatch.runners.scenarios.generator", str(spin_s)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        _widen(self._pipe)
        try:
            self._send(float(len(arrivals_s)), *arrivals_s.tolist())
            self._await_records(1, time.perf_counter() + _TIMEOUT_S)
            if not self._records:
                raise self._ended("does not get ready")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id: what it uses is this run's, not a stranger's."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def begin(self, start_s: float) -> "Floats":
        """Let requests arrive from ``start_s`` on, and return the instants when they are to."""
        self._send(start_s)
        return start_s + self._arrivals_s

    def handed_over(self, known: int, until_s: float) -> int:
        """Count the requests handed over; wait for more than ``known``, until ``until_s``.

        Args:
            known: As many were handed over when it was last asked.
            until_s: When to return at the latest; an instant that has passed: at once.

        Raises:
            MeasurementError: The process has ended before its last request.
        """
        total = len(self._arrivals_s)
        if known < total:
            self._await_records(1 + known + 1, until_s)
        else:
            time.sleep(max(0.0, until_s - time.perf_counter()))
        return min(self._records - 1, total)

    def finish(self) -> tuple["Floats", float]:
        """Return when each request was handed over, and the CPU time that the process used, in s.

        Raises:
            MeasurementError: The process has ended before its last request.
        """
        import numpy as np

        wanted = len(self._arrivals_s) + 2
        self._await_records(wanted, time.perf_counter() + _TIMEOUT_S)
        if self._records < wanted:
            raise self._ended("does not end")
        records = np.frombuffer(bytes(self._received), dtype=np.float64)
        return records[1:-1], float(records[-1])

    @property
    def _records(self) -> int:
        return len(self._received) // _DOUBLE_BYTES

    def _await_records(self, wanted: int, until_s: float) -> None:
        """Read what has come, until there are so many records or it is late."""
        while self._records < wanted:
            left_s = max(0.0, until_s - time.perf_counter())
            ready = select.select([self._pipe], [], [], None if math.isinf(left_s) else left_s)
            if not ready[0]:
                return
            chunk = os.read(self._pipe, _PIPE_BYTES)
            if not chunk:
                raise self._ended("has ended")
            self._received += chunk

    def _send(self, *numbers: float) -> None:
        assert self._process.stdin is not None
        left = memoryview(array.array("d", numbers).tobytes())
        with contextlib.suppress(BrokenPipeError):  # it has ended, and reading will tell
            while left:
                left = left[self._process.stdin.write(left) :]

    def _ended(self, how: str) -> MeasurementError:
        given = max(0, self._records - 1)
        return MeasurementError(
            f"the process that lets requests arrive {how} after {given} of "
            f"{units.count(len(self._arrivals_s), 'request')}; run the repetition again"
        )


def main(spin_s: float) -> None:
    """Hand over a request at each instant that standard input names."""
    _sleep_exactly()
    count = int(_read_doubles(1)[0])
    arrivals_s = _read_doubles(count)
    _write_double(0.0)
    start_s = _read_doubles(1)[0]
    gc.disable()
    clock = time.perf_counter
    for arrival_s in arrivals_s:
        instant_s = start_s + arrival_s
        sleep_s = instant_s - spin_s - clock()
        if sleep_s > 0:
            time.sleep(sleep_s)
        while clock() < instant_s:
            pass
        _write_double(clock())
    _write_double(time.process_time())


def _read_doubles(count: int) -> "array.array[float]":
    numbers = array.array("d")
    data = sys.stdin.buffer.read(count * _DOUBLE_BYTES)
    if len(data) < count * _DOUBLE_BYTES:  # nobody wants requests any more
        sys.exit(0)
    numbers.frombytes(data)
    return numbers


def _write_double(number: float) -> None:
    os.write(1, array.array("d", (number,)).tobytes())


def _sleep_exactly() -> None:
    """Ask Linux for sleeps without its 50 µs of slack."""
    if sys.platform == "linux":
        import ctypes

        pr_set_timerslack = 29
        ctypes.CDLL(None).prctl(pr_set_timerslack, 1)  # ns


def _widen(pipe: int) -> None:
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # above what an unprivileged user may
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(float(sys.argv[1]))
