"""torch.compile: the network as one graph, compiled by inductor for one batch size."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from greenbatch.errors import PlacementError, first_line
from greenbatch.runners.backends import Option, Options, Setting, Task
from greenbatch.runners.backends.pytorch.base import OPTIONS, TorchBackend
from greenbatch.runners.backends.pytorch.toolchain import (
    compiler_found,
    compiler_missing,
    headers_missing,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from greenbatch.runners.backends.pytorch.base import Forward

InductorOptions: TypeAlias = dict[str, str | int | bool | Callable[..., Any]]
"""As `torch.compile` takes them."""

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class TorchCompiled(TorchBackend):
    """The network as one graph without breaks, compiled at the first run.

    Raises:
        PlacementError: At the first run, where not the whole network became one compiled graph.
    """

    options: ClassVar[Options] = {
        **OPTIONS,
        "cuda_graph": Option("CUDA graphs of inductor's own (CUDA); as the mode says", "flag"),
        "mode": Option("of torch.compile; default", "choice", MODES),
        "freezing": Option("fold weights into the graph; 0", "flag"),
    }
    packages = ("torch", "torchvision", "torch._dynamo", "torch._inductor.compile_fx")
    preloads = packages

    def _ready(self, task: Task) -> "Forward":
        self._scratch = None if task.cache else scratch_folder()
        prepare_inductor(
            task.cache or Path(self._scratch.name if self._scratch else ""), self._threads
        )
        self._compiled = _compile(self._network(task), inductor_options(self._set))
        return self._compiled_first

    @property
    def _captures(self) -> bool:
        return False  # inductor does

    def _compiled_first(self, *inputs: "torch.Tensor") -> object:
        """Compile and run, and see that it was compiled."""
        from torch._dynamo.exc import Unsupported
        from torch._dynamo.utils import counters

        earlier = counters["stats"]["unique_graphs"]
        skips = counters["inductor"]["cudagraph_skips"]
        try:
            returned = self._compiled(*inputs)
        except Unsupported as error:
            raise PlacementError(_not_one_graph(str(error))) from error
        except RuntimeError as error:
            if "no compiled frames" not in str(error):
                raise
            raise PlacementError(_not_one_graph(str(error))) from error
        graphs = counters["stats"]["unique_graphs"] - earlier
        if graphs != 1:
            raise PlacementError(_not_one_graph(f"{graphs} were made"))
        stop_compile_workers()
        if self._scratch is not None:  # what was compiled is loaded
            self._scratch.cleanup()
        self._replays = counters["inductor"]["cudagraph_skips"] == skips
        self._forward = self._compiled
        return returned

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The effective settings; before the first run, the requested ones."""
        requested = inductor_options(self._set)
        captures = self._device.type == "cuda" and requested.get("triton.cudagraphs", False)
        if captures and not getattr(self, "_replays", True):
            capture = "none: inductor skipped it"
        else:
            capture = "CUDA graph (inductor)" if captures else "none"
        reported = super().settings
        return {
            **reported,
            "graph_capture": capture,
            "autotuning": tuning(reported["autotuning"], requested),
            "optimization": optimization("inductor", requested),
            "mode": self._set.get("mode", "default"),
            "compiler": compiler_found(),
        }

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why nothing can be compiled for the device here."""
        reason = TorchBackend.unavailable(provider) or compiler_missing(provider)
        return reason or headers_missing()

    @classmethod
    def _convolve(cls, ones: "torch.Tensor") -> "torch.Tensor":
        import torch

        with scratch_folder() as folder:
            prepare_inductor(Path(folder), threads=1)
            convolve = torch.compile(torch.nn.functional.conv2d, dynamic=False, fullgraph=True)
            result: torch.Tensor = convolve(ones, ones)
        return result


def _not_one_graph(cause: str) -> str:
    return (
        f"torch.compile was to make one graph of the network, or some of it runs uncompiled: "
        f"{first_line(cause)}; unset TORCH_COMPILE_DISABLE and TORCHDYNAMO_DISABLE, or measure it "
        "with --runtime torch"
    )


def _compile(module: "nn.Module", options: InductorOptions) -> "Forward":
    """Compile a module, whatever else of its class was compiled in this process.

    Dynamo keeps what it compiled by code object. Modules of a class share theirs: a second one may
    find the graph of the first, and from the ninth batch size on it compiles no more
    (``recompile_limit``). So each gets a copy of its code.
    """
    import torch

    forward = getattr(module.forward, "__func__", None)
    if isinstance(forward, FunctionType):
        parts = (forward.__globals__, forward.__name__, forward.__defaults__, forward.__closure__)
        own = FunctionType(forward.__code__.replace(), *parts)
        own.__kwdefaults__ = forward.__kwdefaults__
        module.forward = MethodType(own, module)
    return torch.compile(module, dynamic=False, fullgraph=True, options=options or None)


def inductor_options(requested: Mapping[str, Setting]) -> InductorOptions:
    """Return the options of inductor that a backend's settings mean."""
    from torch._inductor import list_mode_options

    options = dict(list_mode_options(str(requested.get("mode", "default"))))
    if "freezing" in requested:
        options["freezing"] = bool(requested["freezing"])
    if "cuda_graph" in requested:
        options["triton.cudagraphs"] = bool(requested["cuda_graph"])
    return options


def scratch_folder() -> TemporaryDirectory[str]:
    """Make a folder for what is compiled where nothing is to be kept."""
    return TemporaryDirectory(prefix="greenbatch-inductor-", ignore_cleanup_errors=True)


def prepare_inductor(folder: Path, threads: int) -> None:
    """Say where inductor keeps what it compiles, and how many processes may compile.

    Args:
        folder: There already. Where it holds something, nothing is left to compile and no processes
            are started for it.
        threads: For compiling.
    """
    from torch._inductor import config
    from torch._inductor.utils import clear_caches

    warm = any(folder.iterdir())
    # Both are read when they are used, not when inductor is imported.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    clear_caches()
    config.fx_graph_cache = True
    config.compile_threads = 1 if warm else threads


def stop_compile_workers() -> None:
    """End the processes that compiled: idle ones would hold memory, and wake, in the window."""
    from torch._inductor.async_compile import shutdown_compile_workers

    shutdown_compile_workers()


def tuning(cudnn: Setting, options: InductorOptions) -> str:
    """Say what is searched for the fastest kernel."""
    if not options.get("max_autotune"):
        return str(cudnn)
    own = "inductor's kernels, when compiling"
    return own if str(cudnn).startswith("none") else f"{own}; {cudnn}"


def optimization(compiler: str, options: InductorOptions) -> str:
    """Say what compiles the graph, and whether weights are folded into it."""
    return f"{compiler}, weights folded" if options.get("freezing") else compiler
