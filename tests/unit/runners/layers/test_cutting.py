"""Parts cut from a network compute what it computes there; operators find their layers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from greenbatch.errors import MeasurementError
from greenbatch.records import Cell
from greenbatch.records.layers import Part
from greenbatch.runners import backends
from greenbatch.runners.child.messages import Load
from greenbatch.runners.layers import cutting, onnx_runs, torch_runs
from greenbatch.runners.layers.graph import layer_of
from greenbatch.runners.layers.messages import CutNetwork, NetworkCut
from greenbatch.runners.layers.onnx_runs import OnnxRun

BATCH = 2


class Dense(nn.Module):
    """Two dense blocks: inside of them several tensors pass, between them one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.between = nn.Conv2d(16, 8, 1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, 5)."""
        x = torch.relu(self.stem(images))
        x = torch.cat([x, torch.relu(self.first(x))], 1)
        x = torch.relu(self.between(x))
        x = torch.cat([x, torch.relu(self.second(x))], 1)
        logits: torch.Tensor = self.head(x.mean((2, 3)).reshape(x.shape[0], -1))
        return logits


def export(network: nn.Module, path: Path) -> Path:
    images = torch.zeros(BATCH, 3, 16, 16)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        network.eval(), (images,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    assert program is not None
    program.save(str(path))
    return path


def task_of(path: Path, images: "np.ndarray | None" = None) -> backends.Task:
    if images is None:
        images = np.random.default_rng(0).standard_normal((BATCH, 3, 16, 16), np.float32)
    axis = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param
    manifest = SimpleNamespace(inputs=[SimpleNamespace(dims=(axis,))])
    return backends.Task(
        cell=Cell("dense", "onnxruntime-cpu", batch_size=len(images)),
        artifact=path,
        weights=path,
        manifest=cast("Any", manifest),
        threads=1,
        images=images,
    )


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as ONNX."""
    torch.manual_seed(0)
    return export(Dense(), tmp_path_factory.mktemp("dense") / "dense.onnx")


def cut_network(task: backends.Task, folder: Path, parts: int) -> NetworkCut:
    load = Load(
        cell=task.cell,
        artifact=task.artifact,
        manifest=task.artifact,
        weights=task.weights,
        source="",
        threads=task.threads,
        seed=0,
        images=None,
        preprocessing="before",
        allow_fallback=False,
        cache=None,
    )
    return cutting.cut_network(CutNetwork(load=load, parts=parts, folder=folder), task)


def test_parts_run_one_after_the_other_compute_what_the_whole_computes(
    dense: Path, tmp_path: Path
) -> None:
    task = task_of(dense)
    parts = cut_network(task, tmp_path, 3).parts
    assert len(parts) in (2, 3)  # on a machine that is busy, an operator may seem to take all
    assert [part.reads for part in parts[1:]] == [part.writes for part in parts[:-1]]
    passing = task.images
    for part in parts:
        run = OnnxRun(tmp_path / f"{part.what}.onnx", np.load(tmp_path / f"{part.what}.npy"), task)
        run.run()
        file = tmp_path / f"{part.what}.onnx"
        (passing,) = OnnxRun(file, passing, task).outputs()
    whole = OnnxRun(dense, task.images, task)
    np.testing.assert_allclose(passing, whole.outputs()[0], rtol=1e-4, atol=1e-6)


def test_operators_of_the_network_have_their_layers_and_cuts_come_behind_one_of_them(
    dense: Path, tmp_path: Path
) -> None:
    found = cut_network(task_of(dense), tmp_path, 3)
    operators = found.operators
    layers = {each.layer for each in operators.values() if each.origin == "network"}
    assert {"stem", "first", "between", "second", "head"} <= layers
    assert not any(each.stands_for for each in operators.values() if each.origin == "runtime")
    assert {operators[name].origin for name in found.cut_after} == {"network"}
    assert len(found.cut_after) == len(found.parts) - 1
    assert found.parts[0].first_layer == "stem"
    assert found.parts[-1].last_layer == "head"


def test_no_cut_comes_inside_a_block_where_two_tensors_pass(dense: Path, tmp_path: Path) -> None:
    found = cut_network(task_of(dense), tmp_path, 50)
    graph = onnx.load(dense).graph
    maker = {name: node for node in graph.node for name in node.output}
    first = [layer_of(maker[part.reads]) for part in found.parts[1:]]
    assert first  # it was cut
    assert "first" not in first
    assert "second" not in first


@pytest.mark.slow
def test_a_network_of_one_operator_is_not_cut_and_says_so(tmp_path: Path) -> None:
    class One(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(images)

    found = cut_network(task_of(export(One(), tmp_path / "one.onnx")), tmp_path, 4)
    assert found.parts == ()
    assert found.uncut == "it runs as one operator, and one cannot be cut"


@pytest.mark.slow
def test_a_network_whose_input_is_read_to_the_end_is_not_cut_and_says_so(tmp_path: Path) -> None:
    class Skipping(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.softmax(torch.exp(images).cumsum(1), 1) + images

    found = cut_network(task_of(export(Skipping(), tmp_path / "skip.onnx")), tmp_path, 4)
    assert found.parts == ()
    assert "no place among its" in str(found.uncut)


def test_a_part_that_computes_something_else_is_refused() -> None:
    part = Part(number=2, reads="a", writes="b", nodes=1, first_layer="", last_layer="")
    wanted = np.ones((2, 3), np.float32)
    cutting._hold(part, wanted + 1e-5, wanted, "fp32")
    with pytest.raises(MeasurementError, match=r"part-2, cut from .* pass --check 0"):
        cutting._hold(part, wanted + 0.1, wanted, "fp32")
    with pytest.raises(MeasurementError, match="nan of the largest"):
        cutting._hold(part, wanted * np.nan, wanted, "fp32")


def event(
    name: str, kind: str = "Conv", dur: float = 10, cat: str = "Node"
) -> onnx_runs.ProfileEvent:
    return {"cat": cat, "name": name, "dur": dur, "args": {"op_name": kind}}


def test_of_a_profile_the_last_runs_count_and_the_warm_up_does_not() -> None:
    end = event("model_run", cat="Session")
    events = [
        event("session_initialization", cat="Session"),
        *(event("a_kernel_time", dur=1000), end),
        *(event("a_kernel_time", dur=10), event("b_kernel_time", "Relu", 4), end),
        *(event("a_kernel_time", dur=30), event("b_kernel_time", "Relu", 6), end),
    ]
    a, b = onnx_runs.sum_up(events, 2)
    assert (a.name, a.operator, a.calls) == ("a", "Conv", 2)
    assert a.time_s == pytest.approx(40e-6)
    assert b.name == "b"
    assert b.time_s == pytest.approx(10e-6)


def test_a_real_profile_tells_each_operator_once_a_run(dense: Path, tmp_path: Path) -> None:
    task = task_of(dense)
    run = OnnxRun(dense, task.images, task, tmp_path / "profile")
    for _ in range(5):
        run.run()
    called = onnx_runs.read_profile(run.end_profile(), 4)
    assert {each.calls for each in called} == {4}
    assert {"Conv", "Concat"} <= {each.operator.removeprefix("Fused") for each in called}


def test_torchs_operators_are_the_outermost_ones_of_the_innermost_module() -> None:
    network, images = Dense().eval(), torch.zeros(BATCH, 3, 16, 16)
    with torch.inference_mode(), torch_runs.profiled(network) as events:
        for _ in range(3):
            network(images)
    rows = {(layer, called.operator): called for called, layer in torch_runs.sum_up(events)}
    assert {("stem", "aten::conv2d"), ("head", "aten::linear"), ("", "aten::relu")} <= set(rows)
    assert rows["", "aten::cat"].calls == 6
    assert {layer for layer, _ in rows} == {"", "stem", "first", "between", "second", "head"}
    assert "aten::convolution" not in {kind for _, kind in rows}  # it is inside aten::conv2d
    assert all(called.time_s > 0 for called in rows.values())


def test_hooks_of_a_profile_are_gone_after_it() -> None:
    network = Dense().eval()
    with torch_runs.profiled(network):
        pass
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in network.modules())
