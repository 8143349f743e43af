"""Does the artifact compute what the network computes? ONNX Runtime (CPU) against torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.rebatch.frozen import find_culprit
from greenbatch.exporter.torch_to_onnx import TRACED_BATCH
from greenbatch.models import ModelSpec, synthetic_images
from greenbatch.models.agreement import LARGEST_RELATIVE
from greenbatch.models.onnx_session import open_session
from greenbatch.records import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    Runner = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

BATCH_SIZES = (1, 2, 3, 7, 16)
"""One, the size that was traced, odd ones, and one that is larger than all others."""

BOUNDS = {"fp32": LARGEST_RELATIVE}
"""Largest difference of a logit that is allowed, over the largest absolute logit of torch."""

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
_VARIES_RELATIVE = 1e-4  # the same, against the largest logit


def torch_logits(module: "nn.Module", spec: ModelSpec) -> "NDArray[np.float32]":
    """Return a network's logits of the images that its artifact is to be checked on.

    They are all that a check needs of torch: the module can be let go before it.

    Args:
        module: In evaluation mode, on the CPU.
        spec: Says the input.

    Raises:
        ExportError: It does not run at another batch size than the traced one.
    """
    import torch

    try:
        with torch.inference_mode():
            logits = module(torch.from_numpy(synthetic_images(spec, _IMAGES, _SEED)))
    except Exception as error:  # a network's code may raise anything
        raise ExportError(
            f"{spec.name} does not run in torch at batch size {_IMAGES}: {innermost_line(error)}; "
            "its network fixes a size that depends on the batch"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape[:1] != (_IMAGES,):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ExportError(
            f"{spec.name} returns {found} for {_IMAGES} images instead of a tensor with a row "
            "for each; wrap it in a module that returns its logits"
        )
    array: NDArray[np.float32] = logits.float().numpy()
    return array


def check_parity(
    path: Path,
    spec: ModelSpec,
    wanted: "NDArray[np.float32]",
    *,
    bound: float = BOUNDS["fp32"],
    rows_bound: float = ROWS_BOUNDS["fp32"],
    than: str = "torch",
) -> tuple[Parity, ...]:
    """Hold an artifact to logits that are right, and its batches to images run alone.

    Args:
        path: The artifact.
        spec: Says the input.
        wanted: What `torch_logits` gave, or the logits of another artifact for these images.
        bound: Largest difference from ``wanted``, see `BOUNDS`.
        rows_bound: Largest difference of a row from its image run alone, see `ROWS_BOUNDS`.
        than: Whose logits are wanted, for the text of an error.

    Returns:
        A record for each of `BATCH_SIZES`.

    Raises:
        ParityError: Logits differ too much, do not vary between images, or are not finite; or
            the images of a batch reach each other.
        ExportError: ONNX Runtime cannot load or run the artifact.
    """
    import numpy as np

    images = synthetic_images(spec, _IMAGES, _SEED)
    run = _open(path, spec)

    def logits(order: Sequence[int]) -> "NDArray[np.float32]":
        got = run(images[list(order)])
        shape = (len(order), *wanted.shape[1:])
        if got.shape != shape:
            raise ParityError(
                f"{spec.name} returns shape {got.shape} in ONNX Runtime instead of {shape} at "
                f"batch size {len(order)}{_where(path)}; its network fixes a size that depends "
                "on the batch"
            )
        if not (np.isfinite(wanted).all() and np.isfinite(got).all()):
            raise ParityError(
                f"{spec.name} returns values that are not finite at batch size {len(order)}; "
                "check its weights"
            )
        return got

    alone = np.concatenate([logits([image]) for image in range(_IMAGES)])
    records = []
    for batch_size in BATCH_SIZES:
        order = list(_ORDER[:batch_size])
        got = alone[order] if batch_size == 1 else logits(order)
        record = _compare(wanted[order], got, alone[order])
        if record.rows_rel > rows_bound:
            raise ParityError(
                f"images of a batch affect each other in the exported {spec.name}: at batch size "
                f"{batch_size} a row differs from its image run alone by {record.rows_rel:.1e} "
                f"of the largest logit, allowed are {rows_bound:.0e}{_where(path)}; its network "
                "must treat each image by itself"
            )
        records.append(record)
    for record in records:  # afterwards: images that reach each other differ from torch's too
        if record.max_rel > bound:
            raise ParityError(
                f"{spec.name} computes something else in ONNX Runtime than in {than}: at batch "
                f"size {record.batch_size} logits differ by {record.max_rel:.1e} of the largest, "
                f"allowed are {bound:.0e}; try other versions of torch and onnxscript"
            )
    _check_variation(wanted, max(record.max_abs for record in records), spec)
    return tuple(records)


def _where(path: Path) -> str:
    culprit = find_culprit(path, TRACED_BATCH)
    return f" (see {culprit})" if culprit else ""


def _compare(
    wanted: "NDArray[np.float32]", got: "NDArray[np.float32]", alone: "NDArray[np.float32]"
) -> Parity:
    import numpy as np

    largest = float(np.abs(wanted).max())

    def relative(difference: float) -> float:
        return difference / largest if largest else (0.0 if difference == 0 else float("inf"))

    max_abs = float(np.abs(wanted - got).max())
    return Parity(
        batch_size=len(wanted),
        max_abs=max_abs,
        max_rel=relative(max_abs),
        spread=float(wanted.std()),
        rows_rel=relative(float(np.abs(got - alone).max())),
    )


def _check_variation(wanted: "NDArray[np.float32]", max_abs: float, spec: ModelSpec) -> None:
    import numpy as np

    between = float(wanted.std(axis=0).mean())
    floor = max(_VARIES * max_abs, _VARIES_RELATIVE * float(np.abs(wanted).max()))
    if between <= floor:
        raise ParityError(
            f"logits of {spec.name} do not vary between images (by {between:.1e}, wanted more "
            f"than {floor:.1e}), so agreement would prove nothing; give it other weights"
        )


def _open(path: Path, spec: ModelSpec) -> "Runner":
    """Return a function from images to logits that runs the artifact on the CPU."""
    import numpy as np
    import onnxruntime as ort

    try:
        session = open_session(path)
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise ExportError(
            f"ONNX Runtime {ort.__version__} cannot load the exported {spec.name}: "
            f"{innermost_line(error)}; install the versions in constraints.txt"
        ) from error

    def run(batch: "NDArray[np.float32]") -> "NDArray[np.float32]":
        try:
            (logits,) = session.run(None, {spec.input.name: batch})
        except Exception as error:
            raise ExportError(
                f"the exported {spec.name} does not run at batch size {len(batch)}: "
                f"{innermost_line(error)}{_where(path)}; its network fixes a size that depends on "
                "the batch"
            ) from error
        return np.asarray(logits, np.float32)

    return run
