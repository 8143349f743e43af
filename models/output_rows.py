"""Outputs of a batch, image by image: which part of each is an image's own."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from greenbatch.records import InputSpec, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
"""Of any type: what a network takes and puts out."""
Outputs: TypeAlias = "Mapping[str, Array]"


def take_images(
    input_spec: InputSpec, inputs: "Outputs", order: Sequence[int]
) -> "dict[str, Array]":
    """Return the inputs of some images out of those of many, in an order.

    Those of a range from the first on are views.
    """
    whole = {other.name for other in input_spec.others if not other.batched}
    rows = slice(len(order)) if order == range(len(order)) else list(order)
    return {name: value if name in whole else value[rows] for name, value in inputs.items()}


def batch_of(specs: Sequence[TensorSpec], outputs: "Outputs") -> int | None:
    """Return for how many images the outputs are; ``None`` where no output has a batch axis."""
    for spec in specs:
        if (axis := spec.batch_axis) is not None:
            return int(outputs[spec.name].shape[axis]) // spec.rows_per_image
    return None


def part(specs: Sequence[TensorSpec], outputs: "Outputs", first: int, count: int) -> "Outputs":
    """Return the part of some images of a batch, as it would come for them alone.

    Of rows that the data decide, those of the images are taken, numbered from 0; where no column
    says whose a row is, and of what is the same for all images, everything.

    Args:
        specs: Of the outputs.
        outputs: By name, for a batch.
        first: Number of the first image.
        count: How many images, at least 1.
    """
    return {spec.name: _part(specs, spec, outputs, first, count) for spec in specs}


def _part(
    specs: Sequence[TensorSpec], spec: TensorSpec, outputs: "Outputs", first: int, count: int
) -> "Array":
    import numpy as np

    output = outputs[spec.name]
    if (axis := spec.batch_axis) is not None:
        rows = spec.rows_per_image
        own: Array = np.take(output, np.arange(first * rows, (first + count) * rows), axis)
        return own
    numbers = _numbers_of(specs, spec) if spec.counted else None
    if numbers is None:
        return output
    image = outputs[numbers.name][_column(numbers)]
    taken: Array = output[(image >= first) & (image < first + count)].copy()
    if spec.image_column is not None:
        taken[_column(spec)] -= first
    return taken


def can_be_cut(specs: Sequence[TensorSpec]) -> bool:
    """Whether the part of some images can be taken out of the outputs for many, see `part`."""
    return all(
        spec.batch_axis is not None or _numbers_of(specs, spec) is not None
        for spec in specs
        if spec.counted
    )


def joined(specs: Sequence[TensorSpec], alone: "Sequence[Outputs]") -> "Outputs":
    """Return what the outputs are for a batch of images whose outputs alone are given, in order."""
    return {spec.name: _joined(spec, [outputs[spec.name] for outputs in alone]) for spec in specs}


def _joined(spec: TensorSpec, alone: "Sequence[Array]") -> "Array":
    import numpy as np

    if (axis := spec.batch_axis) is not None:
        return np.concatenate(_padded(alone, axis) if spec.counted else alone, axis)
    if not spec.counted:
        return alone[0]
    numbered = [array.copy() for array in alone]
    if spec.image_column is not None:
        for number, array in enumerate(numbered):
            array[_column(spec)] += np.asarray(number, array.dtype)
    return np.concatenate(numbered, _counted_axis(spec))


def row_groups(specs: Sequence[TensorSpec]) -> list[list[TensorSpec]]:
    """Return the outputs whose rows the data decide, those together whose rows belong together."""
    groups: dict[str, list[TensorSpec]] = {}
    for spec in specs:
        if spec.counted:
            groups.setdefault(_count_name(spec), []).append(spec)
    return list(groups.values())


def _numbers_of(specs: Sequence[TensorSpec], spec: TensorSpec) -> TensorSpec | None:
    """Return the output, it or one with the same rows, that holds the numbers of the images."""
    return next(
        (
            other
            for other in specs
            if other.image_column is not None
            and other.counted
            and _count_name(other) == _count_name(spec)
        ),
        None,
    )


def _count_name(spec: TensorSpec) -> str:
    return str(spec.dims[_counted_axis(spec)])


def by_image(spec: TensorSpec, output: "Array") -> "Array":
    """Return an output as (images, values); what has no batch axis as one row."""
    import numpy as np

    axis, rows = spec.batch_axis, spec.rows_per_image
    if axis is None:
        return output.reshape(1, output.size)
    ahead = np.moveaxis(output, axis, 0)
    images = len(ahead) // rows
    return ahead.reshape(images, ahead.size // max(1, images))


def by_row(spec: TensorSpec, output: "Array") -> "Array":
    """Return an output whose rows the data decide as (rows, values).

    Behind a batch axis, an image's rows are filled up to the most that an image has: rows of one
    value alone, 0 or -1, are such, and are left out; the image's number comes first in the others.
    """
    import numpy as np

    counted = _counted_axis(spec)
    if (axis := spec.batch_axis) is None:
        ahead = np.moveaxis(output, counted, 0)
        return ahead.reshape(len(ahead), math.prod(ahead.shape[1:]))
    ahead = np.moveaxis(output, (axis, counted), (0, 1))
    images, most = ahead.shape[:2]
    rows = ahead.reshape(images * most, math.prod(ahead.shape[2:]))
    numbered = np.column_stack([np.repeat(np.arange(images), most), rows.astype(np.float64)])
    filled = (rows == 0).all(axis=1) | (rows == -1).all(axis=1)
    kept: Array = numbered[~filled]
    return kept


def _counted_axis(spec: TensorSpec) -> int:
    """Return the axis whose size the data decide."""
    batch = spec.batch_axis
    return next(
        axis for axis, dim in enumerate(spec.dims) if isinstance(dim, str) and axis != batch
    )


def _column(spec: TensorSpec) -> "tuple[slice | int | None, ...]":
    """Return the index of the column that holds the image's number."""
    return (slice(None),) if len(spec.dims) == 1 else (slice(None), spec.image_column)


def _padded(arrays: "Sequence[Array]", batch_axis: int) -> "list[Array]":
    """Fill arrays up with 0 to the largest of them, along all axes but the batch's."""
    import numpy as np

    largest = np.max([array.shape for array in arrays], axis=0)
    return [
        np.pad(
            array,
            [
                (0, 0 if axis == batch_axis else int(most - size))
                for axis, (size, most) in enumerate(zip(array.shape, largest, strict=True))
            ],
        )
        for array in arrays
    ]
