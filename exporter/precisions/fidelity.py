"""How near an artifact of lower precision is to the fp32 artifact of the same weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.models import onnx_session
from greenbatch.models.agreement import LOWEST_COSINE, arithmetic_fault, difference
from greenbatch.models.onnx_session import CPU
from greenbatch.records import Fidelity, Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CUDA = "CUDAExecutionProvider"

_CURES = {
    "fp16": "export it in bf16 or fp32",
    "bf16": "export it in fp16 or fp32",
    "int8": "calibrate it on a folder of photographs (--calibration DIR), or export it in fp16",
}

BATCH_SIZES = (1, 2, 3, 7, 16)
"""As for fp32: one, small ones, odd ones, and one that is larger than all others."""

ROWS_BOUNDS = {"fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}
"""Largest difference of a row from its image run alone, over the largest logit.

Sums are blocked otherwise for another batch size; where that moves a value over the edge between
two steps of the type, it differs by a whole step.
"""

_ROW_IMAGES, _ROW_STEP = 7, 3  # 3 steps through 7 images: neighbours change with each pass
_ARITHMETIC_IMAGES = 8  # saturation shows in each
_AT_ONCE = 8  # images in a batch: bounds the memory for activations


@dataclass(frozen=True, slots=True)
class Bound:
    """What is asked of a precision.

    Attributes:
        cosine: Lowest cosine similarity of an image's logits that is allowed.
        top1_agreement: Lowest share of images with the same first class that is allowed.
    """

    cosine: float
    top1_agreement: float


_TOP1_AGREEMENT = {"fp16": 0.9, "bf16": 0.6, "int8": 0.4}

BOUNDS = {
    precision: Bound(cosine, _TOP1_AGREEMENT[precision])
    for precision, cosine in LOWEST_COSINE.items()
}
"""What the study models keep with random weights, with room for 1.5 to 3 times the worst error."""


def compare(
    name: str,
    reference: "NDArray[np.float32]",
    candidate: "NDArray[np.float32]",
    precision: str,
    data: str,
) -> Fidelity:
    """Compare logits of the same images.

    Args:
        name: Of the model, for errors.
        reference: Logits (N, classes) of fp32.
        candidate: Logits (N, classes) of the lower precision.
        precision: The lower precision, for errors.
        data: What the images were.

    Raises:
        ParityError: The candidate's logits have another shape or are not finite.
    """
    import numpy as np

    if candidate.shape != reference.shape:
        raise ParityError(
            f"{name} returns shape {candidate.shape} in {precision} instead of "
            f"{reference.shape}; export it in fp32"
        )
    if not np.isfinite(candidate).all():
        raise ParityError(
            f"{name} returns values that are not finite in {precision}: activations exceed what "
            "the type holds; export it in fp32"
        )
    found = difference(reference, candidate)
    return Fidelity(
        images=len(reference),
        data=data,
        max_abs=found.max_abs,
        mean_abs=found.mean_abs,
        max_rel=found.max_rel,
        cosine=found.cosine,
        top1_agreement=found.top1_agreement,
        equal=found.equal,
    )


def judge(name: str, fidelity: Fidelity, precision: str) -> None:
    """Check a comparison against the bound of its precision.

    Raises:
        ParityError: It is outside.
    """
    bound = BOUNDS[precision]
    for what, found, least in (
        ("lowest cosine similarity of an image's logits", fidelity.cosine, bound.cosine),
        ("share of equal first classes", fidelity.top1_agreement, bound.top1_agreement),
    ):
        if found is not None and found < least:
            raise ParityError(
                f"{name} computes something else in {precision} than in fp32: the {what} is "
                f"{found:.4f} over {fidelity.images} images ({fidelity.data}), wanted is "
                f"{least:g} or more; {_CURES[precision]}"
            )


def check_rows(
    path: Path,
    images: Images,
    wanted: "NDArray[np.float32]",
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
        wanted: The fp32 artifact's logits of ``images``.
        name: Of the model, for errors.
        precision: Key of `ROWS_BOUNDS`.
        provider: ONNX Runtime's execution provider.
        optimise: Let ONNX Runtime fuse and drop nodes.

    Returns:
        A record for each of `BATCH_SIZES`; here the errors are against fp32.

    Raises:
        ParityError: A row differs by more than `ROWS_BOUNDS` of the largest logit.
        ExportError: ONNX Runtime cannot load or run it.
    """
    import numpy as np

    session = open_session(path, name, provider, optimise=optimise)
    some = images.pixels[:_ROW_IMAGES]
    alone = np.concatenate([_logits(session, image[None], name) for image in some])
    largest = float(np.abs(wanted).max()) or 1.0
    records = []
    for batch_size in BATCH_SIZES:
        order = [index * _ROW_STEP % len(some) for index in range(batch_size)]
        got = _logits(session, some[order], name)
        if got.shape != (batch_size, *wanted.shape[1:]):
            raise ParityError(
                f"{name} returns shape {got.shape} in {precision} at batch size {batch_size}; "
                "its network fixes a size that depends on the batch"
            )
        max_abs = float(np.abs(got - wanted[order]).max())
        records.append(
            Parity(
                batch_size=batch_size,
                max_abs=max_abs,
                max_rel=max_abs / largest,
                spread=float(wanted[order].std()),
                rows_rel=float(np.abs(got - alone[order]).max()) / largest,
            )
        )
    worst = max(records, key=lambda record: record.rows_rel)
    if not worst.rows_rel <= ROWS_BOUNDS[precision]:
        raise ParityError(
            f"images of a batch reach each other in {name} in {precision}: at batch size "
            f"{worst.batch_size} a row differs from its image run alone by {worst.rows_rel:.1e} "
            f"of the largest logit, allowed are {ROWS_BOUNDS[precision]:.0e}; export it in fp32"
        )
    return tuple(records)


def check_arithmetic(
    path: Path, images: Images, name: str, got: "NDArray[np.float32] | None" = None
) -> None:
    """Check that this processor computes an int8 artifact as the artifact says.

    Unoptimised, ONNX Runtime computes it in float32 and rounds each result to its type: no
    processor saturates there.

    Args:
        path: The ``.onnx`` file.
        images: The first eight are used.
        name: Of the model.
        got: Its logits of the images on this processor, where they are known already.

    Raises:
        ParityError: It computes something else.
        ExportError: ONNX Runtime cannot load or run it.
    """
    some = Images(images.pixels[:_ARITHMETIC_IMAGES], images.data)
    if got is None:
        got = run(path, some, f"{name} in int8")
    wanted = run(path, some, f"{name} in int8", optimise=False)
    if wrong := arithmetic_fault(difference(wanted, got[: len(wanted)]), name):
        raise ParityError(wrong)


def run(
    path: Path,
    images: Images,
    name: str,
    provider: str = CPU,
    *,
    optimise: bool = True,
) -> "NDArray[np.float32]":
    """Return a graph's logits (N, classes) of images, run in small batches.

    Args:
        path: The ``.onnx`` file.
        images: The images.
        name: Of the model, for errors.
        provider: ONNX Runtime's execution provider.
        optimise: Let ONNX Runtime fuse and drop nodes.

    Raises:
        ExportError: ONNX Runtime cannot load or run it.
    """
    import numpy as np

    session = open_session(path, name, provider, optimise=optimise)
    starts = range(0, len(images.pixels), _AT_ONCE)
    return np.concatenate(
        [_logits(session, images.pixels[start : start + _AT_ONCE], name) for start in starts]
    )


def open_session(path: Path, name: str, provider: str = CPU, *, optimise: bool = True) -> Any:
    """Open an ONNX Runtime session on one provider alone.

    Raises:
        ExportError: The provider does not take the graph; what it says is the error's cause.
    """
    import onnxruntime as ort

    if provider != CPU:
        ort.preload_dlls()
    try:
        return onnx_session.open_session(
            path, provider=provider, optimise=optimise, may_be_half=True
        )
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise ExportError(
            f"ONNX Runtime {ort.__version__} ({provider}) cannot load {name}: "
            f"{innermost_line(error)}; install the versions in constraints.txt"
        ) from error


def _logits(session: Any, batch: "NDArray[np.float32]", name: str) -> "NDArray[np.float32]":
    import numpy as np

    (first,) = session.get_inputs()
    try:
        (logits,) = session.run(None, {first.name: batch})
    except Exception as error:
        raise ExportError(
            f"{name} does not run at batch size {len(batch)}: {innermost_line(error)}; its network "
            "fixes a size that depends on the batch, or memory is short"
        ) from error
    return np.asarray(logits, np.float32)
