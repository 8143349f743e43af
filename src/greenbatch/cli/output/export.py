"""What an export says of its artifact: lines for a person, one of JSON for a script."""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from greenbatch import units
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import ArtifactError
from greenbatch.models.agreement import FEWEST_EQUAL, is_classifier

if TYPE_CHECKING:
    from greenbatch.exporter.onnx_file.inspection import OnnxFacts
    from greenbatch.exporter.rebatch.rewrite import Rebatched
    from greenbatch.exporter.verify import Finding
    from greenbatch.records import Manifest, TensorSpec

_AXES = {"C": "channels", "T": "frames", "H": "height", "W": "width"}
_MOST_KEPT = 6  # nodes that a person reads
_MOST_CHANGES = 12  # that a person reads; a transformer has a hundred of one kind


def print_export(
    manifest: "Manifest",
    out: Path,
    *,
    up_to_date: bool,
    notes: Collection[str],
    as_json: bool,
    rebatched: "Rebatched | None" = None,
) -> None:
    """Print what became of a network; notes go to standard error.

    Args:
        manifest: Of its artifact.
        out: Folder of the artifacts.
        up_to_date: It was there already.
        notes: What the export warned of, a sentence each.
        as_json: Print a JSON line instead, with the notes in it.
        rebatched: What was done to an ``.onnx`` file, where it came from one.
    """
    on_gpu = _gpu_notes(manifest, out)
    if as_json:
        if rebatched and rebatched.was is not None:
            freed = (
                f"the batch axis of {manifest.origin}, fixed at {rebatched.was}, is freed in "
                f"{manifest.file}: changed in {units.count(len(rebatched.changes), 'place')}, and "
                "the result was proved against the original"
            )
            notes = [freed, *notes]
        result = event(manifest, out, "up to date" if up_to_date else "proved", notes, on_gpu)
        if rebatched:
            result["rebatched"] = {
                "was": rebatched.was,
                "changes": rebatched.changes,
                "redrawn": rebatched.redrawn,
            }
        typer.echo(json.dumps(result))
        return
    for sentence in (*notes, *on_gpu):
        note(sentence)
    took = "up to date" if up_to_date else f"exported in {units.duration(manifest.export_s)}"
    echo(
        f"{out / manifest.file}: {took}; {manifest.weights.kind} weights "
        f"({manifest.weights.detail}), {_against(manifest)}, at batch "
        f"{', '.join(str(p.batch_size) for p in manifest.parity)}"
    )
    echo(f"  {_cost(manifest)}")
    if not is_classifier(manifest.outputs) and not (rebatched and rebatched.was):
        for output in manifest.outputs:
            echo(f"  {_described(output, fixed=False)}")
    for line in _cast(manifest.inputs, manifest.outputs):
        echo(f"  {line}")
    if kept := manifest.kept_in_fp32:
        more = f" and {len(kept) - _MOST_KEPT} more" if len(kept) > _MOST_KEPT else ""
        echo(
            f"  kept in fp32, as they lose too much in {manifest.precision}: "
            f"{units.count(len(kept), 'node')} ({', '.join(kept[:_MOST_KEPT])}{more})"
        )
    if manifest.calibration:
        echo(f"  calibrated on {manifest.calibration}")
    for line in _rewritten(manifest, rebatched) if rebatched else ():
        echo(f"  {line}")


def _cost(manifest: "Manifest") -> str:
    """Say what an image costs: ``1.37 M parameters, 40.5 M multiply-adds per image``."""
    number = manifest.parameters
    parameters = (
        f"{units.si(number, '').strip()} parameters"
        if number >= 1000
        else units.count(number, "parameter")
    )
    if manifest.multiply_adds is not None:
        counted = units.si(manifest.multiply_adds, "").strip()
        return f"{parameters}, {counted} multiply-adds per image"
    why = manifest.not_counted or "the artifact was made before they were counted"
    return f"{parameters}; multiply-adds not counted: {why}"


def _against(manifest: "Manifest") -> str:
    """Say how near an artifact is to what it was proved against."""
    found = manifest.fidelity
    if found is None:
        if all(output.index or output.counted for output in manifest.outputs):
            return f"at least {100 * FEWEST_EQUAL['fp32']:g} % of its positions or detections agree"
        worst = max(parity.max_rel for parity in manifest.parity)
        return f"largest error {worst:.1e} of the largest value"
    of = f" of {found.output}" if found.output and found.top1_agreement is None else ""
    shown = []
    if of or found.equal is None:
        shown.append(f"cosine {found.cosine:.5f}{of}")
    if found.top1_agreement is not None:
        shown.append(f"top-1 agreement {found.top1_agreement:.0%}")
    if found.equal is not None:
        shown.append(f"{found.equal:.1%} of the positions or detections the same")
    if found.channels is not None and found.channels < 1:
        shown.append(f"{found.channels:.1%} of the channels not lost")
    return f"against fp32: {', '.join(shown)}, over {units.count(found.images, 'image')}"


def _cast(inputs: "Sequence[TensorSpec]", outputs: "Sequence[TensorSpec]") -> Iterator[str]:
    """Say which inputs and outputs have another type in the network, a line for each."""
    for tensor in inputs:
        if kind := tensor.network_dtype:
            yield f"input {tensor.name}: {kind} in the network; a Cast rounds the {tensor.dtype}"
    for tensor in outputs:
        if kind := tensor.network_dtype:
            yield f"output {tensor.name}: {kind} in the network; a Cast makes it {tensor.dtype}"


def _described(output: "TensorSpec", *, fixed: bool) -> str:
    """Say what an output is; where the batch is fixed, none of its axes is known to be it."""
    kind = ", positions" if output.index else ""
    kind += ", as many rows as the data decide" if output.counted else ""
    if not fixed and output.batch_axis is None and not output.counted:
        kind += ", the same for all images"
    return f"output {output.name}: {output.dtype} {_dims(output)}{kind}"


def description(facts: "OnnxFacts", given: Sequence[str]) -> Iterator[str]:
    """Say what was understood of an ``.onnx`` file, a line for each input and output.

    Args:
        facts: What was found.
        given: Its inputs as a user wrote them.
    """
    yield (
        f"{facts.path}: {units.count(facts.nodes, 'node')}, opset {facts.opset}, "
        f"{units.count(facts.parameters, 'parameter')}"
    )
    image, *others = facts.inputs
    axes = " x ".join(_AXES[axis] for axis in facts.input.layout)
    yield f"  input {image.name}: {image.dtype} {_dims(image)} (batch x {axes})"
    for tensor, other in zip(others, facts.input.others, strict=True):
        value = "random" if other.value is None else f"{other.value:g}"
        yield f"  input {tensor.name}: {tensor.dtype} {_dims(tensor)}, {value}"
    for output in facts.outputs:
        yield f"  {_described(output, fixed=facts.batch is not None)}"
    for line in _cast(facts.inputs, facts.outputs):
        yield f"  {line}"
    if facts.batch is None:
        yield "  the batch axis is free"
    else:
        yield f"  the batch is fixed at {facts.batch}; it is freed before it is measured"
    options = " ".join(f"--input {shlex.quote(text)}" for text in given)
    yield f"measure: gb bench {shlex.quote(str(facts.path))} {options}".rstrip()


def _dims(tensor: "TensorSpec") -> str:
    return " x ".join(map(str, tensor.dims)) or "a number"


def _gpu_notes(manifest: "Manifest", out: Path) -> list[str]:
    """Say what CUDA and TensorRT would leave to the CPU of an artifact, a sentence for each.

    Args:
        manifest: Of the artifact.
        out: Folder of the artifacts.
    """
    from greenbatch.exporter.placement.check import check_placement

    try:
        found = check_placement(out / manifest.file)
    except ArtifactError as error:  # the artifact itself is proved
        return [str(error)]
    sentences = []
    for left in found:
        if left.fault:
            sentences.append(f"{manifest.model} in {manifest.precision}: {left.fault}")
        elif left.shape:
            sentences.append(
                f"{manifest.model} in {manifest.precision}: {left.provider} computes "
                f"{len(left.shape)} of {units.count(left.nodes, 'node')}, sizes alone, on the CPU"
            )
    if sentences and manifest.precision == "int8" and "for GPUs" not in manifest.calibration:
        sentences.append("for a GPU, export int8 with --int8-for gpu")
    return sentences


def _placement_of(finding: "Finding") -> dict[str, dict[str, object]] | None:
    """Return what a script would read of `_gpu_notes`; ``None``: the artifact is damaged."""
    from greenbatch.exporter.placement.check import check_placement

    if finding.fault or finding.manifest is None:
        return None
    return {
        left.provider: {
            "table": left.table,
            "nodes": left.nodes,
            "computing": list(left.computing),
            "shape": list(left.shape),
        }
        for left in check_placement(finding.file.with_name(finding.manifest.file))
    }


def _rewritten(manifest: "Manifest", rebatched: "Rebatched") -> Iterator[str]:
    """Say what was rewritten in an ``.onnx`` file, a line for each."""
    if rebatched.was is not None:
        for what, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
            for tensor in tensors:
                if tensor.batch_axis is not None:
                    before = _dims_at(tensor, rebatched.was)
                    yield f"{what} {tensor.name}: {before} becomes {_dims(tensor)}"
    elif not rebatched.changes:
        cast = any(_cast(manifest.inputs, manifest.outputs))
        rest = "nothing but these was rewritten" if cast else "nothing was rewritten"
        yield f"its batch axis is free already, and {rest}"
    yield from rebatched.changes[:_MOST_CHANGES]
    if (more := len(rebatched.changes) - _MOST_CHANGES) > 0:
        yield f"and {more} more; --json lists them all"
    if rebatched.redrawn:
        yield (
            f"proved with {rebatched.redrawn} of its constants redrawn at random, as with its own "
            "the output is the same for all images; the artifact holds its own"
        )


def _dims_at(tensor: "TensorSpec", batch: int) -> str:
    """Write a tensor's sizes for a batch; what the data decide keeps its name."""
    rows = tensor.rows_per_image * batch
    axis = tensor.batch_axis
    return " x ".join(str(rows if at == axis else dim) for at, dim in enumerate(tensor.dims))


def event(
    manifest: "Manifest",
    out: Path,
    verdict: str,
    notes: Collection[str],
    on_gpu: Collection[str],
) -> dict[str, object]:
    """Say of an artifact what a script would read."""
    from greenbatch.models.artifacts import Artifact

    return {
        "model": manifest.model,
        "precision": manifest.precision,
        "verdict": verdict,
        "file": str(out / manifest.file),
        "up_to_date": verdict == "up to date",
        "export_s": manifest.export_s,
        "size_bytes": Artifact(out, manifest).size_bytes,
        "nodes": manifest.nodes,
        "parameters": manifest.parameters,
        "multiply_adds": manifest.multiply_adds,
        "multiply_adds_not_counted": manifest.not_counted,
        "max_rel": max(parity.max_rel for parity in manifest.parity),
        "rows_rel": max(parity.rows_rel for parity in manifest.parity),
        "weights": f"{manifest.weights.kind} ({manifest.weights.detail})",
        "outputs": [
            {
                "name": o.name,
                "dtype": o.dtype,
                "network_dtype": o.network_dtype or o.dtype,
                "dims": list(o.dims),
                "positions": o.index,
            }
            for o in manifest.outputs
        ],
        "fidelity": asdict(manifest.fidelity) if manifest.fidelity else None,
        "kept_in_fp32": list(manifest.kept_in_fp32),
        "notes": list(notes),
        "gpu_notes": list(on_gpu),
    }


def print_check(folder: Path, *, as_json: bool) -> int:
    """Check the artifacts in a folder, print a line for each, and return how many are damaged.

    Args:
        folder: Of the artifacts.
        as_json: Print a JSON line for each instead.
    """
    from greenbatch.exporter.verify import check_folder

    faults = 0
    for finding in check_folder(folder):
        faults += bool(finding.fault)
        if as_json:
            line = {
                "file": str(finding.file),
                "model": finding.manifest.model if finding.manifest else None,
                "precision": finding.manifest.precision if finding.manifest else None,
                "ok": not finding.fault,
                "fault": finding.fault or None,
                "left_to_cpu": _placement_of(finding),
            }
            typer.echo(json.dumps(line))
        elif finding.fault:
            echo(f"damaged: {finding.fault}")
        else:
            assert finding.manifest is not None
            echo(f"ok: {folder / finding.manifest.file}")
            for sentence in _gpu_notes(finding.manifest, folder):
                echo(f"  {sentence}")
    return faults
