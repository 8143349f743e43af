"""What a child measures: windows of the whole, of the profiled whole and of the parts, shuffled."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.records.layers import PROFILED, WHOLE
from greenbatch.runners import backends
from greenbatch.runners.child.messages import Ended, Warm
from greenbatch.runners.child.system import gpu_uuid, idle_for
from greenbatch.runners.child.windows import Send, clock
from greenbatch.runners.layers import onnx_runs, torch_runs
from greenbatch.runners.layers.messages import (
    LayersMeasured,
    MeasureLayers,
    ProfiledOperator,
    TargetWindow,
)
from greenbatch.runners.layers.onnx_runs import Called
from greenbatch.runners.scenarios import offline

if TYPE_CHECKING:
    from torch import nn
    from torch.autograd.profiler_util import FunctionEvent

Operators = list[tuple[Called, str]]
"""Operators, and for torch the path of the module of each."""


class _Profiler(Protocol):
    """A network that can be profiled."""

    most_runs: int

    def run(self) -> None:
        """Run the batch, profiled inside `window`."""

    def window(self) -> AbstractContextManager[None]:
        """Profile what runs inside."""

    def operators(self, runs: int) -> Operators:
        """Return the operators of the last ``runs`` runs."""


@dataclass(slots=True)
class _Target:
    """Something that has windows."""

    what: str
    run: Callable[[], None]
    window: Callable[[], AbstractContextManager[None]] = nullcontext
    most_runs: int | None = None
    settled: bool = False
    warm_s: float = 0.0  # of one run, as the warm-up found it


class _OnnxProfiler:
    """A session of its own with ONNX Runtime's profiler, which cannot be switched on later."""

    def __init__(self, task: backends.Task, folder: Path, events: int) -> None:
        self._session = onnx_runs.OnnxRun(task.artifact, task.images, task, folder / "profile")
        self.run = self._session.run
        # It records from its first run on: warm-up and lead take a half, the window the other.
        self.most_runs = max(4, onnx_runs.MOST_EVENTS // max(events, 1))

    def window(self) -> AbstractContextManager[None]:
        return nullcontext()

    def operators(self, runs: int) -> Operators:
        file = self._session.end_profile()
        called = onnx_runs.read_profile(file, runs)
        file.unlink()
        return [(each, "") for each in called]


class _TorchProfiler:
    """The very network that is measured without; hooks and profiler come for the window alone."""

    def __init__(self, backend: backends.Backend, network: "nn.Module") -> None:
        self._network = network
        self.run = backend.run
        self._events: list[FunctionEvent] = []
        with torch_runs.profiled(self._network) as events:  # its first start takes long
            self.run()
        self.most_runs = max(4, torch_runs.MOST_EVENTS // max(len(events), 1))

    @contextmanager
    def window(self) -> Iterator[None]:
        with torch_runs.profiled(self._network) as self._events:
            yield

    def operators(self, runs: int) -> Operators:
        return torch_runs.sum_up(self._events)


def measure_block(request: MeasureLayers, task: backends.Task, send: Send) -> LayersMeasured:
    """Measure a repetition: a window of each, in shuffled order, with idle power before and after.

    All are loaded at once, so that windows follow each other closely and what drifts meets all of
    them; the parts together weigh as much as the whole.

    Args:
        request: See there.
        task: What is loaded.
        send: Sends ``Warm`` and ``Ended`` for each window, and ``Idling``.
    """
    protocol = request.protocol
    whole, profiler, targets = _load(request, task)
    for target in targets:
        _warm(target, protocol)
    targets[1].settled = targets[0].settled  # the same network; too few runs of it to judge
    settle = send if request.settles else None
    idle_before = idle_for(protocol.idle_s, settle)
    random.Random(request.order_seed).shuffle(targets)
    windows: list[TargetWindow] = []
    for target in targets:
        send(Warm(window_s=request.window_s))
        _keep_warm(target, request.lead_s)
        window, runs = _measure(target, request.window_s, protocol.window_iterations)
        send(Ended())
        windows.append(
            TargetWindow(what=target.what, window=window, iterations=runs, settled=target.settled)
        )
    idle_after = idle_for(protocol.idle_s, settle)
    profiled = next(each for each in windows if each.what == PROFILED)
    return LayersMeasured(
        gpu_uuid=gpu_uuid(task.cell.backend),
        windows=tuple(windows),
        idle=(idle_before, idle_after),
        operators=tuple(
            ProfiledOperator(**asdict(each), layer=layer)
            for each, layer in profiler.operators(profiled.iterations)
        ),
        settings={name: str(value) for name, value in whole.settings.items()},
    )


def _load(
    request: MeasureLayers, task: backends.Task
) -> tuple[backends.Backend, _Profiler, list[_Target]]:
    import numpy as np

    folder = request.folder
    whole: backends.Backend
    profiler: _Profiler
    if backends.find(task.cell.backend).runtime == "torch":
        whole, network = torch_runs.module_run(task)
        whole.run()
        profiler = _TorchProfiler(whole, network)
    else:
        whole = backends.resolve(backends.find(task.cell.backend))(task)
        whole.run()
        profiler = _OnnxProfiler(task, folder, request.profile_events)
    targets = [
        _Target(WHOLE, whole.run),
        _Target(PROFILED, profiler.run, profiler.window, profiler.most_runs),
    ]
    for name in request.parts:
        part = onnx_runs.OnnxRun(folder / f"{name}.onnx", np.load(folder / f"{name}.npy"), task)
        targets.append(_Target(name, part.run))
    return whole, profiler, targets


def _warm(target: _Target, protocol: MeasurementProtocol) -> None:
    """Warm a target up; where runs are limited, a quarter of them at most, and unjudged."""
    began_s = clock()
    if target.most_runs is None:
        target.run()
        found = offline.warm_up(target.run, clock, protocol, clock() - began_s)
        target.settled = found.settled
        target.warm_s = found.duration_s / found.iterations
        return
    runs = 0
    most = max(1, target.most_runs // 4)
    while runs < most and clock() - began_s < protocol.warm_up_min_s:
        target.run()
        runs += 1
    target.warm_s = (clock() - began_s) / max(runs, 1)


def _keep_warm(target: _Target, lead_s: float) -> None:
    most = target.most_runs // 4 if target.most_runs else None
    end_s = clock() + lead_s
    runs = 0
    while target.warm_s < lead_s and clock() < end_s and (most is None or runs < most):
        target.run()
        runs += 1
    while clock() < end_s:
        time.sleep(min(0.01, lead_s))


def _measure(target: _Target, window_s: float, fewest: int) -> tuple[tuple[float, float], int]:
    """Run back to back; return begin and end, and how often it ran."""
    most = max(fewest, target.most_runs // 2) if target.most_runs else None
    run, runs = target.run, 0
    with offline.collector_held_off(), target.window():
        start_s = now_s = clock()
        while (now_s - start_s < window_s or runs < fewest) and runs != most:
            run()
            runs += 1
            now_s = clock()
    return (start_s, now_s), runs
