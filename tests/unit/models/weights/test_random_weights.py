"""Random weights: networks of every kind tell unseen images apart, and no value runs away."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.random_weights import behaviour
from greenbatch.models import InputSpec, ModelSpec, find, synthetic_images
from greenbatch.models.build import build
from greenbatch.models.weights.random_weights import _level, draw_weights
from tests.thorough import needs_thorough

pytestmark = pytest.mark.numeric

SPEC = ModelSpec(name="tiny", family="fake", parameters=0, input=InputSpec(shape=(3, 16, 16)))
QUICK = ("squeezenet1_0", "mobilenet_v3_small")
SLOW = ("squeezenet1_1", "resnet18")
DEAR = ("vit_b_32", "vgg11", "googlenet")
IMAGES = 12
HALF_MAX = 65504


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
        *(pytest.param(name, marks=[pytest.mark.slow, needs_thorough]) for name in DEAR),
    ],
)
def test_a_network_of_each_kind_tells_unseen_images_apart(name: str) -> None:
    spec = find(name)
    if name != "vit_b_32":  # smaller images, for those that take any
        spec = replace(spec, input=replace(spec.input, shape=(3, 112, 112)))
    module = build(spec)
    draw_weights(module, spec, seed=0)
    seen = behaviour(module, spec, IMAGES)
    assert 0.5 < seen.spread < 2
    assert seen.winners >= IMAGES // 2
    assert seen.largest < HALF_MAX / 100
    assert 0 < seen.noise < 5, "rounding errors grow from layer to layer"


class Rectified(nn.Module):
    """Ends as squeezenet does, without any normalisation."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        features = torch.relu(self.stem(images))
        return torch.relu(self.head(features)).mean((2, 3))


class Unbiased(nn.Module):
    """Ends as maxvit does: in a layer without a bias, after one that is bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * 16 * 16, 32)
        self.head = nn.Linear(32, 10, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, classes)."""
        logits: torch.Tensor = self.head(torch.tanh(self.hidden(images.flatten(1))))
        return logits


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(synthetic_images(SPEC, count, seed))


def test_no_class_comes_first_for_every_image_behind_a_rectifier() -> None:
    module = Rectified()
    draw_weights(module, SPEC, seed=0)
    with torch.inference_mode():
        settled, unseen = module(images(8)), module(images(64, seed=99))
    torch.testing.assert_close(settled.mean(0) / settled.mean(), torch.ones(8))
    assert float((settled - settled.mean(0)).std()) == pytest.approx(1, rel=1e-3)
    assert len(set(unseen.argmax(1).tolist())) >= 4


def test_a_head_without_a_bias_is_scaled_and_the_layer_before_it_is_not() -> None:
    module = Unbiased()
    draw_weights(module, SPEC, seed=0)
    with torch.inference_mode():
        logits = module(images(8))
        hidden = module.hidden(images(8).flatten(1))
    assert float((logits - logits.mean(0)).std()) == pytest.approx(1, rel=1e-3)
    assert float(hidden.std()) == pytest.approx(1, rel=0.05)


def test_a_head_that_is_no_layer_is_scaled_by_what_stands_before_it() -> None:
    class Projecting(Rectified):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch)[:, :3]

    module = Projecting()
    draw_weights(module, SPEC, seed=0)
    with torch.inference_mode():
        logits = module(images(8))
    assert float((logits - logits.mean(0)).std()) == pytest.approx(1, rel=1e-3)


def test_convolutions_without_normalisations_keep_most_rectifiers_open() -> None:
    module = Rectified()
    draw_weights(module, SPEC, seed=0)
    with torch.inference_mode():
        outputs = module.stem(images(8))
    assert 0.7 < float(outputs.mean()) < 1.3
    assert float((outputs - outputs.mean((0, 2, 3), keepdim=True)).std()) == pytest.approx(
        1, rel=0.05
    )
    assert float((outputs > 0).float().mean()) > 0.7


@pytest.mark.slow
def test_large_images_are_fewer() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.counts: list[int] = []

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            self.counts.append(len(batch))
            logits: torch.Tensor = self.norm(batch).mean((2, 3))
            return logits

    module = Counting()
    for side in (32, 224, 288, 600):
        spec = ModelSpec(
            name="counting", family="fake", parameters=6, input=InputSpec(shape=(3, side, side))
        )
        draw_weights(module, spec, seed=0)
    assert module.counts == [32, 32, 25, 12]


def test_rounding_is_not_enlarged_to_a_signal() -> None:
    """A class token that has met no image is the same for all, but for rounding."""
    layer = nn.Linear(4, 8)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.zeros_(layer.bias)
    before = layer.weight.detach().clone()
    noise = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = layer(torch.ones(32, 4))
        assert _level(layer, same + 1e-7 * noise) is None
        assert torch.equal(layer.weight, before)
        levelled = _level(layer, same + 1e-3 * noise)
    assert levelled is not None
    assert float(levelled.std()) == pytest.approx(1, rel=0.05)
