"""Model spec -> verified artifact: the ONNX file, the same weights, and the manifest."""

import contextlib
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError, ExportError, UnknownNameError
from greenbatch.exporter.recipe import identities, recipe, versions
from greenbatch.models import ModelSpec, find
from greenbatch.models.artifacts import load_artifact, sha256, stem
from greenbatch.models.weights import Weights, WeightsApplied
from greenbatch.records import Manifest, WeightsRecord

if TYPE_CHECKING:
    from torch import nn

PRECISIONS = ("fp32",)

Tell = Callable[[str], None]


class WeightsWarning(UserWarning):
    """Random weights were taken, as published ones could not be had."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a module's weights came from, and the hash of all that an artifact is made from."""

    applied: WeightsApplied
    recipe: str


def export_model(
    name: str,
    out_dir: Path | str = "artifacts",
    *,
    precision: str = "fp32",
    weights: str | Path | Weights = "auto",
    seed: int = 0,
    force: bool = False,
    on_step: Tell | None = None,
) -> Manifest:
    """Make a model's artifact, unless it is there and nothing that goes into it has changed.

    An artifact is up to date if its manifest's recipe is one that the arguments lead to (see
    `greenbatch.exporter.recipe`) and its files have the hashes that the manifest states. That is
    found out without importing torch.

    Args:
        name: In the registry.
        out_dir: Folder of the artifacts; made if it is not there.
        precision: One of `PRECISIONS`.
        weights: See `greenbatch.models.weights.Weights`.
        seed: Of random weights.
        force: Export in any case.
        on_step: Is told each step in a few words.

    Returns:
        The manifest, as it is in the file.

    Raises:
        UnknownNameError: No such model, precision or weights.
        WeightsError: The weights cannot be had or do not fit.
        ExportError: The network did not become a verified artifact; no file is left of it.

    Warns:
        WeightsWarning: ``auto`` found no published weights; the text is the same for all models.
    """
    spec = find(name)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    choice = Weights.parse(weights)
    folder = Path(out_dir)
    tell = on_step or (lambda step: None)
    recipes = {
        kind: recipe(spec, precision, identity)
        for kind, identity in identities(spec, choice, seed).items()
    }
    with _locked(folder, name, tell):
        if not force and (manifest := _up_to_date(folder, name, precision, recipes)):
            tell(f"{name} is up to date")
            return manifest

        from greenbatch.models.build import build
        from greenbatch.models.weights import load_weights

        tell(f"building {name}")
        began = time.perf_counter()
        module = build(spec)
        applied = load_weights(module, spec, choice, seed)
        if applied.note:
            warnings.warn(applied.note, WeightsWarning, stacklevel=2)
        origin = Origin(applied, recipes[applied.kind])
        return _make(module, spec, folder, precision, origin, tell, began)


def export_module(
    module: "nn.Module",
    spec: ModelSpec,
    out_dir: Path | str,
    origin: Origin,
    *,
    precision: str = "fp32",
    on_step: Tell | None = None,
) -> Manifest:
    """Make an artifact of any network that maps images to logits, as it is.

    Args:
        module: Maps (N, C, H, W) to (N, classes); it is put into evaluation mode.
        spec: Names it and says its input.
        out_dir: Folder of the artifacts; made if it is not there.
        origin: For the manifest.
        precision: For the manifest and the file's name.
        on_step: Is told each step in a few words.

    Raises:
        ExportError: The network did not become a verified artifact; no file is left of it.
    """
    folder = Path(out_dir)
    tell = on_step or (lambda step: None)
    with _locked(folder, spec.name, tell):
        return _make(module.eval(), spec, folder, precision, origin, tell, time.perf_counter())


def _up_to_date(
    folder: Path, name: str, precision: str, recipes: dict[str, str]
) -> Manifest | None:
    try:
        manifest = load_artifact(folder, name, precision).manifest
    except ArtifactError:  # missing or damaged: made again in either case
        return None
    return manifest if manifest.recipe in recipes.values() else None


def _make(
    module: "nn.Module",
    spec: ModelSpec,
    folder: Path,
    precision: str,
    origin: Origin,
    tell: Tell,
    began: float,
) -> Manifest:
    """Make the three files in a folder of their own, verify them, then give them their names."""
    from greenbatch.exporter.graph import write_graph
    from greenbatch.exporter.parity import BATCH_SIZES, check_parity

    name = stem(spec.name, precision)
    with _workshop(folder, spec.name) as workshop:
        graph_path = workshop / f"{name}.onnx"
        tell(f"exporting {spec.name}")
        graph = write_graph(module, spec, graph_path)
        tell(f"verifying {spec.name} at batch {', '.join(map(str, BATCH_SIZES))}")
        parity = check_parity(module, graph_path, spec, precision)
        tell(f"writing {spec.name}")
        weights_path, weights_sha256 = _write_weights(
            module, spec, workshop, graph_path.stat().st_mode & 0o777
        )
        manifest = Manifest(
            model=spec.name,
            precision=precision,
            file=graph_path.name,
            sha256=sha256(graph_path),
            size_bytes=graph_path.stat().st_size,
            opset=graph.opset,
            nodes=graph.nodes,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            inputs=graph.inputs,
            outputs=graph.outputs,
            weights=WeightsRecord(
                kind=origin.applied.kind,
                detail=origin.applied.detail,
                file=weights_path.name,
                sha256=weights_sha256,
            ),
            parity=parity,
            input=spec.input,
            source=spec.source,
            recipe=origin.recipe,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            export_s=round(time.perf_counter() - began, 3),
            versions=versions(),
        )
        manifest_path = workshop / f"{name}.json"
        manifest_path.write_text(manifest.to_json(), encoding="utf-8")
        # The manifest goes first and comes last: while it is there, all that it names is right.
        (folder / manifest_path.name).unlink(missing_ok=True)
        for path in (weights_path, graph_path, manifest_path):
            path.replace(folder / path.name)
    _sweep_weights(folder, spec.name)
    return manifest


def _write_weights(
    module: "nn.Module", spec: ModelSpec, workshop: Path, mode: int
) -> tuple[Path, str]:
    """Write a module's state for runtimes that do not read ONNX.

    The file is named by its content, so precisions exported from the same weights share it and
    those exported from others do not lose theirs.
    """
    from safetensors.torch import save_file

    draft = workshop / "weights.safetensors"
    state = {key: value.detach().contiguous().clone() for key, value in module.state_dict().items()}
    save_file(state, draft)
    draft.chmod(mode)  # safetensors lets nobody else read it
    digest = sha256(draft)
    return draft.rename(workshop / f"{spec.name}-{digest[:12]}.safetensors"), digest


def _sweep_weights(folder: Path, name: str) -> None:
    """Remove weights of a model that none of its manifests names any more."""
    used = "".join(path.read_text(encoding="utf-8") for path in folder.glob(f"{name}-*.json"))
    for path in folder.glob(f"{name}-*.safetensors"):
        ours = re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}\.safetensors", path.name)
        if ours and path.name not in used:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, name: str, tell: Tell) -> Iterator[None]:
    """Hold the only right to write a model's files in ``folder``; translate what disks say."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"waiting for another export of {name}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise ExportError(
            f"cannot write artifacts into {folder}: {error.strerror or error}; "
            "choose another folder or make room"
        ) from error


@contextlib.contextmanager
def _workshop(folder: Path, name: str) -> Iterator[Path]:
    """Make a folder beside the artifacts that vanishes with all that did not become one.

    Under the lock nobody else works on this model: what a killed export left is removed.
    """
    prefix = f".{name}.export-"
    for left in folder.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=prefix) as path:
        yield Path(path)
