"""Multiply-adds counted from the kernels that run: against shapes that are known by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from greenbatch.exporter import export_model
from greenbatch.exporter.multiply_adds import Counted, count_multiply_adds
from greenbatch.models import find
from greenbatch.records import InputSpec
from tests.fakes import onnx_networks
from tests.thorough import needs_thorough

IMAGE = InputSpec(name="x", shape=(3, 8, 8))


def counted(
    folder: Path, nodes: str, outputs: str, opset: int = 17, **weights: tuple[int, ...]
) -> Counted:
    """Count a graph of an image ``x`` (N, 3, 8, 8), written as ONNX's own parser reads it."""
    opened = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    model = parser.parse_model(f"{opened} g (float[N,3,8,8] x) => ({outputs}) {{ {nodes} }}")
    for name, shape in weights.items():
        model.graph.initializer.append(onnx_networks.constant(name, np.ones(shape)))
    onnx.save(model, folder / "g.onnx")
    return count_multiply_adds(folder / "g.onnx", IMAGE)


@pytest.mark.parametrize(
    ("nodes", "weights", "expected"),
    [
        ("y = Conv<pads=[1,1,1,1]>(x, w)", {"w": (4, 3, 3, 3)}, 4 * 64 * 27),
        ("y = Conv<group=3>(x, w)", {"w": (6, 1, 1, 1)}, 6 * 64),
        ("y = Conv<strides=[2,2]>(x, w)", {"w": (4, 3, 2, 2)}, 4 * 16 * 12),
        ("y = ConvTranspose<strides=[2,2]>(x, w)", {"w": (3, 5, 2, 2)}, 64 * 3 * 5 * 4),
        ("f = Flatten(x) y = Gemm(f, w, b)", {"w": (192, 10), "b": (10,)}, 1920),
        ("f = Flatten(x) y = Gemm<transB=1>(f, w)", {"w": (10, 192)}, 1920),
        ("y = MatMul(x, w)", {"w": (8, 5)}, 3 * 8 * 8 * 5),
        ('y = Einsum<equation="nchw,cd->ndhw">(x, w)', {"w": (3, 7)}, 3 * 7 * 64),
        ('y = Einsum<equation="...w,wv">(x, w)', {"w": (8, 5)}, 3 * 8 * 8 * 5),
        ('y = Einsum<equation="nchw->nhwc">(x)', {}, 0),
        ("s = Softmax(x) r = Relu(s) y = Mul(r, s)", {}, 0),
    ],
)
def test_each_operator_is_counted(
    tmp_path: Path, nodes: str, weights: dict[str, tuple[int, ...]], expected: int
) -> None:
    found = counted(tmp_path, nodes, "float[N,a,b,c] y", 17, **weights)
    assert found == Counted(expected)


def test_a_recurrent_layer_multiplies_each_step_of_each_direction(tmp_path: Path) -> None:
    found = counted(
        tmp_path,
        "t = Transpose<perm=[2,0,1,3]>(x) s = Constant<value = int64[3] {8,-1,24}>() "
        'r = Reshape(t, s) y, h, c = LSTM<hidden_size=5, direction="bidirectional">(r, w, u)',
        "float[a,b,c,d] y",
        w=(2, 20, 24),
        u=(2, 20, 5),
    )
    assert found == Counted(8 * 2 * 20 * (24 + 5))


def test_a_loop_counts_once_for_each_iteration(tmp_path: Path) -> None:
    found = counted(
        tmp_path,
        """
        n = Constant<value = int64 {4}>()
        yes = Constant<value = bool {1}>()
        y = Loop(n, yes, x) <body =
            b (int64 i, bool c, float[N,3,8,8] a) => (bool d, float[N,3,8,8] e)
            { d = Identity(c) e = MatMul(a, a) }>
        """,
        "float[N,3,8,8] y",
    )
    assert found == Counted(4 * 3 * 8 * 8 * 8)


def test_attention_counts_both_products(tmp_path: Path) -> None:
    found = counted(
        tmp_path,
        "y = Attention(x, k, v)",
        "float[a,b,c,d] y",
        opset=23,
        k=(1, 3, 9, 8),
        v=(1, 3, 9, 5),
    )
    assert found == Counted(3 * 8 * 9 * (8 + 5))


def test_the_branch_that_ran_counts(tmp_path: Path) -> None:
    onnx.save(onnx_networks.branching(), tmp_path / "g.onnx")
    found = count_multiply_adds(tmp_path / "g.onnx", InputSpec(name="x", shape=(3, 16, 16)))
    assert found.multiply_adds is not None
    assert found.multiply_adds >= 8 * 27 * 256


def test_an_operator_without_a_rule_is_named(tmp_path: Path) -> None:
    found = counted(tmp_path, "y = com.microsoft.FusedMatMul<transA=1>(x, x)", "float[a,b,c,d] y")
    assert found == Counted(None, "there is no rule for FusedMatMul")


def test_a_sum_of_three_operands_has_no_rule(tmp_path: Path) -> None:
    nodes = 'y = Einsum<equation="nchw,cd,de->nehw">(x, w, u)'
    assert counted(tmp_path, nodes, "float[a,b,c,d] y", w=(3, 7), u=(7, 2)).multiply_adds is None


def test_a_graph_that_does_not_run_has_a_reason(tmp_path: Path) -> None:
    found = counted(tmp_path, "y = MatMul(x, w)", "float[a,b,c,d] y", w=(7, 5))
    assert found.multiply_adds is None
    assert found.reason.startswith("ONNX Runtime cannot profile the graph: ")


def test_sums_without_a_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    nodes = 'a = Einsum<equation="nchw,cd->ndhw">(x, w) y = Einsum<equation="ndhw,hk->ndkw">(a, u)'
    assert counted(tmp_path, nodes, "float[a,b,c,d] y", w=(3, 7), u=(8, 2)).multiply_adds is None


@pytest.mark.slow
@needs_thorough
@pytest.mark.parametrize("name", ["alexnet", "densenet121", "vit_b_16"])
def test_the_count_is_that_of_torchvisions_table(tmp_path: Path, name: str) -> None:
    manifest = export_model(name, tmp_path, weights="random")
    assert manifest.multiply_adds == pytest.approx(find(name).flops, rel=0.01)
