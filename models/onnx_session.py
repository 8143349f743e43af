"""An ONNX Runtime session for checks, on one provider alone: nothing here is measured."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import PlacementError
from greenbatch.models.onnx_placement import RECORD, read_placement

if TYPE_CHECKING:
    import onnxruntime as ort

CPU = "CPUExecutionProvider"
CRASHING = "FuseFp16InitializerToFp32NodeTransformer"
"""An optimizer of ONNX Runtime (1.31.1) that ends the process by a segmentation fault on fp16
attention on the CPU, see https://github.com/microsoft/onnxruntime/issues/32405; it is left out of
every session that may load fp16."""

BIAS_QUANTISING = "WeightBiasQuantization"
"""An optimizer of ONNX Runtime that makes biases whole numbers of 32 bits where all else is of 8:
no GPU's provider dequantises these. It is left out of every session that is not on the CPU."""

LEFT_OUT = "optimization.disable_specified_optimizers"
"""The session's option that names optimizers to leave out, with ``;`` between them."""


def open_session(
    model: str | bytes | Path,
    *,
    provider: str = CPU,
    settings: Mapping[str, str] | None = None,
    threads: int | None = None,
    optimise: bool = True,
    may_be_half: bool = False,
    profile: Path | None = None,
) -> "ort.InferenceSession":
    """Open a session.

    Args:
        model: A file, or a serialised model.
        provider: ONNX Runtime's execution provider, with its ``settings``.
        threads: As many as torch takes if left out.
        optimise: Let ONNX Runtime fuse and drop nodes.
        may_be_half: Whether the network may compute in fp16; see `CRASHING`.
        profile: Record the kernels that run, with all their operands, in a file whose name begins
            so; the session's ``end_profiling`` returns the name.

    Raises:
        PlacementError: The provider leaves nodes to another one that compute more than sizes.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest batch
    options.intra_op_num_threads = requested_threads() if threads is None else threads
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
        options.add_session_config_entry("session.disable_prepacking", "1")  # else lost operands
    left_out = [CRASHING] if may_be_half else []
    if provider != CPU:
        left_out.append(BIAS_QUANTISING)
        options.add_session_config_entry(RECORD, "1")
    if left_out:
        options.add_session_config_entry(LEFT_OUT, ";".join(left_out))
    source = model if isinstance(model, bytes) else str(model)
    session = ort.InferenceSession(
        source, options, providers=[(provider, dict(settings or {}))], enable_fallback=0
    )
    if provider != CPU and (fault := read_placement(session, provider, source).fault()):
        raise PlacementError(f"{provider} left nodes ({fault})")
    return session


def requested_threads() -> int:
    """Return the threads that ``OMP_NUM_THREADS`` requests, for ONNX Runtime; 0: no number.

    Of a list, as ``4,2``, the first number is that of the outermost loops. What OpenMP does not
    take, as ``1.0`` or ``max``, it ignores; so does this.
    """
    first = re.match(r"\s*(\d{1,4})\s*(?:,|$)", os.environ.get("OMP_NUM_THREADS", ""))
    return int(first[1]) if first else 0
