"""How near the outputs of two runtimes, or of two precisions, are for the same images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.models.detections import matched_share
from greenbatch.models.instructions import instruction_set
from greenbatch.models.output_rows import Array, Outputs, by_image, row_groups
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_RELATIVE = 1e-3
"""Bound of `Difference.beyond_rounding` for two runtimes that compute in fp32.

Fused and reordered sums differ by a few 1e-7 in each layer. Over torchvision's networks that adds
up to between 1e-6 and 1e-5; a wrong operator or a lost weight shows as 1e-1 and more.
"""

ROUNDED = 1e-2
"""Difference over an output's largest value that is none where the network itself rounds.

One runtime rounds to float16 or bfloat16 where the network says so, and another computes on in
float32: torch.compile and OpenVINO take out a Cast to bfloat16 and back. A value moves by up to
2**-8 of itself then, and sums of such values by as much.
"""

_HALF_STEP = {"float16": 2**-11, "bfloat16": 2**-8}
"""How far rounding moves a value at most, over the value."""

LOWEST_COSINE = {"fp16": 0.995, "bf16": 0.97, "int8": 0.8}
"""Bounds of `Difference.cosine` against fp32.

What the study models keep with random weights, with room for 1.5 to 3 times the worst error. A lost
weight or a wrong scale shows as a cosine near 0. A bound separates a faulty artifact or runtime
from a sound one; what a precision costs in accuracy is measured by ``gb eval``.
"""

LOWEST_ARITHMETIC_COSINE = 0.98
"""Bound of `Difference.cosine` of an int8 artifact against itself computed in float32.

Products of int8 are exact where they are added in 32 bits; what is left are values that round to
the next step, 0.994 at worst for the study models. Where pairs of products are added in 16 bits
and saturate, shufflenet_v2_x0_5 has 0.84 to 0.93 (docs/precisions.md).
"""


FEWEST_EQUAL = {"fp32": 0.95, "fp16": 0.9, "bf16": 0.6, "int8": 0.4}
"""Bounds of `Difference.equal` against fp32.

A position (of an ArgMax, say) flips where two values are nearly equal, and a detection comes or
goes where its score is near a threshold. A lost weight leaves almost none.
"""

ROW_TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 2e-1}
"""How near the values of a detection are to those of its equal, over the output's largest."""

_ABOVE_NOISE = 10 / LARGEST_RELATIVE
"""Over an output's noise, the least that its errors are held against: ten times the noise passes.

Where nothing of what a network looks for is in the images, a Sigmoid puts out 1e-7, and runtimes
differ by as much: by rounding, which the reference shows in itself.
"""
_WEAK = 0.01
"""Noise over an output's largest value from which on its digits are mostly rounding."""

FEWEST_CHANNELS = 0.99
"""Bound of `Difference.channels`, of every precision: of less than a hundred channels none is lost.

A detector's output may hold boxes in pixels beside scores between 0 and 1. A step of int8 that fits
the boxes rounds each score to 0, and the cosine of the whole stays at 0.999.
"""

_LEAST_CHANNEL = 2e-5
"""A channel's largest value over its output's, from which on it is compared by itself.

Rounding in fp32 is up to 1e-5 of an output's largest value.
"""
_LOST_CHANNEL = 0.5
"""Cosine similarity below which a channel is lost: most of it is error."""
_FEWEST_IN_CHANNEL = 16
"""Values of a channel, over all images, below which its cosine says little."""

_SAME = 1e-5
"""Relative difference of a position that was scaled as a floating-point number: rounding alone."""

_NO_SCORES = ("embed", "hidden", "feature", "pool")  # in the name of an output: not of classes


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the outputs for some images from a reference, at their worst.

    Attributes:
        max_abs, mean_abs: Largest and mean absolute difference of a value.
        max_rel: Largest difference over the largest absolute value of the output's reference; one
            step of whole numbers is none.
        beyond_rounding: The same of the differences that are larger than the network's own
            rounding explains, see `ROUNDED`.
        cosine: Lowest cosine similarity of an image's output.
        top1_agreement: Share of the images whose first class is the same; ``None`` where the
            outputs are not scores of classes.
        equal: Lowest share of an output's positions, or of its detections, that are the same;
            ``None`` where there are none.
        output: The one that has ``cosine``; empty where no output holds values, and nothing of
            them differs.
        channels: Lowest share of an output's channels that are not lost; ``None`` where no output
            has channels. They are the slices along its first and its last axis.
        weak: Outputs whose values for these images are mostly noise of rounding, so that agreement
            proves little; they do not count in ``cosine``.
    """

    max_abs: float
    mean_abs: float
    max_rel: float
    beyond_rounding: float
    cosine: float
    top1_agreement: float | None
    equal: float | None = None
    output: str = ""
    channels: float | None = None
    weak: tuple[str, ...] = ()


def is_classifier(specs: Sequence[TensorSpec]) -> bool:
    """Whether outputs have the form of scores of classes: one output, a row for each image."""
    if len(specs) != 1:
        return False
    (spec,) = specs
    batch, *rest = spec.dims or (0,)
    return (
        batch == "batch"
        and "float" in spec.dtype
        and bool(rest)
        and not spec.counted
        and rest[0] != 1
        and all(dim == 1 for dim in rest[1:])
        and not any(word in spec.name.lower() for word in _NO_SCORES)
    )


def compare(
    specs: Sequence[TensorSpec],
    reference: Outputs,
    got: Outputs,
    precision: str = "fp32",
    noise: Mapping[str, float] | None = None,
) -> Difference:
    """Compare outputs of the same images, see `fault_of_form` first.

    Values of an output are compared number by number and image by image; positions for being
    equal; rows that the data decide as sets, each row with the one that is nearest to it.

    Args:
        specs: Of the outputs.
        reference: By name; finite.
        got: Likewise, of the same shapes but for what the data decide.
        precision: Says how near two rows of a set are, see `ROW_TOLERANCE`.
        noise: How far the reference is from itself computed in another order, at most, by output;
            what is left out has none.
    """
    import numpy as np

    apart: list[NDArray[np.float64]] = []
    relative, beyond, cosines, equal = {}, {}, {}, {}
    channels: list[float] = []
    weak = []
    for spec in specs:
        if spec.counted:
            continue
        wanted, found = by_image(spec, reference[spec.name]), by_image(spec, got[spec.name])
        if spec.index or wanted.dtype == bool:
            same = (
                np.isclose(wanted, found, rtol=_SAME)
                if wanted.dtype.kind == "f"
                else (wanted == found)
            )
            equal[spec.name] = float(same.mean()) if wanted.size else 1.0
            continue
        wanted, found = wanted.astype(np.float64), found.astype(np.float64)
        apart.append(np.abs(wanted - found).ravel())
        of_noise = (noise or {}).get(spec.name, 0.0)
        largest = float(np.abs(wanted).max(initial=0.0))
        scale = max(largest, _ABOVE_NOISE * of_noise)
        relative[spec.name] = _relative(apart[-1], scale, reference[spec.name].dtype.kind)
        explained = spec.rounded and relative[spec.name] <= ROUNDED
        beyond[spec.name] = 0.0 if explained else relative[spec.name]
        if of_noise > _WEAK * largest:
            weak.append(spec.name)
            cosines[spec.name] = 1.0
        else:
            cosines[spec.name] = _cosine(wanted, found)
            least = max(_LEAST_CHANNEL * largest, _ABOVE_NOISE * LARGEST_RELATIVE * of_noise)
            channels.extend(_channels_kept(spec, reference[spec.name], got[spec.name], least))
    for group in row_groups(specs):
        rounded = ROUNDED if any(spec.rounded for spec in group) else 0.0
        tolerance = max(ROW_TOLERANCE[precision], rounded)
        equal[group[0].name] = matched_share(group, reference, got, tolerance)
    worst = min(cosines, key=cosines.__getitem__, default="")
    values = np.concatenate(apart) if apart else np.zeros(1)
    return Difference(
        max_abs=float(values.max(initial=0.0)),
        mean_abs=float(values.mean()) if values.size else 0.0,
        max_rel=max(relative.values(), default=0.0),
        beyond_rounding=max(beyond.values(), default=0.0),
        cosine=cosines.get(worst, 1.0),
        top1_agreement=_top1(specs, reference, got) if is_classifier(specs) else None,
        equal=min(equal.values(), default=None),
        output=worst,
        channels=min(channels, default=None),
        weak=tuple(weak),
    )


def _relative(apart: "NDArray[np.float64]", scale: float, kind: str) -> float:
    """Return the largest difference over a scale; one step of whole numbers is none."""
    import numpy as np

    error = float(apart.max(initial=0.0))
    if kind in "iu" and error <= 1:
        return 0.0
    return error / max(scale, float(np.finfo(np.float64).tiny))


def _cosine(wanted: "NDArray[np.float64]", found: "NDArray[np.float64]") -> float:
    import numpy as np

    least = np.finfo(np.float64).tiny  # for outputs that are all 0
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (wanted * found).sum(axis=1) / np.maximum(lengths, least)
    both_zero = ~wanted.any(axis=1) & ~found.any(axis=1)
    return float(np.where(both_zero, 1.0, cosines).min(initial=1.0))


def _channels_kept(
    spec: TensorSpec, wanted: Array, found: Array, least: float
) -> "Iterator[float]":
    """Yield the share of channels that are not lost, along the first and along the last axis.

    Args:
        spec: Of the output.
        wanted, found: The output, of the same shape.
        least: Absolute value that a channel must exceed in ``wanted`` to be compared.
    """
    import numpy as np

    every = list(range(wanted.ndim))
    own = [axis for axis in every if axis != spec.batch_axis]
    if len(own) < 2:  # one channel: its cosine is that of the output
        return
    for axis in (own[0], own[-1]):
        others = tuple(other for other in every if other != axis)
        if wanted.size < _FEWEST_IN_CHANNEL * wanted.shape[axis] or not wanted.size:
            continue
        compared = np.maximum(wanted.max(axis=others), -wanted.min(axis=others)) > least

        if not compared.any():
            continue
        squares, other_squares, products = (
            np.einsum(one, every, other, every, [axis], dtype=np.float64, casting="unsafe")
            for one, other in ((wanted, wanted), (found, found), (wanted, found))
        )
        # Where all of a channel is 0 in what was found, nothing of it is kept.
        kept = (products >= _LOST_CHANNEL * np.sqrt(squares * other_squares)) & (other_squares > 0)
        yield float(kept[compared].mean())


def _top1(
    specs: Sequence[TensorSpec],
    reference: Outputs,
    got: Outputs,
) -> float:
    (spec,) = specs
    wanted, found = (by_image(spec, outputs[spec.name]) for outputs in (reference, got))
    return float((wanted.argmax(axis=1) == found.argmax(axis=1)).mean())


def difference(reference: Array, got: Array) -> Difference:
    """Compare scores (N, classes) of the same images, both finite, as `compare` does."""
    spec = TensorSpec(name="scores", dtype="float32", dims=("batch", reference.shape[1]))
    return compare((spec,), {spec.name: reference}, {spec.name: got})


def least_variation(spec: TensorSpec) -> float:
    """Return what rounding alone makes of spread between images, over an output's largest value."""
    return _HALF_STEP.get(spec.rounded, 0.0)


def fault_of_form(specs: Sequence[TensorSpec], outputs: Outputs, batch_size: int) -> str | None:
    """Say in a few words what is wrong with outputs by themselves: missing, misshapen, not finite.

    Args:
        specs: What they are to be.
        outputs: By name.
        batch_size: For how many images.
    """
    import numpy as np

    if missing := [spec.name for spec in specs if spec.name not in outputs]:
        return f"there is no output {', '.join(missing)}, only {', '.join(outputs) or 'none'}"
    for spec in specs:
        output = outputs[spec.name]
        wanted = [
            dim if isinstance(dim, int) else None if axis != spec.batch_axis else batch_size
            for axis, dim in enumerate(spec.dims)
        ]
        if (axis := spec.batch_axis) is not None:
            wanted[axis] = batch_size * spec.rows_per_image
        if len(wanted) != output.ndim or any(
            size is not None and size != found
            for size, found in zip(wanted, output.shape, strict=True)
        ):
            shown = "x".join("?" if size is None else str(size) for size in wanted) or "a number"
            return (
                f"the output {spec.name} has shape {output.shape} for "
                f"{units.count(batch_size, 'image')}, wanted is {shown}"
            )
        if output.dtype.kind not in "iub" and not np.isfinite(output.astype(np.float64)).all():
            wrong = int(np.count_nonzero(~np.isfinite(output.astype(np.float64))))
            which = f"{units.count(wrong, 'value')} that {'is' if wrong == 1 else 'are'} not finite"
            return f"the output {spec.name} has {which}"
    return None


def fault(found: Difference, precision: str) -> str | None:
    """Say in a few words what of a difference is outside its precision's bound, if anything is."""
    if precision == "fp32":
        if not found.beyond_rounding <= LARGEST_RELATIVE:
            return (
                f"outputs differ by {found.beyond_rounding:.1e} of the largest value, allowed are "
                f"{LARGEST_RELATIVE:.0e}"
            )
    elif not found.cosine >= LOWEST_COSINE[precision]:
        return (
            f"the lowest cosine similarity of an image's {found.output} is {found.cosine:.3f}, "
            f"wanted is at least {LOWEST_COSINE[precision]:g}"
        )
    if lost := _lost_channels(found):
        return lost
    if found.equal is not None and not found.equal >= FEWEST_EQUAL[precision]:
        return (
            f"{found.equal:.1%} of the positions or detections are the same, wanted are at least "
            f"{FEWEST_EQUAL[precision]:.0%}"
        )
    return None


def apart(found: Difference, than: str, bound: float, fewest_equal: float) -> str | None:
    """Say in a few words how far outputs in fp32 are from those wanted, if further than allowed.

    Args:
        found: How far they are.
        than: Whose outputs the wanted ones are.
        bound: Of `Difference.beyond_rounding`.
        fewest_equal: Of `Difference.equal`.
    """
    if not found.beyond_rounding <= bound:
        return (
            f"an output differs from {than} by {found.beyond_rounding:.1e} of its largest value, "
            f"allowed are {bound:.0e}"
        )
    if lost := _lost_channels(found):
        return f"{lost}, against {than}"
    if found.equal is not None and not found.equal >= fewest_equal:
        return (
            f"{found.equal:.1%} of the positions or detections are those of {than}, wanted are at "
            f"least {fewest_equal:.0%}"
        )
    return None


def _lost_channels(found: Difference) -> str | None:
    if found.channels is None or found.channels >= FEWEST_CHANNELS:
        return None
    return (
        f"{1 - found.channels:.1%} of an output's channels are lost, such as scores beside boxes "
        f"in pixels, allowed are {1 - FEWEST_CHANNELS:.0%}"
    )


def arithmetic_fault(found: Difference, model: str, again: str) -> str | None:
    """Say in a sentence that a processor computes an int8 artifact wrongly, if it does.

    Args:
        found: Of the artifact as it is run, against itself computed in float32.
        model: Of the artifact.
        again: The command that makes the artifact.
    """
    if found.cosine >= LOWEST_ARITHMETIC_COSINE:
        return None
    return (
        f"{model} in int8 is computed wrongly on this processor ({instruction_set()}): the lowest "
        f"cosine similarity of an image's outputs with those of the same artifact in float32 "
        f"arithmetic is {found.cosine:.3f}, wanted is at least {LOWEST_ARITHMETIC_COSINE:g}; most "
        f"likely products saturate in 16 bits: make it again with '{again}'"
    )
