"""An artifact's outputs for many images, by ONNX Runtime on one provider alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.models import onnx_session
from greenbatch.models.onnx_session import CPU
from greenbatch.models.output_rows import Outputs, joined
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import onnxruntime as ort

_AT_ONCE = 8  # images in a batch: bounds the memory for activations


def run(
    path: Path,
    images: Images,
    outputs: Sequence[TensorSpec],
    name: str,
    provider: str = CPU,
    *,
    optimise: bool = True,
) -> Outputs:
    """Return a graph's outputs for images, run in small batches.

    Where the data decide how many rows there are, each image runs alone.

    Args:
        path: The ``.onnx`` file.
        images: The images.
        outputs: What it puts out.
        name: Of the model, for errors.
        provider: ONNX Runtime's execution provider.
        optimise: Let ONNX Runtime fuse and drop nodes.

    Raises:
        ExportError: ONNX Runtime cannot load or run it.
    """
    session = open_session(path, name, provider, optimise=optimise)
    at_once = 1 if any(output.counted for output in outputs) else _AT_ONCE
    starts = range(0, len(images), at_once)
    orders = [range(start, min(start + at_once, len(images))) for start in starts]
    return joined(outputs, [run_batch(session, images, order, outputs, name) for order in orders])


def open_session(
    path: Path, name: str, provider: str = CPU, *, optimise: bool = True
) -> "ort.InferenceSession":
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


def run_batch(
    session: "ort.InferenceSession",
    images: Images,
    order: Sequence[int],
    outputs: Sequence[TensorSpec],
    name: str,
) -> Outputs:
    """Return the outputs for a batch of some of the images.

    Raises:
        ExportError: It does not run.
    """
    names = [output.name for output in outputs]
    try:
        values = session.run(names, dict(images.take(order)))
    except Exception as error:
        raise ExportError(
            f"{name} does not run at batch size {len(order)}: {innermost_line(error)}; its network "
            "fixes a size that depends on the batch, or memory is short"
        ) from error
    return dict(zip(names, values, strict=True))
