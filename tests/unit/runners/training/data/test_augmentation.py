"""What changes an image at random: each kind by itself, against the standard library's colours."""

import colorsys

import pytest
import torch

from greenbatch.runners.training.data.augmentation import KINDS, Augmentation

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Four images (N, 3, 3, 5) with greys, black and pure colours among their pixels."""
    made = torch.rand(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
    made[0, :, 0, 0] = 0.0
    made[0, :, 0, 1] = 0.6
    made[0, :, 0, 2] = torch.tensor([0.0, 1.0, 0.0])
    made[0, :, 0, 3] = torch.tensor([0.0, 0.0, 1.0])
    made[0, :, 0, 4] = torch.tensor([1.0, 0.0, 0.0])
    return made


def changed(kind: str, images: torch.Tensor, draw: float) -> torch.Tensor:
    return Augmentation((kind,), 0)(images, torch.full((len(images), 1), draw))


def by_pixel(images: torch.Tensor, turn: float, factor: float) -> torch.Tensor:
    """Turn the hue and multiply the saturation of every pixel by `colorsys`."""
    expected = images.clone()
    for image in expected:
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
                pixel = colorsys.hsv_to_rgb((hue + turn) % 1, min(1, saturation * factor), value)
                image[:, row, column] = torch.tensor(pixel)
    return expected


@pytest.mark.parametrize(("draw", "turn"), [(0.0, -0.1), (0.5, 0.0), (1.0, 0.1)])
def test_hue_is_turned_by_a_tenth_of_the_circle_at_most(
    images: torch.Tensor, draw: float, turn: float
) -> None:
    torch.testing.assert_close(
        changed("hue", images, draw), by_pixel(images, turn, 1.0), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.75), (1.0, 1.25)])
def test_saturation_is_multiplied(images: torch.Tensor, draw: float, factor: float) -> None:
    torch.testing.assert_close(
        changed("saturation", images, draw), by_pixel(images, 0.0, factor), atol=1e-5, rtol=0
    )


def test_brightness_is_added_and_kept_between_black_and_white(images: torch.Tensor) -> None:
    torch.testing.assert_close(changed("brightness", images, 1.0), (images + 0.2).clamp(0, 1))
    torch.testing.assert_close(changed("brightness", images, 0.0), (images - 0.2).clamp(0, 1))


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.5), (1.0, 2.0)])
def test_contrast_is_around_the_mean_of_each_image_and_channel(
    images: torch.Tensor, draw: float, factor: float
) -> None:
    mean = images.mean((2, 3), keepdim=True)
    expected = (mean + factor * (images - mean)).clamp(0, 1)
    torch.testing.assert_close(changed("contrast", images, draw), expected)


def test_half_of_the_images_are_flipped_left_and_right(images: torch.Tensor) -> None:
    assert torch.equal(changed("flip", images, 0.49), images.flip(3))
    assert torch.equal(changed("flip", images, 0.5), images)


def test_a_grey_image_has_neither_hue_nor_saturation(images: torch.Tensor) -> None:
    grey = images[:, :1]
    for kind in ("hue", "saturation"):
        assert torch.equal(changed(kind, grey, 1.0), grey)


def test_draws_are_those_of_seed_and_epoch_and_every_kind_has_its_own() -> None:
    changes = Augmentation(tuple(KINDS), seed=3)
    draws = changes.drawn(1000, 5)
    assert draws.shape == (1000, 5)
    assert torch.equal(draws, Augmentation(tuple(KINDS), seed=3).drawn(1000, 5))
    for other in (changes.drawn(1000, 6), Augmentation(tuple(KINDS), seed=4).drawn(1000, 5)):
        assert not torch.equal(draws, other)
    assert float(torch.corrcoef(draws.T).fill_diagonal_(0).abs().max()) < 0.15
