"""The proof of the batch axis: what is frozen or mixed is caught, and the node is named."""

import inspect
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from greenbatch.errors import ExportError, ParityError
from greenbatch.exporter import Origin, export_module
from greenbatch.exporter.parity import (
    BATCH_SIZES,
    BOUNDS,
    ROWS_BOUNDS,
    check_parity,
    largest_within,
    torch_outputs,
)
from greenbatch.exporter.peak_memory import PeakMemory
from greenbatch.models.weights.load import WeightsApplied
from greenbatch.records import TensorSpec
from tests.fakes import networks
from tests.fakes.networks import CLASSES, SPEC, Centred, Counted, Halved, Pooled, Unrolled, Viewed

ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)
PIXELS = 3 * 16 * 16
OUTPUTS = (TensorSpec(name="logits", dtype="float32", dims=("batch", CLASSES)),)


def line_of(network: type[torch.nn.Module], text: str) -> str:
    """File and number of the line of a network's forward that holds ``text``."""
    lines, first = inspect.getsourcelines(network.forward)
    (place,) = [place for place, line in enumerate(lines) if text in line]
    return f"{networks.__file__}:{first + place}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "error", "op", "line"),
    [
        (Viewed, ExportError, "Reshape", "columns.view(2, -1)"),
        (Counted, ExportError, "Reshape", "len(images)"),
        (Unrolled, ExportError, "Gather", "torch.stack("),
        (Halved, ParityError, "Reshape", "images.view(2, -1)"),
        (Centred, ParityError, "ReduceMean", "images.mean(0)"),
    ],
)
def test_a_frozen_or_mixing_network_is_caught_with_the_node_and_its_line(
    tmp_path: Path,
    network: type[torch.nn.Module],
    error: type[ExportError],
    op: str,
    line: str,
) -> None:
    torch.manual_seed(0)
    with pytest.raises(ExportError) as caught:
        export_module(network(), SPEC, tmp_path, ORIGIN)
    said = str(caught.value)
    assert caught.type is error
    assert f"{op} 'node_" in said
    assert line_of(network, line) in said
    assert "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".tiny.lock"]


def graph_of(nodes: list[onnx.NodeProto], path: Path, **sizes: list[int]) -> "np.ndarray":
    """Write nodes from ``input`` to ``features``, a head behind them; return its weight."""
    weight = np.random.default_rng(0).standard_normal((PIXELS, CLASSES), np.float32)
    images = helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 3, 16, 16))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", CLASSES))
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["features", "weight"], ["logits"], "head")],
        "net",
        [images],
        [logits],
        [
            numpy_helper.from_array(weight, "weight"),
            *(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in sizes.items()),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path
    )
    return weight


class Head(torch.nn.Module):
    """What the graphs of `graph_of` should compute."""

    def __init__(self, weight: "np.ndarray") -> None:
        super().__init__()
        self.weight = torch.from_numpy(weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to logits (N, classes)."""
        return images.flatten(1) @ self.weight


def test_a_right_graph_passes_at_each_batch_size(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    node = helper.make_node("Reshape", ["input", "sizes"], ["features"], "flatten")
    weight = graph_of([node], path, sizes=[-1, PIXELS])
    records = check_parity(path, SPEC, OUTPUTS, torch_outputs(Head(weight), SPEC, OUTPUTS))
    assert [record.batch_size for record in records] == list(BATCH_SIZES) == [1, 2, 3, 7, 16]
    assert records[0].rows_rel == 0
    assert all(record.rows_rel < 1e-5 for record in records)
    assert all(0 < record.max_rel < 1e-5 for record in records)


def test_where_memory_is_short_the_largest_batch_is_smaller_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    node = helper.make_node("Reshape", ["input", "sizes"], ["features"], "flatten")
    weight = graph_of([node], path, sizes=[-1, PIXELS])
    wanted = torch_outputs(Head(weight), SPEC, OUTPUTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = check_parity(path, SPEC, OUTPUTS, wanted, memory_bytes=10**13)
    assert records[-1].batch_size == 16
    with pytest.warns(UserWarning, match="tiny is proved at batch 8 instead of 16"):
        records = check_parity(path, SPEC, OUTPUTS, wanted, memory_bytes=10**6)
    assert [record.batch_size for record in records] == [1, 2, 3, 7, 8]


@pytest.mark.parametrize(
    ("most_gb", "batch"), [(1000.0, 16), (17.4, 16), (17.2, 15), (12.2, 10), (5.0, 8), (0.5, 8)]
)
def test_memory_is_taken_to_grow_with_the_images(most_gb: float, batch: int) -> None:
    memory = PeakMemory()
    memory.before_bytes, memory.peak_bytes = 10**9, 8 * 10**9
    assert largest_within(int(most_gb * 1e9), memory, 7, 16) == batch


def test_a_reshape_to_the_traced_batch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    node = helper.make_node("Reshape", ["input", "sizes"], ["features"], "frozen")
    weight = graph_of([node], path, sizes=[2, PIXELS])
    with pytest.raises(ExportError, match=r"batch size 1: .*Reshape 'frozen'"):
        check_parity(path, SPEC, OUTPUTS, torch_outputs(Head(weight), SPEC, OUTPUTS))


def test_a_batch_of_which_one_row_is_computed_for_all_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], "flatten"),
        helper.make_node("Gather", ["flat", "first"], ["row"], "first_row", axis=0),
        helper.make_node("Shape", ["flat"], ["shape"], "shape"),
        helper.make_node("Expand", ["row", "shape"], ["features"], "repeat"),
    ]
    weight = graph_of(nodes, path, first=[0])
    with pytest.raises(ParityError, match=r"batch size 2 .*Gather 'first_row'"):
        check_parity(path, SPEC, OUTPUTS, torch_outputs(Head(weight), SPEC, OUTPUTS))


def test_rows_in_another_order_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], "flatten"),
        helper.make_node("Slice", ["flat", "end", "begin", "axis", "step"], ["features"], "turn"),
    ]
    weight = graph_of(nodes, path, end=[-1], begin=[-99], axis=[0], step=[-1])
    with pytest.raises(ParityError, match=r"affect each other .*at batch size"):
        check_parity(path, SPEC, OUTPUTS, torch_outputs(Head(weight), SPEC, OUTPUTS))


def test_bounds_are_those_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    node = helper.make_node("Flatten", ["input"], ["features"], "flatten")
    wanted = torch_outputs(Head(graph_of([node], path)), SPEC, OUTPUTS)
    off = [{"logits": one["logits"] * np.float32(1.02)} for one in wanted]
    with pytest.raises(ParityError, match="than in the fp32 artifact"):
        check_parity(path, SPEC, OUTPUTS, off, than="the fp32 artifact")
    assert check_parity(path, SPEC, OUTPUTS, off, bound=0.1)
    assert BOUNDS["fp32"] == ROWS_BOUNDS["fp32"] == 1e-3


@pytest.mark.slow
def test_the_axis_is_named_where_inference_loses_its_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    manifest = export_module(Pooled(), SPEC, tmp_path, ORIGIN)
    assert manifest.outputs[0].dims == ("batch", CLASSES)


def test_a_network_that_puts_out_something_else_is_one_sentence() -> None:
    class Text(Pooled):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return {"logits": super().forward(images), "note": "seen"}  # type: ignore[return-value]

    with pytest.raises(ExportError, match="'note' of type str"):
        torch_outputs(Text(), SPEC, OUTPUTS)
    with pytest.raises(ExportError, match=r"does not run in torch at batch size 3: .*; its"):
        torch_outputs(Viewed(), SPEC, OUTPUTS)
