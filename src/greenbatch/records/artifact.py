"""The manifest beside an exported ``.onnx``: where it came from, and proof that it is right."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from greenbatch.documents import parse_json
from greenbatch.errors import ArtifactError
from greenbatch.names import check_name
from greenbatch.records.cells import PRECISIONS
from greenbatch.records.reading import cause_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_SCHEMA = 3
_READABLE = (2, MANIFEST_SCHEMA)
_GRAPH = re.compile(rf"(.+)-({'|'.join(PRECISIONS)})\.onnx")
_Entry = TypeVar("_Entry")


def artifact_key(model: str, precision: str) -> str:
    """Return what an artifact is called within a study: its model, ``MODEL@PRECISION`` but fp32."""
    return model if precision == "fp32" else f"{model}@{precision}"


def by_artifact_key(
    entries: Mapping[str, _Entry], file_of: Callable[[_Entry], object]
) -> dict[str, _Entry]:
    """Call what a study remembers of its artifacts by `artifact_key`.

    Earlier studies joined both names by a hyphen, so that ``net`` in int8 and a model ``net-int8``
    in fp32 were called alike; the files' names never were.

    Args:
        entries: As in the study.
        file_of: Returns the name of an entry's ``.onnx`` file; where it is no such name, the entry
            is called as before.
    """
    found = {}
    for key, entry in entries.items():
        match = _GRAPH.fullmatch(str(file_of(entry)))
        found[artifact_key(match[1], match[2]) if match else key] = entry
    return found


Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The one input of a network, and how a photograph becomes it.

    Attributes:
        name: Name of the input in the exported graph.
        shape: Channels, height and width; the batch axis comes before them.
        dtype: Element type, in NumPy's words.
        resize: Length in pixels that the shorter side of a photograph is resized to.
        crop: Side in pixels of the square that is cut from its centre.
        mean, std: Per channel, of values in 0..1: a pixel becomes ``(value - mean) / std``.
        interpolation: Of the resizing, as the published weights were evaluated.

    Raises:
        ValueError: The shape is not three positive numbers, or a channel has no statistics.
    """

    name: str = "input"
    shape: Shape = (3, 224, 224)
    dtype: str = "float32"
    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}; it is channels, height and width")
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError("mean and std need a value for each channel")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; it is positive")


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
        kind: ``pretrained``, ``random``, ``file``, or ``own``: as the network's source made them.
        detail: The weights' published name, the seed, the file's name, or the source.
        file: Name of the safetensors file beside the artifact, which other runtimes load; empty
            for an artifact that came as an ``.onnx`` file.
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
        rows_rel: Largest difference of a row from the same image run alone by ONNX Runtime, over
            the largest absolute logit: images of a batch do not reach each other.
    """

    batch_size: int
    max_abs: float
    max_rel: float
    spread: float
    rows_rel: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """An artifact of lower precision against the fp32 artifact of the same weights.

    Attributes:
        images: How many images were compared.
        data: What they were: ``synthetic (seed N)`` or a folder's name.
        max_abs, mean_abs: Largest and mean absolute difference of a logit.
        max_rel: ``max_abs`` over the largest absolute logit of fp32.
        cosine: Lowest cosine similarity of an image's logits.
        top1_agreement: Share of the images whose first class is the same.
    """

    images: int
    data: str
    max_abs: float
    mean_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of an artifact.

    Attributes:
        model, precision: What it is an artifact of.
        file, sha256, size_bytes: The ``.onnx`` file.
        data_file, data_sha256: The file with its weights, where they do not fit into the graph's
            (2 GiB); else empty.
        opset, nodes, parameters: Of the graph.
        inputs, outputs: Of the graph; the first axis is symbolic.
        input: How a photograph becomes its input.
        source: Where the network came from: ``torchvision``, ``timm``, ``python``, ``pt2``,
            ``onnx``.
        weights: See `WeightsRecord`.
        parity: Against torch, for each batch size that was tried.
        fidelity: Against fp32; ``None`` for fp32 itself.
        calibration: What an int8 artifact was calibrated on, and how.
        proved_with: The instructions of the processor on which an int8 artifact was proved, see
            `greenbatch.models.instructions`; empty where they do not matter, and in schema 2.
        recipe: A hash of all that went into making it.
        exported_at, export_s: When, and how long it took.
        versions: Of the software that made it.

    Raises:
        ValueError: ``model`` has not the form of a name.
    """

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
    input: InputSpec = field(default_factory=InputSpec)
    source: str = "torchvision"
    data_file: str = ""
    data_sha256: str = ""
    fidelity: Fidelity | None = None
    calibration: str = ""
    proved_with: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA

    def __post_init__(self) -> None:
        check_name("model", self.model)

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
        members: Any = parse_json(text)
        if not isinstance(members, dict) or members.get("schema") not in _READABLE:
            known = " or ".join(map(str, _READABLE))
            raise ValueError(f"it is no manifest of schema {known}")
        return _adapter().validate_python(members)
    except ValueError as error:
        raise ArtifactError(
            f"cannot read the manifest {name}: {cause_of(error)}; delete it and run 'gb "
            "export' again"
        ) from error
