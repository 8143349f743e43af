"""Which artifact a run measured, as its study remembers it."""

from pydantic import BaseModel, ConfigDict

from greenbatch.models.artifacts import Artifact


class ArtifactRef(BaseModel):
    """Which artifact a run measured, by its hash, and what an image costs in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    sha256: str
    weights: dict[str, str]
    multiply_adds: int | None = None
    parameters: int | None = None


def reference(artifact: Artifact) -> ArtifactRef:
    """Return what a study remembers of an artifact."""
    weights = artifact.manifest.weights
    return ArtifactRef(
        file=artifact.manifest.file,
        sha256=artifact.manifest.sha256,
        weights={"kind": weights.kind, "detail": weights.detail, "sha256": weights.sha256},
        multiply_adds=artifact.manifest.multiply_adds,
        parameters=artifact.manifest.parameters,
    )
