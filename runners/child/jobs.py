"""What a child process is asked to do: measure a repetition, try a batch, make a reference.

Each job loads one network in one backend. Instants are on `time.perf_counter`, which every process
of a machine shares.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.arrays import read_array
from greenbatch.errors import MeasurementError
from greenbatch.files import draft
from greenbatch.models.artifacts import manifest_at
from greenbatch.records import FACTORS, Cell
from greenbatch.runners import backends
from greenbatch.runners.child import windows
from greenbatch.runners.child.system import affinity, idle_for, peak_memory_bytes
from greenbatch.runners.child.windows import Request, Tell, clock

if TYPE_CHECKING:
    import numpy as np

    from greenbatch.records import InputSpec
    from greenbatch.runners.scenarios.preprocessing import Photograph, Preprocessor

REFERENCE_IMAGES = 4
"""How many of a batch's images are held to the reference: enough for a wrong row to show, few
enough to cost little. That every row is right at any batch size is the artifact's own proof."""


def prepare(backend: str) -> None:
    """Import all that a job on a backend needs, so that its load is timed without it."""
    for package in ("numpy", *backends.resolve(backends.find(backend)).packages):
        import_module(package)


def measure_repetition(request: Request, tell: Tell, born_s: float) -> None:
    """Load a cell's network, hold it to the reference, warm it up and measure its window.

    Args:
        request: As `repetition` makes it: the cell, the files of its artifact, protocol, lead,
            window and idle lengths in s, and where to save latencies.
        tell: Writes an event: ``loaded``, ``warm``, ``ended``, ``measured``.
        born_s: When the process began.

    Raises:
        MeasurementError: The backend computes something else than the reference, or what was in
            force changed while it was measured.
    """
    import numpy as np

    ready_s = clock()
    task = task_of(request)
    preprocessor = _preprocessor(request, task)
    cached = task.cache is not None and any(task.cache.iterdir())
    load_s = clock()
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    loaded_s = clock()
    tell(event="loaded")

    backend.run()
    first_s = clock()
    if preprocessor:  # until now it ran others: that it takes new images is held to the reference
        preprocessor.before(backend, backend.run, task.cell.batch_size)()
    agreement = _agreement(backend.outputs(), task, request["reference"])
    _check_arithmetic(backend.outputs(), task, request["arithmetic"])
    settings = dict(backend.settings)
    idle: dict[str, tuple[float, float]] = {}
    if request["idle_before_s"]:
        idle["before"] = idle_for(request["idle_before_s"])
    measure = windows.measure_server if task.cell.is_server else windows.measure_offline
    loaded = windows.Loaded(backend, task, first_s - loaded_s, settings, preprocessor)
    measured = measure(loaded, request, tell)
    _check_logits(backend.outputs(), task.cell.batch_size)
    _check_unchanged(settings, dict(backend.settings))
    if request["idle_after_s"]:
        idle["after"] = idle_for(request["idle_after_s"])

    with draft(Path(request["arrays"])) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **dict(measured.arrays))  # type: ignore[arg-type]
    host_bytes, children_bytes = peak_memory_bytes()
    start_s, end_s = measured.window
    members = {
        "pid": os.getpid(),
        "window": measured.window,
        "idle": idle,
        "one_off": {"load": (load_s, loaded_s), "first": (loaded_s, first_s)},
        "cache": _cache(task.cache, cached),
        "agreement": agreement,
        "warm_up": asdict(measured.warm_up),
        "memory_host_bytes": host_bytes,
        "memory_children_bytes": children_bytes,
        "placement": dict(backend.placement),
        "fell_back": backend.fell_back,
        "settings": {**_surroundings(task.cell), **settings, **measured.settings},
        "phases_s": {
            "start": ready_s - born_s,
            "images": load_s - ready_s,
            "load": loaded_s - load_s,
            "first": first_s - loaded_s,
            "warm_up": measured.warm_up.duration_s,
            "window": end_s - start_s,
        },
    }
    tell(**(members | dict(measured.members)), event="measured")


def try_batch(request: Request, tell: Tell, born_s: float) -> None:
    """Load a cell's network and run its batch twice; tell ``fits``."""
    task = task_of(request)
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    backend.run()
    backend.run()
    _check_logits(backend.outputs(), task.cell.batch_size)
    tell(event="fits")


def make_reference(request: Request, tell: Tell, born_s: float) -> None:
    """Save the reference: a backend's logits of the first images; tell ``made``."""
    import numpy as np

    task = task_of(request)
    backend = backends.resolve(backends.find(task.cell.backend))(task)
    backend.run()
    logits = backend.outputs()
    _check_logits(logits, task.cell.batch_size)
    with draft(Path(request["out"])) as unfinished, unfinished.open("wb") as file:
        np.save(file, logits)
    tell(event="made")


_HERE = "greenbatch.runners.child.jobs"
_TRAINING = "greenbatch.runners.training.child.jobs"
_LAYERS = "greenbatch.runners.layers.jobs"
JOBS: Mapping[str, str] = {
    "repetition": f"{_HERE}:measure_repetition",
    "batch": f"{_HERE}:try_batch",
    "reference": f"{_HERE}:make_reference",
    "training": f"{_TRAINING}:train",
    "rehearsal": f"{_TRAINING}:rehearse",
    "outline": f"{_LAYERS}:outline",
    "layers": f"{_LAYERS}:measure_layers",
}
"""Who does a job, ``module:function``; imported when it is asked for, as backends are."""


def resolve(job: str) -> "Callable[[Request, Tell, float], None]":
    """Import the function behind a job."""
    module, _, name = JOBS[job].partition(":")
    found: Callable[[Request, Tell, float], None] = getattr(import_module(module), name)
    return found


def task_of(request: Request) -> backends.Task:
    cell = Cell(**request["cell"])
    manifest = manifest_at(Path(request["manifest"]))
    return backends.Task(
        cell=cell,
        artifact=Path(request["artifact"]),
        weights=Path(request["weights"]),
        manifest=manifest,
        threads=request["threads"],
        images=_images(request, manifest.input, cell.batch_size),
        allow_fallback=request["allow_fallback"],
        settings=backends.check_settings(cell.backend, dict(cell.settings)),
        source=request["source"],
        cache=Path(request["cache"]) if request.get("cache") else None,
    )


def _images(request: Request, form: "InputSpec", size: int) -> "np.ndarray":
    """Return the batch: the study's images, or synthetic ones until they come in the window."""
    from greenbatch.models import inputs
    from greenbatch.runners.scenarios import preprocessing as images

    if not request["images"] or _in_window(request):
        return inputs.synthetic_images(form, size, seed=request["seed"])
    return images.batch(_photographs(request), form, size)


def _preprocessor(request: Request, task: backends.Task) -> "Preprocessor | None":
    from greenbatch.runners.scenarios.preprocessing import Preprocessor

    if not _in_window(request):
        return None
    return Preprocessor(_photographs(request), task.manifest.input, task.cell.batch_size, clock)


def _photographs(request: Request) -> "list[Photograph]":
    from greenbatch.design.images import ImageSet
    from greenbatch.runners.scenarios import preprocessing as images

    return images.in_order(images.read(ImageSet(**request["images"])), request["seed"])


def _in_window(request: Request) -> bool:
    return request.get("preprocessing") == "pipeline"


def _agreement(logits: "np.ndarray", task: backends.Task, reference: str) -> dict[str, float]:
    """Hold a backend's logits to the reference's.

    Raises:
        MeasurementError: They are further apart than the precision explains.
    """
    from greenbatch.models.agreement import difference, fault

    _check_logits(logits, task.cell.batch_size)
    images = min(task.cell.batch_size, REFERENCE_IMAGES)
    wanted, got = read_array(Path(reference))[:images], logits[:images]
    if wanted.shape != got.shape:
        raise MeasurementError(
            f"{task.cell.backend} puts out {got.shape[1]} numbers for an image, the reference "
            f"{wanted.shape[1]}; it runs another network, and is not timed"
        )
    found = difference(wanted, got)
    if wrong := fault(found, task.cell.precision):
        raise MeasurementError(
            f"{task.cell.backend} computes something else in {task.cell.precision} than ONNX "
            f"Runtime does on the CPU in fp32: {wrong}; it is not timed, try another version of it"
        )
    return {"images": images, "max_rel": found.max_rel, "cosine": found.cosine}


def judged_by_itself(cell: Cell) -> bool:
    """Whether a cell's logits are compared with those of its artifact computed in float32.

    The artifact may have been proved on another processor. Products of int8 are exact on most, and
    some CPUs saturate them.
    """
    return cell.precision == "int8" and backends.find(cell.backend).device == "cpu"


def _check_arithmetic(logits: "np.ndarray", task: backends.Task, reference: str) -> None:
    """Check that this processor computes an int8 artifact as the artifact says.

    Raises:
        MeasurementError: It computes something else.
    """
    from greenbatch.models.agreement import arithmetic_fault, difference

    if not reference:
        return
    wanted = read_array(Path(reference))[: len(logits)]
    if wrong := arithmetic_fault(difference(wanted, logits[: len(wanted)]), task.cell.model):
        raise MeasurementError(f"{wrong}; it is not timed")


def _check_logits(logits: "np.ndarray", batch_size: int) -> None:
    import numpy as np

    if logits.ndim != 2 or len(logits) != batch_size or not np.isfinite(logits).all():
        raise MeasurementError(
            f"the logits have shape {logits.shape} and "
            f"{int(np.count_nonzero(~np.isfinite(logits)))} values that are not finite; wanted "
            f"{batch_size} rows of finite numbers, try another precision or version"
        )


def _check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
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


def _surroundings(cell: Cell) -> dict[str, str]:
    """Tell the factors that the process sets, not the backend."""
    on_cpu = backends.find(cell.backend).device == "cpu"
    inside = "none" if on_cpu or cell.io == "device" else "inputs and outputs, in the window"
    return {
        "affinity": affinity(),
        "transfers": inside,
    }


def _cache(folder: Path | None, cached: bool) -> str | None:
    if folder is None or not any(folder.iterdir()):
        return None
    return "warm" if cached else "cold"
