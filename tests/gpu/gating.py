"""What a test of a CUDA device needs, and the task of a backend on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from greenbatch.testing.outputs import only_output

MODEL = "shufflenet_v2_x0_5"
MARKS = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        bool(cuda_driver.unavailable()), reason=cuda_driver.unavailable() or "it is not skipped"
    ),
    pytest.mark.alone,
]


def need(backend: str) -> type[backends.Backend]:
    """Return the class of a backend, or skip the test with the reason why it does not run here."""
    spec = backends.find(backend)
    try:
        found = backends.resolve(spec)
        reason = found.unavailable(spec.provider)
    except ImportError as error:
        reason = f"{backend} cannot be imported: {error}"
    if reason:
        pytest.skip(reason)
    return found


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A cell of a test, and what its task has beyond it."""

    backend: str
    model: str = MODEL
    precision: str = "fp32"
    artifact_precision: str | None = None
    io: str = "host"
    batch_size: int = 4
    settings: Mapping[str, backends.Setting] = field(default_factory=dict)
    cache: Path | None = None


def load(artifacts: Path, wanted: Wanted) -> backends.Backend:
    """Load a network, or skip the test where its backend does not run here."""
    return need(wanted.backend)(task(artifacts, wanted))


def task(artifacts: Path, wanted: Wanted) -> backends.Task:
    """Return what a backend loads."""
    exported = wanted.artifact_precision or wanted.precision
    artifact = load_artifact(artifacts, wanted.model, exported)
    images = inputs.synthetic_images(registry.find(wanted.model).input, wanted.batch_size, seed=0)
    return backends.Task(
        cell=Cell(
            wanted.model,
            wanted.backend,
            precision=wanted.precision,
            io=wanted.io,
            batch_size=wanted.batch_size,
        ),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=2,
        images=images,
        settings=wanted.settings,
        cache=wanted.cache,
    )


def logits(backend: backends.Backend, runs: int = 1) -> np.ndarray:
    """Return the logits of the last of some runs."""
    for _ in range(runs):
        backend.run()
    return only_output(backend)


def reference(artifacts: Path, model: str = MODEL, batch_size: int = 4) -> np.ndarray:
    """Return the logits of ONNX Runtime on the CPU, in fp32."""
    return logits(
        load(artifacts, Wanted(backend="onnxruntime-cpu", model=model, batch_size=batch_size))
    )
