"""How near an artifact of lower precision is to the fp32 artifact of the same weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenbatch import units
from greenbatch.errors import ParityError
from greenbatch.exporter.parity import spread
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.exporter.precisions.running import open_session, run, run_batch
from greenbatch.models import agreement
from greenbatch.models.agreement import (
    FEWEST_CHANNELS,
    FEWEST_EQUAL,
    LOWEST_COSINE,
    arithmetic_fault,
    fault_of_form,
)
from greenbatch.models.onnx_session import CPU
from greenbatch.models.output_rows import Outputs, joined, part
from greenbatch.records import Fidelity, Parity, TensorSpec

_CURES = {
    "fp16": "export it in bf16 or fp32",
    "bf16": "export it in fp16 or fp32",
    "int8": "calibrate it on a folder of photographs (--calibration DIR), or export it in fp16",
}

BATCH_SIZES = (1, 2, 3, 7, 16)
"""As for fp32: one, small ones, odd ones, and one that is larger than all others."""

ROWS_BOUNDS = {"fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}
"""Largest difference of a row from its image run alone, over the largest value of the output.

Sums are blocked otherwise for another batch size; where that moves a value over the edge between
two steps of the type, it differs by a whole step.
"""

ARITHMETIC_IMAGES = 8
"""That an int8 artifact's arithmetic is checked on: saturation shows in each."""

_ROW_IMAGES, _ROW_STEP = 7, 3  # 3 steps through 7 images: neighbours change with each pass


@dataclass(frozen=True, slots=True)
class Bound:
    """What is asked of a precision.

    Attributes:
        cosine: Lowest cosine similarity of an image's output that is allowed.
        top1_agreement: Lowest share of images with the same first class that is allowed.
        equal: Lowest share of an output's positions, or of its detections, that are the same.
        channels: Lowest share of an output's channels that are not lost.
    """

    cosine: float
    top1_agreement: float
    equal: float
    channels: float = FEWEST_CHANNELS


_TOP1_AGREEMENT = {"fp16": 0.9, "bf16": 0.6, "int8": 0.4}

BOUNDS = {
    precision: Bound(cosine, _TOP1_AGREEMENT[precision], FEWEST_EQUAL[precision])
    for precision, cosine in LOWEST_COSINE.items()
}
"""What the study models keep with random weights, with room for 1.5 to 3 times the worst error."""


def compare(
    outputs: Sequence[TensorSpec],
    name: str,
    reference: Outputs,
    candidate: Outputs,
    precision: str,
    images: Images,
) -> Fidelity:
    """Compare the outputs for the same images.

    Args:
        outputs: What they are.
        name: Of the model, for errors.
        reference: Outputs of fp32.
        candidate: Outputs of the lower precision.
        precision: The lower precision.
        images: What they are of.

    Raises:
        ParityError: The candidate's outputs have another shape, or some are not finite.
    """
    count = len(images)
    if fault := fault_of_form(outputs, reference, count):
        raise ParityError(
            f"{name} in fp32 cannot be compared with on {images.data}: {fault}; give it other "
            "weights, or other images (--calibration DIR)"
        )
    if fault := fault_of_form(outputs, candidate, count):
        finite = "not finite" not in fault
        raise ParityError(
            f"{name} computes something else in {precision} than in fp32: {fault}"
            + ("" if finite else ", as activations exceed what the type holds")
            + f"; {_CURES[precision]}"
        )
    found = agreement.compare(outputs, reference, candidate, precision)
    return Fidelity(
        images=count,
        data=images.data,
        max_abs=found.max_abs,
        mean_abs=found.mean_abs,
        max_rel=found.max_rel,
        cosine=found.cosine,
        top1_agreement=found.top1_agreement,
        equal=found.equal,
        output=found.output,
        channels=found.channels,
    )


def judge(name: str, fidelity: Fidelity, precision: str) -> None:
    """Check a comparison against the bound of its precision.

    Raises:
        ParityError: It is outside.
    """
    bound = BOUNDS[precision]
    for what, found, least in (
        (
            f"lowest cosine similarity of an image's {fidelity.output or 'outputs'}",
            fidelity.cosine,
            bound.cosine,
        ),
        ("share of equal first classes", fidelity.top1_agreement, bound.top1_agreement),
        ("share of equal positions or detections", fidelity.equal, bound.equal),
        ("share of an output's channels that are not lost", fidelity.channels, bound.channels),
    ):
        if found is not None and found < least:
            raise ParityError(
                f"{name} computes something else in {precision} than in fp32: the {what} is "
                f"{found:.4f} over {units.count(fidelity.images, 'image')} ({fidelity.data}), "
                f"wanted is {least:g} or more; {_CURES[precision]}"
            )


def loss(fidelity: Fidelity, precision: str) -> float:
    """Return how much of what its bound allows a precision loses; above 1 it is outside."""
    bound = BOUNDS[precision]
    pairs = (
        (fidelity.cosine, bound.cosine),
        (fidelity.top1_agreement, bound.top1_agreement),
        (fidelity.equal, bound.equal),
        (fidelity.channels, bound.channels),
    )
    return max((1 - found) / (1 - least) for found, least in pairs if found is not None)


def check_rows(
    path: Path,
    images: Images,
    outputs: Sequence[TensorSpec],
    wanted: Outputs,
    name: str,
    precision: str,
    provider: str = CPU,
    *,
    optimise: bool = True,
) -> tuple[Parity, ...]:
    """Run images alone and in batches: a row must be that of its image alone.

    Args:
        path: The ``.onnx`` file.
        images: The first seven are used, in batches larger than that in another order too.
        outputs: What it puts out.
        wanted: The fp32 artifact's outputs for ``images``.
        name: Of the model, for errors.
        precision: Key of `ROWS_BOUNDS`.
        provider: ONNX Runtime's execution provider.
        optimise: Let ONNX Runtime fuse and drop nodes.

    Returns:
        A record for each of `BATCH_SIZES`; here the errors are against fp32.

    Raises:
        ParityError: A row differs by more than `ROWS_BOUNDS` of the output's largest value, or
            positions or detections do by more than the precision's bound.
        ExportError: ONNX Runtime cannot load or run it.
    """
    session = open_session(path, name, provider, optimise=optimise)
    count = min(_ROW_IMAGES, len(images))
    alone = [run_batch(session, images, [image], outputs, name) for image in range(count)]
    right = [part(outputs, wanted, image, 1) for image in range(count)]
    records = []
    for batch_size in BATCH_SIZES:
        order = [index * _ROW_STEP % count for index in range(batch_size)]
        got = run_batch(session, images, order, outputs, name)
        if fault := fault_of_form(outputs, got, batch_size):
            raise ParityError(
                f"{name} does not compute what it should in {precision} at batch size "
                f"{batch_size}: {fault}; export it in fp32"
            )
        rows, reference = (joined(outputs, [one[i] for i in order]) for one in (alone, right))
        apart = agreement.compare(outputs, rows, got, precision)
        _check_apart(apart, name, precision, batch_size)
        against = agreement.compare(outputs, reference, got, precision)
        records.append(
            Parity(
                batch_size=batch_size,
                max_abs=against.max_abs,
                max_rel=against.max_rel,
                spread=spread(outputs, reference),
                rows_rel=apart.max_rel,
            )
        )
    return tuple(records)


def _check_apart(found: agreement.Difference, name: str, precision: str, batch_size: int) -> None:
    """Check that images of a batch do not reach each other."""
    what = (
        f"images of a batch affect each other in {name} in {precision}: at batch size {batch_size}"
    )
    if not found.max_rel <= ROWS_BOUNDS[precision]:
        raise ParityError(
            f"{what} a row differs from its image run alone by {found.max_rel:.1e} of the largest "
            f"value, allowed are {ROWS_BOUNDS[precision]:.0e}; export it in fp32"
        )
    if found.equal is not None and found.equal < BOUNDS[precision].equal:
        raise ParityError(
            f"{what} {found.equal:.1%} of the positions or detections are those of the image run "
            f"alone, wanted are at least {BOUNDS[precision].equal:.0%}; export it in fp32"
        )


def check_arithmetic(
    path: Path,
    images: Images,
    outputs: Sequence[TensorSpec],
    name: str,
    again: str,
    got: "Outputs | None" = None,
) -> None:
    """Check that this processor computes an int8 artifact as the artifact says.

    Unoptimised, ONNX Runtime computes it in float32 and rounds each result to its type: no
    processor saturates there.

    Args:
        path: The ``.onnx`` file.
        images: The first eight are used.
        outputs: What it puts out.
        name: Of the model.
        again: The command that makes it.
        got: Its outputs for the images on this processor, where they are known already.

    Raises:
        ParityError: It computes something else.
        ExportError: ONNX Runtime cannot load or run it.
    """
    some = images.first(ARITHMETIC_IMAGES)
    if got is None:
        got = run(path, some, outputs, f"{name} in int8")
    wanted = run(path, some, outputs, f"{name} in int8", optimise=False)
    found = agreement.compare(outputs, wanted, part(outputs, got, 0, len(some)), "int8")
    if wrong := arithmetic_fault(found, name, again):
        raise ParityError(wrong)
