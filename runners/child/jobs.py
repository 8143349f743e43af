"""What a child process does on request: measure a repetition, try a batch, make a reference.

Each job loads one network in one backend. Instants are on `time.perf_counter`, which every process
of a machine shares.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from greenbatch.arrays import write_arrays
from greenbatch.errors import MeasurementError, UnknownNameError
from greenbatch.files import draft
from greenbatch.models.artifacts import manifest_at
from greenbatch.records import FACTORS, Cell
from greenbatch.records.cells import THREADS
from greenbatch.runners import backends
from greenbatch.runners.child import messages, windows
from greenbatch.runners.child.messages import Request
from greenbatch.runners.child.network import LoadedNetwork, goes_on
from greenbatch.runners.child.reference_outputs import (
    agreement_of,
    check_arithmetic,
    outputs_of,
    reference_arrays,
)
from greenbatch.runners.child.system import affinity, gpu_uuid, idle_for, peak_memory_bytes
from greenbatch.runners.child.windows import Send, clock

if TYPE_CHECKING:
    import numpy as np

    from greenbatch.design.images import ImageSet
    from greenbatch.records import InputSpec
    from greenbatch.runners.scenarios.preprocessing import Photograph, Preprocessor

RequestT = TypeVar("RequestT", bound=Request)


def prepare(backend: str) -> None:
    """Import all that a job on a backend needs, so that its load is timed without it."""
    for package in ("numpy", *backends.resolve(backends.find(backend)).packages):
        import_module(package)


@dataclass(frozen=True, slots=True)
class Job(Generic[RequestT]):
    """A job that a child can do.

    Attributes:
        request: What is sent with it.
        run: Does it, from the request, a way to send messages and the time the process began;
            later by as long as it waited for the request.
    """

    request: type[RequestT]
    run: "Callable[[RequestT, Send, float], None]"

    def answer(self, line: bytes, send: Send, born_s: float) -> None:
        """Do the job that a line asks for.

        Raises:
            MessageError: The line is not its request.
        """
        request = messages.decode(line, self.request)
        for kind in request.events:  # made now, not in what is timed
            messages.adapter_of(kind)
        self.run(request, send, born_s)


def measure_repetition(
    network: LoadedNetwork, request: messages.MeasureRepetition, send: Send, born_s: float
) -> None:
    """Load a cell's network, check it against the reference, warm it up and measure its window.

    Args:
        network: What the process has loaded; it is loaded for each other network.
        request: See there.
        send: Sends ``Loaded``, ``Idling``, ``Warm``, ``Ended``, ``Measured``.
        born_s: When the process began; later by as long as it waited for the request.

    Raises:
        MeasurementError: The backend computes something else than the reference, or what was in
            force changed while it was measured.
    """
    ready_s = clock()
    task = task_of(request.load)
    preprocessor = _preprocessor(request.load, task)
    cached = task.cache is not None and any(task.cache.iterdir())
    load_s = clock()
    backend, is_new = network.for_batch(request.load, task)
    loaded_s = clock()
    send(messages.Loaded())
    if not is_new:
        request = replace(request, protocol=request.protocol.in_session())

    backend.run()
    first_s = clock()
    if preprocessor:  # until now it ran others; new images are checked too
        preprocessor.before(backend, backend.run, task.cell.batch_size)()
    agreement = agreement_of(outputs_of(backend, task), task, request.reference)
    check_arithmetic(outputs_of(backend, task), task, request.arithmetic)
    settings = dict(backend.settings)
    settle = send if request.settles else None
    idle: dict[Literal["before", "after"], messages.Stretch] = {}
    if request.idle_before_s:
        idle["before"] = idle_for(request.idle_before_s, settle)
    measure = windows.measure_server if task.cell.is_server else windows.measure_offline
    loaded = windows.Loaded(backend, task, first_s - loaded_s, settings, preprocessor)
    measured = measure(loaded, request, send)
    outputs_of(backend, task)
    _check_unchanged(settings, dict(backend.settings))
    if request.idle_after_s:
        idle["after"] = idle_for(request.idle_after_s, settle)

    with draft(request.arrays) as unfinished, unfinished.open("wb") as file:
        write_arrays(file, measured.arrays, packed=False)
    host_bytes, children_bytes = peak_memory_bytes()
    start_s, end_s = measured.window
    send(
        messages.Measured(
            pid=os.getpid(),
            window=measured.window,
            cpu_s=measured.cpu_s,
            figures=measured.figures,
            idle=idle,
            one_off={
                **({"load": (load_s, loaded_s)} if is_new else {}),
                "first": (loaded_s, first_s),
            },
            cache=_cache(task.cache, cached),
            agreement=agreement,
            warm_up=measured.warm_up,
            memory_host_bytes=host_bytes,
            memory_children_bytes=children_bytes,
            placement=dict(backend.placement),
            fell_back=backend.fell_back,
            goes_on=goes_on(backend, task.cell),
            was_loaded=is_new,
            gpu_uuid=gpu_uuid(task.cell.backend),
            settings={
                **_process_settings(task.cell, settings.get("copies")),
                **settings,
                **measured.settings,
            },
            phases_s={
                "start": ready_s - born_s,
                "images": load_s - ready_s,
                "load": loaded_s - load_s,
                "first": first_s - loaded_s,
                "warm_up": measured.warm_up.duration_s,
                "window": end_s - start_s,
            },
        )
    )


def try_batch(request: messages.TryBatch, send: Send, born_s: float) -> None:
    """Load a cell's network and run its batch twice; send ``Fits``."""
    task = task_of(request.load)
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    backend.run()
    backend.run()
    outputs_of(backend, task)
    send(messages.Fits())


def make_reference(request: messages.MakeReference, send: Send, born_s: float) -> None:
    """Save the reference: a backend's outputs of the first images; send ``Made``."""
    task = task_of(request.load)
    arrays = reference_arrays(task)
    with draft(request.out) as unfinished, unfinished.open("wb") as file:
        write_arrays(file, arrays, packed=False)
    send(messages.Made())


REPETITION = Job(messages.MeasureRepetition, partial(measure_repetition, LoadedNetwork()))
BATCH = Job(messages.TryBatch, try_batch)
REFERENCE = Job(messages.MakeReference, make_reference)

_HERE = "greenbatch.runners.child.jobs"
_TRAINING = "greenbatch.runners.training.child.jobs"
_LAYERS = "greenbatch.runners.layers.jobs"
JOBS: Mapping[str, str] = {
    "repetition": f"{_HERE}:REPETITION",
    "batch": f"{_HERE}:BATCH",
    "reference": f"{_HERE}:REFERENCE",
    "training": f"{_TRAINING}:TRAINING",
    "preflight": f"{_TRAINING}:PREFLIGHT",
    "cut_network": f"{_LAYERS}:CUT_NETWORK",
    "layers": f"{_LAYERS}:LAYERS",
}
"""The jobs, ``module:name`` of a `Job`; imported when one is ordered, as backends are."""

Answer: TypeAlias = Callable[[bytes, Send, float], None]


def resolve(job: str) -> Answer:
    """Import what answers the request of a job, see `Job.answer`.

    Raises:
        UnknownNameError: There is no such job.
    """
    if job not in JOBS:
        raise UnknownNameError("job", job, JOBS)
    module, _, name = JOBS[job].partition(":")
    answer: Answer = getattr(import_module(module), name).answer
    return answer


def task_of(load: messages.Load) -> backends.Task:
    """Read what is to be loaded: the manifest and the images."""
    from greenbatch.models.inputs import other_inputs

    manifest = manifest_at(load.manifest)
    settings = backends.check_settings(load.cell.backend, dict(load.cell.settings))
    return backends.Task(
        cell=load.cell,
        artifact=load.artifact,
        weights=load.weights,
        manifest=manifest,
        threads=_threads(load, settings),
        images=_images(load, manifest.input, load.cell.batch_size),
        others=other_inputs(manifest.input, load.cell.batch_size, load.seed),
        allow_fallback=load.allow_fallback,
        settings=settings,
        source=load.source,
        cache=load.cache,
    )


def _threads(load: messages.Load, settings: dict[str, backends.Setting]) -> int:
    """Take the number of threads out of a cell's settings; without one it is the study's."""
    if THREADS in backends.resolve(backends.find(load.cell.backend)).options:
        return load.threads  # the backend has a setting of this name, and reads it itself
    return int(settings.pop(THREADS, None) or load.threads)


def _images(load: messages.Load, input_spec: "InputSpec", size: int) -> "np.ndarray":
    """Return the batch: the study's images, or synthetic ones until they come in the window."""
    from greenbatch.models import inputs
    from greenbatch.runners.scenarios import preprocessing

    if not load.images or load.preprocessing == "pipeline":
        return inputs.synthetic_images(input_spec, size, seed=load.seed)
    return preprocessing.batch(_photographs(load.images, load.seed), input_spec, size)


def _preprocessor(load: messages.Load, task: backends.Task) -> "Preprocessor | None":
    from greenbatch.runners.scenarios.preprocessing import Preprocessor

    if load.preprocessing != "pipeline" or not load.images:
        return None
    photographs = _photographs(load.images, load.seed)
    return Preprocessor(photographs, task.manifest.input, task.cell.batch_size, clock)


def _photographs(found: "ImageSet", seed: int) -> "list[Photograph]":
    from greenbatch.runners.scenarios import preprocessing

    return preprocessing.in_order(preprocessing.read(found), seed)


def _check_unchanged(
    before: Mapping[str, backends.Setting], after: Mapping[str, backends.Setting]
) -> None:
    """Refuse a window in which the rules of the comparison changed.

    Raises:
        MeasurementError: A factor that matters to a comparison is another than before the window.
    """
    for factor in FACTORS:
        if before.get(factor) != after.get(factor):
            raise MeasurementError(
                f"{factor} changed from {before.get(factor)} to {after.get(factor)} while it was "
                "measured, so the window stands for neither; set it for the whole run"
            )


def _process_settings(cell: Cell, copies: backends.Setting) -> dict[str, str]:
    """Return the factors that the process sets, not the backend.

    Args:
        cell: That is measured.
        copies: How the backend copies between host and device, if it says so.
    """
    on_cpu = backends.find(cell.backend).device == "cpu"
    inside = "none" if on_cpu or cell.io == "device" else "inputs and outputs, in the window"
    if inside != "none" and copies:
        inside += f": {copies}"
    return {
        "affinity": affinity(),
        "transfers": inside,
    }


def _cache(folder: Path | None, cached: bool) -> Literal["cold", "warm"] | None:
    if folder is None or not any(folder.iterdir()):
        return None
    return "warm" if cached else "cold"
