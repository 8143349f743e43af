"""Top-1 and top-5 accuracy of an artifact, measured on labelled photographs."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.confidence import NORMAL_QUANTILE
from greenbatch.errors import (
    BackendUnavailable,
    MeasurementError,
    PlacementError,
    UsageError,
    first_line,
)
from greenbatch.files import make_folder, write_atomically
from greenbatch.models.agreement import arithmetic_fault, difference, is_classifier
from greenbatch.models.artifacts import Artifact, export_command
from greenbatch.models.image_folder import LabelledPhotographs, read_batches
from greenbatch.models.inputs import other_inputs
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import by_image
from greenbatch.privacy import masked
from greenbatch.records.accuracy import FOLDER, Accuracy, Rate
from greenbatch.runners.backends import tf32
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = ["Accuracy", "Progress", "Rate", "classes_of", "evaluate", "rank_of", "save", "wilson"]

_PROVIDERS = ("cpu", "cuda")
_SHUFFLE_SEED = 0
_OTHERS_SEED = 0  # of random inputs beside the images
_ARITHMETIC_IMAGES = 8  # saturation shows in each
_NAMED = 20  # broken files that are listed; all are counted


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an evaluation stands: images done of all, and an estimate of the time left in s."""

    done: int
    total: int
    left_s: float


def evaluate(
    artifact: Artifact,
    photographs: LabelledPhotographs,
    data: str,
    *,
    provider: str = "cpu",
    batch_size: int = 32,
    limit: int | None = None,
    threads: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Accuracy:
    """Run an artifact on labelled photographs and count how often it is right.

    Args:
        artifact: Its manifest's ``input`` says how a photograph is prepared.
        photographs: Files and classes.
        data: What to call them in the record.
        provider: ``cpu`` or ``cuda``.
        batch_size: Largest, at least 1.
        limit: Evaluate a seeded choice of this many; the same for every artifact.
        threads: Of ONNX Runtime on the CPU; 0: its own choice.
        on_progress: Called after each batch.
        clock: Monotonic, in s.

    Raises:
        MeasurementError: No photograph could be read, the graph does not run, or this processor
            computes an int8 artifact as another network.
        BackendUnavailable: The provider cannot run on this machine.
        PlacementError: It would leave nodes to the CPU.
        UsageError: ``limit`` or ``batch_size`` is below 1, the input cannot be a photograph, or the
            network is no classifier.
    """
    import numpy as np

    for name, value in (("batch size", batch_size), ("limit", 1 if limit is None else limit)):
        if value < 1:
            raise UsageError(f"the {name} is {value}; wanted 1 or more")
    manifest = artifact.manifest
    chosen = list(range(len(photographs.paths)))
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(_SHUFFLE_SEED).sample(chosen, limit))
    paths = [photographs.paths[index] for index in chosen]
    labels = np.array([photographs.labels[index] for index in chosen])
    report = on_progress or (lambda progress: None)
    broken: dict[str, str] = {}
    first = fifth = images = 0
    with tf32.forbidden_for(provider, manifest.precision):  # providers are called as their devices
        run = _open(artifact, provider, threads)
        began_s = clock()
        batches = read_batches(
            paths,
            manifest.input,
            batch_size,
            lambda path, reason: broken.setdefault(str(path), reason),
        )
        for indices, batch in batches:
            logits = run(batch)
            if not images and manifest.precision == "int8" and provider == "cpu":
                _check_arithmetic(artifact, threads, batch[:_ARITHMETIC_IMAGES], logits)
            ranks = rank_of(logits, labels[indices])
            first += int((ranks < 1).sum())
            fifth += int((ranks < 5).sum())
            images += len(batch)
            done = indices[-1] + 1
            passed_s = clock() - began_s
            report(Progress(done, len(paths), passed_s / done * (len(paths) - done)))
        duration_s = clock() - began_s
    if not images:
        raise MeasurementError(
            f"none of the {units.count(len(paths), 'image')} in {data} can be read, the first "
            f"because: {next(iter(broken.values()))}"
        )
    return Accuracy(
        model=manifest.model,
        precision=manifest.precision,
        artifact_sha256=manifest.sha256,
        weights=f"{manifest.weights.kind} ({manifest.weights.detail})",
        data=masked(data),
        mapping=photographs.mapping,
        images=images,
        limit=limit,
        broken=len(broken),
        broken_files=dict(list(broken.items())[:_NAMED]),
        top1=wilson(first, images),
        top5=wilson(fifth, images) if classes_of(artifact) >= 5 else None,
        provider=provider,
        batch_size=batch_size,
        duration_s=round(duration_s, 3),
        images_per_s=images / max(duration_s, 1e-9),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def save(record: Accuracy, artifacts: Path) -> Path:
    """Write a record beside the artifacts; return its file.

    Raises:
        FileError: The folder cannot be written to.
    """
    path = artifacts / FOLDER / f"{record.model}-{record.precision}.json"
    make_folder(path.parent)
    write_atomically(path, record.to_json())
    return path


def classes_of(artifact: Artifact) -> int:
    """Return the number of classes that an artifact's output has a number for.

    Raises:
        UsageError: It is no classifier.
    """
    outputs = artifact.manifest.outputs
    if not is_classifier(outputs):
        shown = ", ".join(f"{o.name} {' x '.join(map(str, o.dims))}" for o in outputs)
        model = artifact.manifest.model
        raise UsageError(
            f"{model} is no classifier, so it has no top-1 accuracy: it puts out {shown} instead "
            "of one number for each class; what a lower precision costs it is its fidelity to "
            f"fp32, which '{export_command(artifact.folder, model, 'int8')}' reports"
        )
    return int(outputs[0].dims[1])


def rank_of(logits: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Return how many classes were put before the right one, for each image.

    A tie counts against the network: one that puts out the same for all classes is never right.

    Args:
        logits: (N, classes).
        labels: (N,), indices of classes.
    """
    import numpy as np

    right = logits[np.arange(len(labels)), labels]
    before = (logits >= right[:, None]).sum(axis=1) - 1
    # What is not a number is before nothing; an image that gives it is not right either.
    ranks: NDArray[np.int64] = np.where(np.isfinite(right), before, logits.shape[1])
    return ranks


def wilson(right: int, of: int) -> Rate:
    """Return a binomial share with its 95 % score interval (Wilson 1927; Brown et al. 2001, eq. 4).

    >>> rate = wilson(0, 10)
    >>> round(rate.low, 3), round(rate.high, 3)
    (0.0, 0.278)
    """
    share, z2 = right / of, NORMAL_QUANTILE * NORMAL_QUANTILE
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    error = math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    half = NORMAL_QUANTILE / (1 + z2 / of) * error
    return Rate(
        value=share,
        low=0.0 if right == 0 else centre - half,
        high=1.0 if right == of else centre + half,
    )


def _check_arithmetic(
    artifact: Artifact,
    threads: int,
    images: "NDArray[np.float32]",
    logits: "NDArray[np.float32]",
) -> None:
    """Check that this processor computes an int8 artifact as the same graph in float32 does.

    Raises:
        MeasurementError: Its products saturate here, and its accuracy would be another network's.
    """
    wanted = _open(artifact, "cpu", threads, optimise=False)(images)
    model = artifact.manifest.model
    again = export_command(artifact.folder, model, "int8")
    if wrong := arithmetic_fault(difference(wanted, logits[: len(wanted)]), model, again):
        raise MeasurementError(f"{wrong}; it is not evaluated")


def _open(
    artifact: Artifact, provider: str, threads: int, *, optimise: bool = True
) -> "Callable[[NDArray[np.float32]], NDArray[np.float32]]":
    """Return a function from images to logits that runs on the provider alone.

    Unoptimised, ONNX Runtime computes an int8 graph in float32, which no processor saturates.
    """
    import numpy as np

    if provider not in _PROVIDERS:
        raise UsageError(f"unknown provider {provider!r}; choose one of {', '.join(_PROVIDERS)}")
    wanted = PROVIDERS[provider]
    if reason := OnnxSession.unavailable(provider):
        raise BackendUnavailable(reason)
    name = wanted.execution_provider
    try:
        session = open_session(
            artifact.path,
            provider=name,
            settings=wanted.defaults(artifact.manifest.precision, threads, None),
            threads=threads,
            optimise=optimise,
            may_be_half=True,
        )
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise PlacementError(
            f"{name} does not take {artifact.path.name}: {first_line(error)}; choose another "
            "--provider or --precision"
        ) from error

    input_spec, (output,) = artifact.manifest.input, artifact.manifest.outputs

    def run(batch: "NDArray[np.float32]") -> "NDArray[np.float32]":
        inputs = {input_spec.name: batch, **other_inputs(input_spec, len(batch), _OTHERS_SEED)}
        try:
            (logits,) = session.run([output.name], inputs)
        except Exception as error:
            raise MeasurementError(
                f"{artifact.path.name} does not run at batch size {len(batch)}: "
                f"{first_line(error)}; choose a smaller --batch-size"
            ) from error
        return by_image(output, np.asarray(logits, np.float32))

    return run
