"""What is bfloat16 at the ends of a network is float32 in its artifact, and that is stated."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from greenbatch.cli.output.export import description, print_export
from greenbatch.errors import ArtifactError, ExportError, ParityError
from greenbatch.exporter import Origin, export_module
from greenbatch.exporter.bfloat16 import cast_ends, with_network_dtypes, without_kernels
from greenbatch.exporter.onnx_file.inspection import inspect
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from greenbatch.exporter.user_network import export_own
from greenbatch.models import synthetic_images
from greenbatch.models.sources.parse import parse_source
from greenbatch.models.weights.load import WeightsApplied
from greenbatch.records import TensorSpec
from tests.fakes.networks import SPEC, Autocast, Brief, BriefBeside

ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)
BF16, FLOAT = TensorProto.BFLOAT16, TensorProto.FLOAT
SIZE = 3 * 8 * 8


def net(
    folder: Path,
    nodes: list[onnx.NodeProto] | None = None,
    *,
    batch: int | str = "N",
    ends: tuple[int, int] = (BF16, BF16),
) -> Path:
    """Write a network that maps an image to five scores in float32, with ends of other types."""
    weight = np.random.default_rng(0).normal(size=(SIZE, 5)).astype(np.float32)
    image, scores = ends
    graph = helper.make_graph(
        nodes
        or [
            helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT),
            helper.make_node("Reshape", ["pixels", "sizes"], ["flat"], "flatten"),
            helper.make_node("MatMul", ["flat", "weight"], ["full"], "head"),
            helper.make_node("Cast", ["full"], ["scores"], to=scores),
        ],
        "net",
        [helper.make_tensor_value_info("image", image, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", scores, [batch, 5])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([1 if batch == 1 else -1, SIZE]), "sizes"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "net.onnx"
    onnx.save(made, path)
    return path


def rounded(values: np.ndarray) -> np.ndarray:
    """Round to bfloat16, as the network does."""
    found: np.ndarray = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    return found


def run(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run an artifact on the CPU."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def marked(model: onnx.ModelProto) -> list[str]:
    """Return the names of the inputs and outputs that have another type in the network."""
    ends = (*model.graph.input, *model.graph.output)
    plain = [TensorSpec(name=end.name, dtype="float32", dims=()) for end in ends]
    return [spec.name for spec in with_network_dtypes(plain, model) if spec.network_dtype]


def kinds(*tensors: TensorSpec) -> list[str]:
    """Return the types of tensors in the network, where they have others in the artifact."""
    return [tensor.network_dtype for tensor in tensors]


# A graph ---------------------------------------------------------------------------------------


def test_ends_keep_their_names_and_become_float32(tmp_path: Path) -> None:
    model = onnx.load(net(tmp_path))
    assert cast_ends(model)
    onnx.checker.check_model(model, full_check=True)
    ends = (*model.graph.input, *model.graph.output)
    assert [(end.name, end.type.tensor_type.elem_type) for end in ends] == [
        ("image", FLOAT),
        ("scores", FLOAT),
    ]
    assert marked(model) == ["image", "scores"]
    assert not cast_ends(model)


def test_a_graph_in_float32_is_left_as_it_is(tmp_path: Path) -> None:
    model = onnx.load(net(tmp_path, ends=(FLOAT, FLOAT)))
    before = model.SerializeToString()
    assert not cast_ends(model)
    assert model.SerializeToString() == before
    assert marked(model) == []


def test_weights_in_bfloat16_stay_and_one_that_is_an_output_is_cast(tmp_path: Path) -> None:
    model = onnx.load(net(tmp_path, ends=(FLOAT, BF16)))
    for name in ("listed", "anchors"):
        model.graph.initializer.append(helper.make_tensor(name, BF16, [3], [1.0, 2.0, 3.5]))
    model.graph.input.append(helper.make_tensor_value_info("listed", BF16, [3]))
    model.graph.output.append(helper.make_tensor_value_info("anchors", BF16, [3]))
    assert cast_ends(model)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[1].type.tensor_type.elem_type == BF16
    assert marked(model) == ["scores", "anchors"]
    path = tmp_path / "cast.onnx"
    onnx.save(model, path)
    found = run(path, np.zeros((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(found["anchors"], [1.0, 2.0, 3.5])


def test_an_output_that_nodes_and_their_graphs_read_is_read_as_before(tmp_path: Path) -> None:
    then, other = (
        helper.make_graph(
            [helper.make_node("Cast", ["scores"], [name], to=FLOAT)],
            name,
            [],
            [helper.make_tensor_value_info(name, FLOAT, None)],
        )
        for name in ("yes", "no")
    )
    model = onnx.load(net(tmp_path))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "choice"))
    model.graph.node.append(
        helper.make_node("If", ["choice"], ["chosen"], then_branch=then, else_branch=other)
    )
    model.graph.output.append(helper.make_tensor_value_info("chosen", FLOAT, ["N", 5]))
    cast_ends(model)
    path = tmp_path / "cast.onnx"
    onnx.save(model, path)
    found = run(path, np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32))
    np.testing.assert_array_equal(found["chosen"], found["scores"])


def test_nodes_that_move_values_are_not_named_as_lacking_kernels(tmp_path: Path) -> None:
    assert without_kernels(onnx.load(net(tmp_path))) == ""


# An ONNX file ----------------------------------------------------------------------------------


def test_a_file_with_ends_in_bfloat16_is_exported_and_computes_the_same(tmp_path: Path) -> None:
    path = net(tmp_path)
    manifest = export_own(parse_source(str(path)), tmp_path / "made").manifest
    assert kinds(*manifest.inputs, *manifest.outputs) == ["bfloat16", "bfloat16"]
    assert [tensor.dtype for tensor in (*manifest.inputs, *manifest.outputs)] == ["float32"] * 2
    images = synthetic_images(manifest.input, 4, seed=3)
    weight = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    wanted = rounded(images).reshape(4, SIZE) @ weight
    got = run(tmp_path / "made" / manifest.file, images)["scores"]
    np.testing.assert_array_equal(got, rounded(got))
    np.testing.assert_allclose(got, wanted, rtol=2**-7)


def test_the_batch_of_such_a_file_is_freed(tmp_path: Path) -> None:
    made = make_dynamic(net(tmp_path, batch=1), tmp_path / "free.onnx")
    assert (made.was, made.facts.batch) == (1, None)
    assert kinds(*made.facts.inputs, *made.facts.outputs) == ["bfloat16", "bfloat16"]
    assert made.changes == (f"Reshape 'flatten': sizes 1x{SIZE} become -1x{SIZE}",)


def test_images_that_reach_each_other_are_found_around_bfloat16(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], "centre", axes=[0]),
        helper.make_node("Add", ["pixels", "mean"], ["apart"]),
        helper.make_node("Reshape", ["apart", "sizes"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "weight"], ["full"], "head"),
        helper.make_node("Cast", ["full"], ["scores"], to=BF16),
    ]
    with pytest.raises(ParityError, match="ReduceMean 'centre'"):
        make_dynamic(net(tmp_path, nodes), tmp_path / "free.onnx")


@pytest.mark.parametrize("opset", [17, 22])
def test_a_file_that_computes_in_bfloat16_is_refused_with_the_node(
    opset: int, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["scores"], "flatten"),
    ]
    path = net(tmp_path, nodes)
    model = onnx.load(path)
    model.opset_import[0].version = opset
    onnx.save(model, path)
    with pytest.raises(ArtifactError) as caught:
        inspect(path)
    said = str(caught.value)
    assert "no kernels in bfloat16 on the CPU for GlobalAveragePool 'pool'; export it in" in said
    assert "Flatten" not in said
    assert "\n" not in said


def test_a_damaged_file_is_refused_and_not_by_the_look_for_bfloat16(tmp_path: Path) -> None:
    then, other = (
        helper.make_graph(
            [helper.make_node("Identity", ["pixels"], ["a"])],
            "branch",
            [],
            [helper.make_tensor_value_info("a", kind, [1])],
        )
        for kind in (300, FLOAT)
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT),
        helper.make_node("If", ["yes"], ["scores"], then_branch=then, else_branch=other),
    ]
    model = onnx.load(net(tmp_path, nodes))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    with pytest.raises(ValueError, match="300"):
        onnx.shape_inference.infer_shapes(model)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"net\.onnx"):
        inspect(tmp_path / "net.onnx")


def test_a_description_states_which_ends_are_cast(tmp_path: Path) -> None:
    lines = list(description(inspect(net(tmp_path)), []))
    assert "  input image: bfloat16 in the network; a Cast rounds the float32" in lines
    assert "  output scores: bfloat16 in the network; a Cast makes it float32" in lines


# A module of torch -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "cast", "others"),
    [(Brief, "logits", set()), (BriefBeside, "embedding", {"logits"})],
)
def test_a_module_that_returns_bfloat16_is_exported_with_a_cast(
    network: type[torch.nn.Module],
    cast: str,
    others: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    module = network()
    manifest = export_module(module, SPEC, tmp_path, ORIGIN)
    assert {spec.name: spec.network_dtype for spec in manifest.outputs} == {
        cast: "bfloat16",
        **dict.fromkeys(others, ""),
    }
    assert {spec.dtype for spec in manifest.outputs} == {"float32"}
    assert [parity.batch_size for parity in manifest.parity] == [1, 2, 3, 7, 16]
    images = synthetic_images(SPEC, 5, seed=4)
    with torch.inference_mode():
        made = module(torch.from_numpy(images))
    wanted = (made if isinstance(made, torch.Tensor) else made["embedding"]).float().numpy()
    got = run(tmp_path / manifest.file, images)[cast]
    np.testing.assert_array_equal(got, rounded(got))
    np.testing.assert_allclose(got, wanted, rtol=2**-7)
    print_export(manifest, tmp_path, up_to_date=False, notes=[], as_json=False)
    assert f"output {cast}: bfloat16 in the network; a Cast makes it" in capsys.readouterr().out


@pytest.mark.slow
def test_a_module_that_computes_in_bfloat16_is_refused_with_the_node(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"in bfloat16 on the CPU for Gemm .* without autocast"):
        export_module(Autocast(), SPEC, tmp_path, ORIGIN)


class Level(torch.nn.Module):
    """Puts out 100 or 100.5, which are neighbours in bfloat16."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to scores (N, 3)."""
        return (100.25 + images.mean((2, 3))).bfloat16()


@pytest.mark.slow
def test_rounding_alone_is_no_variation_between_images(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="do not vary between images"):
        export_module(Level(), SPEC, tmp_path, ORIGIN)
