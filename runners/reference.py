"""What every backend is held to: logits of fp32 on ONNX Runtime's CPU provider."""

from collections.abc import Mapping
from pathlib import Path

from greenbatch.errors import MeasurementError
from greenbatch.files import make_folder
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell, artifact_key
from greenbatch.runners.images import read
from greenbatch.runners.measuring import REFERENCE_IMAGES
from greenbatch.runners.process import ChildFailed, ChildProcess
from greenbatch.runners.repetition import loading
from greenbatch.runners.study import Study

BACKEND = "onnxruntime-cpu"

_TIMEOUT_S = 600.0  # the protocol may be shorter: its rule is for repetitions


def make_references(
    study: Study, artifacts: Mapping[str, Artifact], folder: Path
) -> dict[str, Path]:
    """Compute the reference logits of each model of a study, in a process of its own.

    They are computed anew whenever a run is begun or resumed, which takes seconds: a file that lies
    in the run already may have come from somebody else, and would make any output agree.

    Args:
        study: Its images are taken, or its seed says the synthetic ones.
        artifacts: By `artifact_key`; the fp32 one of each model is used.
        folder: Where ``MODEL.npy`` of shape (`REFERENCE_IMAGES`, classes) is kept.

    Returns:
        The files by model.

    Raises:
        MeasurementError: A model does not run there.
        RunError: The study's images are no longer what they were.
    """
    if study.images:
        read(study.images)
    make_folder(folder)
    files = {}
    for model in study.models:
        file = files[model] = folder / f"{model}.npy"
        _make(Cell(model, BACKEND, batch_size=REFERENCE_IMAGES), study, artifacts, file)
    return files


def _make(cell: Cell, study: Study, artifacts: Mapping[str, Artifact], file: Path) -> None:
    artifact = artifacts[artifact_key(cell.model, "fp32")]
    try:
        with ChildProcess(max(study.rules.timeout_s, _TIMEOUT_S)) as child:
            child.begin("reference", cell.backend)
            child.finish(loading(cell, artifact, study) | {"out": str(file)}, "made")
    except ChildFailed as failure:
        raise MeasurementError(
            f"cannot compute what outputs of {cell.model} are held to, on {cell.how}: "
            f"{failure.reason}; export it again, or leave the model out"
        ) from failure
