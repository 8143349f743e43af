"""The outputs of a graph as runs show them: which axis follows the batch, and what the data size.

What a file declares is no proof: names of axes are lost and made up on the way. A size that is K
times the batch in every run is the batch's, one that differs otherwise is the data's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.bfloat16 import with_network_dtypes
from greenbatch.exporter.outputs.positions import position_outputs, sized_by_data
from greenbatch.exporter.outputs.rounded import rounded_outputs
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.output_rows import Array
from greenbatch.records import BATCH_AXIS, InputSpec, TensorSpec

if TYPE_CHECKING:
    import onnx

Run = Callable[[Mapping[str, Array]], Sequence[Array]]

BATCHES = (2, 3)
"""Sizes that a free batch is observed at."""
_SEEDS = (0, 1)
_COUNT = "count"
_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Seen:
    """Outputs of one run, in the graph's order."""

    batch_size: int
    outputs: "Sequence[Array]"


def observe(
    run: "Run", graph: "onnx.ModelProto", input_spec: InputSpec, batches: Sequence[int] = BATCHES
) -> tuple[TensorSpec, ...]:
    """Return what the outputs of a graph are, from runs on seeded images.

    Args:
        run: From inputs by name to all outputs, in the graph's order.
        graph: The graph; its weights are not read.
        input_spec: Its inputs.
        batches: The sizes that it runs at; of one size alone, no axis is known to be the batch.

    Returns:
        A spec for each output.
    """
    data_sized = sized_by_data(graph)
    runs = [_run(run, input_spec, size, _SEEDS[0]) for size in batches]
    if data_sized:
        runs.append(_run(run, input_spec, batches[0], _SEEDS[1]))
    positions, rounded = position_outputs(graph), rounded_outputs(graph)
    sizes = [one.batch_size for one in runs]
    specs = []
    for output, seen in zip(
        graph.graph.output, zip(*(one.outputs for one in runs), strict=True), strict=True
    ):
        open_axes = _open_axes(output) if output.name in data_sized else _NONE
        specs.append(
            TensorSpec(
                name=output.name,
                dtype=seen[0].dtype.name,
                dims=_dims(sizes, seen, open_axes),
                index=output.name in positions,
                rounded=rounded.get(output.name, ""),
            )
        )
    specs = list(with_network_dtypes(_with_count_names(specs), graph))
    if any(spec.counted for spec in specs) and len(batches) > 1:
        alone = [_run(run, input_spec, 1, seed) for seed in _SEEDS]
        return tuple(_with_image_column(spec, at, alone, runs) for at, spec in enumerate(specs))
    return tuple(specs)


def follows_batch(specs: Sequence[TensorSpec]) -> bool:
    """Whether any output differs from image to image, by an axis or by rows of its own.

    One that begins with an axis of one row, and holds the images behind it in another, is of a
    network of one image that was given several.
    """
    return any(
        spec.counted or (spec.batch_axis is not None and not _in_one_row(spec)) for spec in specs
    )


def _in_one_row(spec: TensorSpec) -> bool:
    return spec.dims[0] == 1 and spec.rows_per_image > 1


def _run(run: "Run", input_spec: InputSpec, size: int, seed: int) -> _Seen:
    return _Seen(size, run(synthetic_inputs(input_spec, size, seed)))


def _open_axes(output: "onnx.ValueInfoProto") -> frozenset[int]:
    """Return the axes that the graph leaves open."""
    dims = output.type.tensor_type.shape.dim
    return frozenset(axis for axis, dim in enumerate(dims) if not dim.HasField("dim_value"))


def _dims(
    batches: "Sequence[int]", seen: "Sequence[Array]", open_axes: frozenset[int]
) -> tuple[int | str, ...]:
    """Return the dims that explain an output's shapes at several batch sizes."""
    if len({array.ndim for array in seen}) > 1:
        raise ExportError("the rank of an output depends on the images; export another one")
    dims: list[int | str] = []
    for axis, sizes in enumerate(zip(*(array.shape for array in seen), strict=True)):
        rows = sizes[0] // batches[0]
        follows = (
            all(size == rows * batch for size, batch in zip(sizes, batches, strict=True))
            and len(set(batches)) > 1
        )
        if follows and rows == 1:
            dims.append(BATCH_AXIS)
        elif follows and rows > 1 and axis not in open_axes:
            dims.append(f"{rows}*{BATCH_AXIS}")
        elif len(set(sizes)) == 1 and sizes[0] > 0:
            dims.append(int(sizes[0]))
        else:
            dims.append("-".join([_COUNT, *map(str, sizes)]))  # alike where counts are
    return tuple(dims)


def _with_count_names(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Call sizes that the data decide ``count``, ``count_2``, ...: alike where they were alike."""
    names: dict[str, str] = {}

    def named(dim: int | str) -> int | str:
        if not str(dim).startswith(_COUNT):
            return dim
        return names.setdefault(str(dim), f"{_COUNT}_{len(names) + 1}" if names else _COUNT)

    return [replace(spec, dims=tuple(map(named, spec.dims))) for spec in specs]


def _with_image_column(
    spec: TensorSpec, at: int, alone: Sequence[_Seen], runs: Sequence[_Seen]
) -> TensorSpec:
    """Find the column that holds the number of a row's image: 0 alone, below N in a batch of N."""
    if not spec.counted or spec.batch_axis is not None:
        return spec
    rank = len(spec.dims)
    if rank > 2 or isinstance(spec.dims[0], int) or (rank == 1 and "int" not in spec.dtype):
        return spec
    width = 1 if rank == 1 else int(spec.dims[1])

    def column(seen: _Seen, place: int) -> "Array":
        output = seen.outputs[at]
        return output if rank == 1 else output[:, place]

    for place in range(width):
        first = all((column(seen, place) == 0).all() for seen in alone)
        within = all(
            ((column(seen, place) >= 0) & (column(seen, place) < seen.batch_size)).all()
            for seen in runs
        )
        if first and within and any((column(seen, place) > 0).any() for seen in runs):
            return replace(spec, image_column=place)
    return spec
