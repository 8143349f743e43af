"""Networks as users bring them: good ones, and one for each way of being unfit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

SIDE, CLASSES = 16, 5
SETTINGS = {"classes": CLASSES}


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
