"""``gb export``: networks into verified ONNX artifacts."""

import json
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units

if TYPE_CHECKING:
    from greenbatch.records import Manifest


def export(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models; the five study models by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the artifacts.")] = Path("artifacts"),
    weights: Annotated[
        str, typer.Option(help="auto, pretrained, random or a .safetensors or .pth file.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Export what is up to date too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each.")] = False,
) -> None:
    """Export models to ONNX with a dynamic batch axis, each checked against torch."""
    from greenbatch.exporter import export_model
    from greenbatch.models import registry

    names = list(dict.fromkeys(models or registry.STUDY))
    for name in names:
        registry.find(name)  # a wrong name is told before anything is exported
    told: set[str] = set()
    for name in names:
        manifest_path = out / f"{name}-fp32.json"
        before = manifest_path.read_bytes() if manifest_path.exists() else None
        if not as_json and sys.stderr.isatty():
            typer.echo(f"{name} ...\r", nl=False, err=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            manifest = export_model(name, out, weights=weights, seed=seed, force=force)
        notes = {str(warning.message) for warning in caught} - told
        told |= notes  # what concerns all models is said once
        up_to_date = before is not None and before == manifest_path.read_bytes()
        _tell(manifest, out, up_to_date, notes, as_json)


def _tell(
    manifest: "Manifest", out: Path, up_to_date: bool, notes: Collection[str], as_json: bool
) -> None:
    if as_json:
        event = {
            "model": manifest.model,
            "file": str(out / manifest.file),
            "up_to_date": up_to_date,
            "export_s": manifest.export_s,
            "weights": f"{manifest.weights.kind} ({manifest.weights.detail})",
            "notes": list(notes),
        }
        typer.echo(json.dumps(event))
        return
    for note in notes:
        typer.echo(f"gb: {note}", err=True)
    worst = max(parity.max_rel for parity in manifest.parity)
    spread = manifest.parity[0].spread
    took = "up to date" if up_to_date else f"exported in {units.duration(manifest.export_s)}"
    typer.echo(
        f"{out / manifest.file}: {took}; {manifest.weights.kind} weights "
        f"({manifest.weights.detail}), largest error {worst:.1e} of the largest logit "
        f"(spread {spread:.2g}) at batch {', '.join(str(p.batch_size) for p in manifest.parity)}"
    )
