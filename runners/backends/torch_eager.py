"""PyTorch in eager mode, with the artifact's own weights."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from greenbatch.errors import PlacementError, UnsupportedCell
from greenbatch.models.build import build
from greenbatch.models.registry import find as find_model
from greenbatch.runners.backends import (
    TRIAL_SHAPE,
    Options,
    Setting,
    Task,
    check_trial,
    cuda_driver,
    find,
)

if TYPE_CHECKING:
    import numpy as np


class TorchEager:
    """The network as torchvision builds it, in inference mode, on one device.

    Raises:
        PlacementError: A parameter or the output is not on the device that was asked for.
        UnsupportedCell: The precision is not fp32, or the network is not torchvision's.
    """

    options: ClassVar[Options] = {}
    packages = ("torch", "torchvision")

    def __init__(self, task: Task) -> None:
        import torch
        from safetensors.torch import load_file

        spec = find(task.cell.backend)
        if task.cell.precision != "fp32":
            raise UnsupportedCell(
                f"{spec.name} measures fp32 only, not {task.cell.precision}; "
                "leave one of the two out"
            )
        if task.manifest.source != "torchvision":
            raise UnsupportedCell(
                f"{spec.name} builds networks of torchvision only, and {task.cell.model} came from "
                f"{task.manifest.source}; measure it with --runtime onnxruntime"
            )
        torch.set_num_threads(task.threads)
        if torch.get_num_interop_threads() != 1:  # torch takes it once in a process
            torch.set_num_interop_threads(1)
        # TF32 off, as in ONNX Runtime: fp32 means fp32 for every runtime of a study.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # A batch size is fixed for the child's life, so cuDNN may search once, in the warm-up.
        torch.backends.cudnn.benchmark = True

        self._device = torch.device(spec.device)
        with torch.device("meta"):  # no time and memory for weights that are replaced at once
            module = build(find_model(task.cell.model))
        self._module = module.to_empty(device=self._device)
        self._module.load_state_dict(load_file(task.weights))
        self._images = torch.from_numpy(task.images)
        self._host = task.cell.io == "host" and spec.device != "cpu"
        if not self._host:
            self._images = self._images.to(self._device)
        classes = int(task.manifest.outputs[0].dims[-1])
        self._result = torch.empty(len(task.images), classes) if self._host else None
        self._logits: torch.Tensor | None = None
        self._inference_mode = torch.inference_mode
        self._synchronize = torch.cuda.synchronize
        self._placement = dict(Counter(p.device.type for p in self._module.parameters()))
        self._prove(self._placement, "parameters")

    def _prove(self, devices: Iterable[str], what: str) -> None:
        if set(devices) != {self._device.type}:
            raise PlacementError(
                f"the network was to run on {self._device.type} alone, but its {what} are on "
                f"{', '.join(devices)}"
            )

    def run(self) -> None:
        """Run the batch and wait for the device."""
        with self._inference_mode():
            if self._result is not None:
                self._logits = self._module(self._images.to(self._device))
                self._result.copy_(self._logits)  # to the host: waits for the device
            else:
                self._logits = self._module(self._images)
                if self._device.type == "cuda":
                    self._synchronize()

    def outputs(self) -> "np.ndarray":
        """Return a copy of the last run's logits, which must have come out of the device."""
        assert self._logits is not None, "nothing has run yet"
        self._prove([self._logits.device.type], "logits")
        logits: np.ndarray = self._logits.to("cpu", copy=True).numpy()
        return logits

    @property
    def placement(self) -> Mapping[str, int]:
        """Parameter tensors by device: eager mode has no graph to count nodes of."""
        return self._placement

    @property
    def fell_back(self) -> bool:
        """Eager mode runs where its parameters are; there is no fallback to record."""
        return False

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Threads, TF32, layout and versions, as in force."""
        import torch

        cuda = self._device.type == "cuda"
        return {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "tf32": cuda and torch.backends.cuda.matmul.allow_tf32,
            "cudnn_benchmark": cuda and torch.backends.cudnn.benchmark,
            "mkldnn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
            "layout": "channels_first",
            "cuda": torch.version.cuda if cuda else None,
            "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        }

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why the device cannot be used here."""
        if provider == "cpu":
            return None
        if reason := cuda_driver.unavailable():
            return reason
        import torch

        if not torch.cuda.is_available():
            return (
                f"torch {torch.__version__} (built for CUDA {torch.version.cuda}) sees no device "
                "although the driver lists one; install the torch build that goes with the driver"
            )
        return None

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Convolve ones on the device; the placement is that of the result."""
        import torch

        ones = torch.ones(TRIAL_SHAPE, device=provider)
        with torch.inference_mode():
            result = torch.nn.functional.conv2d(ones, ones)
        check_trial(float(result.item()))
        if result.device.type != provider:
            raise PlacementError(
                f"a convolution was to run on {provider}, but its result is on "
                f"{result.device.type}; install the torch build that goes with the device"
            )
        return {result.device.type: 1}
