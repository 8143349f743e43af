"""TF32 on NVIDIA's GPUs: forbidden wherever products are of float32, so that fp32 means fp32.

Options of a runtime are not enough. Where cuDNN has no plan without tensor cores for a convolution,
ONNX Runtime's CUDA provider plans again with TF32 (``CreateCudnnFeExecutionPlan`` in its
``nn/conv.cc``). NVIDIA's libraries read ``NVIDIA_TF32_OVERRIDE``: at 0 they use TF32 nowhere, any
other value is reserved (NVIDIA, "Accelerating AI Training with NVIDIA TF32 Tensor Cores").
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OVERRIDE = "NVIDIA_TF32_OVERRIDE"

# int8: what is not quantised, and on CUDA all of it, which is dequantised first.
_COMPUTED_IN_FP32 = ("fp32", "int8")
_OPTIONS = ("allow_tf32", "provider.use_tf32")  # of torch, and of ONNX Runtime's CUDA provider
_ON = ("1", "true", "on")


def environment(device: str, precision: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return what is set in the environment of a process that computes, before it loads libraries.

    Args:
        device: Of the backend.
        precision: Of the cell.
        settings: What the user set on the backend; its own words for TF32 are respected.

    Returns:
        Nothing where TF32 cannot matter, is asked for, or the user set the variable.
    """
    requested = any(str(settings.get(name, "")).lower() in _ON for name in _OPTIONS)
    in_fp32 = device == "cuda" and precision in _COMPUTED_IN_FP32
    return {} if not in_fp32 or requested or OVERRIDE in os.environ else {OVERRIDE: "0"}


@contextmanager
def forbidden_for(device: str, precision: str) -> Iterator[None]:
    """Set in this process, while the context lasts, what `environment` returns without settings.

    Libraries that are loaded meanwhile keep to it; processes that are started later do not get it.
    """
    variables = environment(device, precision, {})
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


def forbidden() -> bool:
    """Whether NVIDIA's libraries use TF32 nowhere in this process."""
    return os.environ.get(OVERRIDE) == "0"


def reserved() -> bool:
    """Whether the user set the variable to a value whose meaning NVIDIA does not document."""
    return os.environ.get(OVERRIDE, "0") != "0"
