"""What an export says of its artifact: lines for a person, one of JSON for a script."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from greenbatch import units
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import ArtifactError

if TYPE_CHECKING:
    from greenbatch.exporter.rebatch.rewrite import Rebatched
    from greenbatch.exporter.verify import Finding
    from greenbatch.records import Manifest, TensorSpec

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
        notes: A sentence each.
        as_json: Print a JSON line instead, with the notes in it.
        rebatched: What was done to an ``.onnx`` file, where it came from one.
    """
    if as_json:
        result = event(manifest, out, "up to date" if up_to_date else "proved", notes)
        if rebatched:
            result["rebatched"] = {
                "was": rebatched.was,
                "changes": rebatched.changes,
                "redrawn": rebatched.redrawn,
            }
        typer.echo(json.dumps(result))
        return
    for sentence in notes:
        note(sentence)
    worst = max(parity.max_rel for parity in manifest.parity)
    took = "up to date" if up_to_date else f"exported in {units.duration(manifest.export_s)}"
    against = f"largest error {worst:.1e} of the largest logit"
    if found := manifest.fidelity:
        against = (
            f"against fp32: cosine {found.cosine:.5f}, top-1 agreement {found.top1_agreement:.0%} "
            f"of {found.images} images"
        )
    echo(
        f"{out / manifest.file}: {took}; {manifest.weights.kind} weights "
        f"({manifest.weights.detail}), {against}, at batch "
        f"{', '.join(str(p.batch_size) for p in manifest.parity)}"
    )
    if manifest.calibration:
        echo(f"  calibrated on {manifest.calibration}")
    for line in _rewritten(manifest, rebatched) if rebatched else ():
        echo(f"  {line}")


def gpu_notes(manifest: "Manifest", out: Path) -> list[str]:
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
                f"{len(left.shape)} of {left.nodes} nodes, sizes alone, on the CPU"
            )
    if sentences and manifest.precision == "int8" and "for GPUs" not in manifest.calibration:
        sentences.append("for a GPU, export int8 with --int8-for gpu")
    return sentences


def placement_of(finding: "Finding") -> dict[str, dict[str, object]] | None:
    """Return what a script would read of `gpu_notes`; ``None``: the artifact is damaged."""
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
        (image,), (logits,) = manifest.inputs, manifest.outputs
        yield f"input {image.name}: {_sizes(image, rebatched.was)} becomes {_sizes(image)}"
        yield f"output {logits.name}: {_sizes(logits, rebatched.was)} becomes {_sizes(logits)}"
    elif not rebatched.changes:
        yield "its batch axis is free already, and nothing was rewritten"
    yield from rebatched.changes[:_MOST_CHANGES]
    if (more := len(rebatched.changes) - _MOST_CHANGES) > 0:
        yield f"and {more} more; --json lists them all"
    if rebatched.redrawn:
        yield (
            f"proved with {rebatched.redrawn} of its constants redrawn at random, as with its own "
            "the output is the same for all images; the artifact holds its own"
        )


def _sizes(tensor: "TensorSpec", batch: int | str = "batch") -> str:
    return "x".join(map(str, (batch, *tensor.dims[1:])))


def event(
    manifest: "Manifest", out: Path, verdict: str, notes: Collection[str]
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
        "max_rel": max(parity.max_rel for parity in manifest.parity),
        "rows_rel": max(parity.rows_rel for parity in manifest.parity),
        "weights": f"{manifest.weights.kind} ({manifest.weights.detail})",
        "notes": list(notes),
    }
