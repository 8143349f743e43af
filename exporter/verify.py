"""Hold a folder of artifacts to its manifests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError, ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.reading import real_inputs
from greenbatch.exporter.precisions import fidelity
from greenbatch.exporter.precisions.calibration import draw_images
from greenbatch.exporter.precisions.export import IN_FLOAT
from greenbatch.models.artifacts import Artifact, export_command, hold, manifest_at, stated_files
from greenbatch.models.instructions import instruction_set
from greenbatch.records import Manifest

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one artifact.

    Attributes:
        file: The file that was looked at: a manifest, or a graph without one.
        fault: What is wrong, in a sentence; empty: nothing.
        manifest: What it holds, if it can be read.
    """

    file: Path
    fault: str = ""
    manifest: Manifest | None = None


def check_folder(folder: Path) -> Iterator[Finding]:
    """Hold every artifact in a folder to its manifest, sorted by name; nothing is changed.

    Each manifest is readable and of a known schema; the files that it names lie beside it and
    have the hashes that it states; the graph is of an operator set that the installed ONNX
    knows, has the stated nodes, inputs and outputs, and takes its weights from the stated file
    alone. An int8 artifact that was proved with other instructions than this processor's is run
    on some images and proved again; no other is run. A graph or a file of weights that no
    manifest names was never proved: it is a fault too.

    Raises:
        ArtifactError: The folder cannot be read, or holds no artifact.
    """
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ArtifactError(
            f"cannot read the folder {folder}: {error.strerror}; check its path"
        ) from error
    manifests = [path for path in files if path.suffix == ".json"]
    kinds = (".onnx", ".onnx.data", ".safetensors")
    others = [path for path in files if path.name.endswith(kinds)]
    if not manifests and not others:
        raise ArtifactError(f"there is no artifact in {folder}; make some with: gb export")
    explained: set[str] = set()  # files that a manifest names, or a damaged one might have
    for path in manifests:
        finding = _look(path, folder)
        yield finding
        if finding.manifest:
            manifest = finding.manifest
            explained.update((manifest.file, manifest.data_file, manifest.weights.file))
        if finding.fault:
            model = path.stem.rpartition("-")[0]
            explained.update(o.name for o in others if o.name.startswith(f"{model}-"))
    for path in others:
        if path.name not in explained:
            yield Finding(
                path, f"{path} is in no manifest, so nothing is known of it; delete or export it"
            )


def _look(path: Path, folder: Path) -> Finding:
    manifest = None
    try:
        manifest = manifest_at(path)
        _check(path, Artifact(folder, manifest))
    except (ArtifactError, ExportError, OSError) as error:
        return Finding(path, str(error), manifest)
    return Finding(path, "", manifest)


def _check(path: Path, artifact: Artifact) -> None:
    """Check one artifact against its manifest.

    Raises:
        ArtifactError: It is damaged.
        ExportError: It is int8, and this processor computes it wrongly or not at all.
    """
    import onnx

    manifest = artifact.manifest
    again = export_command(artifact.folder, manifest.model, manifest.precision)
    cure = f"make it again with: {again}"
    if path != artifact.manifest_path:
        raise ArtifactError(f"{path} is the manifest of {manifest.file}; rename it, or {cure}")
    hold(artifact)
    for file in (artifact.folder / name for name, _ in stated_files(manifest)):
        if file.resolve().parent != artifact.folder.resolve():
            raise ArtifactError(f"{file} is a link out of its folder; {cure}")
    try:
        model = onnx.load(artifact.path, load_external_data=False)
    except Exception as error:  # protobuf's errors and onnx's have no common root
        raise ArtifactError(
            f"cannot read {artifact.path}: {innermost_line(error)}; {cure}"
        ) from error
    newest = onnx.defs.onnx_opset_version()
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    inputs = [(v.name, _numbers(_dims(v))) for v in real_inputs(model)]
    outputs = [v.name for v in model.graph.output]
    elsewhere = _data_files(model) - {manifest.data_file}
    for what, found, wanted in (
        ("operator set", opset, manifest.opset),
        ("number of nodes", len(model.graph.node), manifest.nodes),
        ("inputs", inputs, [(t.name, _numbers(t.dims)) for t in manifest.inputs]),
        ("outputs", outputs, [t.name for t in manifest.outputs]),
    ):
        if found != wanted:
            raise ArtifactError(
                f"the {what} of {artifact.path} is {found} instead of the manifest's {wanted}; "
                f"{cure}"
            )
    if not 1 <= opset <= newest:
        raise ArtifactError(
            f"{artifact.path} is of operator set {opset}, and the installed onnx knows 1 to "
            f"{newest}; install a newer onnx and onnxruntime"
        )
    if elsewhere:
        raise ArtifactError(
            f"{artifact.path} takes weights from {sorted(elsewhere)[0]!r}, which its manifest "
            f"does not name; {cure}"
        )
    if manifest.precision == "int8" and manifest.proved_with not in (IN_FLOAT, instruction_set()):
        judged = draw_images(manifest.input, count=fidelity.ARITHMETIC_IMAGES)[1]
        fidelity.check_arithmetic(artifact.path, judged, manifest.outputs, manifest.model, again)


def _data_files(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the files beside a graph that it takes weights from."""
    return {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _numbers(dims: tuple[int | str, ...]) -> tuple[int | None, ...]:
    """Return the sizes; an axis that is open is ``None``, whatever it is called."""
    return tuple(dim if isinstance(dim, int) else None for dim in dims)


def _dims(value: "onnx.ValueInfoProto") -> tuple[int | str, ...]:
    return tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
