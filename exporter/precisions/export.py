"""A lower precision of an artifact: converted from the fp32 one beside it, proved against it."""

import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from greenbatch.errors import ArtifactError
from greenbatch.exporter.precisions import convert
from greenbatch.exporter.precisions.int8 import WEIGHTS
from greenbatch.exporter.publishing import Report, locked, publish, staging_folder
from greenbatch.exporter.recipe import EXPORTER, RECIPE_SCHEMA, versions
from greenbatch.models.agreement import FEWEST_CHANNELS
from greenbatch.models.artifacts import Artifact, load_artifact, sha256, stem
from greenbatch.models.instructions import instruction_set
from greenbatch.records import Manifest

IN_FLOAT = "float32"
"""What an int8 artifact for GPUs is proved with: no processor's products of 8 bits."""


def export_lower(
    name: str,
    precision: str,
    out_dir: Path | str = "artifacts",
    *,
    calibration: Path | None = None,
    force: bool = False,
    on_step: Report | None = None,
    processor: str = "cpu",
) -> Manifest:
    """Make an artifact of lower precision, unless it is there and made from the same fp32 one.

    Args:
        name: Of a model whose fp32 artifact is in ``out_dir``.
        precision: One of `greenbatch.exporter.precisions.PRECISIONS`.
        out_dir: Folder of the artifacts.
        calibration: Folder of photographs for int8; ``None``: seeded synthetic images.
        force: Convert in any case.
        on_step: Is called with each step, in a few words.
        processor: What int8 is for: ``cpu`` or ``gpu``.

    Raises:
        ArtifactError: There is no fp32 artifact, or it is damaged.
        UnknownNameError: No such precision or processor.
        ExportError: It cannot be converted, or computes something else than fp32.
    """
    folder = Path(out_dir)
    report = on_step or (lambda step: None)
    with locked(folder, name, report):
        fp32 = load_artifact(folder, name)
        recipe = _recipe(fp32, precision, calibration, processor)
        if not force and (manifest := _up_to_date(folder, name, precision, recipe)):
            report(f"{name} in {precision} is up to date")
            return manifest
        began = time.perf_counter()
        with staging_folder(folder, name) as staging:
            path = staging / f"{stem(name, precision)}.onnx"
            made = convert(fp32, precision, path, calibration, report, processor)
            manifest = replace(
                fp32.manifest,
                precision=precision,
                file=path.name,
                sha256=sha256(path),
                size_bytes=path.stat().st_size,
                data_file="",
                data_sha256="",
                opset=made.graph.opset,
                nodes=made.graph.nodes,
                inputs=made.graph.inputs,
                outputs=made.graph.outputs,
                parity=made.parity,
                fidelity=made.fidelity,
                calibration=made.calibration,
                proved_with=_proved_with(precision, processor),
                kept_in_fp32=made.kept,
                recipe=recipe,
                exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
                export_s=round(time.perf_counter() - began, 3),
                versions=versions(),
            )
            publish(folder, manifest, [path])
    return manifest


def _proved_with(precision: str, processor: str) -> str:
    """Return the instructions that a proof depends on."""
    if precision != "int8":
        return ""
    return instruction_set() if processor == "cpu" else IN_FLOAT


def _recipe(fp32: Artifact, precision: str, calibration: Path | None, processor: str) -> str:
    """Return the hash of what a lower precision is made from."""
    images = sorted(calibration.rglob("*")) if calibration else []
    ingredients = {
        "exporter": EXPORTER,
        "schema": RECIPE_SCHEMA,
        "fp32": fp32.manifest.sha256,
        "precision": precision,
        "channels": FEWEST_CHANNELS,
        "calibration": [[str(path), path.stat().st_size] for path in images if path.is_file()],
        "onnxruntime": versions().get("onnxruntime"),
        **({"weights": WEIGHTS} if precision == "int8" else {}),
        **({"processor": processor} if precision == "int8" and processor != "cpu" else {}),
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def _up_to_date(folder: Path, name: str, precision: str, recipe: str) -> Manifest | None:
    try:
        manifest = load_artifact(folder, name, precision).manifest
    except ArtifactError:  # missing or damaged: made again in either case
        return None
    return manifest if manifest.recipe == recipe else None
