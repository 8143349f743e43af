"""Which images an artifact is calibrated on, and which others it is judged by."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenbatch import units
from greenbatch.errors import UsageError
from greenbatch.exporter.precisions.drawings import drawn_inputs
from greenbatch.models.image_folder import find_photographs, read_batches
from greenbatch.models.inputs import other_inputs, synthetic_inputs
from greenbatch.models.output_rows import Array, Outputs, take_images
from greenbatch.models.spec import InputSpec
from greenbatch.records import Manifest, TensorSpec

COUNT = 64
"""Images of each kind: 64 of 3x224x224 take 39 MB.

Ranges of activations are settled by some dozens of images; top-1 agreement has steps of
1/64.
"""

MOST_BYTES = 256_000_000
FEWEST_JUDGED = 8
FEWEST = 16
_READ_AT_ONCE = 16
_CALIBRATION_SEED = 20_170_612  # neither a run's seed nor that of random weights
_JUDGING_SEED = 20_201_022
_SHUFFLE_SEED = 0


@dataclass(frozen=True, slots=True)
class Images:
    """Images as a network takes them, and what they are.

    Attributes:
        spec: The network's inputs.
        inputs: All of them by name, for these images.
        data: ``synthetic (seed N)`` or ``drawn (seed N)``, or the folder's name and how many could
            not be read.
    """

    spec: InputSpec
    inputs: Outputs
    data: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)

    @property
    def pixels(self) -> Array:
        """The images alone: (N, C, H, W), or as the layout of the input says."""
        return self.inputs[self.spec.name]

    def take(self, order: Sequence[int]) -> Outputs:
        """Return the inputs for some of the images, in an order."""
        return take_images(self.spec, self.inputs, order)

    def some(self, order: Sequence[int]) -> "Images":
        """Return some of the images, in an order."""
        return Images(self.spec, self.take(order), self.data)

    def first(self, count: int) -> "Images":
        """Return the first images."""
        return self.some(range(min(count, len(self))))


def of_a_folder(stated: str) -> bool:
    """Whether a manifest's ``calibration`` is on photographs, see `Images.data`."""
    return bool(stated) and not stated.startswith(("synthetic (", "drawn ("))


def images_for(manifest: Manifest) -> int:
    """Return how many images a network is judged by.

    `COUNT`, or as many as take `MOST_BYTES` with their outputs: a segmentation of 520x520 pixels in
    21 classes has 23 MB for each image.
    """
    each = sum(map(_bytes_of, (*manifest.inputs, *manifest.outputs)))
    return max(FEWEST_JUDGED, min(COUNT, MOST_BYTES // max(1, each)))


def _bytes_of(tensor: TensorSpec) -> int:
    """Return the size of an image's part; of what the data size, nothing is known."""
    import numpy as np

    if tensor.counted:
        return 0
    wide = 2 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).itemsize
    return math.prod(tensor.shape(1)) * wide


def draw_images(
    input_spec: InputSpec,
    folder: Path | None = None,
    count: int = COUNT,
    *,
    drawn: bool = False,
) -> tuple[Images, Images]:
    """Return images to calibrate on and others to judge by: no image is in both.

    Args:
        input_spec: How a photograph becomes an input.
        folder: Photographs, in any folders below; a seeded choice of them is taken. ``None``:
            synthetic images.
        count: How many of each, at most.
        drawn: Without a folder, strokes instead of what looks like photographs, see
            `greenbatch.exporter.precisions.drawings`.

    Raises:
        UsageError: The folder does not hold twice `FEWEST` readable images.
    """
    if folder is None:
        make, kind = (drawn_inputs, "drawn") if drawn else (synthetic_inputs, "synthetic")
        learnt, judged = (
            Images(input_spec, make(input_spec, count, seed), f"{kind} (seed {seed})")
            for seed in (_CALIBRATION_SEED, _JUDGING_SEED)
        )
        return learnt, judged
    pixels, data = _photographs(folder, input_spec, 2 * max(count, FEWEST))
    half = min(len(pixels) // 2, count)
    learnt, judged = (
        Images(
            input_spec,
            {input_spec.name: part, **other_inputs(input_spec, len(part), seed)},
            data,
        )
        for part, seed in (
            (pixels[:half], _CALIBRATION_SEED),
            (pixels[half : half + count + 1], _JUDGING_SEED),
        )
    )
    return learnt, judged


def _photographs(folder: Path, input_spec: InputSpec, most: int) -> tuple[Array, str]:
    """Read a seeded choice of a folder's photographs; return them, and what they are."""
    import numpy as np

    paths = list(find_photographs(folder))
    random.Random(_SHUFFLE_SEED).shuffle(paths)
    broken: list[Path] = []
    batches: list[Array] = []
    found = 0
    for _, batch in read_batches(
        paths, input_spec, _READ_AT_ONCE, lambda path, reason: broken.append(path)
    ):
        batches.append(batch)
        found += len(batch)
        if found >= most:
            break
    if found < 2 * FEWEST:
        raise UsageError(
            f"{folder} holds {units.count(found, 'image')} that can be read ({len(broken)} that "
            f"cannot), wanted at least {2 * FEWEST}: half calibrate, the others judge; add some, "
            "or leave out --calibration for synthetic ones"
        )
    data = f"folder {folder.name}" + (f", {len(broken)} unreadable" if broken else "")
    return np.concatenate(batches)[:most], data
