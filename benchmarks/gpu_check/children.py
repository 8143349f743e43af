"""Processes that end in time, whatever they do."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_GRACE_S = 8.0
_LAST_BYTES = 20_000


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code, of a signal its negative; ``None``: it was ended at its limit.
        log: The file with all that it printed.
        limit_s: Its limit, in s.
    """

    code: int | None
    log: Path
    limit_s: float

    @property
    def lacks_package(self) -> bool:
        """Whether it ended as a package is not installed."""
        return bool(self.code) and last_line(self.log).startswith("ModuleNotFoundError")

    @property
    def reason(self) -> str:
        """Why it is not a success, one sentence; empty where it is."""
        if self.code == 0:
            return ""
        if self.code is None:
            return f"the time limit of {self.limit_s:.0f} s was reached"
        if self.code < 0:
            return f"it was killed by signal {-self.code}: {last_line(self.log)}"
        return f"it ended with exit code {self.code}: {last_line(self.log)}"


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process of this checkout: ``src`` is on its module path."""
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ, **own, **more}


def run(
    arguments: Sequence[str], log: Path, limit_s: float, more: Mapping[str, str] | None = None
) -> Ended:
    """Run a module of Python, and end it with all that it started where it takes too long.

    Args:
        arguments: As behind ``python``.
        log: The file for what it prints.
        limit_s: How long it may take, in s: it is interrupted some seconds before, then killed.
        more: Variables of its environment.
    """
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(**(more or {})),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(max(0.1, limit_s - _GRACE_S))
        except subprocess.TimeoutExpired:
            code = None
            process.send_signal(signal.SIGINT)
            left_s = max(0.1, limit_s - (time.monotonic() - began_s))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(left_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Ended(code, log, limit_s)


def last_line(log: Path) -> str:
    """Return the last line that a process printed."""
    lines = _end(log).splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def _end(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LAST_BYTES))
        return file.read().decode(errors="replace")
