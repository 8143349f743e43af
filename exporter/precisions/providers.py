"""Which provider of ONNX Runtime takes a graph of 16 bits, and which of its nodes it does not."""

import ctypes
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.placement.check import check_placement
from greenbatch.exporter.precisions.running import open_session
from greenbatch.models.onnx_session import CPU

if TYPE_CHECKING:
    import onnx

CUDA = "CUDAExecutionProvider"
_MOST_UNTAKEN = 64


def find_provider(path: Path, name: str) -> str:
    """Return the first provider that takes all of a graph.

    Raises:
        ExportError: None does.
    """
    import onnxruntime as ort

    refusals: list[ExportError] = []
    providers = [CPU, *([CUDA] if _has_cuda() else [])]
    for provider in providers:
        try:
            open_session(path, name, provider)
        except ExportError as error:
            refusals.append(error)
        else:
            return provider
    on_cpu = f"ONNX Runtime {ort.__version__} has no kernels for it on the CPU"
    if fault := check_placement(path)[0].fault:
        raise ExportError(
            f"{name} cannot be proved with ONNX Runtime: {on_cpu}, and {fault}; choose fp16, or "
            "measure this precision with torch"
        ) from refusals[-1]
    raise ExportError(
        f"{name} cannot be proved on this machine: {on_cpu} ({innermost_line(refusals[0])}), and "
        "no CUDA device took it; export it where 'gb doctor' lists a CUDA device, or choose fp16"
    ) from refusals[-1]


def write_loadable(
    write: Callable[[frozenset[str]], "onnx.ModelProto"],
    path: Path,
    kept: Collection[str],
    precision: str,
) -> frozenset[str]:
    """Write a graph of 16 bits; keep in float32 also the nodes that ONNX Runtime names as unfit.

    The standard lists the types of an operator, but ONNX Runtime has no kernel for some of them.
    In bf16 the CPU has none of most operators: there, nodes whose types do not fit alone are kept.

    Args:
        write: Writes the graph to ``path``, from the nodes that are kept, and returns it.
        path: The graph.
        kept: Nodes to keep in any case.
        precision: ``fp16`` or ``bf16``.

    Returns:
        All nodes that are kept. Whether the graph loads in the end, `find_provider` says.
    """
    chosen = frozenset(kept)
    for _ in range(_MOST_UNTAKEN):
        names = {node.name for node in write(chosen).graph.node}
        try:
            open_session(path, path.name)
        except ExportError as error:
            cause = str(error.__cause__)
            if precision == "bf16" and "NOT_IMPLEMENTED" in cause:
                break
            unfit = set(_named(cause, names)) - chosen
            if not unfit:
                break
            chosen |= unfit
        else:
            break
    return chosen


def _named(text: str, names: Collection[str]) -> list[str]:
    """Return the node that a message names: the longest of the names in it."""
    found = [name for name in names if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-])", text)]
    return sorted(found, key=len)[-1:]


def _has_cuda() -> bool:
    """Say whether trying CUDA makes sense: without a driver ONNX Runtime only logs at length."""
    import onnxruntime as ort

    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return CUDA in ort.get_available_providers()
