"""A load on the first CUDA device, in a process of its own: matrix products, or a square wave.

    python -m benchmarks.gpu_load

It prints one line of JSON, ``{"uuid": ...}`` of the device or ``{"missing": ...}`` with the reason.
Then it obeys the lines of its standard input, and ends where that ends:

    rate SECONDS   run without a pause for so long, and print the runs in a second as a number
    wave PERIOD    run for half of each period until the next line, at a random phase; prints ``on``
    rest           do nothing; prints ``off``
"""

import argparse
import json
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE = 4096
READY_S = 60.0
_MARGIN_S = 30.0


class LoadFailed(Exception):
    """The process of the load ended, or did not answer."""


class Load:
    """The load's process, seen from the parent; ended by leaving its context.

    Args:
        pause_s: Sleep for so long instead of computing, without a device: for tests.
        ready_s: How long it may take to start, in s.

    Attributes:
        uuid: Of the device, as CUDA has it; empty where it has none.
        missing: Why there is no load, one sentence; empty where there is one.
    """

    def __init__(self, pause_s: float | None = None, ready_s: float = READY_S) -> None:
        self.uuid = ""
        self.missing = ""
        self._pause_s = pause_s
        self._ready_s = ready_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the process; what it lacks is `missing`."""
        command = [sys.executable, "-m", "benchmarks.gpu_load"]
        if self._pause_s is not None:
            command += ["--pause", str(self._pause_s)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | dict(os.environ),
        )
        try:
            found = json.loads(self._line(self._ready_s))
            self.uuid, self.missing = found.get("uuid", ""), found.get("missing", "")
        except (LoadFailed, ValueError) as error:
            self.missing = f"the process of the load did not start: {error}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5.0)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            if self._process.stdout:
                self._process.stdout.close()

    def rate_hz(self, seconds: float) -> float:
        """Return how many times a second the load runs without a pause.

        Raises:
            LoadFailed: The process has ended.
        """
        return float(self._ask(f"rate {seconds}", seconds + _MARGIN_S))

    def wave(self, period_s: float) -> None:
        """Load the device for half of each period from now on.

        Raises:
            LoadFailed: The process has ended.
        """
        self._ask(f"wave {period_s}", _MARGIN_S)

    def rest(self) -> None:
        """Leave the device alone.

        Raises:
            LoadFailed: The process has ended.
        """
        self._ask("rest", _MARGIN_S)

    def _ask(self, command: str, limit_s: float) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            print(command, file=self._process.stdin, flush=True)
        except (OSError, ValueError) as error:  # its standard input is closed
            raise LoadFailed(f"it ended with {self._process.poll()}") from error
        return self._line(limit_s)

    def _line(self, limit_s: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], limit_s)
        if not readable:
            raise LoadFailed(f"no answer within {limit_s:g} s")
        if not (line := self._process.stdout.readline()):
            raise LoadFailed(f"it ended with {self._process.wait()}")
        return line


def main() -> None:
    """Obey standard input."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pause", type=float, help="sleep so long, in s, instead of computing")
    pause_s = parser.parse_args().pause
    if pause_s is not None:
        print(json.dumps({"uuid": ""}), flush=True)
        serve(lambda: time.sleep(pause_s))
        return
    found = products()
    if isinstance(found, str):
        print(json.dumps({"missing": found}), flush=True)
        return
    run, uuid = found
    print(json.dumps({"uuid": uuid}), flush=True)
    serve(run)


def products() -> tuple[Callable[[], None], str] | str:
    """Return what multiplies matrices on the first device, and its UUID; or why it cannot."""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error})"
    if not torch.cuda.is_available():
        return "torch lists no CUDA device"
    matrix = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.float16)

    def run() -> None:
        torch.matmul(matrix, matrix)
        torch.cuda.synchronize()

    run()
    uuid = str(getattr(torch.cuda.get_device_properties(0), "uuid", ""))
    return run, uuid if not uuid or uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def serve(run: Callable[[], None]) -> None:
    """Obey standard input until it ends."""
    while line := sys.stdin.readline():
        word, *numbers = line.split()
        if word == "rate":
            print(_rate_hz(run, float(numbers[0])), flush=True)
        elif word == "wave":
            print("on", flush=True)
            _wave(run, float(numbers[0]))
        else:
            print("off", flush=True)


def _rate_hz(run: Callable[[], None], seconds: float) -> float:
    runs, began_s = 0, time.perf_counter()
    while time.perf_counter() < began_s + seconds:
        run()
        runs += 1
    return runs / (time.perf_counter() - began_s)


def _wave(run: Callable[[], None], period_s: float) -> None:
    pause_s = random.uniform(0, period_s)
    while not select.select([sys.stdin], [], [], pause_s)[0]:
        busy_until_s = time.perf_counter() + period_s / 2
        while time.perf_counter() < busy_until_s:
            run()
        pause_s = period_s / 2


if __name__ == "__main__":
    main()
