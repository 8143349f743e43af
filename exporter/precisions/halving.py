"""A network in fp16 or bf16: all of it, or all but the nodes that lose too much."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from greenbatch.errors import ParityError
from greenbatch.exporter.precisions import fidelity, half
from greenbatch.exporter.precisions.job import (
    Converted,
    Job,
    checked_rows,
    compared,
    not_mended,
    outputs_of,
    read_written,
)
from greenbatch.exporter.precisions.providers import find_provider, write_loadable
from greenbatch.exporter.precisions.rounded import write_rounded
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.precisions.sensitivity import choices
from greenbatch.exporter.precisions.trials import RoundedLoss, rounding_nodes, wanted_of

if TYPE_CHECKING:
    import onnx

_ROUNDED_IMAGES = 16  # for an overflow, and for errors that add up, some are enough


def halve(job: Job) -> Converted:
    """Convert all nodes to 16 bits; where that loses too much, all but the fewest.

    Raises:
        ParityError: It computes something else than fp32, with each choice of nodes.
        ExportError: It cannot be converted, or nothing on this machine runs it.
    """
    job.report(f"converting {job.name} to {job.precision}")
    model = half.prepare(job.fp32.path, job.precision, job.name)
    refused: ParityError | None = None
    for kept in _choices(job, model):
        try:
            return _convert(job, model, kept)
        except ParityError as error:
            refused = refused or error
    assert refused is not None
    raise not_mended(refused)


def _choices(job: Job, model: "onnx.ModelProto") -> Iterator[frozenset[str]]:
    """Yield what to keep in float32: nothing at first, then what was measured."""
    yield frozenset()
    job.report(f"measuring which nodes of {job.name} lose accuracy in {job.precision}")
    wanted = wanted_of(job.fp32.path, job.wanted.images, job.wanted.specs, job.name)
    loss = RoundedLoss(model, wanted, job.precision, job.folder)
    yield from choices(rounding_nodes(model, job.precision), loss)


def _convert(job: Job, model: "onnx.ModelProto", kept: Collection[str]) -> Converted:
    _prove_rounded(job, model, kept)

    def write(kept: frozenset[str]) -> "onnx.ModelProto":
        return _write(job, model, kept)

    all_kept = write_loadable(write, job.out_path, kept, job.precision)
    graph = read_written(job)
    provider = find_provider(job.out_path, job.label)
    job.report(f"verifying {job.label}")
    found = compared(job, outputs_of(job, provider))
    fidelity.judge(job.name, found, job.precision)
    rows = checked_rows(job, provider)
    in_order = tuple(node.name for node in model.graph.node if node.name in all_kept)
    return Converted(graph, found, rows, kept=in_order)


def _write(job: Job, model: "onnx.ModelProto", kept: frozenset[str]) -> "onnx.ModelProto":
    import onnx

    try:
        written = half.lower(model, job.precision, kept)
        onnx.save(written, job.out_path)
    except Exception as error:  # onnx's errors and protobuf's have no common root
        raise half.refusal(job.name, job.precision, error) from error
    return written


def _prove_rounded(job: Job, model: "onnx.ModelProto", kept: Collection[str]) -> None:
    """Hold the type itself to the bound, whatever the device does with the graph."""
    path = job.folder / "rounded.onnx"
    write_rounded(model, path, job.precision, kept)
    specs, images = job.wanted.specs, job.wanted.images
    wanted = wanted_of(job.fp32.path, images, specs, job.name, _ROUNDED_IMAGES)
    label = f"{job.name} rounded to {job.precision}"
    got = run(path, wanted.images, specs, label, optimise=False)
    found = fidelity.compare(specs, job.name, wanted.outputs, got, job.precision, wanted.images)
    fidelity.judge(job.name, found, job.precision)
