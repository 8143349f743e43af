"""A lower precision of an artifact: converted from the fp32 one beside it, proved against it."""

import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from greenbatch.exporter.precisions import convert, int8
from greenbatch.exporter.precisions.calibration import of_a_folder
from greenbatch.exporter.publishing import Report, locked, publish, staging_folder
from greenbatch.exporter.recipe import EXPORTER, RECIPE_SCHEMA, Recipe, versions
from greenbatch.models.agreement import FEWEST_CHANNELS
from greenbatch.models.artifacts import Artifact, load_artifact, sha256, sound_manifest, stem
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
    processor: str | None = None,
) -> Manifest:
    """Make an artifact of lower precision, unless it is there and made from the same fp32 one.

    One in int8 that is there keeps its calibration and its processor, unless others are given.

    Args:
        name: Of a model whose fp32 artifact is in ``out_dir``.
        precision: One of `greenbatch.exporter.precisions.PRECISIONS`.
        out_dir: Folder of the artifacts.
        calibration: Folder of photographs for int8; ``None``: seeded synthetic images, or what
            an artifact that is there was calibrated on.
        force: Convert in any case.
        on_step: Is called with each step, in a few words.
        processor: What int8 is for: ``cpu`` or ``gpu``; ``None``: as an artifact that is there,
            else ``cpu``.

    Warns:
        UserWarning: One that was calibrated on photographs is made again on synthetic images, as
            none are given.

    Raises:
        ArtifactError: There is no fp32 artifact, or it is damaged.
        UnknownNameError: No such precision or processor.
        ExportError: It cannot be converted, or computes something else than fp32.
    """
    folder = Path(out_dir)
    report = on_step or (lambda step: None)
    with locked(folder, name, report):
        fp32 = load_artifact(folder, name)
        before = sound_manifest(folder, name, precision)
        given = calibration is not None or processor is not None
        if processor is None:
            processor = "gpu" if before and before.proved_with == IN_FLOAT else "cpu"
        recipe = _recipe(fp32, precision, calibration, processor)
        if before and not force and recipe.made(before.recipe, exactly=given):
            report(f"{name} in {precision} is up to date")
            return before
        if before and calibration is None and of_a_folder(before.calibration):
            warnings.warn(
                f"{name} in {precision} was calibrated on {before.calibration}; it is calibrated "
                "on synthetic images now, give --calibration for others",
                stacklevel=2,
            )
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
                recipe=str(recipe),
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


def find_lower(name: str, precision: str, out_dir: Path | str = "artifacts") -> Manifest | None:
    """Return an artifact's manifest if `export_lower` without choices would leave it as it is.

    Raises:
        ArtifactError: There is no fp32 artifact, or it is damaged.
    """
    folder = Path(out_dir)
    there = sound_manifest(folder, name, precision)
    recipe = _recipe(load_artifact(folder, name), precision, None, "cpu")
    return there if there and recipe.made(there.recipe, exactly=False) else None


def _recipe(fp32: Artifact, precision: str, calibration: Path | None, processor: str) -> Recipe:
    """Return what a lower precision is made from; its calibration and processor are a choice."""
    images = sorted(calibration.rglob("*")) if calibration else []
    files = [[str(path), path.stat().st_size] for path in images if path.is_file()]
    base = {
        "exporter": EXPORTER,
        "schema": RECIPE_SCHEMA,
        "fp32": fp32.manifest.sha256,
        "precision": precision,
        "channels": FEWEST_CHANNELS,
        "onnxruntime": versions().get("onnxruntime"),
        **({"weights": int8.WEIGHTS} if precision == "int8" else {}),
    }
    return Recipe.of(base, [files, processor if precision == "int8" else ""])
