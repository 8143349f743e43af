"""What PyTorch's backends share: their settings, the buffers of a batch, and its run."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from greenbatch.errors import PlacementError, UnsupportedCell
from greenbatch.models.outputs import flatten
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
from greenbatch.runners.backends.pytorch.network import DTYPES, build_network, with_ends

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    Forward = Callable[..., object]
    """From images, and the inputs beside them, to what the network returns."""

OPTIONS: Options = {
    "num_threads": Option("threads of one operator on the CPU; the study's", "count"),
    "channels_last": Option("weights and images with channels last in memory; 0", "flag"),
    "cudnn_benchmark": Option("let cuDNN time its algorithms in the warm-up (CUDA); 0", "flag"),
    "allow_tf32": Option("round fp32 factors to TF32 (CUDA); 0", "flag"),
    "cuda_graph": Option("capture the batch once and replay it (CUDA); 0", "flag"),
}
"""What may be set on each of them."""

_ON_CUDA = ("cudnn_benchmark", "allow_tf32", "cuda_graph")
_CAPTURE_WARM_UP = 3  # runs before a capture: cuDNN's search and lazy allocations are over then


@dataclass(frozen=True, slots=True)
class Buffers:
    """What a run reads and writes.

    Attributes:
        inputs: On the device, the images first.
        sources: On the host, pinned, copied to ``inputs`` in each run; ``None``: they stay there.
        results: On the host, pinned, by output, as far as sizes are known before it runs.
    """

    inputs: "list[torch.Tensor]"
    sources: "list[torch.Tensor] | None" = None
    results: "dict[str, torch.Tensor] | None" = None


class TorchBackend:
    """A network on one device; how it is made ready to run is its subclass's.

    Inputs come and outputs go as in the ONNX artifacts, images mostly as float32 with channels
    first: casting to a lower precision and back, and changing the layout, is part of the work.

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
        self._batched = [True, *(other.batched for other in task.manifest.input.others)]
        self._specs = task.manifest.outputs
        self._buffers = self._buffers_of(task)
        self._late: dict[str, torch.Tensor] = {}
        self._returned: object = None
        self._inference_mode = torch.inference_mode
        self._placement: Mapping[str, int] = {}
        self._forward = self._ready(task)
        self._prove(self._placement, "parameters")
        if self._captures:
            self._forward = _capture(self._forward, self._buffers.inputs)

    def _buffers_of(self, task: Task) -> Buffers:
        """Return what a run of a task's batch reads and writes."""
        import torch

        inputs = [torch.from_numpy(value) for value in task.inputs().values()]
        on_device = [value.to(self._device) for value in inputs]
        if self._device.type == "cpu" or task.cell.io != "host":
            return Buffers(on_device)
        # Pinned, so that the driver copies without a detour.
        return Buffers(
            on_device,
            [value.pin_memory() for value in inputs],
            {
                output.name: torch.empty(
                    output.shape(len(task.images)),
                    dtype=getattr(torch, output.dtype),
                    pin_memory=True,
                )
                for output in task.manifest.outputs
                if not output.counted
            },
        )

    def _ready(self, task: Task) -> "Forward":
        """Return what maps inputs on the device to outputs there; fill in the placement."""
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
        module = build_network(task, self._device)
        self._placement = dict(Counter(p.device.type for p in module.parameters()))
        cast = any(output.network_dtype for output in task.manifest.outputs)
        return with_ends(module, self._precision, bool(self._set.get("channels_last")), cast)

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

        taken = (self._buffers.sources or self._buffers.inputs)[0]
        taken[: len(images)].copy_(torch.from_numpy(images))

    def run(self) -> None:
        """Run the batch and wait for the device."""
        self._returned = self._run(self._buffers)

    def _first(self, size: int) -> "Buffers":
        """Return the part of the buffers that holds the first images of the batch."""

        def cut(values: "list[torch.Tensor]") -> "list[torch.Tensor]":
            pairs = zip(values, self._batched, strict=True)
            return [value[:size] if batched else value for value, batched in pairs]

        inputs, sources = cut(self._buffers.inputs), self._buffers.sources
        results = self._buffers.results
        if sources is None or results is None:
            return Buffers(inputs)
        of = {spec.name: spec for spec in self._specs}
        smaller = {
            name: value
            if (axis := of[name].batch_axis) is None
            else value.narrow(axis, 0, size * of[name].rows_per_image)
            for name, value in results.items()
        }
        return Buffers(inputs, cut(sources), smaller)

    def _run(self, buffers: "Buffers") -> object:
        """Run inputs on the device, copied from the host and back where there are buffers."""
        with self._inference_mode():
            if buffers.sources is not None:
                for taken, source in zip(buffers.inputs, buffers.sources, strict=True):
                    taken.copy_(source, non_blocking=True)
            returned = self._forward(*buffers.inputs)
            if buffers.results is not None:
                self._late = {}
                for name, value in flatten(returned).items():
                    if name in buffers.results:
                        buffers.results[name].copy_(value, non_blocking=True)
                    else:  # as large as the data decide: it waits
                        self._late[name] = value.cpu()
            if self._device.type == "cuda":
                self._wait()
        return returned

    def _wait(self) -> None:
        import torch

        torch.cuda.current_stream().synchronize()

    def outputs(self) -> "dict[str, np.ndarray]":
        """Return copies of the last run's outputs, which must have come out of the device."""
        assert self._returned is not None, "nothing has run yet"
        last = flatten(self._returned)
        self._prove({value.device.type for value in last.values()}, "outputs")
        if self._buffers.results is not None:
            last = {name: self._buffers.results.get(name, value) for name, value in last.items()}
            last |= self._late
        return {name: value.to("cpu", copy=True).numpy() for name, value in last.items()}

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
            if self._buffers.sources is not None:
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
    if task.cell.precision not in DTYPES:
        raise UnsupportedCell(
            f"{name} does not support {task.cell.precision} (supported: {', '.join(DTYPES)}); "
            "remove the backend or the precision"
        )
    misplaced = [key for key in _ON_CUDA if key in task.settings]
    if device == "cpu" and misplaced:
        raise UnsupportedCell(
            f"{name} has no use for {', '.join(misplaced)}, which a CUDA device has; leave it out"
        )


def _capture(forward: "Forward", inputs: "Sequence[torch.Tensor]") -> "Forward":
    """Record a forward pass over these inputs as a CUDA graph, and return what replays it.

    Warmed up on a stream of its own, as torch's notes on CUDA graphs ask.
    """
    import torch

    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode():
        with torch.cuda.stream(beside):
            for _ in range(_CAPTURE_WARM_UP):
                forward(*inputs)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(graph):
            returned = forward(*inputs)

    def replay(*same: "torch.Tensor") -> object:
        assert same[0] is inputs[0], "a graph reads the buffer that it was captured with"
        graph.replay()
        return returned

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
