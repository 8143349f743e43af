"""The exporter's folder: names of files, reading a manifest, whether the files are intact."""

from pathlib import Path

from greenbatch.errors import ArtifactError
from greenbatch.exporter.recipe import sha256
from greenbatch.records import Manifest, parse_manifest


def stem(model: str, precision: str) -> str:
    """Return the name that an artifact's files share, without a suffix."""
    return f"{model}-{precision}"


def read_manifest(folder: Path, model: str, precision: str = "fp32") -> Manifest:
    """Read an artifact's manifest without looking at the artifact.

    Raises:
        ArtifactError: There is none, or it cannot be read.
    """
    path = folder / f"{stem(model, precision)}.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read the manifest {path}: {error.strerror}; run 'gb export {model}'"
        ) from error
    return parse_manifest(text, str(path))


def load_artifact(folder: Path, model: str, precision: str = "fp32") -> Manifest:
    """Read an artifact's manifest and hold its files to it.

    Raises:
        ArtifactError: A file is missing or is not the one that was verified.
    """
    manifest = read_manifest(folder, model, precision)
    for name, stated in (
        (manifest.file, manifest.sha256),
        (manifest.weights.file, manifest.weights.sha256),
    ):
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; run 'gb export {model}' to make it again")
        found = sha256(path)
        if found != stated:
            raise ArtifactError(
                f"{path} is not the file that was verified (SHA-256 {found[:12]}... instead of "
                f"{stated[:12]}...); run 'gb export {model}' to make it again"
            )
    return manifest
