"""Does the artifact compute what the network computes? ONNX Runtime (CPU) against torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter.causes import first_line
from greenbatch.models import ModelSpec, synthetic_images
from greenbatch.records import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    Runner = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

BATCH_SIZES = (1, 2, 7)
"""One, the size that was traced, and one that is neither a power of two nor a likely default."""

BOUNDS = {"fp32": 1e-3}
"""Largest difference of a logit that is allowed, over the largest absolute logit of torch.

Fused and reordered sums differ by a few 1e-7 in each layer. Over the study models that adds up
to between 1e-6 and 1e-5; a wrong operator or a lost weight shows as 1e-1 and more.
"""

_SEED = 20_120_930  # not a run's seed: random weights are levelled on images of their own seed
_VARIES = 10.0  # how many times the largest error the outputs' spread between images must be
_VARIES_RELATIVE = 1e-4  # the same, against the largest logit


def check_parity(
    module: "nn.Module", path: Path, spec: ModelSpec, precision: str = "fp32"
) -> tuple[Parity, ...]:
    """Run an artifact and its network on the same images and compare their logits.

    Args:
        module: In evaluation mode, on the CPU.
        path: The artifact.
        spec: Says the input.
        precision: Key of `BOUNDS`.

    Returns:
        A record for each of `BATCH_SIZES`.

    Raises:
        ParityError: Logits differ too much, do not vary between images, or are not finite.
        ExportError: ONNX Runtime cannot load or run the artifact.
    """
    import numpy as np
    import torch

    images = synthetic_images(spec, max(BATCH_SIZES), _SEED)
    run = _open(path, spec)
    records = []
    for batch_size in BATCH_SIZES:
        batch = images[:batch_size]
        with torch.inference_mode():
            wanted = module(torch.from_numpy(batch)).float().numpy()
        got = run(batch)
        if got.shape != wanted.shape:
            raise ParityError(
                f"{spec.name} puts out shape {got.shape} in ONNX Runtime instead of "
                f"{wanted.shape} at batch size {batch_size}; report this as a bug of torch.onnx"
            )
        if not (np.isfinite(wanted).all() and np.isfinite(got).all()):
            raise ParityError(
                f"{spec.name} puts out values that are not finite at batch size {batch_size}; "
                "check its weights"
            )
        record = _compare(wanted, got)
        records.append(record)
        _judge(record, wanted, spec, precision)
    return tuple(records)


def _compare(wanted: "NDArray[np.float32]", got: "NDArray[np.float32]") -> Parity:
    import numpy as np

    max_abs = float(np.abs(wanted - got).max())
    largest = float(np.abs(wanted).max())
    return Parity(
        batch_size=len(wanted),
        max_abs=max_abs,
        max_rel=max_abs / largest if largest else (0.0 if max_abs == 0 else float("inf")),
        spread=float(wanted.std()),
    )


def _judge(record: Parity, wanted: "NDArray[np.float32]", spec: ModelSpec, precision: str) -> None:
    import numpy as np

    bound = BOUNDS[precision]
    if record.max_rel > bound:
        raise ParityError(
            f"{spec.name} computes something else in ONNX Runtime than in torch: at batch size "
            f"{record.batch_size} logits differ by {record.max_rel:.1e} of the largest, allowed "
            f"are {bound:.0e}; try other versions of torch and onnxscript"
        )
    if record.batch_size == 1:
        return
    between = float(wanted.std(axis=0).mean())
    floor = max(_VARIES * record.max_abs, _VARIES_RELATIVE * float(np.abs(wanted).max()))
    if between <= floor:
        raise ParityError(
            f"logits of {spec.name} do not vary between images (by {between:.1e}, wanted more "
            f"than {floor:.1e}), so agreement would prove nothing; give it other weights"
        )


def _open(path: Path, spec: ModelSpec) -> "Runner":
    """Return a function from images to logits that runs the artifact on the CPU."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise ExportError(
            f"ONNX Runtime {ort.__version__} cannot load the exported {spec.name}: "
            f"{first_line(error)}; install the versions in constraints.txt"
        ) from error

    def run(batch: "NDArray[np.float32]") -> "NDArray[np.float32]":
        try:
            (logits,) = session.run(None, {spec.input.name: batch})
        except Exception as error:
            raise ExportError(
                f"the exported {spec.name} does not run at batch size {len(batch)}: "
                f"{first_line(error)}; its network fixes a size that depends on the batch"
            ) from error
        return np.asarray(logits, np.float32)

    return run
