"""A backend's outputs held against the reference's, which are those of fp32 on the CPU."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.arrays import read_arrays
from greenbatch.errors import MeasurementError
from greenbatch.models.output_rows import Outputs
from greenbatch.records import Agreement, Cell, TensorSpec
from greenbatch.runners import backends

if TYPE_CHECKING:
    import numpy as np

_NOISE = "noise"
_SMALL = 1e-2  # an output's largest value below which rounding may be much of it
REFERENCE_IMAGES = 4
"""How many of a batch's images are checked against the reference: enough for a wrong row to show,
few enough to cost little. That every row is right at any batch size is the artifact's own proof."""


def reference_arrays(task: backends.Task) -> "dict[str, np.ndarray]":
    """Run a backend on the first images; return its outputs as a reference keeps them.

    Args:
        task: Of ONNX Runtime on the CPU.

    Raises:
        MeasurementError: It computes what cannot be compared.
    """
    arrays: dict[str, np.ndarray] = {}
    for size in _sizes(task):
        smaller = task.smaller(size)
        backend = backends.resolve(backends.find(task.cell.backend))(smaller)
        backend.run()
        outputs = outputs_of(backend, smaller)
        arrays |= {_key(size, place): outputs[name] for place, name in enumerate(outputs)}
    return arrays | _noise(task, outputs)


def outputs_of(backend: backends.Backend, task: backends.Task) -> Outputs:
    """Return a backend's outputs, which are of the form that the manifest states.

    Raises:
        MeasurementError: One is missing, misshapen or not finite.
    """
    from greenbatch.models.agreement import fault_of_form

    specs = task.manifest.outputs
    outputs = backends.named_outputs(backend, task.manifest)
    if wrong := fault_of_form(specs, outputs, len(task.images)):
        raise MeasurementError(
            f"{task.cell.backend} computes what cannot be compared: {wrong}; it is not timed, try "
            "another precision or version"
        )
    return {spec.name: outputs[spec.name] for spec in specs}


def _noise(task: backends.Task, outputs: Outputs) -> "dict[str, np.ndarray]":
    """Return how far the reference is from itself unoptimised, where an output is nearly 0."""
    import numpy as np

    nearly_zero = [
        place
        for place, spec in enumerate(task.manifest.outputs)
        if not (spec.index or spec.counted)
        and outputs[spec.name].dtype.kind == "f"
        and float(np.abs(outputs[spec.name]).max(initial=0.0)) < _SMALL
    ]
    if not nearly_zero or task.cell.settings:
        return {}
    kind = backends.find(task.cell.backend)
    plain = backends.check_settings(kind.name, {"graph_optimization_level": "disable"})
    backend = backends.resolve(kind)(replace(task, settings=plain))
    backend.run()
    again = outputs_of(backend, task)
    names = list(outputs)
    return {
        f"{_NOISE}-{place}": np.abs(outputs[names[place]] - again[names[place]]).max(keepdims=True)
        for place in nearly_zero
    }


def _sizes(task: backends.Task) -> list[int]:
    """Return the batches that a reference is made for: the largest, where it can be cut."""
    from greenbatch.models.output_rows import can_be_cut

    largest = len(task.images)
    return [largest] if can_be_cut(task.manifest.outputs) else list(range(1, largest + 1))


def _key(size: int, place: int) -> str:
    """Return what an output is called in the reference: names may hold anything."""
    return f"{size}-{place}"


def _read_reference(file: Path, specs: Sequence[TensorSpec], images: int) -> Outputs:
    """Return the reference's outputs of the first images."""
    from greenbatch.models.output_rows import part

    arrays = read_arrays(file, lambda key: not key.startswith(_NOISE), axes=None)
    sizes = sorted({int(key.partition("-")[0]) for key in arrays})
    size = next(size for size in sizes if size >= images)
    outputs = {spec.name: arrays[_key(size, place)] for place, spec in enumerate(specs)}
    return outputs if size == images else part(specs, outputs, 0, images)


def _read_noise(file: Path, specs: Sequence[TensorSpec]) -> dict[str, float]:
    """Return the reference's own noise, by output, as far as it was found out."""
    arrays = read_arrays(file, lambda key: key.startswith(_NOISE), axes=None)
    found = {int(key.partition("-")[2]): float(value.max()) for key, value in arrays.items()}
    return {spec.name: found[place] for place, spec in enumerate(specs) if place in found}


def agreement_of(outputs: Outputs, task: backends.Task, reference: Path) -> Agreement:
    """Compare a backend's outputs with the reference's.

    Raises:
        MeasurementError: They are further apart than the precision explains.
    """
    from greenbatch.models.agreement import compare, fault
    from greenbatch.models.output_rows import by_row, part

    specs = task.manifest.outputs
    images = min(len(task.images), REFERENCE_IMAGES)
    wanted = _read_reference(reference, specs, images)
    noise = _read_noise(reference, specs)
    found = compare(specs, wanted, part(specs, outputs, 0, images), task.cell.precision, noise)
    if wrong := fault(found, task.cell.precision):
        raise MeasurementError(
            f"{task.cell.backend} computes something else in {task.cell.precision} than ONNX "
            f"Runtime does on the CPU in fp32: {wrong}; it is not timed, try another version of it"
        )
    return Agreement(
        images=images,
        max_rel=found.max_rel if found.output else None,
        cosine=found.cosine if found.output else None,
        equal=found.equal,
        counts={s.name: len(by_row(s, outputs[s.name])) for s in specs if s.counted},
        weak=found.weak,
    )


def judged_by_itself(cell: Cell) -> bool:
    """Whether a cell's outputs are compared with those of its artifact computed in float32.

    The artifact may have been proved on another processor. Products of int8 are exact on most, and
    some CPUs saturate them.
    """
    return cell.precision == "int8" and backends.find(cell.backend).device == "cpu"


def check_arithmetic(outputs: Outputs, task: backends.Task, reference: Path | None) -> None:
    """Check that this processor computes an int8 artifact as the artifact says.

    Raises:
        MeasurementError: It computes something else.
    """
    from greenbatch.models.agreement import arithmetic_fault, compare
    from greenbatch.models.artifacts import export_command
    from greenbatch.models.output_rows import part

    if reference is None:
        return
    specs = task.manifest.outputs
    images = min(len(task.images), REFERENCE_IMAGES)
    wanted = _read_reference(reference, specs, images)
    found = compare(specs, wanted, part(specs, outputs, 0, images), "int8")
    again = export_command(task.artifact.parent, task.cell.model, "int8")
    if wrong := arithmetic_fault(found, task.cell.model, again):
        raise MeasurementError(f"{wrong}; it is not timed")
