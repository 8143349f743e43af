"""Inputs for measuring: seeded arrays with the statistics of preprocessed photographs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.models.output_rows import Array
from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.records import BATCH_AXIS, OtherInput, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# (cells along a side, standard deviation of a cell). Most variance is coarse, as in photographs:
# pooling over an image would make all images of white noise alike. Little of it is the mean of
# the image, or bright and dark images would differ more than their content does.
_SCALES = ((1, 0.05), (3, 0.07), (8, 0.09), (32, 0.06))
_GRAIN = 0.03
_DRIFT = 0.05  # standard deviation by which a clip's frames differ from one to the next


def synthetic_inputs(spec: ModelSpec | InputSpec, batch_size: int, seed: int) -> dict[str, Array]:
    """Make all inputs of a network for a batch, by name, the images first.

    Args:
        spec, batch_size, seed: As for `synthetic_images`.
    """
    input_spec = spec.input if isinstance(spec, ModelSpec) else spec
    images = synthetic_images(input_spec, batch_size, seed)
    return {input_spec.name: images, **other_inputs(input_spec, batch_size, seed)}


def other_inputs(input_spec: InputSpec, batch_size: int, seed: int) -> Mapping[str, Array]:
    """Make the inputs beside the images: constants, or values that depend on the image's number."""
    return {
        other.name: _other(other, batch_size, (seed, position))
        for position, other in enumerate(input_spec.others, 1)
    }


def _other(other: OtherInput, batch_size: int, seed: tuple[int, int]) -> Array:
    import numpy as np

    count = batch_size if other.batched else 1
    rows = np.empty((count, *other.shape), other.dtype)
    for index in range(count):
        if other.value is not None:
            rows[index] = other.value
        elif rows.dtype.kind == "f":
            rows[index] = np.random.default_rng((*seed, index)).standard_normal(other.shape)
        else:
            rows[index] = np.random.default_rng((*seed, index)).integers(0, 2, other.shape)
    return rows if other.batched else rows.reshape(other.shape)


def synthetic_images(spec: ModelSpec | InputSpec, batch_size: int, seed: int) -> Array:
    """Make a batch of images as a network takes them, without torch.

    Image ``i`` depends on ``seed`` and ``i`` only: a smaller batch is the beginning of a larger.

    Args:
        spec: A model, or its input.
        batch_size: Number of images N, at least 1.
        seed: Not negative.

    Returns:
        Array of the input's type, (N, C, H, W) or as its layout says, contiguous, normalised with
        the input's mean and std; before that the values are within 0..1. The frames of a clip
        differ a little from one to the next.

    Raises:
        ValueError: ``batch_size`` or ``seed`` is out of its range.
    """
    import numpy as np

    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it is at least 1")
    input_spec = spec.input if isinstance(spec, ModelSpec) else spec
    channels, height, width = input_spec.channels, input_spec.height, input_spec.width
    stretches = [(_stretch(cells, height), _stretch(cells, width).T) for cells, _ in _SCALES]
    plain = input_spec.layout == "CHW" and input_spec.dtype == "float32"
    images = np.empty((batch_size, *input_spec.shape), input_spec.dtype)
    for index, image in enumerate(images):
        rng = np.random.default_rng((seed, index))
        drawn = image if plain else np.empty((channels, height, width), np.float32)
        drawn[...] = 0.45 + _GRAIN * rng.standard_normal(drawn.shape, np.float32)
        for (cells, deviation), (down, across) in zip(_SCALES, stretches, strict=True):
            # Light is common to the channels, colour is their own: half of the variance each.
            light = rng.standard_normal((1, cells, cells), np.float32)
            colour = rng.standard_normal((channels, cells, cells), np.float32)
            drawn += down @ ((light + colour) * np.float32(deviation / 2**0.5)) @ across
        if plain:
            _normalise(drawn, input_spec)
            continue
        frames = np.stack([drawn] * (input_spec.frames or 1))
        frames += _DRIFT * rng.standard_normal((len(frames), channels, 1, 1), np.float32)
        for frame in frames:
            _normalise(frame, input_spec)
        image[...] = arranged(frames, input_spec)
    return images


def tensors_of(input_spec: InputSpec) -> tuple[TensorSpec, ...]:
    """Return what the inputs of a graph are to be."""
    images = TensorSpec(
        name=input_spec.name, dtype=input_spec.dtype, dims=(BATCH_AXIS, *input_spec.shape)
    )
    others = (
        TensorSpec(
            name=other.name,
            dtype=other.dtype,
            dims=(BATCH_AXIS, *other.shape) if other.batched else other.shape,
        )
        for other in input_spec.others
    )
    return (images, *others)


def arranged(frames: Array, input_spec: InputSpec) -> Array:
    """Bring frames (T, C, H, W) into an input's layout and type; of an image there is one."""
    import numpy as np

    kinds = np.iinfo(input_spec.dtype) if np.dtype(input_spec.dtype).kind in "iu" else None
    if kinds is not None:
        frames = np.clip(np.rint(frames), kinds.min, kinds.max)
    found = frames if input_spec.frames else frames[0]
    given = "TCHW" if input_spec.frames else "CHW"
    order = [given.index(axis) for axis in input_spec.layout]
    return found.transpose(order).astype(input_spec.dtype)


def _normalise(image: "NDArray[np.float32]", input_spec: InputSpec) -> None:
    """Make pixels (C, H, W) around 0..1 what the network takes, in place."""
    import numpy as np

    np.clip(image, 0, 1, out=image)
    image -= np.asarray(input_spec.mean, np.float32)[:, None, None]
    image /= np.asarray(input_spec.std, np.float32)[:, None, None]


def _stretch(cells: int, length: int) -> "NDArray[np.float32]":
    """Return the matrix (length, cells) that interpolates ``cells`` values linearly."""
    import numpy as np

    centres = (np.arange(length) + 0.5) * cells / length - 0.5
    columns = [np.interp(centres, np.arange(cells), unit) for unit in np.eye(cells)]
    return np.stack(columns, axis=1).astype(np.float32)
