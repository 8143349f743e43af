"""Lower precisions of networks with outputs and inputs of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from greenbatch.errors import ExportError
from greenbatch.exporter.precisions import convert, half, int8
from greenbatch.exporter.precisions.calibration import draw_images
from greenbatch.exporter.precisions.export import export_lower
from greenbatch.exporter.precisions.rounded import write_rounded
from greenbatch.exporter.precisions.running import open_session, run
from greenbatch.exporter.precisions.unquantised import quantised_nodes, without
from greenbatch.models.artifacts import load_artifact
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.output_rows import Array
from tests.fakes import onnx_networks as networks

pytestmark = pytest.mark.numeric

KINDS = [
    networks.segmentation,
    networks.half_ends,
    networks.bytes_in,
    networks.branching,
    networks.further_inputs,
    networks.another_domain,
    networks.sequences,
    networks.constant_nodes,
    networks.old_opset,
    networks.detections,
]
Build = Callable[[], onnx.ModelProto]


def cosine(wanted: Array, got: Array) -> float:
    """Return the cosine similarity of two outputs; not a number where one is not finite."""
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(wanted) * np.linalg.norm(got)
        return float((wanted * got).sum() / lengths)


@pytest.mark.slow
def test_what_onnx_runtime_warns_of_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fp32 = networks.artifact(tmp_path, networks.segmentation)
    model = onnx.load(fp32.path)
    model.graph.initializer.append(onnx.helper.make_tensor("unused", TensorProto.FLOAT, [1], [1]))
    onnx.save(model, tmp_path / "unused.onnx")
    images = draw_images(fp32.manifest.input, count=4)[0]
    int8.write_int8(tmp_path / "unused.onnx", tmp_path / "out.onnx", "unused", images)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("build", KINDS)
def test_a_network_of_each_kind_is_converted_and_proved(
    build: Build, precision: str, tmp_path: Path
) -> None:
    fp32 = networks.artifact(tmp_path, build)
    path = tmp_path / "out.onnx"
    found = convert(fp32, precision, path)
    assert found.graph.inputs == fp32.manifest.inputs  # both ends keep their types
    assert found.graph.outputs == fp32.manifest.outputs
    assert found.fidelity.top1_agreement is None  # none of them is a classifier
    assert found.kept == ()
    has_positions = any(o.index or o.counted for o in found.graph.outputs)
    assert (found.fidelity.equal is not None) == has_positions
    assert found.fidelity.output in {o.name for o in found.graph.outputs}
    graph = onnx.load(path).graph
    lower = {"fp16": TensorProto.FLOAT16, "int8": TensorProto.INT8}[precision]
    values = [t.data_type for t in graph.initializer]
    values += [n.attribute[0].t.data_type for n in graph.node if n.op_type == "Constant"]
    assert lower in values  # it is another network


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    "build", [networks.segmentation, networks.constant_nodes, networks.branching]
)
def test_onnx_own_evaluator_computes_the_same_from_a_graph_of_16_bits(
    build: Build, precision: str, tmp_path: Path
) -> None:
    """ONNX Runtime's CPU provider may drop casts; this one computes what the graph states."""
    source, path = tmp_path / "source.onnx", tmp_path / "half.onnx"
    onnx.save(build(), source)
    half.write_half(source, path, "net", precision)
    onnx.checker.check_model(path, full_check=True)
    image = {"x": np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)}
    wanted: Any = ReferenceEvaluator(str(source)).run(None, image)
    got: Any = ReferenceEvaluator(str(path)).run(None, image)
    assert got[0].dtype == np.float32
    assert 0 < np.abs(got[0] - wanted[0]).max() < 0.05 * np.abs(wanted[0]).max()


@pytest.mark.slow
def test_nodes_that_lose_accuracy_are_kept_in_float32_and_recorded(tmp_path: Path) -> None:
    fp32 = networks.artifact(tmp_path, networks.overflowing)
    manifest = export_lower("overflowing", "fp16", fp32.folder)
    stored = load_artifact(fp32.folder, "overflowing", "fp16")
    assert stored.manifest.kept_in_fp32 == manifest.kept_in_fp32 != ()
    graph = onnx.load(stored.path).graph
    types = {node.name: node.op_type for node in graph.node}
    kept = [types[name] for name in manifest.kept_in_fp32]
    assert "Conv" not in kept
    assert len(kept) <= 6
    # What is kept hands on float32: a GPU would have infinities otherwise, the CPU does not.
    inputs = synthetic_inputs(fp32.manifest.input, 2, 0)
    wanted: Any = ReferenceEvaluator(str(fp32.path)).run(None, inputs)
    got: Any = ReferenceEvaluator(str(stored.path)).run(None, inputs)
    assert cosine(wanted[0], got[0]) > 0.995
    half.write_half(fp32.path, tmp_path / "all.onnx", "overflowing", "fp16")
    with np.errstate(over="ignore", invalid="ignore"):
        got = ReferenceEvaluator(str(tmp_path / "all.onnx")).run(None, inputs)
    assert not cosine(wanted[0], got[0]) > 0.995


def test_weights_that_both_types_read_keep_all_their_digits(tmp_path: Path) -> None:
    """By way of float16, 1e6 would be 65504."""
    build = networks.model(
        [
            *networks.stem(),
            networks.node("Mul", "features big", "g"),
            networks.node("Add", "g big", "y"),
        ],
        [("y", networks.FLOAT, ["N", 8, 16, 16])],
        [networks.constant("big", 1e6)],
    )
    source = tmp_path / "source.onnx"
    onnx.save(build, source)
    model = half.prepare(source, "fp16", "net")
    (multiplying,) = (node.name for node in model.graph.node if node.op_type == "Mul")
    lower = half.lower(model, "fp16", {multiplying})
    found = {t.name: onnx.numpy_helper.to_array(t) for t in lower.graph.initializer}
    assert found["big"] == np.float32(1e6)
    assert found["big_fp16"] == np.float16(65504)
    reads = {node.op_type: list(node.input) for node in lower.graph.node}
    assert "big" in reads["Mul"]
    assert "big_fp16" in reads["Add"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_network_of_doubles_is_refused_and_nothing_is_called_lower(
    precision: str, tmp_path: Path
) -> None:
    def doubles() -> onnx.ModelProto:
        return networks.model(
            [
                networks.node("Cast", "x", "wide", to=TensorProto.DOUBLE),
                networks.node("ReduceMean", "wide", "y", axes=[2, 3], keepdims=0),
            ],
            [("y", TensorProto.DOUBLE, ["N", 3])],
            [],
        )

    fp32 = networks.artifact(tmp_path, doubles)
    with pytest.raises(ExportError, match=r"float32") as caught:
        convert(fp32, precision, tmp_path / "out.onnx")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_a_network_that_is_quantised_already_is_not_quantised_again(tmp_path: Path) -> None:
    def quantised() -> onnx.ModelProto:
        return networks.model(
            [
                networks.node("QuantizeLinear", "x scale zero", "q"),
                networks.node("DequantizeLinear", "q scale zero", "d"),
                *networks.stem("d"),
            ],
            [("features", networks.FLOAT, ["N", 8, 16, 16])],
            [networks.constant("scale", 0.03), networks.constant("zero", 128, np.uint8)],
        )

    fp32 = networks.artifact(tmp_path, quantised)
    with pytest.raises(ExportError, match="2 of 4 nodes are quantised already"):
        convert(fp32, "int8", tmp_path / "out.onnx")


def test_names_that_end_like_those_of_copies_are_no_trouble(tmp_path: Path) -> None:
    """Results are numbered by torch: ``relu`` and ``relu_16`` are of one network."""
    node = networks.node
    build = networks.model(
        [
            *networks.stem(),
            node("Relu", "features", "relu"),
            node("Mul", "relu relu", "relu_16"),
            node("Sqrt", "relu_16", "y"),
        ],
        [("y", networks.FLOAT, ["N", 8, 16, 16])],
        [],
    )
    source, path = tmp_path / "source.onnx", tmp_path / "rounded.onnx"
    onnx.save(build, source)
    write_rounded(half.prepare(source, "fp16", "net"), path, "fp16")
    open_session(path, "net", optimise=False)


def uneven() -> onnx.ModelProto:
    """Joins large values that do not count with small ones that do: both have one scale."""
    head = onnx.numpy_helper.to_array(networks.weights("small", 4, 8, 1, 1))
    both = np.concatenate([np.zeros_like(head), head], axis=1)
    node = networks.node
    return networks.model(
        [
            *networks.stem(),
            node("Conv", "features middle", "m"),
            node("Relu", "m", "n"),
            node("Mul", "n thousand", "large"),
            node("Concat", "large n", "joined", axis=1),
            node("Conv", "joined both", "y"),
            node("Relu", "y", "z"),
            node("Conv", "z last", "out"),
        ],
        [("out", networks.FLOAT, ["N", 4, 16, 16])],
        [
            networks.weights("middle", 8, 8, 1, 1),
            networks.constant("thousand", 1e4),
            onnx.numpy_helper.from_array(both, "both"),
            networks.weights("last", 4, 4, 1, 1),
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_nodes_that_lose_accuracy_in_8_bits_are_kept_in_float32(
    processor: str, tmp_path: Path
) -> None:
    fp32 = networks.artifact(tmp_path, uneven)
    found = convert(fp32, "int8", tmp_path / "out.onnx", processor=processor)
    graph = onnx.load(tmp_path / "out.onnx").graph
    types = {node.name: node.op_type for node in graph.node}
    assert {types[name] for name in found.kept} >= {"Conv"}
    assert 0 < len(found.kept) <= 3
    assert found.fidelity.cosine > 0.8
    rounded = {o for n in graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    products = [set(n.input) & rounded for n in graph.node if n.op_type == "Conv"]
    assert sum(map(bool, products)) >= 2  # the others multiply in 8 bits all the same


def detector() -> onnx.ModelProto:
    """Joins boxes in pixels with scores between 0 and 1, as the detectors of the YOLO family do."""
    node = networks.node
    return networks.model(
        [
            *networks.stem(),
            node("Conv", "features coordinates", "corners"),
            node("Mul", "corners pixels", "boxes"),
            node("Conv", "features classes", "logits"),
            node("Sigmoid", "logits", "scores"),
            node("Concat", "boxes scores", "out", axis=1),
        ],
        [("out", networks.FLOAT, ["N", 7, 16, 16])],
        [
            networks.weights("coordinates", 4, 8, 1, 1),
            networks.weights("classes", 3, 8, 1, 1),
            networks.constant("pixels", 1e3),
        ],
    )


@pytest.mark.parametrize("processor", ["cpu", "gpu"])
def test_scores_beside_boxes_in_pixels_are_there_in_8_bits(processor: str, tmp_path: Path) -> None:
    """One scale for both would round each score to 0, with a cosine of 0.999 for the whole."""
    fp32 = networks.artifact(tmp_path, detector)
    path = tmp_path / "out.onnx"
    found = convert(fp32, "int8", path, processor=processor)
    types = {node.name: node.op_type for node in onnx.load(path).graph.node}
    assert [types[name] for name in found.kept] == ["Concat"]
    assert found.fidelity.channels == 1
    images = draw_images(fp32.manifest.input, count=8)[0]
    specs = fp32.manifest.outputs
    wanted, got = (run(each, images, specs, "net")["out"][:, 4:] for each in (fp32.path, path))
    assert cosine(wanted, got) > 0.99


def test_with_all_nodes_kept_a_quantised_network_is_the_one_before(tmp_path: Path) -> None:
    """Each Relu is there again, which the quantiser leaves to the ranges of its roundings."""
    fp32 = networks.artifact(tmp_path, uneven)
    images = draw_images(fp32.manifest.input, count=8)[0]
    graph, floats = tmp_path / "quantised.onnx", tmp_path / "floats.onnx"
    options = {"QDQKeepRemovableActivations": True}
    int8.write_int8(fp32.path, graph, "net", images, floats=floats, extra_options=options)
    quantised = onnx.load(graph)
    weights = {tensor.name: tensor for tensor in onnx.load(floats).graph.initializer}
    names = [node.name for node in quantised_nodes(quantised)]
    onnx.save(without(quantised, weights, names), tmp_path / "kept.onnx")
    specs = fp32.manifest.outputs
    wanted, rounded, got = (
        run(path, images, specs, "net", optimise=False)["out"]
        for path in (fp32.path, graph, tmp_path / "kept.onnx")
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.abs(rounded - wanted).max() > 0.1 * np.abs(wanted).max()
