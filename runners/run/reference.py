"""What every backend is checked against: outputs of fp32 on ONNX Runtime's CPU provider.

int8 on a CPU is also compared with the same artifact computed in float32: unoptimised, ONNX Runtime
multiplies in float32 and rounds each result to its type, which no processor saturates.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from greenbatch.design.study import Study
from greenbatch.errors import MeasurementError
from greenbatch.files import make_folder
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell, artifact_key
from greenbatch.runners.child.handle import ChildFailed
from greenbatch.runners.child.messages import Made, MakeReference
from greenbatch.runners.child.reference_outputs import REFERENCE_IMAGES, judged_by_itself
from greenbatch.runners.child.starting import Starter
from greenbatch.runners.run.repetition import loading
from greenbatch.runners.scenarios.preprocessing import read

BACKEND = "onnxruntime-cpu"

_IN_FLOATS = (("graph_optimization_level", "disable"),)

_TIMEOUT_S = 600.0  # the protocol may be shorter: its rule is for repetitions


def make_references(
    study: Study, artifacts: Mapping[str, Artifact], folder: Path, starter: Starter
) -> dict[str, Path]:
    """Compute the reference outputs of each model of a study, in a process of its own.

    They are computed anew whenever a run is begun or resumed, which takes seconds: a file that lies
    in the run already may have come from somebody else, and would make any output agree.

    Args:
        study: Its images are taken, or its seed says the synthetic ones.
        artifacts: By `artifact_key`; those of fp32 are used, and those of int8 that a CPU runs.
        folder: Where ``MODEL.npz``, the outputs of `REFERENCE_IMAGES`, is kept, and
            ``MODEL@int8.npz``.
        starter: Starts the processes.

    Returns:
        The files by `artifact_key`.

    Raises:
        MeasurementError: A model does not run there.
        RunError: The study's images are no longer what they were.
    """
    if study.images:
        read(study.images)
    make_folder(folder)
    in_int8 = {cell.model for cell in study.cells() if judged_by_itself(cell)}
    cells = [Cell(model, BACKEND, batch_size=REFERENCE_IMAGES) for model in study.models]
    cells += [
        replace(cell, precision="int8", settings=_IN_FLOATS)
        for cell in cells
        if cell.model in in_int8
    ]
    files = {}
    for cell in cells:
        key = artifact_key(cell.model, cell.precision)
        file = files[key] = folder / f"{key}.npz"
        _make(cell, study, artifacts[key], file, starter)
    return files


def _make(cell: Cell, study: Study, artifact: Artifact, file: Path, starter: Starter) -> None:
    timeout_s = max(study.rules.timeout_s, _TIMEOUT_S)
    try:
        with starter.start(cell.backend, timeout_s) as child:
            child.begin("reference", cell.backend)
            child.finish(MakeReference(load=loading(cell, artifact, study), out=file), Made)
    except ChildFailed as failure:
        raise MeasurementError(
            f"cannot compute the reference outputs of {cell.model} on {cell.how}: "
            f"{failure.reason}; export it again, or leave the model out"
        ) from failure
