"""The folder of artifacts: names of files, and whether they are those that were verified.

The exporter writes it, the runners read it.
"""

import contextlib
import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from greenbatch.errors import ArtifactError, FileError
from greenbatch.files import followed, read_bytes
from greenbatch.models.sources.input_option import spelled
from greenbatch.names import check_name
from greenbatch.records import Manifest, parse_manifest

DATA_SUFFIX = ".onnx.data"
"""Ends the name of a file with the weights of a graph that is too large for one file."""

MANIFEST_BYTES = 10_000_000
"""The most that is read of a manifest."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified ``.onnx`` file with its manifest and the same weights for other runtimes."""

    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The ``.onnx`` file."""
        return self.folder / self.manifest.file

    @property
    def manifest_path(self) -> Path:
        """The manifest's own file."""
        return self.path.with_suffix(".json")

    @property
    def weights_path(self) -> Path:
        """The safetensors file with the same weights; the folder itself where there is none."""
        return self.folder / self.manifest.weights.file

    @property
    def data_path(self) -> Path | None:
        """The file with the graph's weights, where they are not in the ``.onnx`` file."""
        return self.folder / self.manifest.data_file if self.manifest.data_file else None

    @property
    def size_bytes(self) -> int:
        """Size of the graph with its weights, in bytes."""
        data = self.data_path.stat().st_size if self.data_path else 0
        return self.manifest.size_bytes + data


def stem(model: str, precision: str) -> str:
    """Return the name that an artifact's files share, without a suffix.

    Raises:
        ArtifactError: The model's name has not the form of one.
    """
    try:
        check_name("model", model)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    return f"{model}-{precision}"


def has_manifest(folder: Path, model: str, precision: str = "fp32") -> bool:
    """Whether ``folder`` holds a manifest of this model; what is no name has none."""
    try:
        return (folder / f"{stem(model, precision)}.json").is_file()
    except ArtifactError:
        return False


def read_manifest(folder: Path, model: str, precision: str = "fp32") -> Manifest:
    """Read an artifact's manifest without looking at the artifact.

    Raises:
        ArtifactError: There is none, it cannot be read, or it is of another artifact.
    """
    path = folder / f"{stem(model, precision)}.json"
    try:
        manifest = manifest_at(path)
    except OSError as error:
        raise ArtifactError(
            f"cannot read the manifest {path}: {error.strerror}; make the artifact with: "
            f"{export_command(folder, model, precision)}"
        ) from error
    if (manifest.model, manifest.precision) != (model, precision):
        raise ArtifactError(
            f"the manifest {path} is of {manifest.model} in {manifest.precision}, and not of "
            f"{model} in {precision}; make the artifact with: gb export {model} --out {folder}"
        )
    return manifest


def export_command(folder: Path, model: str, precision: str = "fp32") -> str:
    """Return the command that makes an artifact, by what the network's fp32 one was made of."""
    words = ["gb", "export", model]
    with contextlib.suppress(OSError, ArtifactError):
        manifest = manifest_at(folder / f"{stem(model, 'fp32')}.json")
        if manifest.origin:
            words = ["gb", "export", manifest.origin, "--name", model]
        if manifest.source == "onnx":
            words.append("--dynamic-batch")
        if manifest.source in {"python", "torchscript"}:
            words += [f"--input={text}" for text in spelled(manifest.input)]
    if precision != "fp32":
        words += ["--precision", precision]
    return shlex.join([*words, "--out", str(folder)])


def manifest_at(path: Path) -> Manifest:
    """Read the manifest in a file, which may be a link: users share folders of artifacts.

    Raises:
        FileNotFoundError: The file does not exist.
        ArtifactError: It is not a manifest that this program knows, or cannot be read.
    """
    try:
        text = read_bytes(followed(path), MANIFEST_BYTES)
    except FileError as error:
        raise ArtifactError(str(error)) from error
    return parse_manifest(text, str(path))


def sound_manifest(folder: Path, model: str, precision: str = "fp32") -> Manifest | None:
    """Return the manifest of an artifact whose files are as it states; ``None``: there is none."""
    try:
        return load_artifact(folder, model, precision).manifest
    except ArtifactError:
        return None


def load_artifact(folder: Path, model: str, precision: str = "fp32") -> Artifact:
    """Read an artifact's manifest and hold its files to it.

    Raises:
        ArtifactError: A file is missing or is not the one that was verified.
    """
    artifact = Artifact(folder, read_manifest(folder, model, precision))
    hold(artifact)
    return artifact


def hold(artifact: Artifact) -> None:
    """Check an artifact's files against its manifest.

    Raises:
        ArtifactError: A file is missing, lies elsewhere or is not the one that was verified.
    """
    again = export_command(artifact.folder, artifact.manifest.model, artifact.manifest.precision)
    cure = f"make it again with: {again}"
    for name, stated in stated_files(artifact.manifest):
        path = artifact.folder / name
        if Path(name).name != name:
            raise ArtifactError(
                f"the manifest {artifact.manifest_path} names the file {name!r}, which is not "
                f"beside it; {cure}"
            )
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; {cure}")
        if (found := sha256(path)) != stated:
            raise ArtifactError(
                f"{path} is not the file that was verified (SHA-256 {found[:12]}... instead of "
                f"{stated[:12]}...); {cure}"
            )


def stated_files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Give the names of an artifact's files and the hashes that its manifest states."""
    yield manifest.file, manifest.sha256
    if manifest.data_file:
        yield manifest.data_file, manifest.data_sha256
    if manifest.weights.file:
        yield manifest.weights.file, manifest.weights.sha256


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
