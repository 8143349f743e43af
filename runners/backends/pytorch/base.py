"""What PyTorch's backends share: a network with its artifact's weights, its settings, its run."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from greenbatch.errors import PlacementError, UnsupportedCell, WeightsError, first_line
from greenbatch.models import registry
from greenbatch.models.build import build
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import parse_source
from greenbatch.runners.backends import (
    TRIAL_SHAPE,
    Option,
    Options,
    Setting,
    Task,
    check_trial,
    cuda_driver,
    find,
    tf32,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    Forward = Callable[[torch.Tensor], torch.Tensor]

OPTIONS: Options = {
    "num_threads": Option("threads of one operator on the CPU; the study's", "count"),
    "channels_last": Option("weights and images with channels last in memory; 0", "flag"),
    "cudnn_benchmark": Option("let cuDNN time its algorithms in the warm-up (CUDA); 0", "flag"),
    "allow_tf32": Option("round fp32 factors to TF32 (CUDA); 0", "flag"),
    "cuda_graph": Option("capture the batch once and replay it (CUDA); 0", "flag"),
}
"""What may be set on each of them."""

_ON_CUDA = ("cudnn_benchmark", "allow_tf32", "cuda_graph")
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_CAPTURE_WARM_UP = 3  # runs before a capture: cuDNN's search and lazy allocations are over then


class TorchBackend:
    """A network on one device; how it is made ready to run is its subclass's.

    Images come and logits go as float32 with channels first, as in the ONNX artifacts: casting to
    a lower precision and back, and changing the layout, is part of the work.

    Raises:
        PlacementError: A parameter or the output is not on the requested device.
        UnsupportedCell: The precision is int8, the network cannot be built again, or a setting
            is meant for another device.
        WeightsError: The artifact's weights do not fit the network.
    """

    options: ClassVar[Options] = OPTIONS
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision")

    def __init__(self, task: Task) -> None:
        import torch

        spec = find(task.cell.backend)
        _check(task, spec.device)
        self._set = task.settings
        self._precision = task.cell.precision
        self._device = torch.device(spec.device)
        self._threads = int(self._set.get("num_threads") or task.threads)
        self._configure()
        images = torch.from_numpy(task.images)
        self._source: torch.Tensor | None = None
        self._result: torch.Tensor | None = None
        if self._device.type == "cpu":
            self._images = images
        else:
            self._images = images.to(self._device)
            if task.cell.io == "host":  # pinned, so that the driver copies without a detour
                self._source = images.pin_memory()
                # A user's own may be (N, classes, 1, 1).
                dims = [int(dim) for dim in task.manifest.outputs[0].dims[1:]]
                self._result = torch.empty(len(images), *dims, pin_memory=True)
        self._logits: torch.Tensor | None = None
        self._inference_mode = torch.inference_mode
        self._placement: Mapping[str, int] = {}
        self._forward = self._ready(task)
        self._prove(self._placement, "parameters")
        if self._captures:
            self._forward = _capture(self._forward, self._images)

    def _ready(self, task: Task) -> "Forward":
        """Return what maps images on the device to logits there; fill in the placement."""
        raise NotImplementedError

    @property
    def _captures(self) -> bool:
        """Whether this class itself captures a CUDA graph."""
        return bool(self._set.get("cuda_graph"))

    def _configure(self) -> None:
        import torch

        torch.set_num_threads(self._threads)
        if torch.get_num_interop_threads() != 1:  # torch takes it once in a process
            torch.set_num_interop_threads(1)
        # TF32 off, as in ONNX Runtime: fp32 means fp32 for every runtime of a study.
        allowed = bool(self._set.get("allow_tf32", False))
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed
        # Its heuristic chooses unless the user says otherwise, as it does in ONNX Runtime.
        torch.backends.cudnn.benchmark = bool(self._set.get("cudnn_benchmark", False))

    def _network(self, task: Task) -> "nn.Module":
        """Build the network on the device, in the cell's precision and layout."""
        module = self._on_device(task)
        self._placement = dict(Counter(p.device.type for p in module.parameters()))
        return _with_ends(module, self._precision, bool(self._set.get("channels_last")))

    def _on_device(self, task: Task) -> "nn.Module":
        import torch
        from safetensors.torch import load_file

        if task.manifest.source == "torchvision":
            with torch.device("meta"):  # no time and memory for weights that are replaced at once
                empty = build(registry.find(task.cell.model))
            module = empty.to_empty(device=self._device)
        else:
            module = _own_network(task).to(self._device)
        try:
            module.load_state_dict(load_file(task.weights))
        except RuntimeError as error:
            raise WeightsError(
                f"{task.weights.name} does not fit the {task.cell.model} that was built "
                f"({first_line(error)}); export it again"
            ) from error
        return module

    def _prove(self, devices: Iterable[str], what: str) -> None:
        if set(devices) != {self._device.type}:
            raise PlacementError(
                f"the network was to run on {self._device.type} alone, but its {what} are on "
                f"{', '.join(devices) or 'no device'}; install the torch build that goes with "
                "the device"
            )

    def feed(self, images: "np.ndarray") -> None:
        """Copy images to where the next run reads them: of a GPU, to its memory with io device."""
        import torch

        taken = self._images if self._source is None else self._source
        taken[: len(images)].copy_(torch.from_numpy(images))

    def run(self) -> None:
        """Run the batch and wait for the device."""
        self._logits = self._run(self._images, self._source, self._result)

    def _run(
        self,
        images: "torch.Tensor",
        source: "torch.Tensor | None",
        result: "torch.Tensor | None",
    ) -> "torch.Tensor":
        """Run images on the device, copied from ``source`` and to ``result`` if there are any."""
        with self._inference_mode():
            if source is not None:
                images.copy_(source, non_blocking=True)
            logits = self._forward(images)
            if result is not None:
                result.copy_(logits, non_blocking=True)
            if self._device.type == "cuda":
                self._wait()
        return logits

    def _wait(self) -> None:
        import torch

        torch.cuda.current_stream().synchronize()

    def outputs(self) -> "np.ndarray":
        """Return a copy of the last run's logits, which must have come out of the device."""
        assert self._logits is not None, "nothing has run yet"
        self._prove([self._logits.device.type], "logits")
        last = self._logits if self._result is None else self._result
        logits: np.ndarray = last.to("cpu", copy=True).numpy()
        return logits.reshape(len(logits), -1)

    @property
    def placement(self) -> Mapping[str, int]:
        """Parameter tensors by device: a torch module has no graph to count nodes of."""
        return self._placement

    @property
    def fell_back(self) -> bool:
        """A torch module runs where its parameters are; there is no fallback to record."""
        return False

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The effective settings as torch reports them, and the versions as loaded."""
        import torch

        backends = torch.backends
        cuda = self._device.type == "cuda"
        reported: dict[str, Setting] = {
            "threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "spinning": _spinning(torch.get_num_threads()),
            "arithmetic": _arithmetic(self._precision, self._device.type),
            "layout": "channels_last" if self._set.get("channels_last") else "channels_first",
            "graph_capture": "CUDA graph" if self._captures else "none",
            "autotuning": _autotuning(cuda),
            "optimization": "none",
            "torch": torch.__version__,
            "mkldnn": backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        }
        if cuda:
            reported[tf32.OVERRIDE] = os.environ.get(tf32.OVERRIDE)
            if self._source is not None:
                reported["copies"] = "inputs pinned, outputs pinned; waits once"
            reported["cuda"] = torch.version.cuda
            reported["cudnn"] = backends.cudnn.version()  # type: ignore[no-untyped-call]
        elif self._precision != "fp32":
            reported[f"mkldnn_{self._precision}"] = bool(
                getattr(torch.ops.mkldnn, f"_is_mkldnn_{self._precision}_supported")()
            )
        return reported

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

    @classmethod
    def trial(cls, provider: str) -> Mapping[str, int]:
        """Convolve ones on the device; the placement is that of the result."""
        import torch

        ones = torch.ones(TRIAL_SHAPE, device=provider)
        with torch.inference_mode():
            result = cls._convolve(ones)
        check_trial(float(result.item()))
        if result.device.type != provider:
            raise PlacementError(
                f"a convolution was to run on {provider}, but its result is on "
                f"{result.device.type}; install the torch build that goes with the device"
            )
        return {result.device.type: 1}

    @classmethod
    def _convolve(cls, ones: "torch.Tensor") -> "torch.Tensor":
        """Convolve ones with themselves."""
        import torch

        return torch.nn.functional.conv2d(ones, ones)


def _check(task: Task, device: str) -> None:
    name = task.cell.backend
    if task.cell.precision not in _DTYPES:
        raise UnsupportedCell(
            f"{name} does not support {task.cell.precision} (supported: {', '.join(_DTYPES)}); "
            "remove the backend or the precision"
        )
    misplaced = [key for key in _ON_CUDA if key in task.settings]
    if device == "cpu" and misplaced:
        raise UnsupportedCell(
            f"{name} has no use for {', '.join(misplaced)}, which a CUDA device has; leave it out"
        )


def _own_network(task: Task) -> "nn.Module":
    """Build a network that is not torchvision's from the text that it came from."""
    text = task.source
    if task.manifest.source == "onnx" or not text:
        raise UnsupportedCell(
            f"{task.cell.backend} builds networks from torchvision or from the source that the "
            f"study names, and {task.cell.model} came from {task.manifest.source}; measure it "
            "with --runtime onnxruntime"
        )
    source = parse_source(text)
    with warnings.catch_warnings():  # reported when it was exported
        warnings.simplefilter("ignore", SourceWarning)
        network = load(
            source,
            None if source.kind == "pt2" else task.manifest.input,
            task.cell.model,
            "random" if source.kind == "timm" else "auto",  # replaced: fetch nothing for it
        )
    return network.module


def _with_ends(module: "nn.Module", precision: str, channels_last: bool) -> "nn.Module":
    """Return a module that takes and gives float32, and computes in the precision and layout."""
    import torch
    from torch import nn

    dtype: torch.dtype = getattr(torch, _DTYPES[precision])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = module.to(dtype).to(memory_format=layout)

    class WithEnds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(images.to(dtype=dtype, memory_format=layout))
            return logits.float()

    plain = dtype is torch.float32 and not channels_last
    return module if plain else WithEnds().eval()


def _capture(forward: "Forward", images: "torch.Tensor") -> "Forward":
    """Record a forward pass over these images as a CUDA graph, and return what replays it.

    Warmed up on a stream of its own, as torch's notes on CUDA graphs ask.
    """
    import torch

    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        with torch.cuda.stream(beside):
            for _ in range(_CAPTURE_WARM_UP):
                forward(images)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(graph):
            logits = forward(images)

    def replay(same: "torch.Tensor") -> "torch.Tensor":
        assert same is images, "a graph reads the buffer that it was captured with"
        graph.replay()
        return logits

    return replay


def _arithmetic(precision: str, device: str) -> str | None:
    import torch

    backends = torch.backends
    if precision != "fp32":
        return precision
    if device == "cuda":
        if tf32.reserved():
            return None
        allowed = backends.cuda.matmul.allow_tf32 or backends.cudnn.allow_tf32
        return "tf32" if allowed and not tf32.forbidden() else "fp32"
    mkldnn: Any = backends.mkldnn  # what it has is put there when it is imported
    kinds = {mkldnn.matmul.fp32_precision, mkldnn.conv.fp32_precision}
    return "+".join(sorted(kinds - {"none", "ieee"})) or "fp32"


def _autotuning(cuda: bool) -> str:
    import torch

    if not cuda:
        return "none"
    timed = torch.backends.cudnn.benchmark
    return "cuDNN's algorithms, in the warm-up" if timed else "none: cuDNN's heuristic"


def _spinning(threads: int) -> Setting:
    """Return what OpenMP's threads do while they wait, as far as it is set or documented.

    Unless set otherwise, libgomp's threads wait actively for a short while before they sleep
    (GCC's libgomp manual, OMP_WAIT_POLICY), and LLVM's and Intel's for 200 ms (KMP_BLOCKTIME).
    """
    if threads == 1:
        return "none"
    in_environment = [
        f"{name}={os.environ[name]}"
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
        if name in os.environ
    ]
    return ", ".join(in_environment) or "for a while, as OpenMP does unless told otherwise"
