"""Small networks with the traits, and the faults, of large ones; exported in about a second."""

from pathlib import Path

import torch
from torch import nn

from greenbatch.exporter import Origin, export_module
from greenbatch.models import InputSpec, ModelSpec
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.models.weights.load import WeightsApplied, load_weights

SPEC = ModelSpec(
    name="tiny",
    family="fake",
    year=2026,
    parameters=0,
    flops=1.0,
    top1=0.0,
    checkpoint="tiny-00000000.pth",
    input=InputSpec(shape=(3, 16, 16), resize=16, crop=16),
)
CLASSES = 10


class Convolutional(nn.Module):
    """Convolution, batch normalisation, squeeze and gate, a zero head: what must be drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.layer_scale = nn.Parameter(torch.full((8, 1, 1), 1e-6))
        self.head = nn.Linear(8, CLASSES)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        features = torch.relu(self.norm(self.stem(images)))
        gate = torch.sigmoid(self.gate(features.mean((2, 3), keepdim=True)))
        features = features + self.layer_scale * gate * features
        logits: torch.Tensor = self.head(features.mean((2, 3)))
        return logits


class Constant(nn.Module):
    """Puts out the same for every image, as a network with a zero head does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        logits: torch.Tensor = self.head(images.mean((2, 3)))
        return logits


class Frozen(nn.Module):
    """Adds a constant for each of the two images that it was traced with."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (2, 3, H, W) to logits (2, 3)."""
        return images.mean((2, 3)) + torch.tensor([[1.0], [2.0]])


class Unrolled(nn.Module):
    """Looks at the first two images only: torch exports it without complaint."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (2, 3)."""
        means = images.mean((2, 3))
        return torch.stack([means[0], means[1]])


class Infinite(nn.Module):
    """Puts out infinities."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, 3)."""
        return images.mean((2, 3)) / torch.zeros(())


class Brief(nn.Module):
    """Puts out bfloat16."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, 3)."""
        return images.mean((2, 3)).bfloat16()


class BriefBeside(nn.Module):
    """Puts out float32, and bfloat16 beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images (N, C, H, W) to logits (N, classes) and an embedding (N, 3)."""
        means = images.mean((2, 3))
        return {"logits": self.head(means), "embedding": means.bfloat16()}


class Autocast(BriefBeside):
    """Computes in bfloat16, as a forward with torch.autocast does."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images (N, C, H, W) to logits (N, classes) and an embedding (N, 3)."""
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images)


class Viewed(nn.Module):
    """Holds the batch size that it was traced with in a view, behind one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (2, 3, 16, 16) to logits (2, classes)."""
        columns = torch.relu(images.reshape(images.shape[0], -1, 4))
        features = columns.view(2, -1)
        logits: torch.Tensor = self.head(features)
        return logits


class Counted(Viewed):
    """Counts its images by ``len``, which torch.export takes for a constant."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (2, 3, 16, 16) to logits (2, classes)."""
        columns = torch.relu(images.reshape(images.shape[0], -1, 4))
        features = columns.reshape(len(images), -1)
        logits: torch.Tensor = self.head(features)
        return logits


class Halved(Viewed):
    """Views every batch as two halves for a moment: exports and runs at any size, all wrong."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        features = torch.softmax(4 * images.view(2, -1), 0)
        logits: torch.Tensor = self.head(features.reshape(images.shape[0], -1))
        return logits


class Centred(Viewed):
    """Takes the mean of the batch from each image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        logits: torch.Tensor = self.head((images - images.mean(0)).flatten(1))
        return logits


class Pooled(nn.Module):
    """Ends in a pooling that is flattened, as squeezenet: inference loses the batch's name."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Conv2d(3, CLASSES, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        return torch.flatten(self.classifier(images), 1)


class Attention(nn.Module):
    """A small transformer: tokens, attention, LayerNorm, Gelu."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU())
        self.head = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        logits: torch.Tensor = self.head(self.mlp(tokens).mean(1))
        return logits


def exported(folder: Path, module: nn.Module) -> Artifact:
    """Export a network that takes inputs of `SPEC`, with random weights."""
    load_weights(module, SPEC, "random", 0)
    export_module(module, SPEC, folder, Origin(WeightsApplied("random", "seed 0"), "0" * 64))
    return load_artifact(folder, SPEC.name)
