"""A backend of another distribution that states a CUDA device and computes on the CPU."""

from collections.abc import Mapping
from dataclasses import replace

from greenbatch.runners.backends import Task
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession


class Simulated(OnnxSession):
    """Computes with ONNX Runtime on the CPU."""

    def __init__(self, task: Task) -> None:
        super().__init__(replace(task, cell=replace(task.cell, backend="onnxruntime-cpu")))

    @property
    def placement(self) -> Mapping[str, int]:
        """All nodes, on the device that it states."""
        return {"CUDAExecutionProvider": sum(super().placement.values())}

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Return why it cannot run: it always can."""
        return None

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Run the network of a trial on the CPU."""
        return OnnxSession.trial("cpu")
