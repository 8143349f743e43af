"""The CUDA libraries that came with the install are complete, seen without a GPU.

ONNX Runtime goes on with the CPU when its CUDA provider lacks a library. Its provider library is
loaded here after CUDA's: on a machine without a GPU all that may be missing is the driver.
"""

import subprocess
import sys

import pytest

CODE = """
import onnxruntime
from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
libraries.load(onnxruntime, PROVIDERS["cuda"])
print(libraries.missing_library(onnxruntime, PROVIDERS["cuda"]))
"""


def test_all_that_the_cuda_provider_lacks_is_the_driver() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this platform has no onnxruntime-gpu wheel")
    told = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert told == "None" or "(libcuda.so.1: cannot open shared object file" in told
