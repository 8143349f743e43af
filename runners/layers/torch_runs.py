"""torch: its own profiler on the network in eager mode, with a range for each module."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from greenbatch.runners.layers.onnx_runs import Called

if TYPE_CHECKING:
    from torch import nn
    from torch.autograd.profiler_util import FunctionEvent

    from greenbatch.runners.backends import Task
    from greenbatch.runners.backends.pytorch.eager import TorchEager

_MODULE = "gb-module:"

MOST_EVENTS = 60_000
"""Of a profile: torch makes a Python object of each."""


def module_run(task: "Task") -> "tuple[TorchEager, nn.Module]":
    """Load the network as the backend does; return the backend and the module that it runs."""
    from greenbatch.runners.backends.pytorch.eager import TorchEager

    class ModuleRun(TorchEager):
        def _ready(self, task: "Task") -> "nn.Module":
            self.network = self._network(task)
            return self.network

    backend = ModuleRun(task)
    return backend, backend.network


@contextmanager
def profiled(network: "nn.Module") -> "Iterator[list[FunctionEvent]]":
    """Profile what runs inside; the list has the profiler's events afterwards.

    Each module of the network opens a range with its path while it runs, so that an operator
    belongs to the innermost module that called it.
    """
    from torch import profiler

    events: list[FunctionEvent] = []
    with _ranges(network):
        with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as profile:
            yield events
        events.extend(profile.events() or ())


@contextmanager
def _ranges(network: "nn.Module") -> Iterator[None]:
    from torch.autograd.profiler import record_function

    open_ranges: list[AbstractContextManager[object]] = []

    def begin(path: str) -> "Callable[[nn.Module, object], None]":
        def hook(module: "nn.Module", given: object) -> None:
            entered: AbstractContextManager[object] = record_function(f"{_MODULE}{path}")
            entered.__enter__()
            open_ranges.append(entered)

        return hook

    def end(module: "nn.Module", given: object, result: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    with ExitStack() as stack:
        for path, module in network.named_modules():
            stack.callback(module.register_forward_pre_hook(begin(path)).remove)
            stack.callback(module.register_forward_hook(end).remove)
        yield


def sum_up(events: "Iterable[FunctionEvent]") -> list[tuple[Called, str]]:
    """Add up the calls of each operator in each module.

    An operator that others make up (``aten::conv2d`` calls ``aten::convolution``, which calls what
    computes) is the outermost one, with all its time.

    Args:
        events: Of torch's profiler; each has ``name``, ``cpu_parent``, ``cpu_time_total`` (µs) and
            ``time_range``.

    Returns:
        An entry with its module's path for each operator of each module, by their first call.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for event in sorted(events, key=lambda each: each.time_range.start):
        if event.name.startswith((_MODULE, "ProfilerStep")) or event.name.startswith("cuda"):
            continue
        parent = event.cpu_parent
        if parent is not None and not parent.name.startswith(_MODULE):
            continue  # inside another operator
        path = parent.name.removeprefix(_MODULE) if parent is not None else ""
        sums = found.setdefault((path, event.name), [0, 0.0])
        sums[0] += 1
        sums[1] += event.cpu_time_total * 1e-6
    return [
        (Called(f"{path}/{name}" if path else name, name, int(calls), time_s), path)
        for (path, name), (calls, time_s) in found.items()
    ]
