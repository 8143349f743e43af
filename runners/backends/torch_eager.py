"""PyTorch in eager mode, with the artifact's own weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.errors import PlacementError
from greenbatch.models.build import build
from greenbatch.models.registry import find as find_model
from greenbatch.runners.backends import Setting, Task, cuda_driver, find

if TYPE_CHECKING:
    import numpy as np


class TorchEager:
    """The network as torchvision builds it, in inference mode, on one device.

    Raises:
        PlacementError: A parameter or the output is not on the device that was asked for.
    """

    def __init__(self, task: Task) -> None:
        import torch
        from safetensors.torch import load_file

        spec = find(task.cell.backend)
        torch.set_num_threads(task.threads)
        torch.set_num_interop_threads(1)
        # TF32 off, as in ONNX Runtime: fp32 means fp32 for every runtime of a study.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # A batch size is fixed for the child's life, so cuDNN may search once, in the warm-up.
        torch.backends.cudnn.benchmark = True

        self._device = torch.device(spec.device)
        module = build(find_model(task.cell.model))
        module.load_state_dict(load_file(task.weights))
        self._module = module.eval().to(self._device)
        self._images = torch.from_numpy(task.images)
        self._host = task.cell.io == "host" and spec.device != "cpu"
        if not self._host:
            self._images = self._images.to(self._device)
        with torch.inference_mode():
            self._logits: torch.Tensor = self._module(self._images.to(self._device))
            self._result = torch.empty_like(self._logits, device="cpu") if self._host else None
        self._inference_mode = torch.inference_mode
        self._synchronize = torch.cuda.synchronize
        self._placement = self._prove()

    def _prove(self) -> dict[str, int]:
        """Count parameters by the device that holds them, and check where the logits came out."""
        counts: dict[str, int] = {}
        for parameter in self._module.parameters():
            counts[parameter.device.type] = counts.get(parameter.device.type, 0) + 1
        if {*counts, self._logits.device.type} != {self._device.type}:
            raise PlacementError(
                f"the network was to run on {self._device.type} alone, but its parameters are on "
                f"{', '.join(counts)} and its logits on {self._logits.device.type}"
            )
        return counts

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
        """Return a copy of the last run's logits."""
        logits: np.ndarray = self._logits.detach().to("cpu", copy=True).numpy()
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
