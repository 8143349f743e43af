"""Exported artifacts, as a run finds them: files that the exporter wrote and nobody touched."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from greenbatch.errors import ArtifactError
from greenbatch.records import Manifest, parse_manifest
from greenbatch.runners.study import ArtifactRef


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact's manifest and where its files are."""

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
        """The safetensors file with the same weights."""
        return self.folder / self.manifest.weights.file

    @property
    def reference(self) -> ArtifactRef:
        """What a study remembers of it."""
        weights = self.manifest.weights
        return ArtifactRef(
            file=self.manifest.file,
            sha256=self.manifest.sha256,
            weights={"kind": weights.kind, "detail": weights.detail, "sha256": weights.sha256},
        )


def find_artifact(folder: Path, model: str, precision: str) -> Artifact:
    """Read an artifact's manifest and check its files against it.

    Raises:
        ArtifactError: The artifact is not there, or its files are not those of the manifest.
    """
    manifest_path = folder / f"{model}-{precision}.json"
    if not manifest_path.is_file():
        raise ArtifactError(
            f"there is no artifact of {model} at {precision} in {folder}; "
            f"make it with: gb export {model} --out {folder}"
        )
    artifact = Artifact(folder, parse_manifest(manifest_path.read_bytes(), manifest_path.name))
    for path, stated in (
        (artifact.path, artifact.manifest.sha256),
        (artifact.weights_path, artifact.manifest.weights.sha256),
    ):
        if not path.is_file() or sha256(path) != stated:
            state = "is not the file that its manifest describes" if path.is_file() else "is gone"
            raise ArtifactError(
                f"{path} {state}; make it again with: gb export {model} --force --out {folder}"
            )
    return artifact


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
