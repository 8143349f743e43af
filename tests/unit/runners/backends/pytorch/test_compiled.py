"""What torch compiles is compiled, kept in the folder that is named, and computes the network."""

import copy
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from greenbatch.errors import PlacementError
from greenbatch.records import Cell, InputSpec, TensorSpec
from greenbatch.runners.backends import Backend, Task
from greenbatch.runners.backends.pytorch import base
from greenbatch.runners.backends.pytorch.aot import TorchAot
from greenbatch.runners.backends.pytorch.base import Buffers
from greenbatch.runners.backends.pytorch.compiled import (
    TorchCompiled,
    inductor_options,
    prepare_inductor,
)
from greenbatch.runners.backends.pytorch.toolchain import compiler_missing
from greenbatch.runners.scenarios.batches import Batches
from greenbatch.testing.outputs import only_output
from tests.fakes import own_networks
from tests.thorough import needs_thorough

# A repetition's process: the small network, loaded and run with a cache.
REPETITION = """
import json, sys
from importlib import import_module
from pathlib import Path
import numpy as np, psutil
from torch import nn
from tests.fakes import own_networks
from greenbatch.records import Cell, InputSpec, TensorSpec
from greenbatch.runners.backends import Task
from greenbatch.records import InputSpec, TensorSpec
from types import SimpleNamespace
from greenbatch.runners.backends.pytorch import base

target, cache, precision, settings = json.loads(sys.argv[1])
module, name = target.split(":")
backend_class = getattr(import_module("greenbatch.runners.backends.pytorch." + module), name)
truth = own_networks.build()
built = []
def network(task, device):
    built.append(1)
    return own_networks.build()
base.build_network = network
images = np.random.default_rng(0).standard_normal((3, 3, 16, 16), dtype=np.float32)
logits = TensorSpec(name="logits", dtype="float32", dims=("batch", own_networks.CLASSES))
manifest = SimpleNamespace(input=InputSpec(), outputs=[logits])
task = Task(Cell("small", "torch-cpu", precision=precision, batch_size=3), Path(), Path(), manifest,
    2, images, settings=settings, cache=Path(cache) if cache else None)
backend = backend_class(task)
if name == "TorchCompiled":  # as inductor does by itself where it writes CUDA kernels
    from torch._inductor.async_compile import AsyncCompile
    AsyncCompile.warm_pool()
workers = len(psutil.Process().children())
backend.run()
backend.run()
from torch._dynamo.utils import counters
import torch
with torch.no_grad():
    wanted = truth(torch.from_numpy(images)).numpy()
got = next(iter(backend.outputs().values()))
print(json.dumps({
    "error": float(abs(got - wanted).max() / abs(wanted).max()),
    "built": len(built),
    "workers": workers,
    "hits": counters["inductor"]["fxgraph_cache_hit"],
    "misses": counters["inductor"]["fxgraph_cache_miss"],
    "children": [child.name() for child in psutil.Process().children(recursive=True)],
    "placement": dict(backend.placement),
    "settings": dict(backend.settings),
}))
"""


def repetition(
    target: str, cache: Path | None, precision: str = "fp32", **settings: Any
) -> dict[str, Any]:
    order = json.dumps([target, str(cache) if cache else None, precision, settings])
    ran = subprocess.run(
        [sys.executable, "-c", REPETITION, order], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    members: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return members


@pytest.mark.slow
@needs_thorough
def test_torch_compile_compiles_once_and_finds_it_again_in_the_cache(tmp_path: Path) -> None:
    cold = repetition("compiled:TorchCompiled", tmp_path, freezing=True)
    warm = repetition("compiled:TorchCompiled", tmp_path, freezing=True)
    assert (cold["hits"], cold["misses"]) == (0, 1)
    assert (warm["hits"], warm["misses"]) == (1, 0)
    assert max(cold["error"], warm["error"]) < 1e-5
    assert (cold["workers"], warm["workers"]) == (1, 0)
    assert cold["children"] == []  # nobody is left to wake in the window
    assert cold["placement"] == {"cpu": 6}
    assert cold["settings"]["optimization"] == "inductor, weights folded"
    assert cold["settings"]["compiler"]


@needs_thorough
@pytest.mark.slow
def test_a_package_compiled_ahead_is_loaded_without_building_the_network(tmp_path: Path) -> None:
    cold = repetition("aot:TorchAot", tmp_path, "bf16", channels_last=True)
    warm = repetition("aot:TorchAot", tmp_path, "bf16", channels_last=True)
    assert (cold["built"], warm["built"]) == (1, 0)
    assert 1e-4 < cold["error"] == warm["error"] < 0.05  # bf16 inside, float32 at the ends
    assert list(warm["placement"]) == ["cpu"]
    assert [path.name for path in tmp_path.iterdir()] == ["package"]  # no leftovers of compiling


def test_a_network_that_falls_back_to_eager_is_refused(
    tmp_path: Path,
) -> None:
    disabled = torch._dynamo.config.patch(disable=True)  # as TORCHDYNAMO_DISABLE=1 does
    with disabled, pytest.raises(PlacementError, match="found no compiled frames"):
        compiled(own_networks.build(), tmp_path).run()


@pytest.mark.slow
def test_a_network_that_breaks_into_graphs_is_refused(tmp_path: Path) -> None:
    class Broken(own_networks.Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return super().forward(images)

    with pytest.raises(PlacementError, match=r"runs uncompiled: .*graph_break"):
        compiled(Broken().eval(), tmp_path).run()


def compiled(module: torch.nn.Module, cache: Path) -> TorchCompiled:
    """Make a backend of a module, ready for its first run."""
    from greenbatch.runners.backends.pytorch.compiled import _compile

    prepare_inductor(cache, threads=1)
    backend = object.__new__(TorchCompiled)
    backend._compiled = _compile(module, {})
    backend._forward, backend._scratch = backend._compiled_first, None
    backend._batched, backend._specs = [True], ()
    backend._device = torch.device("cpu")
    backend._buffers = Buffers([torch.zeros(2, 3, own_networks.SIDE, own_networks.SIDE)])
    backend._inference_mode = torch.inference_mode
    return backend


@pytest.fixture
def unlowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are traced and counted as ever, but run as they are: lowering takes seconds each."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    """A small network, whose weights are in its code."""
    built = own_networks.build()
    monkeypatch.setattr(base, "build_network", lambda task, device: copy.deepcopy(built))
    side = own_networks.SIDE
    logits = TensorSpec(name="logits", dtype="float32", dims=("batch", own_networks.CLASSES))
    return Task(
        cell=Cell("small", "torch-compile-cpu", batch_size=2),
        artifact=Path(),
        weights=Path(),
        manifest=cast("Any", SimpleNamespace(input=InputSpec(), outputs=[logits])),
        threads=1,
        images=np.zeros((2, 3, side, side), np.float32),
    )


@pytest.mark.slow
def test_a_second_network_of_the_same_class_is_compiled_too(
    tmp_path: Path, unlowered: None
) -> None:
    first, second = (compiled(own_networks.build(), tmp_path) for _ in range(2))
    first.run()
    second.run()
    np.testing.assert_array_equal(only_output(first), only_output(second))


@pytest.mark.slow
def test_networks_of_one_class_keep_their_own_weights(tmp_path: Path, unlowered: None) -> None:
    other = own_networks.build()
    with torch.no_grad():
        for value in other.parameters():
            value.fill_(0.5)
    first, second = compiled(own_networks.build(), tmp_path), compiled(other, tmp_path)
    for backend in (first, second, first):
        backend._buffers = Buffers([torch.ones_like(backend._buffers.inputs[0])])
        backend.run()
    assert (only_output(first) != only_output(second)).any()
    with torch.no_grad():
        np.testing.assert_allclose(only_output(second), other(second._buffers.inputs[0]), rtol=1e-5)


@pytest.mark.slow
def test_a_server_with_batches_of_up_to_256_compiles_each_size(task: Task, unlowered: None) -> None:
    """Nine sizes: as many as dynamo compiles of one function, and one more."""
    images = np.random.default_rng(0).standard_normal((256, *task.images.shape[1:]))
    wide = replace(
        task,
        cell=Cell("small", "torch-compile-cpu", batch_size=256),
        images=images.astype(np.float32),
    )
    backend = TorchCompiled(wide)
    backend.run()
    batches = Batches(cast("Backend", backend), wide, range(1, 257))
    assert batches.loaded == 9
    assert batches.warm(1, time.monotonic, most_s=0) == 9
    truth = only_output(backend)
    for size in (1, 3, 100, 256):
        batches.run(size)
    for size, each in batches._backends.items():
        np.testing.assert_allclose(only_output(each), truth[:size], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_are_lowered_in_one_process(tmp_path: Path) -> None:
    for size in (1, 2, 1):
        backend = compiled(own_networks.build(), tmp_path)
        backend._buffers = backend._first(size)
        backend.run()


def test_modes_and_single_settings_become_inductors_options() -> None:
    assert inductor_options({}) == {}
    assert inductor_options({"mode": "reduce-overhead"}) == {"triton.cudagraphs": True}
    both = inductor_options({"mode": "max-autotune", "cuda_graph": False, "freezing": True})
    assert both["max_autotune"] is both["freezing"] is True
    assert both["triton.cudagraphs"] is False


@pytest.mark.parametrize("backend", [TorchCompiled, TorchAot])
def test_a_machine_without_a_compiler_is_told_what_to_install(
    backend: type[TorchCompiled | TorchAot],
) -> None:
    from torch._inductor import config

    assert backend.unavailable("cpu") is None
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        reason = backend.unavailable("cpu")
    assert backend.unavailable("cpu") is None
    assert reason is not None
    assert "finds none (tried no-such-compiler); install g++" in reason


def test_cuda_kernels_need_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils import _triton

    monkeypatch.setattr(_triton, "has_triton_package", lambda: False)
    assert "pip install triton" in str(compiler_missing("cuda"))
    assert compiler_missing("cpu") is None


def test_inductor_keeps_all_it_makes_in_the_cells_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config
    from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    with config.patch(compile_threads=1):
        prepare_inductor(tmp_path, threads=5)
        assert (cache_dir(), Path(triton_cache_dir(0)).parent) == (str(tmp_path), tmp_path)
        assert config.compile_threads == 5
        (tmp_path / "compiled").touch()
        prepare_inductor(tmp_path, threads=5)
        assert config.compile_threads == 1  # nothing to compile, nobody to start for it
