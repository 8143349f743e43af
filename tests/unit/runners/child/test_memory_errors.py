"""Runtimes run out of memory in many words; what is not memory is not called so."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from greenbatch.errors import PlacementError
from greenbatch.runners.child import main
from greenbatch.runners.child.memory_errors import is_memory

TEXTS = [
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB",
    "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes.",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer",
    "[ONNXRuntimeError] : 1 : FAIL : Available memory of 0 is smaller than requested bytes of 256",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; file=bfc_arena.cc ; line=376",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
    "CUDA out-of-memory error",
    "not enough GPU memory to run the network",
    "Insufficient device memory",
    "ran out of video memory",
    "memory allocation of 8589934592 bytes failed",
    "virtual memory exhausted",
    "MemoryError",
    "cudaErrorMemoryAllocation: out of memory",
    "CUDA runtime API error cudaErrorMemoryAllocation",
    "[virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (Requested size 1)",
    "TensorRT EP: Requested amount of GPU memory (15485030400 bytes) could not be allocated.",
    "No valid triton configs. OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
    "[GPU] Exceeded max size of memory object allocation: requested 9 GB",
    "[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES",
    "[GPU] clCreateBuffer, error code: -4 CL_MEM_OBJECT_ALLOCATION_FAILURE",
    "Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "HIP failure: hipErrorOutOfMemory",
    "HIPBLAS_STATUS_ALLOC_FAILED",
    "8007000E Not enough memory resources are available to complete this operation.",
    "std::bad_alloc",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "[Errno 12] Cannot allocate memory",
    "Unable to allocate 12.3 GiB for an array with shape (65536, 3, 224, 224)",
]

OTHERS = [
    "CUDAExecutionProvider left nodes of vit.onnx (61 of 575 to CPUExecutionProvider)",
    "CUDNN failure 9: CUDNN_STATUS_NOT_SUPPORTED ; GPU=0",
    "CUDA error: an illegal memory access was encountered",
    "TensorRT EP failed to create engine from network for fused node: TRTKernel_graph_0",
    "an out-of-bounds memory access was encountered",
    "ptxas: too much shared data; out of shared memory",
    "No valid triton configs. OutOfResources: out of resource: shared memory, Required: 264192",
    "Expected canUse32BitIndexMath(input) to be true, but got false.",
    "numel must be smaller than 2**31",
    "the process took longer than 300 s",
    "Failed to get allocator for device 1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_batch_that_does_not_fit_is_told_from_one_that_fails(text: str) -> None:
    status, reason = main._diagnose(RuntimeError(text))
    assert status == "oom"
    assert reason.startswith("out of memory: ")


@pytest.mark.parametrize("text", OTHERS)
def test_any_other_failure_is_not_called_a_lack_of_memory(text: str) -> None:
    assert main._diagnose(RuntimeError(text))[0] == "error"
    assert main._diagnose(PlacementError(text))[0] == "error"


def test_a_class_can_say_it_too() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    assert main._diagnose(OutOfMemoryError("device 0"))[0] == "oom"
    assert main._diagnose(MemoryError())[0] == "oom"


VAGUE = """
import sys
print(sys.argv[1], file=sys.stderr, flush=True)
from greenbatch.runners.child import main
status, _ = main._diagnose(RuntimeError("TensorRT EP failed to create engine from network."))
print(status == "oom")
"""


@pytest.mark.parametrize(
    ("printed", "known"),
    [
        ("2026 [E:onnxruntime] [TRT] Error Code 2: OutOfMemory (no further information)", True),
        ("2026 [E:onnxruntime] [TRT] Unsupported data type", False),
    ],
)
def test_what_an_engine_lacked_is_read_from_what_tensorrt_printed(
    tmp_path: Path, printed: str, known: bool
) -> None:
    with (tmp_path / "errors").open("w+b") as errors:
        assert answer(printed, errors) == known


def test_what_cannot_be_read_again_says_nothing() -> None:
    assert not answer("OutOfMemory", subprocess.DEVNULL)
    assert not is_memory("")


def answer(printed: str, errors: IO[bytes] | int) -> bool:
    """Ask a process that has printed something to its standard error."""
    command = [sys.executable, "-c", VAGUE, printed]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=True)
    return ran.stdout.strip() == b"True"
