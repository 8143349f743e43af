"""ONNX Runtime: a network or a part of it, ready to run, and its profile."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from greenbatch.runners.backends import Task
from greenbatch.runners.backends.onnx_runtime import settings
from greenbatch.runners.backends.onnx_runtime.interface import SessionOptions, Value
from greenbatch.runners.backends.onnx_runtime.placement import Start, start
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS

if TYPE_CHECKING:
    import numpy as np

_SUFFIX = "_kernel_time"
_RUN = "model_run"
_WEIGHTS_FROM_BYTES = 1024  # smaller ones stay in the graph's own file

MOST_EVENTS = 200_000
"""Of a profile: some 50 MB of JSON. ONNX Runtime itself stops at a million."""


class ProfileEvent(TypedDict):
    """What is read of an event of ONNX Runtime's profile.

    Attributes:
        dur: How long it took, in µs.
        args: Of a node its ``op_name``, and more.
    """

    cat: str
    name: str
    dur: float
    args: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Called:
    """An operator as a profile reports it.

    Attributes:
        name: Of the optimised node.
        operator: Its kind.
        calls: How often it ran.
        time_s: All calls together, in s.
    """

    name: str
    operator: str
    calls: int
    time_s: float


class OnnxRun:
    """A session on the CPU with inputs and outputs bound once, as the backend itself has it.

    Args:
        file: The ``.onnx`` file.
        given: Its one input.
        task: Its precision and threads apply.
        profile: Beginning of the path of the profile's file; ``None``: no profiler.
        prepare: Changes the session's options before it is made.

    Raises:
        PlacementError: The session does not run on the CPU.
    """

    def __init__(
        self,
        file: Path,
        given: "np.ndarray",
        task: Task,
        profile: Path | None = None,
        prepare: Callable[[SessionOptions], None] = lambda options: None,
    ) -> None:
        import onnxruntime as ort

        provider = PROVIDERS["cpu"]
        options = settings.session_options(
            ort,
            precision=task.cell.precision,
            threads=task.threads,
            settings={},
            may_run_on_cpu=True,
        )
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        prepare(options)
        wanted = Start(
            network=str(file), title=file.name, provider=provider, session_options=options
        )
        self._session, _ = start(ort, wanted)
        name = self._session.get_inputs()[0].name
        results = self._session.run(None, {name: given})
        binding = self._session.io_binding()
        self._given = ort.OrtValue.ortvalue_from_numpy(given, "cpu", 0)
        binding.bind_ortvalue_input(name, self._given)
        self._results: list[Value] = []
        for output, result in zip(self._session.get_outputs(), results, strict=True):
            value = ort.OrtValue.ortvalue_from_numpy(result, "cpu", 0)
            binding.bind_ortvalue_output(output.name, value)
            self._results.append(value)
        self._binding = binding

    def run(self) -> None:
        """Run once; return when the outputs are complete."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> "list[np.ndarray]":
        """Return copies of the last run's outputs."""
        return [value.numpy().copy() for value in self._results]

    def end_profile(self) -> Path:
        """End the profile; return its file."""
        return Path(self._session.end_profiling())


def keep_optimised(
    file: Path, level: str | None = None, batch: tuple[str, int] | None = None
) -> Callable[[SessionOptions], None]:
    """Return what has a session write the graph that it runs.

    Args:
        file: Where to; the weights go into a file beside it.
        level: How far to optimise, in the words of
            `greenbatch.runners.backends.onnx_runtime.settings`; ``None``: as far as it runs.
        batch: The name of the batch axis, and its size: shapes are constants then.
    """

    def prepare(options: SessionOptions) -> None:
        import onnxruntime as ort

        options.optimized_model_filepath = str(file)
        prefix = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{prefix}_file_name", f"{file.stem}.weights")
        options.add_session_config_entry(f"{prefix}_min_size_in_bytes", str(_WEIGHTS_FROM_BYTES))
        if level == "basic":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        if batch is not None:
            options.add_free_dimension_override_by_name(*batch)

    return prepare


def read_profile(file: Path, runs: int) -> list[Called]:
    """Read the last runs of a profile.

    Args:
        file: JSON as ONNX Runtime writes it: an event for each node and each run, in µs.
        runs: How many runs, counted from the last.

    Returns:
        An entry for each node, in the order of their first call.
    """
    return sum_up(json.loads(file.read_bytes()), runs)


def sum_up(events: Iterable[ProfileEvent], runs: int) -> list[Called]:
    """Add up the calls of each node in the last runs; see `read_profile`."""
    by_run: list[list[ProfileEvent]] = [[]]
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX):
            by_run[-1].append(event)
        elif event.get("name") == _RUN:
            by_run.append([])
    del by_run[-1]  # what came after the last run
    found: dict[str, Called] = {}
    for event in (each for run in by_run[-runs:] for each in run):
        name = str(event["name"]).removesuffix(_SUFFIX)
        before = found.get(name)
        found[name] = Called(
            name,
            str(event["args"]["op_name"]),
            (before.calls if before else 0) + 1,
            (before.time_s if before else 0.0) + float(event["dur"]) * 1e-6,
        )
    return list(found.values())
