"""Networks as users bring them: good ones, and one for each way of being unfit."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from greenbatch.errors import GreenbatchError
from greenbatch.models.sources.parse import Source

SIDE, CLASSES = 16, 5
SETTINGS = {"classes": CLASSES}


def own(name: str) -> Source:
    """The source of a callable of the fakes."""
    return Source("python", f"tests.fakes.own_networks:{name}")


def one_sentence(error: GreenbatchError) -> bool:
    """Whether an error is one line without a full stop, and says what to do."""
    text = str(error)
    return "\n" not in text and not text.endswith(".") and ";" in text


class Small(nn.Module):
    """Convolution, flattening, a linear layer."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 4, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * (SIDE // 4) ** 2, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, 16, 16) to logits (N, classes)."""
        features = torch.relu(self.norm(self.stem(images)))
        logits: torch.Tensor = self.head(self.drop(features.flatten(1)))
        return logits


class Attention(nn.Module):
    """Patches, a class token for each image, positions, attention of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 17, 8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        count = images.shape[0]
        tokens = self.patches(images).reshape(count, 8, 16).permute(0, 2, 1)
        tokens = torch.cat([self.token.expand(count, -1, -1), tokens], 1) + self.positions
        sequence = self.norm(tokens).transpose(0, 1)  # (length, batch, width), as torch has it
        mixed = self.attention(sequence, sequence, sequence, need_weights=False)[0]
        logits: torch.Tensor = self.head(mixed[0])
        return logits


class Recurrent(nn.Module):
    """Reads an image row by row; its first state has a row for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3 * SIDE, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        count = images.shape[0]
        rows = images.permute(2, 0, 1, 3).reshape(SIDE, count, 3 * SIDE)
        states, _ = self.cell(rows, torch.zeros(1, count, 6))
        logits: torch.Tensor = self.head(states[-1])
        return logits


class Mixing(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.small = Small()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        logits: torch.Tensor = self.small(images - images.mean(0, keepdim=True))
        return logits


@dataclass
class Answer:
    """What some libraries' networks return."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Answering(nn.Module):
    """Returns its logits in something, or changed."""

    def __init__(self, wrap: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.small, self.wrap = Small(), wrap

    def forward(self, images: torch.Tensor) -> object:
        """Map images to what ``wrap`` makes of logits."""
        return self.wrap(self.small(images))


class TwoInputs(Small):
    """Takes a mask too."""

    def forward(self, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Map images and a mask to logits."""
        return super().forward(images * mask)


class Raising(Small):
    """Cannot run."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Raise an error of two lines."""
        raise ValueError("the moon is not full\nand this is a second line")


def build() -> nn.Module:
    """Return a network ready to infer."""
    torch.manual_seed(0)
    return Small().eval()


def grey() -> nn.Module:
    """Return a network of images of one channel."""
    return Small(1).eval()


def training() -> nn.Module:
    """Return a network in training mode."""
    return Small()


def frozen_norm() -> nn.Module:
    """Return a network of which one part was left in training mode."""
    module = Small().eval()
    module.norm.train()
    return module


def half() -> nn.Module:
    """Return a network in half precision."""
    return Small().eval().half()


def empty() -> nn.Module:
    """Return a network without values."""
    return Small().eval().to("meta")


def as_dict() -> nn.Module:
    """Return a network that puts out a dict."""
    return Answering(lambda logits: {"logits": logits, "features": logits}).eval()


def as_dataclass() -> nn.Module:
    """Return a network that puts out a dataclass."""
    return Answering(Answer).eval()


def as_tuple() -> nn.Module:
    """Return a network that puts out a tuple."""
    return Answering(lambda logits: (logits, logits)).eval()


def as_map() -> nn.Module:
    """Return a network that puts out a map of logits."""
    return Answering(lambda logits: logits[:, :, None, None]).eval()


def as_one_row() -> nn.Module:
    """Return a network that puts out one row for a batch."""
    return Answering(lambda logits: logits.mean(0, keepdim=True)).eval()


def as_class() -> nn.Module:
    """Return a network that puts out the number of a class."""
    return Answering(lambda logits: logits.argmax(1, keepdim=True)).eval()


def two_inputs() -> nn.Module:
    """Return a network of two inputs."""
    return TwoInputs().eval()


def raising_network() -> nn.Module:
    """Return a network that raises."""
    return Raising().eval()


class Lazy(nn.Sequential):
    """Weights get their sizes from the first image; a part may be left out of the forward."""

    def __init__(self, spare: bool = False) -> None:
        super().__init__(nn.LazyConv2d(4, 4, stride=4), nn.LazyBatchNorm2d(), nn.Flatten())
        self.append(nn.LazyLinear(CLASSES))
        self.rest = nn.ModuleList([nn.LazyLinear(3)] if spare else [])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        for part in list(self)[:4]:
            images = part(images)
        return images


def lazy() -> nn.Module:
    """Return a network that has not met its first image."""
    torch.manual_seed(0)
    return Lazy().eval()


def lazy_in_part() -> nn.Module:
    """Return a network of which a lazy part is not used."""
    return Lazy(spare=True).eval()


def parallel() -> nn.Module:
    """Return what training on several GPUs leaves."""
    return nn.DataParallel(build()).eval()


def compiled() -> nn.Module:
    """Return a compiled network, wrapped, in a part and in its forward."""
    torch.manual_seed(0)
    module = Small().eval()
    setattr(module, "head", torch.compile(nn.DataParallel(module.head)))  # noqa: B010
    module.norm.compile()
    module.forward = torch.compile(module.forward)  # type: ignore[method-assign]
    return torch.compile(module)  # type: ignore[return-value]


class Stubborn(nn.BatchNorm2d):
    """Stays in training mode."""

    def train(self, mode: bool = True) -> "Stubborn":
        """Take no notice of the mode."""
        return super().train(True)


def stubborn() -> nn.Module:
    """Return a network of which a part cannot be put into evaluation mode."""
    return nn.Sequential(Stubborn(3), Small()).eval()


def noisy() -> nn.Module:
    """Return a network that is random in evaluation mode."""
    return Answering(lambda logits: logits + torch.rand_like(logits)).eval()


def takes_dict() -> nn.Module:
    """Return a network that takes a dict."""
    return Taking(lambda batch: batch["image"]).eval()


def takes_object() -> nn.Module:
    """Return a network that takes an object with attributes."""
    return Taking(lambda batch: batch.tensors).eval()


class Taking(Small):
    """Takes its images out of something."""

    def __init__(self, take: Callable[[Any], torch.Tensor]) -> None:
        super().__init__()
        self.take = take

    def forward(self, images: object) -> torch.Tensor:
        """Map what holds images to logits."""
        return super().forward(self.take(images))


def one_image() -> nn.Module:
    """Return a network that takes one image only."""
    return Taking(lambda images: images.reshape(1, 3, SIDE, SIDE)).eval()


def two_images() -> nn.Module:
    """Return a network that takes two images only."""
    return Taking(lambda images: images.reshape(2, 3, SIDE, SIDE)).eval()


def row_by_row() -> nn.Module:
    """Return a network that returns a list with a dict for each image."""
    return Answering(
        lambda logits: [{"scores": row[:2], "boxes": row[2:]} for row in logits]
    ).eval()


def with_a_word() -> nn.Module:
    """Return a network that returns more than tensors."""
    return Answering(lambda logits: {"logits": logits, "kind": "digits"}).eval()


def complex_numbers() -> nn.Module:
    """Return a network that returns complex numbers."""
    return Answering(torch.fft.fft).eval()


def scripted() -> nn.Module:
    """Return a TorchScript network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = torch.jit.script(build())
    return found


def save_script(module: nn.Module, path: Path) -> Path:
    """Write a module as TorchScript, without the warnings of torch that it is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def traced_part() -> nn.Module:
    """Return a network with a TorchScript part, traced."""
    module = Answering(lambda logits: {"scores": logits, "first": logits.argmax(1)}).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(2, 3, SIDE, SIDE)
        module.small = torch.jit.trace(build(), images)  # type: ignore[no-untyped-call]
    return module


class Unsaved(Small):
    """Draws a tensor that is not in its state, as a buffer and as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.randn(CLASSES, CLASSES), persistent=False)
        self.offsets = [torch.randn(CLASSES), {"more": torch.randn(CLASSES)}]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, 16, 16) to logits (N, classes)."""
        first, second = self.offsets
        assert isinstance(first, torch.Tensor)
        assert isinstance(second, dict)
        assert isinstance(self.mix, torch.Tensor)
        logits: torch.Tensor = super().forward(images) @ self.mix + first + second["more"]
        return logits


def unsaved() -> nn.Module:
    """Return a network with other numbers each time."""
    return Unsaved().eval()


def with_classes(classes: int) -> nn.Module:
    """Need an argument."""
    return nn.Linear(1, classes)


def raising() -> nn.Module:
    """Raise an error of two lines."""
    raise RuntimeError("no weights here\nnor there")


def exiting() -> nn.Module:
    """End the program."""
    raise SystemExit(0)


def text() -> str:
    """Return no network."""
    return "a network"


def tensors() -> dict[str, torch.Tensor]:
    """Return weights instead of a network."""
    return Small().state_dict()
