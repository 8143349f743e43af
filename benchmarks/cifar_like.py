"""Draw a data set of the form of CIFAR-10: colour images of 32x32, ten classes, a folder for each.

A class is one of five directions of a grating in one of two outlines. Colours, frequency, phase,
place, size and noise are drawn at random, so that the class does not follow from any one pixel.

    python benchmarks/cifar_like.py FOLDER [--images 6000] [--seed 0]
    gb study run yarally-search-published --scale 0.03 --data folder:FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, DIRECTIONS, OUTLINES = 32, 5, ("disc", "square")
NOISE = 40.0


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    for number in range(given.images):
        outline, direction = divmod(number % (DIRECTIONS * len(OUTLINES)), DIRECTIONS)
        folder = given.folder / f"{OUTLINES[outline]}-{180 // DIRECTIONS * direction}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = image(OUTLINES[outline], np.pi / DIRECTIONS * direction, rng)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")


def image(outline: str, direction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw one image.

    Args:
        outline: ``disc`` or ``square``, within which the grating is.
        direction: Of the grating, in radians.
        rng: Draws what does not depend on the class.

    Returns:
        Shape (32, 32, 3), uint8.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    place, radius = rng.uniform(12, 20, 2), rng.uniform(7, 12)
    dx, dy = x - place[0], y - place[1]
    within = np.hypot(dx, dy) if outline == "disc" else np.maximum(abs(dx), abs(dy))
    along = dx * np.cos(direction) + dy * np.sin(direction)
    wave = 0.5 + 0.5 * np.sin(along * rng.uniform(0.7, 1.3) + rng.uniform(0, 2 * np.pi))
    paper, one, other = rng.uniform(0, 255, (3, 3))
    grating = wave[..., None] * one + (1 - wave[..., None]) * other
    drawn = np.where(within[..., None] < radius, grating, paper)
    noisy: np.ndarray = np.clip(drawn + rng.normal(0, NOISE, drawn.shape), 0, 255)
    return noisy.astype(np.uint8)


if __name__ == "__main__":
    main()
