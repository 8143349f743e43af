"""How near two sets of logits of the same images are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenbatch.models.instructions import instruction_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_RELATIVE = 1e-3
"""Bound of `Difference.max_rel` for two runtimes that compute in fp32.

Fused and reordered sums differ by a few 1e-7 in each layer. Over torchvision's networks that adds
up to between 1e-6 and 1e-5; a wrong operator or a lost weight shows as 1e-1 and more.
"""

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


@dataclass(frozen=True, slots=True)
class Difference:
    """Of logits (N, classes) from a reference.

    Attributes:
        max_abs, mean_abs: Largest and mean absolute difference of a logit.
        max_rel: ``max_abs`` over the largest absolute logit of the reference.
        cosine: Lowest cosine similarity of an image's logits.
        top1_agreement: Share of the images whose first class is the same.
    """

    max_abs: float
    mean_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float


def difference(reference: "NDArray[np.floating[Any]]", got: "NDArray[Any]") -> Difference:
    """Compare logits of the same images, both finite and of shape (N, classes)."""
    import numpy as np

    wanted, found = reference.astype(np.float64), got.astype(np.float64)
    apart = np.abs(wanted - found)
    least = np.finfo(np.float64).tiny  # for logits that are all 0
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (wanted * found).sum(axis=1) / np.maximum(lengths, least)
    return Difference(
        max_abs=float(apart.max()),
        mean_abs=float(apart.mean()),
        max_rel=float(apart.max() / max(np.abs(wanted).max(), least)),
        cosine=float(cosines.min()),
        top1_agreement=float((wanted.argmax(axis=1) == found.argmax(axis=1)).mean()),
    )


def fault(found: Difference, precision: str) -> str | None:
    """Say in a few words what of a difference is outside its precision's bound, if anything is."""
    if precision == "fp32":
        if found.max_rel > LARGEST_RELATIVE:
            return (
                f"logits differ by {found.max_rel:.1e} of the largest, allowed are "
                f"{LARGEST_RELATIVE:.0e}"
            )
    elif found.cosine < LOWEST_COSINE[precision]:
        return (
            f"the lowest cosine similarity of an image's logits is {found.cosine:.3f}, wanted is "
            f"at least {LOWEST_COSINE[precision]:g}"
        )
    return None


def arithmetic_fault(found: Difference, model: str) -> str | None:
    """Say in a sentence that a processor computes an int8 artifact wrongly, if it does.

    Args:
        found: Of the artifact as it is run, against itself computed in float32.
        model: Of the artifact.
    """
    if found.cosine >= LOWEST_ARITHMETIC_COSINE:
        return None
    return (
        f"{model} in int8 is computed wrongly on this processor ({instruction_set()}): the lowest "
        f"cosine similarity of an image's logits with those of the same artifact in float32 "
        f"arithmetic is {found.cosine:.3f}, wanted is at least {LOWEST_ARITHMETIC_COSINE:g}; most "
        "likely products saturate in 16 bits: make it again with "
        f"'gb export {model} --precision int8'"
    )
