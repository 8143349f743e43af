"""A network in int8: all that is quantised by rule, or all but the nodes that lose too much."""

import math
from dataclasses import dataclass
from pathlib import Path

from greenbatch import units
from greenbatch.errors import ParityError
from greenbatch.exporter.precisions import fidelity, int8
from greenbatch.exporter.precisions.job import (
    Converted,
    Job,
    checked_rows,
    compared,
    not_mended,
    outputs_of,
    read_written,
)
from greenbatch.exporter.precisions.sensitivity import choices
from greenbatch.exporter.precisions.trials import QuantisedLoss, wanted_of
from greenbatch.exporter.precisions.unquantised import without
from greenbatch.models.artifacts import export_command

# Methods of calibration and types of weights, in the order they are tried.
_WAYS = {
    "cpu": (
        ("minmax", int8.WEIGHTS[0]),
        ("percentile", int8.WEIGHTS[0]),
        ("minmax", int8.WEIGHTS[1]),
    ),
    "gpu": (("minmax", int8.GPU_WEIGHTS), ("percentile", int8.GPU_WEIGHTS)),
}


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to quantise that was tried, and what it loses."""

    method: str
    weights: str
    loss: float


def quantise(job: Job, processor: str) -> Converted:
    """Take the first way to quantise whose result is within the bound.

    Where none is, the nodes that lose most in the best of them are kept in float32.

    What is for a GPU is computed unoptimised: in float32 from what was dequantised, as CUDA does.
    The products of this processor prove nothing of it, and may saturate where a GPU's do not.

    Raises:
        ParityError: It computes something else than fp32, in each way.
        ExportError: It cannot be quantised.
    """
    here = processor == "cpu"
    refused: ParityError | None = None
    ways: list[_Way] = []
    for method, weights in _WAYS[processor]:
        job.report(
            f"quantising {job.name} ({method}, weights {weights}, "
            f"{units.count(len(job.learnt), 'image')})"
        )
        _write(job, method, weights, processor)
        losses: list[float] = []
        try:
            return _prove(job, _calibrated(job, method, weights, here), losses, here)
        except ParityError as error:
            refused = refused or error
        ways.append(_Way(method, weights, max(losses, default=math.inf)))
    assert refused is not None
    job.report(f"measuring which nodes of {job.name} lose accuracy in int8")
    found = _keep_some(job, min(ways, key=lambda way: way.loss), processor)
    if found is None:
        raise not_mended(refused)
    return found


def _write(job: Job, method: str, weights: str, processor: str, floats: Path | None = None) -> None:
    """Quantise; where some nodes are to be kept in float32, each Relu and Clip stays a node.

    Otherwise the quantiser lets the range of the rounding behind them do their work.
    """
    int8.write_int8(
        job.fp32.path,
        job.out_path,
        job.name,
        job.learnt,
        method,
        weights,
        processor=processor,
        floats=floats,
        extra_options={"QDQKeepRemovableActivations": True} if floats else {},
    )


def _calibrated(job: Job, method: str, weights: str, here: bool) -> str:
    """Say what was calibrated on, and how."""
    text = (
        f"{job.learnt.data}: {units.count(len(job.learnt), 'image')}, {method}; weights {weights}"
    )
    return text if here else f"{text}; for GPUs: signed activations, bias in float32"


def _keep_some(job: Job, way: _Way, processor: str) -> Converted | None:
    """Keep the nodes that lose most in float32; ``None``: half of them is not enough."""
    import onnx

    here = processor == "cpu"
    path = job.folder / "floats.onnx"
    _write(job, way.method, way.weights, processor, path)
    quantised = onnx.load(job.out_path)
    floats = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    wanted = wanted_of(job.fp32.path, job.wanted.images, job.wanted.specs, job.name)
    loss = QuantisedLoss(quantised, floats, wanted, job.folder)
    calibrated = _calibrated(job, way.method, way.weights, here)
    for kept in choices(loss.nodes, loss):
        onnx.save(without(quantised, floats, kept), job.out_path)
        in_order = tuple(node.name for node in loss.nodes if node.name in kept)
        try:
            return _prove(job, calibrated, [], here, in_order)
        except ParityError:
            continue
    return None


def _prove(
    job: Job, calibrated: str, losses: list[float], here: bool, kept: tuple[str, ...] = ()
) -> Converted:
    """Prove what was written; its loss is added to ``losses`` as soon as it is known."""
    graph = read_written(job)
    got = outputs_of(job, optimise=here)
    found = compared(job, got)
    losses.append(fidelity.loss(found, "int8"))
    fidelity.judge(job.name, found, "int8")
    if here:
        images, specs = job.wanted.images, job.wanted.specs
        again = export_command(job.fp32.folder, job.name, "int8")
        fidelity.check_arithmetic(job.out_path, images, specs, job.name, again, got)
    rows = checked_rows(job, optimise=here)
    return Converted(graph, found, rows, calibrated, kept)
