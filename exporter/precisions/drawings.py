"""Drawn images: dark strokes on a light ground, for networks that find nothing in synthetic images.

A text detector answers with values near 0 to an image without text. These are the rounding errors
of float32, and no other precision can have the same.
"""

from greenbatch.models.inputs import arranged, other_inputs
from greenbatch.models.output_rows import Array
from greenbatch.models.spec import InputSpec

_ROWS, _COLUMNS, _STROKES = 6, 9, 3  # of signs in an image, and of strokes in a sign
_GROUND, _INK = (0.75, 1.0), (0.0, 0.25)  # brightness, of 0 to 1
_WIDTH = 0.05  # of a stroke, over the smaller side of a sign


def drawn_inputs(input_spec: InputSpec, count: int, seed: int) -> dict[str, Array]:
    """Make all inputs of a network by name; the images show strokes where a page has letters.

    Args:
        input_spec: The inputs.
        count: Number of images.
        seed: Image ``i`` depends on it and on ``i`` alone.
    """
    import numpy as np

    images = np.empty((count, *input_spec.shape), input_spec.dtype)
    for number, image in enumerate(images):
        drawn = _page(input_spec, (seed, number))
        mean = np.asarray(input_spec.mean, np.float32)[:, None, None]
        std = np.asarray(input_spec.std, np.float32)[:, None, None]
        frames = np.stack([(drawn - mean) / std] * (input_spec.frames or 1))
        image[...] = arranged(frames, input_spec)
    return {input_spec.name: images, **other_inputs(input_spec, count, seed)}


def _page(input_spec: InputSpec, seed: tuple[int, int]) -> Array:
    """Return an image (C, H, W) of values in 0..1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    height, width = input_spec.height, input_spec.width
    rows, columns = min(_ROWS, max(1, height // 16)), min(_COLUMNS, max(1, width // 16))
    high, wide = height / rows, width / columns
    y, x = np.mgrid[:height, :width].astype(np.float32)
    apart = np.full((height, width), np.inf, np.float32)
    for row in range(rows):
        for column in range(columns):
            corner = np.array([row * high, column * wide])
            for _ in range(_STROKES):
                ends = corner + rng.uniform(0.15, 0.75, (2, 2)) * (high, wide)
                box = tuple(
                    slice(int(start), int(start + size) + 1)
                    for start, size in zip(corner, (high, wide), strict=True)
                )
                apart[box] = np.minimum(apart[box], _distance(y[box], x[box], ends))
    half = max(0.6, _WIDTH * min(high, wide))
    ink = np.clip(half + 0.5 - apart, 0, 1)
    light = rng.uniform(*_GROUND, (input_spec.channels, 1, 1))
    dark = rng.uniform(*_INK, (input_spec.channels, 1, 1))
    page: Array = (light * (1 - ink) + dark * ink).astype(np.float32)
    return page


def _distance(y: Array, x: Array, ends: Array) -> Array:
    """Return the distance of points from a segment between two ends (y, x)."""
    import numpy as np

    start, along = ends[0], ends[1] - ends[0]
    length = max(float(along @ along), 1e-9)
    share = np.clip(((y - start[0]) * along[0] + (x - start[1]) * along[1]) / length, 0, 1)
    distance: Array = np.hypot(y - start[0] - share * along[0], x - start[1] - share * along[1])
    return distance
