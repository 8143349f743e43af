"""Proof that a file with a freed batch computes what the original does, for each image alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ParityError
from greenbatch.exporter.bfloat16 import bfloat16_tensors
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.reading import save, with_outputs
from greenbatch.exporter.rebatch.mixing import first_mixing, images_reached
from greenbatch.exporter.rebatch.weights import draw, with_constants
from greenbatch.models.agreement import (
    ROUNDED,
    Difference,
    apart,
    compare,
    fault_of_form,
    least_variation,
)
from greenbatch.models.inputs import synthetic_inputs, tensors_of
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import (
    Outputs,
    by_image,
    joined,
    part,
    row_groups,
    take_images,
)
from greenbatch.records import InputSpec, Parity, TensorSpec

if TYPE_CHECKING:
    import onnx

    from greenbatch.models.output_rows import Array

BATCH_SIZES = (1, 2, 3, 7, 16)

SAME_BOUND = 1e-5
"""Largest difference from the original at its own batch, over the output's largest absolute value.

The same nodes run on the same numbers; only the choice of kernels may depend on sizes.
"""

ROWS_BOUND = 1e-3
"""The same for an image in a batch against that image alone: sums are blocked otherwise."""

FEWEST_EQUAL = 0.99
"""Least share of positions, or of the rows of a set, that are equal: near ties may flip."""

_IMAGES = 7
_SEED = 20_261_121
_VARIES = 1e-4  # spread between images that a comparison needs, over the largest value


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proved of a file.

    Attributes:
        path: The original, for the text of an error.
        input: Its inputs.
        outputs: Of the new graph, with its batch axes.
        batch: The only batch that the original runs at; ``None``: it runs at any.
    """

    path: Path
    input: InputSpec
    outputs: tuple[TensorSpec, ...]
    batch: int | None


def prove(
    original: "onnx.ModelProto", model: "onnx.ModelProto", claim: Claim, staging: Path
) -> tuple[tuple[Parity, ...], int]:
    """Compare a new graph with its original at the original's batch, and batches with images alone.

    Where the outputs are the same for all images (a file without real weights), agreement would
    prove nothing. Then the constants that stand for weights are drawn at random, in both graphs
    alike and for the proof only, and what goes into a last Softmax is compared too.

    Args:
        original: Runs at ``claim.batch`` only; the model itself, if nothing was rewritten.
        model: The new graph.
        claim: What it is to be.
        staging: A folder for temporary files.

    Returns:
        A record for each of `BATCH_SIZES` and the original's batch, and how many constants were
        drawn.

    Raises:
        ParityError: It computes something else, mixes images, or nothing could be proved.
    """
    records = _compare(original, model, claim, staging)
    if records:
        return records, 0
    drawn = draw(original)
    claim = replace(claim, outputs=(*claim.outputs, *_before_softmax(original, claim.outputs)))
    redrawn = with_constants(model, drawn)
    original = redrawn if original is model else with_constants(original, drawn)
    records = _compare(original, redrawn, claim, staging)
    if not records:
        raise ParityError(
            f"nothing can be proved of {claim.path}: its outputs are the same for all images, even "
            f"with {len(drawn)} of its constants drawn at random; give it trained weights"
        )
    return records, len(drawn)


def run_once(model: "onnx.ModelProto", claim: Claim, staging: Path, count: int) -> None:
    """Run a new graph on some images.

    Raises:
        ParityError: It does not run.
    """
    _runner(model, claim, [output.name for output in claim.outputs], staging)(range(count))


def _compare(
    original: "onnx.ModelProto", model: "onnx.ModelProto", claim: Claim, staging: Path
) -> tuple[Parity, ...] | None:
    """Return a record for each batch size; ``None``: the outputs are the same for all images."""
    specs, count = claim.outputs, claim.batch or 1
    new = _checked_runner(model, claim, staging)
    truth = None if original is model else _of_original(original, new, claim, staging)
    alone = [new([image]) for image in range(_IMAGES)]
    images = truth or alone
    if not _vary(specs, images):
        return None
    results = []
    for size in sorted({*BATCH_SIZES, count}):
        order = [(3 * i) % _IMAGES for i in range(size)]
        got = alone[order[0]] if size == 1 else new(order)
        rows = compare(specs, joined(specs, [alone[image] for image in order]), got)
        if wrong := apart(rows, "its image run alone", ROWS_BOUND, FEWEST_EQUAL):
            raise ParityError(
                f"images of a batch reach each other in {claim.path}: at batch {size} {wrong}"
                f"{_culprit(model, claim, staging)}; its network must treat each image "
                "by itself"
            )
        results.append((order, got, rows))
    records = []
    for order, got, rows in results:  # afterwards: where images mix, they differ from these too
        right = joined(specs, [images[image] for image in order])
        error = compare(specs, right, got)
        _check_same(error, len(order), ROWS_BOUND, claim)
        records.append(
            Parity(
                batch_size=len(order),
                max_abs=error.max_abs,
                max_rel=error.max_rel,
                spread=_spread(specs, right),
                rows_rel=rows.max_rel,
            )
        )
    return tuple(records)


def _of_original(
    original: "onnx.ModelProto",
    new: "Callable[[Sequence[int]], Outputs]",
    claim: Claim,
    staging: Path,
) -> list[Outputs] | None:
    """Return what the original computes for each image; batches of its own agree with the new.

    Of rows that the data decide, nothing may say whose they are: then batches alone are compared,
    all of them, and ``None`` is returned.
    """
    specs, count = claim.outputs, claim.batch or 1
    old = _checked_runner(original, claim, staging)
    groups = [[(first + i) % _IMAGES for i in range(count)] for first in range(0, _IMAGES, count)]
    truth = [old(group) for group in groups]
    separable = count == 1 or all(
        any(spec.image_column is not None or spec.batch_axis is not None for spec in group)
        for group in row_groups(specs)
    )
    for group, wanted in list(zip(groups, truth, strict=True))[: 1 if separable else None]:
        _check_same(compare(specs, wanted, new(group)), count, SAME_BOUND, claim)
    if not separable:
        return None
    return [part(specs, whole, i, 1) for whole in truth for i in range(count)][:_IMAGES]


def _check_same(found: Difference, count: int, bound: float, claim: Claim) -> None:
    """Hold outputs to the original's."""
    if wrong := apart(found, "the original", bound, FEWEST_EQUAL):
        raise ParityError(
            f"with a free batch axis {claim.path} computes something else: at batch {count} "
            f"{wrong}; export the network again with a dynamic "
            "batch axis"
        )


def _vary(specs: Sequence[TensorSpec], images: Sequence[Outputs]) -> bool:
    """Whether an output differs from image to image by more than its errors may be."""
    import numpy as np

    for spec in specs:
        values = [outputs[spec.name] for outputs in images]
        if spec.counted or spec.index or values[0].dtype.kind == "b":
            if any(not np.array_equal(values[0], other) for other in values[1:]):
                return True
        elif spec.batch_axis is not None:
            rows = np.concatenate([by_image(spec, value) for value in values]).astype(np.float64)
            largest = float(np.abs(rows).max(initial=0)) or 1.0
            if (
                rows.size
                and float(rows.std(axis=0).max()) / largest >= least_variation(spec) + _VARIES
            ):
                return True
    return False


def _spread(specs: Sequence[TensorSpec], values: Outputs) -> float:
    """Return the standard deviation of the last output that holds values."""
    measured = [s for s in specs if s.batch_axis is not None and not (s.index or s.counted)]
    return float(values[measured[-1].name].astype("float64").std()) if measured else 0.0


def _checked_runner(
    model: "onnx.ModelProto", claim: Claim, staging: Path
) -> "Callable[[Sequence[int]], Outputs]":
    """Return a function from numbers of images to outputs that have the form that they should."""
    names = [output.name for output in claim.outputs]
    run = _runner(model, claim, names, staging)

    def checked(order: Sequence[int]) -> Outputs:
        found = dict(zip(names, run(order), strict=True))
        if fault := fault_of_form(claim.outputs, found, len(order)):
            raise ParityError(
                f"with a free batch axis {claim.path} does not compute what it should at batch "
                f"{len(order)}: {fault}; check its weights, or export the network again with a "
                "dynamic batch axis"
            )
        return found

    return checked


def _runner(
    model: "onnx.ModelProto", claim: Claim, names: Sequence[str], staging: Path
) -> "Callable[[Sequence[int]], Sequence[Array]]":
    """Return a function from numbers of images to the values of tensors."""
    inputs = synthetic_inputs(claim.input, _IMAGES, _SEED)
    file = staging / "proof.onnx"
    save(with_outputs(model, names), file)
    session = open_session(file, may_be_half=True)

    def run(order: Sequence[int]) -> "Sequence[Array]":
        try:
            results: Sequence[Array] = session.run(None, take_images(claim.input, inputs, order))
        except Exception as error:  # ONNX Runtime's errors have no common root
            raise ParityError(
                f"with a free batch axis {claim.path} does not run at batch {len(order)}: "
                f"{innermost_line(error)}; export the network again with a dynamic batch axis"
            ) from error
        return results

    return run


def _culprit(model: "onnx.ModelProto", claim: Claim, staging: Path) -> str:
    batched = [spec.name for spec in tensors_of(claim.input) if spec.batch_axis is not None]
    hidden = bfloat16_tensors(model)  # ONNX Runtime does not hand them over
    made = {k: node for k, node in images_reached(model, batched).items() if k not in hidden}
    bound = ROUNDED if any(spec.rounded for spec in claim.outputs) else ROWS_BOUND
    return first_mixing(made, _runner(model, claim, list(made), staging), bound)


def _before_softmax(model: "onnx.ModelProto", outputs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return what goes into a last Softmax, which may saturate."""
    makers = {name: node for node in model.graph.node for name in node.output}
    last = [(spec, makers[spec.name]) for spec in outputs if spec.name in makers]
    return [replace(spec, name=node.input[0]) for spec, node in last if node.op_type == "Softmax"]
