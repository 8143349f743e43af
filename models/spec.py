"""What is known of a network before it is built: its input, its size, its published accuracy."""

from dataclasses import dataclass, field

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
class ModelSpec:
    """A network that can be built, exported and measured.

    Attributes:
        name: As ``source`` calls it.
        family: The line of networks that it belongs to.
        year: Of the first publication of the network (preprint or conference).
        parameters: Number of trainable values.
        flops: Of one image in one forward pass, as torchvision's ``_ops`` states it (there in
            units of 1e9). A multiply-add counts as **one**, so it is about half of what tools
            that count two would say.
        top1: Published ImageNet-1K top-1 accuracy of ``weights`` in percent (one crop).
        weights: Name of the published weights within ``source``.
        checkpoint: Name of the file that these weights are published as; it ends in the first
            digits of its SHA-256.
        input: See `InputSpec`.
        source: The library that defines the network.
    """

    name: str
    family: str
    year: int
    parameters: int
    flops: float
    top1: float
    checkpoint: str
    weights: str = "IMAGENET1K_V1"
    input: InputSpec = field(default_factory=InputSpec)
    source: str = "torchvision"
