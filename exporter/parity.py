"""Does the artifact compute what the network computes? ONNX Runtime (CPU) against torch."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.peak_memory import PeakMemory
from greenbatch.exporter.rebatch.frozen import find_culprit
from greenbatch.exporter.torch_to_onnx import TRACED_BATCH
from greenbatch.models import ModelSpec
from greenbatch.models.agreement import (
    FEWEST_EQUAL,
    LARGEST_RELATIVE,
    apart,
    compare,
    fault_of_form,
    least_variation,
)
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import Array, Outputs, by_image, joined, part, take_images
from greenbatch.models.outputs import flatten
from greenbatch.records import Parity, TensorSpec

if TYPE_CHECKING:
    from torch import nn

    Runner = Callable[[Sequence[int]], Outputs]

BATCH_SIZES = (1, 2, 3, 7, 16)
"""One, the size that was traced, odd ones, and one that is larger than all others."""

_FEWEST_LARGEST = 8  # images of the largest batch, where memory is short
_MEMORY_SHARE = 0.98  # of the memory that there is: peaks are sampled, and grow a little otherwise

BOUNDS = {"fp32": LARGEST_RELATIVE}
"""Largest difference of an output's value that is allowed, over its largest absolute in torch."""

ROWS_BOUNDS = {"fp32": 1e-3}
"""The same for a row of a batch against its image run alone, both by ONNX Runtime.

Sums are blocked otherwise for another batch size, so rows differ by rounding as above; a frozen
batch, or images that reach each other, shows as 1e-1 and more.
"""

# Three images, again and again in no regular order: of each batch, every row is known from its
# image run alone, and the proof costs 31 images in ONNX Runtime and 3 in torch.
_ORDER = (0, 1, 2, 1, 0, 2, 2, 0, 1, 1, 2, 0, 2, 1, 0, 1)
_IMAGES = max(_ORDER) + 1
_SEED = 20_120_930  # not a run's seed: random weights are levelled on images of their own seed
_VARIES = 10.0  # how many times the largest error the outputs' spread between images must be
_VARIES_RELATIVE = 1e-4  # the same, against the output's largest value


def torch_outputs(
    module: "nn.Module", spec: ModelSpec, outputs: Sequence[TensorSpec]
) -> "list[Outputs]":
    """Return a network's outputs for each of the images that its artifact is to be checked on.

    They are all that a check needs of torch: the module can be let go before it. The images run
    as one batch, unless the data decide how many rows there are: then each runs alone.

    Args:
        module: In evaluation mode, on the CPU.
        spec: Says the input.
        outputs: What the graph puts out.

    Raises:
        ExportError: It does not run at another batch size than the traced one, or returns other
            outputs than the graph.
    """
    inputs = synthetic_inputs(spec, _IMAGES, _SEED)
    if any(output.counted for output in outputs):
        alone = [take_images(spec.input, inputs, [image]) for image in range(_IMAGES)]
        return [_run_torch(module, spec, outputs, given, 1) for given in alone]
    together = _run_torch(module, spec, outputs, inputs, _IMAGES)
    return [part(outputs, together, image, 1) for image in range(_IMAGES)]


def _run_torch(
    module: "nn.Module",
    spec: ModelSpec,
    outputs: Sequence[TensorSpec],
    inputs: dict[str, Array],
    batch_size: int,
) -> Outputs:
    import torch

    try:
        with torch.inference_mode():
            made = flatten(module(*map(torch.from_numpy, inputs.values())))
    except Exception as error:  # a network's code may raise anything
        raise ExportError(
            f"{spec.name} does not run in torch at batch size {batch_size}: "
            f"{innermost_line(error)}; its network fixes a size that depends on the batch"
        ) from error
    found = {
        name: (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        for name, value in made.items()
    }
    if fault := fault_of_form(outputs, found, batch_size):
        raise ExportError(
            f"{spec.name} computes in torch what cannot be compared: {fault}; its network fixes a "
            "size that depends on the batch, or its weights are no numbers"
        )
    return found


def check_parity(
    path: Path,
    spec: ModelSpec,
    outputs: Sequence[TensorSpec],
    wanted: Sequence[Outputs],
    *,
    bound: float = BOUNDS["fp32"],
    rows_bound: float = ROWS_BOUNDS["fp32"],
    than: str = "torch",
    memory_bytes: int | None = None,
) -> tuple[Parity, ...]:
    """Hold an artifact to outputs that are right, and its batches to images run alone.

    Args:
        path: The artifact.
        spec: Says the input.
        outputs: What it puts out.
        wanted: What `torch_outputs` gave, or the outputs of another artifact for these images.
        bound: Largest difference from ``wanted``, see `BOUNDS`.
        rows_bound: Largest difference of an image in a batch from that image run alone, see
            `ROWS_BOUNDS`.
        than: Whose outputs are wanted, for the text of an error.
        memory_bytes: The most that this process may take; the largest batch is smaller where it
            would take more, and a warning says so. ``None``: any.

    Returns:
        A record for each of `BATCH_SIZES`.

    Raises:
        ParityError: Outputs differ too much, do not vary between images, or are not finite; or
            the images of a batch reach each other.
        ExportError: ONNX Runtime cannot load or run the artifact.
    """
    run = _open(path, spec, outputs)
    alone = [run([image]) for image in range(_IMAGES)]
    compared = []
    *smaller, largest = BATCH_SIZES
    memory = PeakMemory()
    for size in BATCH_SIZES:
        batch_size = size
        if size == largest and memory_bytes is not None:
            batch_size = largest_within(memory_bytes, memory, smaller[-1], largest)
            if batch_size < size:
                warnings.warn(
                    f"{spec.name} is proved at batch {batch_size} instead of {size}, which would "
                    f"take more than {memory_bytes / 1e9:.3g} GB of memory",
                    stacklevel=2,
                )
        order = list(_ORDER[:batch_size])
        with PeakMemory() as memory:
            got = alone[order[0]] if batch_size == 1 else run(order)
        rows = compare(outputs, joined(outputs, [alone[image] for image in order]), got)
        if wrong := apart(rows, "its image run alone", rows_bound, FEWEST_EQUAL["fp32"]):
            raise ParityError(
                f"images of a batch affect each other in the exported {spec.name}: at batch size "
                f"{batch_size} {wrong}{_where(path)}; its network must treat each image by itself"
            )
        right = joined(outputs, [wanted[image] for image in order])
        compared.append((batch_size, compare(outputs, right, got), rows, spread(outputs, right)))
    for batch_size, found, _, _ in compared:  # afterwards: images that mix differ from torch's too
        if wrong := apart(found, than, bound, FEWEST_EQUAL["fp32"]):
            raise ParityError(
                f"{spec.name} computes something else in ONNX Runtime than in {than}: at batch "
                f"size {batch_size} {wrong}; try other versions of torch and "
                "onnxscript"
            )
    error = max(found.beyond_rounding for _, found, _, _ in compared)
    _check_variation(outputs, wanted, error, spec)
    return tuple(
        Parity(
            batch_size=batch_size,
            max_abs=found.max_abs,
            max_rel=found.max_rel,
            spread=spread,
            rows_rel=rows.max_rel,
        )
        for batch_size, found, rows, spread in compared
    )


def largest_within(most_bytes: int, memory: PeakMemory, images: int, largest: int) -> int:
    """Return the largest batch that takes no more than ``most_bytes``, as a smaller one predicts.

    Args:
        most_bytes: Of this process.
        memory: Of a batch of ``images``; what it took beside what was there is taken to grow with
            the images.
        images: Of that batch.
        largest: That is wanted.
    """
    each_bytes = max(1, memory.peak_bytes - memory.before_bytes) / images
    fitting = int((_MEMORY_SHARE * most_bytes - memory.before_bytes) / each_bytes)
    return min(largest, max(_FEWEST_LARGEST, fitting))


def _where(path: Path) -> str:
    culprit = find_culprit(path, TRACED_BATCH)
    return f" (see {culprit})" if culprit else ""


def spread(outputs: Sequence[TensorSpec], values: Outputs) -> float:
    """Return the standard deviation of the first output that holds values."""
    for output in outputs:
        if not output.index and not output.counted:
            return float(values[output.name].astype("float64").std())
    return 0.0


def _check_variation(
    outputs: Sequence[TensorSpec], wanted: Sequence[Outputs], error: float, spec: ModelSpec
) -> None:
    """Check that one output at least differs from image to image, by more than errors do."""
    import numpy as np

    best = 0.0
    for output in outputs:
        values = [one[output.name] for one in wanted]
        if output.counted or output.index:
            if any(not np.array_equal(values[0], other) for other in values[1:]):
                return
            continue
        if output.batch_axis is None:
            continue
        rows = np.concatenate([by_image(output, value) for value in values]).astype(np.float64)
        largest = float(np.abs(rows).max(initial=0.0)) or 1.0
        varied = float(rows.std(axis=0).mean()) / largest
        best = max(best, varied - least_variation(output))
    floor = max(_VARIES * error, _VARIES_RELATIVE)
    if best <= floor:
        raise ParityError(
            f"outputs of {spec.name} do not vary between images (beyond rounding by {best:.1e} of "
            f"the largest value, wanted more than {floor:.1e}), so agreement would prove nothing; "
            "give it other weights"
        )


def _open(path: Path, spec: ModelSpec, outputs: Sequence[TensorSpec]) -> "Runner":
    """Return a function from numbers of images to outputs that runs the artifact on the CPU."""
    import onnxruntime as ort

    inputs = synthetic_inputs(spec, _IMAGES, _SEED)
    names = [output.name for output in outputs]
    try:
        session = open_session(path)
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise ExportError(
            f"ONNX Runtime {ort.__version__} cannot load the exported {spec.name}: "
            f"{innermost_line(error)}; install the versions in constraints.txt"
        ) from error

    def run(order: Sequence[int]) -> Outputs:
        try:
            values = session.run(names, take_images(spec.input, inputs, order))
        except Exception as error:
            raise ExportError(
                f"the exported {spec.name} does not run at batch size {len(order)}: "
                f"{innermost_line(error)}{_where(path)}; its network fixes a size that depends on "
                "the batch"
            ) from error
        found = dict(zip(names, values, strict=True))
        if fault := fault_of_form(outputs, found, len(order)):
            raise ParityError(
                f"the exported {spec.name} does not compute what it should at batch size "
                f"{len(order)}: {fault}{_where(path)}; its network fixes a size that depends on "
                "the batch, or its weights are no numbers"
            )
        return found

    return run
