"""Backends by a third party, each with one fault; put this folder on ``PYTHONPATH``."""

import os
import resource
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from greenbatch.runners.backends import Setting, Task
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.child import messages

ROOM_BYTES = 120 << 20


class Wrong(OnnxSession):
    """Puts out other numbers."""

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the last run's outputs, a value of each wrong by a twentieth."""
        outputs = super().outputs()
        for values in outputs.values():
            values[0, 0] += 0.05 * np.abs(values).max()
        return outputs


class Hanging(OnnxSession):
    """Never returns from its first run."""

    def run(self) -> None:
        """Sleep for good."""
        time.sleep(3600)


class Crashing(OnnxSession):
    """Dies in its first run as a fault in native code does."""

    def run(self) -> None:
        """End the process."""
        os.kill(os.getpid(), signal.SIGSEGV)


class Restless(OnnxSession):
    """Says after a while that it uses another number of threads."""

    asked = 0

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What is in force: one more thread each time it is asked."""
        self.asked += 1
        return {**super().settings, "threads": self.asked}


class Babbling(OnnxSession):
    """Sends its parent nonsense, in the first process that runs it alone."""

    def run(self) -> None:
        """Run, and have every later message of a first process be none."""
        once = Path(os.environ["GB_BABBLED"])
        if not once.exists():
            once.touch()
            nonsense = b'{"version": 1, "kind": "Warm", "fields": {"window_s": NaN}}\n'
            messages.encode = lambda message: nonsense
        super().run()


class Hungry(OnnxSession):
    """May take little more memory than it has when it is loaded."""

    def run(self) -> None:
        """Run under a limit of the operating system."""
        with open("/proc/self/statm") as file:  # noqa: PTH123
            used = int(file.read().split()[0]) * resource.getpagesize()
        if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))
        super().run()


class Pretending(OnnxSession):
    """Stands for a backend on CUDA where there is none: it computes on the CPU."""

    def __init__(self, task: Task) -> None:
        """Load the network on the CPU."""
        super().__init__(replace(task, cell=replace(task.cell, backend="onnxruntime-cpu")))

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say whether the CPU can be used."""
        return OnnxSession.unavailable("cpu")
