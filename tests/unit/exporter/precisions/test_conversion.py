"""Lower precisions: a graph is what its name says, computes the same, or leaves nothing."""

import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from greenbatch.errors import ExportError, ParityError, UnknownNameError, UsageError
from greenbatch.exporter.placement.check import Left, check_placement
from greenbatch.exporter.precisions import convert, fidelity, half, int8, providers
from greenbatch.exporter.precisions.calibration import Images, draw_images
from greenbatch.exporter.precisions.rounded import write_rounded
from greenbatch.exporter.precisions.running import run
from greenbatch.models import InputSpec, synthetic_images
from greenbatch.models.artifacts import Artifact
from greenbatch.models.output_rows import Array
from greenbatch.records import TensorSpec
from tests.fakes.networks import SPEC, Attention, Convolutional, exported

pytestmark = [pytest.mark.numeric, pytest.mark.slow]

HALF = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
TYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A proved artifact of a convolutional network; tests write elsewhere."""
    return exported(tmp_path_factory.mktemp("convolutional"), Convolutional())


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A proved artifact of a transformer; tests write elsewhere."""
    return exported(tmp_path_factory.mktemp("attention"), Attention())


@pytest.fixture(params=["convolutional", "attention"])
def fp32(request: pytest.FixtureRequest) -> Artifact:
    """Each of them."""
    artifact: Artifact = request.getfixturevalue(request.param)
    return artifact


def initialisers(path: Path) -> dict[str, int]:
    """Types of a graph's weights, by name."""
    return {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}


def run_alone(path: Path, values: Array, output: TensorSpec, *, optimise: bool = True) -> Array:
    """Run a graph of one input on values, whatever their shape."""
    (name,) = (value.name for value in onnx.load(path, load_external_data=False).graph.input)
    images = Images(InputSpec(name=name), {name: values}, "x")
    return run(path, images, [output], "net", optimise=optimise)[output.name]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_converted_artifact_is_proved_and_keeps_its_ends(
    fp32: Artifact, tmp_path: Path, precision: str
) -> None:
    path = tmp_path / "out.onnx"
    found = convert(fp32, precision, path)
    assert found.graph.inputs == fp32.manifest.inputs  # float32 at both ends, batch symbolic
    assert found.graph.outputs == fp32.manifest.outputs
    assert [record.batch_size for record in found.parity] == [1, 2, 3, 7, 16]
    assert found.fidelity.images == 64
    assert found.fidelity.cosine > {"fp16": 0.9999, "int8": 0.95}[precision]
    assert found.fidelity.max_abs > 0  # it is another network
    assert ("synthetic (seed" in found.calibration) == (precision == "int8")
    assert list(tmp_path.iterdir()) == [path]
    # The figures are those of the file that is there.
    judged = draw_images(SPEC.input)[1]
    specs = fp32.manifest.outputs
    wanted, got = (run(p, judged, specs, "tiny") for p in (fp32.path, path))
    again = fidelity.compare(specs, "tiny", wanted, got, precision, judged)
    assert again.cosine == pytest.approx(found.fidelity.cosine, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_all_weights_of_a_half_graph_are_half(
    fp32: Artifact, tmp_path: Path, precision: str
) -> None:
    path = tmp_path / "half.onnx"
    half.write_half(fp32.path, path, "tiny", precision)
    onnx.checker.check_model(path, full_check=True)
    kinds = set(initialisers(path).values())
    assert HALF[precision] in kinds
    assert not kinds & {TensorProto.FLOAT, *HALF.values()} - {HALF[precision]}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_half_graph_computes_the_network_in_the_reference_evaluator(
    convolutional: Artifact, tmp_path: Path, precision: str
) -> None:
    path = tmp_path / "half.onnx"
    half.write_half(convolutional.path, path, "tiny", precision)
    images = synthetic_images(SPEC, 3, 9)
    outputs: Any = ReferenceEvaluator(str(path)).run(None, {"input": images})
    (got,) = outputs
    wanted = run_alone(convolutional.path, images, convolutional.manifest.outputs[0])
    assert got.dtype == np.float32
    error = np.abs(got - wanted).max() / np.abs(wanted).max()
    assert 0 < error < {"fp16": 5e-3, "bf16": 4e-2}[precision]


def test_weights_of_bf16_are_rounded_once(convolutional: Artifact, tmp_path: Path) -> None:
    """By way of fp16 they would lose what is small: 1e-9 is 6e-8 there."""
    model = onnx.load(convolutional.path)
    weights = next(t for t in model.graph.initializer if t.name == "head.weight")
    values = numpy_helper.to_array(weights).copy()
    values[0, :3] = (1e-9, 1e30, 1 + 2**-9 + 2**-13)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    source, path = tmp_path / "source.onnx", tmp_path / "bf16.onnx"
    onnx.save(model, source)
    half.write_half(source, path, "tiny", "bf16")
    (kept,) = (t for t in onnx.load(path).graph.initializer if t.name == "head.weight")
    np.testing.assert_array_equal(numpy_helper.to_array(kept), values.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_rounded_network_rounds_every_result(tmp_path: Path, precision: str) -> None:
    """``(x + w) - x`` in numpy's own half type is what the network must put out."""
    w = numpy_helper.from_array(np.array([1e-3], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["s"]), helper.make_node("Sub", ["s", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [w],
    )
    source, path = tmp_path / "source.onnx", tmp_path / "rounded.onnx"
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), source)
    write_rounded(half.prepare(source, precision, "net"), path, precision)
    x = np.array([[1.0, 0.25, 64.0]], np.float32)
    y = TensorSpec(name="y", dtype="float32", dims=("batch", 3))
    got = run_alone(path, x, y, optimise=False)
    kind = TYPES[precision]
    wanted = (x.astype(kind) + np.array([1e-3], kind)) - x.astype(kind)
    np.testing.assert_array_equal(got, wanted.astype(np.float32))
    assert (got != run_alone(source, x, y)).all()


def test_nodes_between_which_fp16_overflows_are_kept_in_fp32(
    convolutional: Artifact, tmp_path: Path
) -> None:
    """Between two of its nodes the network reaches 1e6, and comes back; the CPU computes on."""
    model = onnx.load(convolutional.path)
    (last,) = (node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "small"
    for name, value in (("up", 1e6), ("down", 1e-6)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    model.graph.node.append(helper.make_node("Mul", ["small", "up"], ["large"]))
    model.graph.node.append(helper.make_node("Mul", ["large", "down"], ["logits"]))
    shutil.copytree(convolutional.folder, tmp_path / "fp32")
    large = Artifact(tmp_path / "fp32", convolutional.manifest)
    onnx.save(model, large.path)
    path = tmp_path / "out.onnx"
    found = convert(large, "fp16", path)
    types = {node.name: node.op_type for node in onnx.load(path).graph.node}
    assert [types[name] for name in found.kept] == ["Mul", "Mul"]
    assert HALF["fp16"] in initialisers(path).values()  # the others are in fp16 all the same
    # ONNX's own evaluator has infinities where a GPU has: with nothing kept, and with these.
    images = synthetic_images(SPEC, 3, 9)
    wanted = run_alone(large.path, images, large.manifest.outputs[0])
    outputs: Any = ReferenceEvaluator(str(path)).run(None, {"input": images})
    np.testing.assert_allclose(outputs[0], wanted, atol=1e-2 * np.abs(wanted).max())
    half.write_half(large.path, tmp_path / "all.onnx", "large", "fp16")
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = ReferenceEvaluator(str(tmp_path / "all.onnx")).run(None, {"input": images})
    assert not np.isfinite(outputs[0]).all()


def test_bf16_is_refused_where_nothing_runs_it_and_leaves_nothing(
    convolutional: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_has_cuda", lambda: False)
    left = Left("cuda", "1.31.1", 9, ("MaxPool 'pool': no kernel of operator set 22",), ())
    monkeypatch.setattr(providers, "check_placement", lambda path: [left])
    with pytest.raises(ExportError, match=r"cannot be proved with ONNX Runtime") as caught:
        convert(convolutional, "bf16", tmp_path / "out.onnx")
    assert "1 of 9 nodes to the CPU (1 MaxPool): MaxPool 'pool': no kernel" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bf16_that_cuda_would_take_needs_a_device(
    convolutional: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_has_cuda", lambda: False)
    nothing_left = [Left("cuda", "1.31.1", 9, (), ())]
    monkeypatch.setattr(providers, "check_placement", lambda path: nothing_left)
    with pytest.raises(ExportError, match=r"cannot be proved on this machine: .*gb doctor"):
        convert(convolutional, "bf16", tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_int8_for_gpus_is_taken_by_cuda_and_tensorrt_and_that_for_the_cpu_by_neither(
    fp32: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.onnx"
    found = convert(fp32, "int8", path, processor="gpu")
    assert "for GPUs: signed activations, bias in float32" in found.calibration
    assert [left.fault for left in check_placement(path)] == ["", ""]
    quantised = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32}
    kept = [t for t in onnx.load(path).graph.initializer if t.data_type in quantised]
    assert {t.data_type for t in kept} == {TensorProto.INT8}
    points = [t for t in kept if "zero_point" in t.name]
    assert points
    assert not any(numpy_helper.to_array(t).any() for t in points)

    convert(fp32, "int8", tmp_path / "cpu.onnx")
    cuda, tensorrt = check_placement(tmp_path / "cpu.onnx")
    assert "DequantizeLinear" in cuda.fault
    assert "int32" in cuda.fault
    assert "uint8" in tensorrt.fault


def test_a_processor_that_is_none_is_named(convolutional: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="tpu"):
        convert(convolutional, "int8", tmp_path / "out.onnx", processor="tpu")


def test_int8_multiplies_in_8_bits_with_a_scale_for_each_channel(
    convolutional: Artifact, tmp_path: Path
) -> None:
    import onnxruntime as ort

    path = tmp_path / "int8.onnx"
    int8.write_int8(convolutional.path, path, "tiny", draw_images(SPEC.input)[0])
    graph = onnx.load(path).graph
    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT8}
    assert weights
    scales = [
        len(numpy_helper.to_array(t))
        for t in graph.initializer
        if "weight_scale" in t.name and t.dims
    ]
    assert max(scales) > 1
    # What ONNX Runtime makes of it: no convolution is left in floats.
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "QLinearConv" in types
    assert "Conv" not in types


def test_int8_leaves_normalisation_softmax_and_attention_scores_in_floats(
    attention: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    int8.write_int8(attention.path, path, "tiny", draw_images(SPEC.input)[0])
    graph = onnx.load(path).graph
    maker = {output: node.op_type for node in graph.node for output in node.output}
    takes = {node.op_type: [maker.get(name) for name in node.input] for node in graph.node}
    assert takes["LayerNormalization"] == ["Transpose", None, None]  # neither input nor weights
    assert initialisers(path)["norm.weight"] == TensorProto.FLOAT
    assert takes["Softmax"] == ["MatMul"]  # nothing is rounded between scores and their softmax
    products = [[maker.get(name) for name in n.input] for n in graph.node if n.op_type == "MatMul"]
    assert products.count(["DequantizeLinear", "DequantizeLinear"]) == 2  # those with weights
    assert products.count(["Mul", "Mul"]) == 1  # the scores
    assert [makers[0] for makers in products].count("Softmax") == 1


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_method_of_calibration_stays_near(
    convolutional: Artifact, tmp_path: Path, method: str
) -> None:
    learnt, judged = draw_images(SPEC.input)
    path = tmp_path / "int8.onnx"
    int8.write_int8(convolutional.path, path, "tiny", learnt, method)
    specs = convolutional.manifest.outputs
    wanted, got = (run(p, judged, specs, "tiny") for p in (convolutional.path, path))
    found = fidelity.compare(specs, "tiny", wanted, got, "int8", judged)
    fidelity.judge("tiny", found, "int8")
    assert list(tmp_path.iterdir()) == [path]


def test_ranges_come_from_the_photographs_that_are_given(
    convolutional: Artifact, tmp_path: Path
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 256, (5, 5, 3), np.uint8)
        Image.fromarray(pixels).resize((20, 18)).save(folder / f"{index}.png")
    found = convert(convolutional, "int8", tmp_path / "photographs.onnx", folder)
    assert found.calibration == "folder photographs: 20 images, minmax; weights signed, 7 bits"
    assert (found.fidelity.data, found.fidelity.images) == ("folder photographs", 20)
    convert(convolutional, "int8", tmp_path / "synthetic.onnx")
    made = [(tmp_path / f"{name}.onnx").read_bytes() for name in ("photographs", "synthetic")]
    assert made[0] != made[1]


def test_the_same_recipe_gives_the_same_file(convolutional: Artifact, tmp_path: Path) -> None:
    for precision in ("fp16", "int8"):
        for name in ("a", "b"):
            convert(convolutional, precision, tmp_path / f"{name}-{precision}.onnx")
        first, second = ((tmp_path / f"{n}-{precision}.onnx").read_bytes() for n in "ab")
        assert first == second


def test_a_quantisation_that_misses_its_bound_is_refused_and_leaves_nothing(
    convolutional: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def spoil(*arguments: Any, **options: Any) -> None:
        tried.append(arguments[-2:])
        write(*arguments, **options)
        path = arguments[1]
        assert isinstance(path, Path)
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and tensor.dims:
                values = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(~values, tensor.name))
        onnx.save(model, path)

    write = int8.write_int8
    monkeypatch.setattr(int8, "write_int8", spoil)
    with pytest.raises(ParityError, match=r"something else in int8 than in fp32.*--calibration"):
        convert(convolutional, "int8", tmp_path / "out.onnx")
    signed, unsigned = int8.WEIGHTS
    ways = [("minmax", signed), ("percentile", signed), ("minmax", unsigned)]
    assert tried[:3] == ways
    assert len(tried) == 4  # once more in the best of them, to measure nodes
    assert tried[3] in ways
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_told_before_any_work(convolutional: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown precision 'int4'"):
        convert(convolutional, "int4", tmp_path / "out.onnx")
    with pytest.raises(UsageError, match="there is no folder"):
        convert(convolutional, "int8", tmp_path / "out.onnx", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
