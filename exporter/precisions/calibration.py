"""Which images an artifact is calibrated on, and which others it is judged by."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.models.image_folder import find_photographs, read_batches
from greenbatch.models.inputs import synthetic_images
from greenbatch.models.spec import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNT = 64
"""Images of each kind: 64 of 3x224x224 take 39 MB.

Ranges of activations are settled by some dozens of images; top-1 agreement has steps of
1/64.
"""

FEWEST = 16
_READ_AT_ONCE = 16
_CALIBRATION_SEED = 20_170_612  # neither a run's seed nor that of random weights
_JUDGING_SEED = 20_201_022
_SHUFFLE_SEED = 0


@dataclass(frozen=True, slots=True)
class Images:
    """Images as a network takes them, and what they are.

    Attributes:
        pixels: Float32 array (N, C, H, W).
        data: ``synthetic (seed N)``, or the folder's name and how many could not be read.
    """

    pixels: "NDArray[np.float32]"
    data: str


def draw_images(input_spec: InputSpec, folder: Path | None = None) -> tuple[Images, Images]:
    """Return images to calibrate on and others to judge by: no image is in both.

    Args:
        input_spec: How a photograph becomes an input.
        folder: Photographs, in any folders below; a seeded choice of them is taken. ``None``:
            synthetic images.

    Raises:
        UsageError: The folder does not hold twice `FEWEST` readable images.
    """
    import numpy as np

    if folder is None:
        return (
            Images(
                synthetic_images(input_spec, COUNT, _CALIBRATION_SEED),
                f"synthetic (seed {_CALIBRATION_SEED})",
            ),
            Images(
                synthetic_images(input_spec, COUNT, _JUDGING_SEED),
                f"synthetic (seed {_JUDGING_SEED})",
            ),
        )
    paths = list(find_photographs(folder))
    random.Random(_SHUFFLE_SEED).shuffle(paths)
    broken: list[Path] = []
    batches: list[NDArray[np.float32]] = []
    found = 0
    for _, batch in read_batches(
        paths, input_spec, _READ_AT_ONCE, lambda path, reason: broken.append(path)
    ):
        batches.append(batch)
        found += len(batch)
        if found >= 2 * COUNT:
            break
    if found < 2 * FEWEST:
        raise UsageError(
            f"{folder} holds {found} images that can be read ({len(broken)} that cannot), wanted "
            f"at least {2 * FEWEST}: half calibrate, the others judge; add some, or leave out "
            "--calibration for synthetic ones"
        )
    pixels = np.concatenate(batches)[: 2 * COUNT]
    data = f"folder {folder.name}" + (f", {len(broken)} unreadable" if broken else "")
    half = len(pixels) // 2
    return Images(pixels[:half], data), Images(pixels[half:], data)
