"""A user's own network into an artifact: a callable, timm, ``.pt2`` or an existing ``.onnx``."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.exporter.export import Origin, export_module
from greenbatch.exporter.publishing import Report, locked, publish, staging_folder
from greenbatch.exporter.recipe import versions
from greenbatch.models import InputSpec
from greenbatch.models.artifacts import sha256, stem
from greenbatch.models.sources.load import load
from greenbatch.models.sources.parse import Source, check_name
from greenbatch.records import Manifest, WeightsRecord

if TYPE_CHECKING:
    from greenbatch.exporter.rebatch.rewrite import Rebatched

_NO_RECIPE = ""  # what a network of one's own is made from is not known before it is made


@dataclass(frozen=True, slots=True)
class OwnExport:
    """An artifact of a network of one's own.

    Attributes:
        manifest: As it is in the file.
        rebatched: Of an ``.onnx`` file: what was rewritten in it, and how that was proved.
    """

    manifest: Manifest
    rebatched: "Rebatched | None" = None


def export_own(
    source: Source,
    out_dir: Path | str = "artifacts",
    *,
    input: InputSpec | None = None,
    name: str | None = None,
    weights: str = "auto",
    seed: int = 0,
    dynamic_batch: bool = False,
    memory_bytes: int | None = None,
    on_step: Report | None = None,
) -> OwnExport:
    """Make an artifact of a network that is not in the registry; it is made anew each time.

    Args:
        source: From `greenbatch.models.sources.parse.parse_source`.
        out_dir: Folder of the artifacts; made if it is not there.
        input: Its input, where the source does not say.
        name: Of the artifact; by default made of the source.
        weights, seed: As for `greenbatch.models.sources.load.load`.
        dynamic_batch: Free the batch axis of an ``.onnx`` file that fixes it.
        memory_bytes: As for `greenbatch.exporter.export_model`; an ``.onnx`` file is proved at
            all sizes.
        on_step: Is called with each step, in a few words.

    Raises:
        UsageError: The name is unfit, or an ``.onnx`` file fixes its batch and was not to be freed.
        ArtifactError: A file cannot be used.
        WeightsError: The weights cannot be had or do not fit.
        ExportError: The network did not become a verified artifact; no file is left of it.
    """
    folder = Path(out_dir)
    if source.kind == "onnx":
        if weights != "auto":
            raise UsageError(f"{source.text} holds its own weights; leave --weights out")
        named = check_name(name or source.default_name)
        return _adopt(Path(source.text), named, folder, input, dynamic_batch, on_step)
    if dynamic_batch:
        raise UsageError(
            f"--dynamic-batch rewrites .onnx files, and {source.text} is none; leave it out"
        )
    if on_step:
        on_step(f"loading {source.text}")
    network = load(source, input, name, weights, seed)
    origin = Origin(network.applied, _NO_RECIPE, source.spelled)
    return OwnExport(
        export_module(
            network.module,
            network.spec,
            folder,
            origin,
            memory_bytes=memory_bytes,
            on_step=on_step,
        )
    )


def _adopt(
    path: Path,
    name: str,
    folder: Path,
    input: InputSpec | None,
    dynamic_batch: bool,
    on_step: Report | None,
) -> OwnExport:
    """Copy an ``.onnx`` file as an artifact, its batch axis proved and, where asked, freed."""
    from greenbatch.exporter.multiply_adds import count_multiply_adds
    from greenbatch.exporter.onnx_file.inspection import inspect
    from greenbatch.exporter.rebatch.rewrite import make_dynamic

    report = on_step or (lambda step: None)
    report(f"reading {path.name}")
    facts = inspect(path, input)
    if facts.batch is not None and not dynamic_batch:
        raise UsageError(
            f"{path} fixes the batch at {facts.batch}; free it with: gb export {path} "
            "--dynamic-batch"
        )
    began = time.perf_counter()
    with locked(folder, name, report), staging_folder(folder, name) as staging:
        made = make_dynamic(path, staging / f"{stem(name, 'fp32')}.onnx", input, report)
        graph, found = made.facts.path, made.facts
        data = [graph.with_name(file) for file in found.data_files]
        counted = count_multiply_adds(graph, found.input)
        manifest = Manifest(
            model=name,
            precision="fp32",
            file=graph.name,
            sha256=sha256(graph),
            size_bytes=graph.stat().st_size,
            data_file=data[0].name if data else "",
            data_sha256=sha256(data[0]) if data else "",
            opset=found.opset,
            nodes=found.nodes,
            parameters=found.parameters,
            multiply_adds=counted.multiply_adds,
            not_counted=counted.reason,
            inputs=found.inputs,
            outputs=found.outputs,
            weights=WeightsRecord(kind="own", detail=path.name, file="", sha256=""),
            parity=made.parity,
            input=found.input,
            source="onnx",
            origin=path.name,
            recipe=_NO_RECIPE,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            export_s=round(time.perf_counter() - began, 3),
            versions=versions(),
        )
        publish(folder, manifest, [*data, graph])
    return OwnExport(manifest, made)
