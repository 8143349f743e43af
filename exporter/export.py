"""Model spec -> verified artifact: the ONNX file, the same weights, and the manifest."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UnknownNameError
from greenbatch.exporter.publishing import Report, locked, publish, staging_folder
from greenbatch.exporter.recipe import Recipe, identities, recipe, versions
from greenbatch.models import ModelSpec, find
from greenbatch.models.artifacts import sha256, sound_manifest, stem
from greenbatch.models.output_rows import Outputs
from greenbatch.models.weights.load import Weights, WeightsApplied
from greenbatch.models.weights.unsaved import unsaved_tensors
from greenbatch.records import Manifest, WeightsRecord

if TYPE_CHECKING:
    import torch
    from torch import nn

    from greenbatch.exporter.torch_to_onnx import Graph

PRECISIONS = ("fp32",)


class WeightsWarning(UserWarning):
    """Random weights were taken, as published ones could not be had."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network came from.

    Attributes:
        applied: Which weights it holds.
        recipe: The hash of all that its artifact is made from; empty where that is not known.
        source: What a user named; empty for a network of the registry.
    """

    applied: WeightsApplied
    recipe: str
    source: str = ""


def export_model(
    name: str,
    out_dir: Path | str = "artifacts",
    *,
    precision: str = "fp32",
    weights: str | Path | Weights = "auto",
    seed: int = 0,
    force: bool = False,
    memory_bytes: int | None = None,
    on_step: Report | None = None,
) -> Manifest:
    """Make a model's artifact, unless it is there and nothing that goes into it has changed.

    An artifact is up to date if its manifest's recipe is one that the arguments lead to (see
    `greenbatch.exporter.recipe`) and its files have the hashes that the manifest states. That is
    found out without importing torch. ``auto`` keeps an artifact with weights of a file.

    Args:
        name: In the registry.
        out_dir: Folder of the artifacts; made if it is not there.
        precision: One of `PRECISIONS`.
        weights: See `greenbatch.models.weights.load.Weights`.
        seed: Of random weights.
        force: Export in any case.
        memory_bytes: The most memory that the proof may take, see
            `greenbatch.exporter.parity.check_parity`; ``None``: any.
        on_step: Is called with each step, in a few words.

    Returns:
        The manifest, as it is in the file.

    Raises:
        UnknownNameError: No such model, precision or weights.
        WeightsError: The weights cannot be had or do not fit.
        ExportError: The network did not become a verified artifact; no file is left of it.

    Warns:
        WeightsWarning: ``auto`` found no published weights; the text is the same for all models.
        UserWarning: An artifact with weights of a file is made again without them, or memory is
            too short for the largest batch of the proof.
    """
    spec = find(name)
    choice = Weights.parse(weights)
    recipes = _recipes(spec, precision, choice, seed)
    folder = Path(out_dir)
    report = on_step or (lambda step: None)

    def take() -> "tuple[nn.Module, Origin]":
        from greenbatch.models.build import build
        from greenbatch.models.weights.load import load_weights

        report(f"building {name}")
        module = build(spec)
        applied = load_weights(module, spec, choice, seed)
        if applied.note:
            warnings.warn(applied.note, WeightsWarning, stacklevel=6)
        return module, Origin(applied, str(recipes[applied.kind]))

    with locked(folder, name, report):
        there = sound_manifest(folder, name, precision)
        if there and not force and _up_to_date(there, recipes, choice):
            report(f"{name} is up to date")
            return there
        if there and choice.kind == "auto" and there.weights.kind == "file":
            warnings.warn(
                f"{name} had the weights of {there.weights.detail}; it is made again without "
                "them, give --weights for others",
                stacklevel=2,
            )
        return _make(take, spec, folder, precision, report, memory_bytes, ours=True)


def export_module(
    module: "nn.Module",
    spec: ModelSpec,
    out_dir: Path | str,
    origin: Origin,
    *,
    precision: str = "fp32",
    memory_bytes: int | None = None,
    on_step: Report | None = None,
) -> Manifest:
    """Make an artifact of any network of images, as it is.

    Args:
        module: Takes the spec's inputs and returns tensors, in any nesting; it is put into
            evaluation mode.
        spec: Names it and says its input.
        out_dir: Folder of the artifacts; made if it is not there.
        origin: For the manifest.
        precision: For the manifest and the file's name.
        memory_bytes: As for `export_model`.
        on_step: Is called with each step, in a few words.

    Raises:
        ExportError: The network did not become a verified artifact; no file is left of it.
    """
    folder = Path(out_dir)
    report = on_step or (lambda step: None)
    with locked(folder, spec.name, report):
        return _make(lambda: (module.eval(), origin), spec, folder, precision, report, memory_bytes)


def find_up_to_date(
    name: str,
    out_dir: Path | str,
    *,
    precision: str = "fp32",
    weights: str | Path | Weights = "auto",
    seed: int = 0,
) -> Manifest | None:
    """Return a model's manifest if `export_model` with these arguments would leave it as it is.

    Raises:
        UnknownNameError: No such model, precision or weights.
        WeightsError: The weights file does not exist.
    """
    choice = Weights.parse(weights)
    recipes = _recipes(find(name), precision, choice, seed)
    there = sound_manifest(Path(out_dir), name, precision)
    return there if there and _up_to_date(there, recipes, choice) else None


def _recipes(spec: ModelSpec, precision: str, choice: Weights, seed: int) -> dict[str, Recipe]:
    """Return the recipes that a choice leads to, by the kind of weights."""
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    return {
        kind: recipe(spec, precision, identity)
        for kind, identity in identities(spec, choice, seed).items()
    }


def _up_to_date(there: Manifest, recipes: Mapping[str, Recipe], choice: Weights) -> bool:
    """Whether an artifact is what a choice leads to; ``auto`` keeps weights of a file."""
    kept = choice.kind == "auto" and there.weights.kind == "file"
    return any(recipe.made(there.recipe, exactly=not kept) for recipe in recipes.values())


@dataclass(frozen=True, slots=True)
class _Made:
    """All that is left of a network when torch's copy of it has been let go."""

    origin: Origin
    parameters: int
    wanted: list[Outputs]
    graph_path: Path
    graph: "Graph"
    weights_path: Path
    weights_sha256: str


def _make(
    take: "Callable[[], tuple[nn.Module, Origin]]",
    spec: ModelSpec,
    folder: Path,
    precision: str,
    report: Report,
    memory_bytes: int | None = None,
    ours: bool = False,
) -> Manifest:
    """Make an artifact's files in a folder of their own, prove them, then give them their names.

    A network that is ``ours`` is let go, weights and all, before its artifact is proved.
    """
    from greenbatch.exporter.multiply_adds import count_multiply_adds
    from greenbatch.exporter.parity import BATCH_SIZES, check_parity

    began = time.perf_counter()
    with staging_folder(folder, spec.name) as staging:
        made = _write(take, spec, staging / f"{stem(spec.name, precision)}.onnx", report, ours)
        report(f"verifying {spec.name} at batch {', '.join(map(str, BATCH_SIZES))}")
        parity = check_parity(
            made.graph_path, spec, made.graph.outputs, made.wanted, memory_bytes=memory_bytes
        )
        counted = count_multiply_adds(made.graph_path, spec.input)
        files = [made.weights_path, made.graph_path]
        if made.graph.data:
            files.append(made.graph.data)
        manifest = Manifest(
            model=spec.name,
            precision=precision,
            file=made.graph_path.name,
            sha256=sha256(made.graph_path),
            size_bytes=made.graph_path.stat().st_size,
            data_file=made.graph.data.name if made.graph.data else "",
            data_sha256=made.graph.data_sha256,
            opset=made.graph.opset,
            nodes=made.graph.nodes,
            parameters=made.parameters,
            multiply_adds=counted.multiply_adds,
            not_counted=counted.reason,
            inputs=made.graph.inputs,
            outputs=made.graph.outputs,
            weights=WeightsRecord(
                kind=made.origin.applied.kind,
                detail=made.origin.applied.detail,
                file=made.weights_path.name,
                sha256=made.weights_sha256,
            ),
            parity=parity,
            input=spec.input,
            source=spec.source,
            origin=made.origin.source,
            recipe=made.origin.recipe,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            export_s=round(time.perf_counter() - began, 3),
            versions=versions(),
        )
        publish(folder, manifest, files)
    return manifest


def _write(
    take: "Callable[[], tuple[nn.Module, Origin]]",
    spec: ModelSpec,
    path: Path,
    report: Report,
    ours: bool,
) -> _Made:
    """Do all that needs torch; a large network is not held any longer than this takes."""
    from greenbatch.exporter.parity import torch_outputs
    from greenbatch.exporter.torch_to_onnx import write_graph

    module, origin = take()
    report(f"exporting {spec.name}")
    graph = write_graph(module, spec, path)
    wanted = torch_outputs(module, spec, graph.outputs)
    weights_path, weights_sha256 = _write_weights(module, spec, path)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if ours:
        # Letting go of the module is not enough: onnxscript's rules keep the last graph that
        # they matched, and with it the weights.
        for tensor in (*module.parameters(), *module.buffers()):
            if (storage := tensor.untyped_storage()).resizable():
                storage.resize_(0)
    return _Made(origin, parameters, wanted, path, graph, weights_path, weights_sha256)


def _write_weights(module: "nn.Module", spec: ModelSpec, graph_path: Path) -> tuple[Path, str]:
    """Write a module's tensors beside its graph, for runtimes that do not read ONNX.

    The file is named by its content, so precisions exported from the same weights share it and
    those exported from others do not lose theirs.
    """
    from safetensors.torch import save_file

    draft = graph_path.with_name("weights.safetensors")
    state: dict[str, torch.Tensor] = {}
    seen = set()
    for key, value in (module.state_dict() | unsaved_tensors(module)).items():
        tensor = value.detach().contiguous()
        # The format has no shared tensors: what is used twice is written twice.
        shared = tensor.untyped_storage().data_ptr()
        state[key] = tensor.clone() if shared in seen else tensor
        seen.add(shared)
    save_file(state, draft)
    draft.chmod(graph_path.stat().st_mode & 0o777)  # safetensors lets nobody else read it
    digest = sha256(draft)
    return draft.rename(draft.with_name(f"{spec.name}-{digest[:12]}.safetensors")), digest
