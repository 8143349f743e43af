"""Inputs for measuring: seeded arrays with the statistics of preprocessed photographs."""

from typing import TYPE_CHECKING

from greenbatch.models.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# (cells along a side, standard deviation of a cell). Most variance is coarse, as in photographs:
# pooling over an image would make all images of white noise alike. Little of it is the mean of
# the image, or bright and dark images would differ more than their content does.
_SCALES = ((1, 0.05), (3, 0.07), (8, 0.09), (32, 0.06))
_GRAIN = 0.03


def synthetic_images(
    spec: ModelSpec | InputSpec, batch_size: int, seed: int
) -> "NDArray[np.float32]":
    """Make a batch of images as a network takes them, without torch.

    Image ``i`` depends on ``seed`` and ``i`` only: a smaller batch is the beginning of a larger.

    Args:
        spec: A model, or its input.
        batch_size: Number of images N, at least 1.
        seed: Not negative.

    Returns:
        Float32 array (N, C, H, W), contiguous, normalised with the input's mean and std; before
        that the values are within 0..1.

    Raises:
        ValueError: ``batch_size`` or ``seed`` is out of its range.
    """
    import numpy as np

    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it is at least 1")
    input_spec = spec.input if isinstance(spec, ModelSpec) else spec
    channels, height, width = input_spec.shape
    stretches = [(_stretch(cells, height), _stretch(cells, width).T) for cells, _ in _SCALES]
    images = np.empty((batch_size, channels, height, width), np.float32)
    for index, image in enumerate(images):
        rng = np.random.default_rng((seed, index))
        image[...] = 0.45 + _GRAIN * rng.standard_normal(image.shape, np.float32)
        for (cells, deviation), (down, across) in zip(_SCALES, stretches, strict=True):
            # Light is common to the channels, colour is their own: half of the variance each.
            light = rng.standard_normal((1, cells, cells), np.float32)
            colour = rng.standard_normal((channels, cells, cells), np.float32)
            image += down @ ((light + colour) * np.float32(deviation / 2**0.5)) @ across
    np.clip(images, 0, 1, out=images)
    images -= np.asarray(input_spec.mean, np.float32)[:, None, None]
    images /= np.asarray(input_spec.std, np.float32)[:, None, None]
    return images


def _stretch(cells: int, length: int) -> "NDArray[np.float32]":
    """Return the matrix (length, cells) that interpolates ``cells`` values linearly."""
    import numpy as np

    centres = (np.arange(length) + 0.5) * cells / length - 0.5
    columns = [np.interp(centres, np.arange(cells), unit) for unit in np.eye(cells)]
    return np.stack(columns, axis=1).astype(np.float32)
