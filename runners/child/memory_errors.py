"""Recognise by their text the errors of runtimes that ran out of memory: they have no common class.

As written by: torch, ONNX Runtime's arena and its CUDA provider, cuBLAS, cuDNN, the CUDA driver and
runtime (as numbers' names), TensorRT, inductor's autotuning, OpenCL and Level Zero (OpenVINO on a
GPU), HIP, DirectML, C++ and the C library.
"""

import os
import re
import stat
from collections.abc import Callable

_SPACE = re.compile(r"[\s_-]+")
_WHOSE = "(device |host |gpu |cpu |cuda |video |system |virtual |physical )?"
_MEMORY = re.compile(
    rf"out of {_WHOSE}memory"  # torch, CUDA, CUDA_ERROR_OUT_OF_MEMORY, Level Zero
    r"|outofmemory"  # TensorRT, hipErrorOutOfMemory, E_OUTOFMEMORY, OutOfMemoryError
    r"|memoryallocation\b"  # cudaErrorMemoryAllocation
    r"|\balloc failed"  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
    r"|allocation (failed|failure)"  # cuDNN: ..._ALLOCATION_FAILED; OpenCL: ..._ALLOCATION_FAILURE
    r"|\bcl out of resources"
    r"|exceeded max size of memory object"  # OpenVINO's GPU plugin
    r"|(failed|unable|can't|cannot|could not) (to )?allocate"
    r"|could not be allocated"
    r"|smaller than requested bytes"  # ONNX Runtime's arena, with a limit
    r"|bad alloc"
    rf"|(not enough|insufficient) {_WHOSE}memory"
    r"|memory (is )?exhausted"
    r"|memory allocation of \d+ bytes"  # Rust
    r"|\bmemoryerror\b"  # Python's, in another process's last words
)
# They may mean it, and the library has printed why.
_VAGUE = re.compile(
    r"failed to (create|build) engine|could not find any implementation|no valid triton configs"
)
_STDERR, _PRINTED_BYTES = 2, 1 << 16


def is_memory(text: str, printed: Callable[[], str] = lambda: "") -> bool:
    """Whether an error's text says that memory ran out.

    A kernel that needs more shared memory than its multiprocessor has is another matter: a smaller
    batch does not help it.

    Args:
        text: Of the error.
        printed: Returns what its process printed; called where the text is vague.
    """
    words = _words(text)
    if _MEMORY.search(words):
        return True
    return bool(_VAGUE.search(words) and _MEMORY.search(_words(printed())))


def _words(text: str) -> str:
    return _SPACE.sub(" ", text.lower())


def printed_here() -> str:
    """Return the end of what this process has printed to its standard error, if that is a file."""
    try:
        found = os.fstat(_STDERR)
        if not stat.S_ISREG(found.st_mode):
            return ""
        start = max(0, found.st_size - _PRINTED_BYTES)
        return os.pread(_STDERR, _PRINTED_BYTES, start).decode(errors="replace")
    except OSError:
        return ""
