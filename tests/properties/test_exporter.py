"""Whatever the network, its artifact computes each row of any batch as torch does for one image."""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from greenbatch.exporter import Origin, export_module
from greenbatch.models import synthetic_images
from greenbatch.models.artifacts import load_artifact
from greenbatch.models.weights.load import load_weights
from tests.fakes.networks import CLASSES, SPEC
from tests.thorough import examples

SIDE = SPEC.input.shape[-1]
LARGEST = 16


class Attention(nn.Module):
    """A small vision transformer: patches, a class token, positions, encoder layers."""

    def __init__(self, patch: int, width: int, heads: int, depth: int, token: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.positions = nn.Parameter(torch.zeros(1, (SIDE // patch) ** 2 + token, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), tokens], 1)
        encoded = self.encoder(tokens + self.positions)
        features = encoded[:, 0] if self.token is not None else encoded.mean(1)
        logits: torch.Tensor = self.head(features)
        return logits


class Shuffle(nn.Module):
    """Exchanges channels between groups, by a view with the batch in it."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        batch, channels, height, width = features.shape
        grouped = features.view(batch, self.groups, channels // self.groups, height, width)
        return grouped.transpose(1, 2).reshape(batch, channels, height, width)


@st.composite
def convolutional(draw: st.DrawFn) -> nn.Module:
    """Stacks of convolutions with what usually stands between them."""
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, 2])) if channels % 2 == 0 else 1
        width = draw(st.sampled_from([4, 6, 8]))
        kernel = draw(st.sampled_from([1, 3, 5]))
        layers.append(
            nn.Conv2d(
                channels, width, kernel, draw(st.sampled_from([1, 2])), kernel // 2, groups=groups
            )
        )
        channels = width
        between: list[type[nn.Module]] = [nn.ReLU, nn.Hardswish, nn.SiLU, nn.GELU]
        layers += [nn.BatchNorm2d(width)] if draw(st.booleans()) else [nn.GroupNorm(2, width)]
        layers += [Shuffle(2)] if draw(st.booleans()) else []
        layers.append(draw(st.sampled_from(between))())
    pool = draw(st.sampled_from([nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d]))
    return nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(channels, CLASSES))


@st.composite
def attention(draw: st.DrawFn) -> nn.Module:
    """Transformers of some sizes."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return Attention(
        patch=draw(st.sampled_from([4, 8])),
        width=heads * draw(st.sampled_from([4, 8])),
        heads=heads,
        depth=draw(st.integers(1, 2)),
        token=draw(st.booleans()),
    )


@pytest.mark.slow
@settings(
    max_examples=examples(2, 20),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    module=st.one_of(convolutional(), attention()),
    batch_sizes=st.sets(st.integers(1, LARGEST), min_size=3, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_any_batch_equals_torch_row_by_row(
    module: nn.Module, batch_sizes: set[int], seed: int
) -> None:
    applied = load_weights(module.eval(), SPEC, "random", seed)
    images = synthetic_images(SPEC, LARGEST, seed + 1)
    with torch.inference_mode():
        wanted = np.concatenate([module(torch.from_numpy(image[None])) for image in images])
    with tempfile.TemporaryDirectory() as folder:
        manifest = export_module(module, SPEC, folder, Origin(applied, "0" * 64))
        assert manifest.inputs[0].dims[0] == manifest.outputs[0].dims[0] == "batch"
        path = load_artifact(Path(folder), SPEC.name).path
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for batch_size in batch_sizes:
            (got,) = session.run(None, {"input": images[:batch_size]})
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(got / scale, wanted[:batch_size] / scale, rtol=0, atol=1e-4)
