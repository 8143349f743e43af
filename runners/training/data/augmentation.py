"""Changes that are drawn for each training image, on the device that trains.

The kinds and their strengths are those of del Rey et al. (GAISSA-UPC/seaa2023_ect,
src/data/utils.py), whose batches share one draw of all but the flip; here each image has its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

    _Change: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_BRIGHTNESS, _HUE = 0.2, 0.1
_CONTRAST, _SATURATION = (0.5, 2.0), (0.75, 1.25)
_COLOURS = 3


class Augmentation:
    """Changes images at random.

    Args:
        kinds: Among `KINDS`; they act in the order of `KINDS`.
        seed: Of the training.
    """

    def __init__(self, kinds: Sequence[str], seed: int) -> None:
        self._kinds = [kind for kind in KINDS if kind in kinds]
        self._seed = seed

    def drawn(self, images: int, epoch: int) -> "torch.Tensor":
        """Draw what happens to the images of an epoch: (images, kinds), of 0..1.

        The same seed and epoch give the same, however the epoch is cut into batches.
        """
        import torch

        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) ^ 0x5EED)
        return torch.rand(images, len(self._kinds), generator=generator)

    def __call__(self, shares: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
        """Change images (N, C, H, W) of 0..1 by their draws (N, kinds); the result is in 0..1.

        Saturation and hue leave images of one channel as they are: a grey has neither.
        """
        for place, kind in enumerate(self._kinds):
            if kind in ("saturation", "hue") and shares.shape[1] != _COLOURS:
                continue
            shares = KINDS[kind](shares, draws[:, place].reshape(-1, 1, 1, 1))
        return shares.clamp(0, 1)


def _flip(images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.where(draws < 0.5, images.flip(3), images)


def _brightness(images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    return images + _BRIGHTNESS * (2 * draws - 1)


def _contrast(images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    low, high = _CONTRAST
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * (low + draws * (high - low)) + mean


def _saturation(images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    low, high = _SATURATION
    hue, saturation, value = _hsv(images)
    return _rgb(hue, (saturation * (low + draws * (high - low))).clamp(0, 1), value)


def _hue(images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    hue, saturation, value = _hsv(images)
    return _rgb((hue + _HUE * (2 * draws - 1)) % 1, saturation, value)


def _hsv(images: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Return hue, saturation and value (N, 1, H, W); see `colorsys.rgb_to_hsv`."""
    import torch

    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    saturation = chroma / torch.where(value > 0, value, torch.ones_like(value))
    return tuple(each.unsqueeze(1) for each in (hue / 6, saturation, value))  # type: ignore[return-value]


def _rgb(hue: "torch.Tensor", saturation: "torch.Tensor", value: "torch.Tensor") -> "torch.Tensor":
    """Return images (N, 3, H, W) of hue, saturation and value (N, 1, H, W)."""
    import torch

    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device).reshape(1, 3, 1, 1)
    sector = (offsets + 6 * hue) % 6
    ramp = torch.minimum(sector, 4 - sector).clamp(0, 1)
    return value - value * saturation * ramp


KINDS: "Mapping[str, _Change]" = {
    "flip": _flip,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}
"""Flip left and right in half of the cases; add up to ±0.2; times 0.5 to 2 around the mean of the
image; times 0.75 to 1.25; turn by up to ±0.1 of the circle."""
