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


BATCH_AXIS = "batch"
"""What the batch is called in the dims of a tensor."""
_BATCH_DIM = re.compile(rf"(?:([1-9]\d*)\*)?{BATCH_AXIS}")
IMAGE_LAYOUTS = ("CHW", "HWC", "CTHW", "TCHW", "THWC")
"""Axes of an image behind the batch: channels, height and width; T is the frames of a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherInput:
    """An input beside the images.

    Attributes:
        name: Name of the input in the exported graph.
        shape: Of one image's part where it is ``batched``, else of the whole.
        dtype: Element type, in NumPy's words.
        value: Every element; ``None``: seeded random ones, as many for each image.
        batched: Whether the batch axis comes before ``shape``.

    Raises:
        ValueError: A dim is not positive.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    value: float | None = None
    batched: bool = True

    def __post_init__(self) -> None:
        if min(self.shape, default=1) < 1:
            raise ValueError(f"shape is {self.shape}; its dims are positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The image input of a network, how a photograph becomes it, and what is given beside it.

    Attributes:
        name: Name of the input in the exported graph.
        shape: As ``layout`` says; the batch axis comes before it.
        dtype: Element type, in NumPy's words.
        resize: Length in pixels that the shorter side of a photograph is resized to.
        crop: Side in pixels of the square that is cut from its centre.
        mean, std: Per channel, of values in 0..1: a pixel becomes ``(value - mean) / std``. Of an
            integer type the result is rounded: a mean of 0 and a std of 1/255 give 0..255.
        interpolation: Of the resizing, as the published weights were evaluated.
        layout: One of `IMAGE_LAYOUTS`.
        others: Further inputs.

    Raises:
        ValueError: The shape does not fit the layout, or a channel has no statistics.
    """

    name: str = "input"
    shape: Shape = (3, 224, 224)
    dtype: str = "float32"
    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    layout: str = "CHW"
    others: tuple[OtherInput, ...] = ()

    def __post_init__(self) -> None:
        if self.layout not in IMAGE_LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}; it is one of {', '.join(IMAGE_LAYOUTS)}")
        if len(self.shape) != len(self.layout) or min(self.shape) < 1:
            wanted = "channels, height and width" if self.layout == "CHW" else self.layout
            raise ValueError(f"shape is {self.shape}; it is {wanted}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("mean and std need a value for each channel")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; it is positive")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.layout.index("C")]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.shape[self.layout.index("H")]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.shape[self.layout.index("W")]

    @property
    def frames(self) -> int | None:
        """Number of frames of a clip; ``None`` for an image."""
        return self.shape[self.layout.index("T")] if "T" in self.layout else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: In the graph.
        dtype: Element type, in NumPy's words.
        dims: Numbers; ``batch`` for the batch axis, which may be any, and ``K*batch`` for an axis
            that holds K rows of each image, image by image; any other name for a size that the
            data decide. A tensor without a batch axis is the same for all images, unless the data
            decide a size of it.
        index: Whether its values are positions (of an ArgMax, TopK, NonMaxSuppression): equal or
            not, never near.
        image_column: Of an output whose rows the data decide, the column that holds the number of
            the row's image in the batch; ``None``: no column does.
        network_dtype: Element type in the network itself, where a Cast lies between it and the end
            of the graph: ``bfloat16``. Empty: ``dtype``.
        rounded: Of an output, the least exact of ``float16`` and ``bfloat16`` that the network
            holds numbers in which lead to it; empty: none. Runtimes round such numbers at other
            places, or not at all.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    index: bool = False
    image_column: int | None = None
    network_dtype: str = ""
    rounded: str = ""

    @property
    def batch_axis(self) -> int | None:
        """Which of the dims is the batch; ``None``: none is."""
        for axis, dim in enumerate(self.dims):
            if isinstance(dim, str) and _BATCH_DIM.fullmatch(dim):
                return axis
        return None

    @property
    def rows_per_image(self) -> int:
        """How many rows of the batch axis each image has; 0 without that axis."""
        if (axis := self.batch_axis) is None:
            return 0
        match = _BATCH_DIM.fullmatch(str(self.dims[axis]))
        assert match is not None
        return int(match[1] or 1)

    @property
    def counted(self) -> bool:
        """Whether the data decide a size of it."""
        return any(isinstance(dim, str) and not _BATCH_DIM.fullmatch(dim) for dim in self.dims)

    def shape(self, batch_size: int) -> Shape:
        """Return its shape for a batch.

        Raises:
            ValueError: The data decide a size of it.
        """
        if self.counted:
            raise ValueError(f"the data decide the sizes {self.dims} of {self.name}")
        rows = self.rows_per_image * batch_size
        return tuple(rows if isinstance(dim, str) else dim for dim in self.dims)


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
        max_abs: Largest absolute difference of a value of an output.
        max_rel: ``max_abs`` over the largest absolute value of that output in torch; of several
            outputs the largest.
        spread: Standard deviation of torch's output: what the errors are to be held against.
        rows_rel: Largest difference of an image's outputs from the same image run alone by ONNX
            Runtime, relative likewise: images of a batch do not reach each other.
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
        max_abs, mean_abs: Largest and mean absolute difference of a value of an output.
        max_rel: ``max_abs`` over the largest absolute value of that output in fp32.
        cosine: Lowest cosine similarity of an image's output; 1 where all outputs are positions.
        top1_agreement: Share of the images whose first class is the same; ``None`` where the
            network is no classifier.
        equal: Lowest share of an output's positions, or of its detections, that are the same;
            ``None`` where there are none.
        output: The output that has ``cosine``; empty where all are positions, and in earlier
            manifests.
        channels: Lowest share of an output's channels that are not lost, see
            `greenbatch.models.agreement.Difference`; ``None`` where no output has channels, and
            in earlier manifests.
    """

    images: int
    data: str
    max_abs: float
    mean_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float | None = None
    equal: float | None = None
    output: str = ""
    channels: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of an artifact.

    Attributes:
        model, precision: What it is an artifact of.
        file, sha256, size_bytes: The ``.onnx`` file.
        data_file, data_sha256: The file with its weights, where they do not fit into the graph's
            (2 GiB); else empty.
        opset, nodes, parameters: Of the graph.
        multiply_adds: Of one image in one forward pass; a multiply-add counts as one. ``None``
            where they could not be counted, and in earlier manifests.
        not_counted: Why not, as a phrase.
        inputs, outputs: Of the graph, see `TensorSpec`.
        input: How a photograph becomes its input, and what is given beside it.
        source: Where the network came from: ``torchvision``, ``timm``, ``python``, ``pt2``,
            ``onnx``.
        origin: What a user's own network was made of: ``module:callable``, ``timm:NAME``, a file;
            empty for listed ones, and where it is not known.
        weights: See `WeightsRecord`.
        parity: Against torch, for each batch size that was tried.
        fidelity: Against fp32; ``None`` for fp32 itself.
        calibration: What an int8 artifact was calibrated on, and how.
        proved_with: The instructions of the processor on which an int8 artifact was proved, see
            `greenbatch.models.instructions`; empty where they do not matter, and in schema 2.
        kept_in_fp32: Names of the nodes that compute in float32 because they lose too much in the
            lower precision, as was measured; those that have no kernel for it are among them.
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
    multiply_adds: int | None = None
    not_counted: str = ""
    source: str = "torchvision"
    origin: str = ""
    data_file: str = ""
    data_sha256: str = ""
    fidelity: Fidelity | None = None
    calibration: str = ""
    proved_with: str = ""
    kept_in_fp32: tuple[str, ...] = ()
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
