"""The manifest beside an exported ``.onnx``: where it came from, and proof that it is right."""

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ArtifactError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output: its dims are numbers, or the name of a symbolic axis (``batch``)."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRecord:
    """Which weights an artifact holds.

    Attributes:
        kind: ``pretrained``, ``random`` or ``file``.
        detail: The weights' published name, the seed, or the file's name.
        file: Name of the safetensors file beside the artifact, which other runtimes load.
        sha256: Of that file.
    """

    kind: str
    detail: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """ONNX Runtime (CPU) against torch at one batch size, over seeded inputs.

    Attributes:
        max_abs: Largest absolute difference of a logit.
        max_rel: ``max_abs`` over the largest absolute logit of torch.
        spread: Standard deviation of torch's logits: what the errors are to be held against.
    """

    batch_size: int
    max_abs: float
    max_rel: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of an artifact; ``recipe`` is a hash of all that went into making it."""

    model: str
    precision: str
    file: str
    sha256: str
    size_bytes: int
    opset: int
    nodes: int
    parameters: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: WeightsRecord
    parity: tuple[Parity, ...]
    recipe: str
    exported_at: str
    export_s: float
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA

    def to_json(self) -> str:
        """Write the manifest as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


@cache
def _adapter() -> "TypeAdapter[Manifest]":
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def parse_manifest(text: str | bytes, name: str) -> Manifest:
    """Read a manifest.

    Raises:
        ArtifactError: It is not one, or of a schema this program does not know.
    """
    try:
        members: Any = json.loads(text)
        if not isinstance(members, dict) or members.get("schema") != MANIFEST_SCHEMA:
            raise ValueError(f"it is no manifest of schema {MANIFEST_SCHEMA}")
        return _adapter().validate_python(members)
    except ValueError as error:
        cause = str(error).splitlines()[0]
        raise ArtifactError(
            f"cannot read the manifest {name}: {cause}; delete it and run 'gb export' again"
        ) from error
