"""An ``.onnx`` of somebody else's is data: what is unsafe or unfit is refused in one sentence."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from greenbatch.errors import ArtifactError
from greenbatch.exporter.onnx_file import inspection
from greenbatch.exporter.onnx_file.inspection import inspect
from greenbatch.exporter.onnx_file.reading import read_with_weights
from greenbatch.models.sources.input_option import parse_input, parse_inputs
from greenbatch.records import OtherInput

IMAGE = [1, 3, 8, 8]


def model(
    nodes: list[onnx.NodeProto] | None = None,
    inputs: dict[str, list[Any]] | None = None,
    outputs: dict[str, list[Any]] | None = None,
    *,
    kind: int = TensorProto.FLOAT,
    out_kind: int = TensorProto.FLOAT,
    opset: int = 17,
    ir: int = 9,
) -> onnx.ModelProto:
    """A network that averages an image and maps that to five logits; or another one."""
    graph = helper.make_graph(
        nodes
        or [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "net",
        [
            helper.make_tensor_value_info(n, kind, d)
            for n, d in (inputs or {"image": IMAGE}).items()
        ],
        [
            helper.make_tensor_value_info(n, out_kind, d)
            for n, d in (outputs or {"logits": [1, 5]}).items()
        ],
        [numpy_helper.from_array(np.arange(15, dtype=np.float32).reshape(3, 5), "weight")],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("my.own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


def put(folder: Path, made: onnx.ModelProto) -> Path:
    """Write a model as it is."""
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def external(folder: Path, location: str, **numbers: object) -> Path:
    """Write a model whose weights are in another file."""
    made = model()
    (weight,) = made.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **numbers}.items():
        weight.external_data.add(key=key, value=str(value))
    return put(folder, made)


def refused(path: Path, said: str) -> None:
    """Hold that a file is refused in one sentence that says something, and a cure."""
    with pytest.raises(ArtifactError) as caught:
        inspect(path)
    text = str(caught.value)
    assert said in text
    assert str(path) in text
    assert ";" in text
    assert "\n" not in text


# What is read ----------------------------------------------------------------------------------


def test_facts_of_a_fixed_and_of_a_free_batch(tmp_path: Path) -> None:
    facts = inspect(put(tmp_path, model()))
    assert (facts.input.name, facts.input.shape, facts.batch) == ("image", (3, 8, 8), 1)
    assert (facts.opset, facts.ir_version, facts.nodes, facts.parameters) == (17, 9, 3, 15)
    assert (facts.outputs[0].name, facts.outputs[0].dtype, facts.outputs[0].dims) == (
        "logits",
        "float32",
        (1, 5),
    )
    free = model(inputs={"image": ["N", 3, 8, 8]}, outputs={"logits": ["N", 5]})
    facts = inspect(put(tmp_path, free))
    assert (facts.batch, facts.batch_axis, facts.outputs[0].dims) == (None, "N", ("batch", 5))


@pytest.mark.parametrize("columns", [192, -1])
def test_a_free_input_does_not_hide_a_frozen_inside(columns: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["sizes"], value_ints=[1, columns]),
        helper.make_node("Reshape", ["image", "sizes"], ["logits"]),
    ]
    made = model(nodes, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 192]})
    assert inspect(put(tmp_path, made)).batch == 1


def test_initializers_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    made = model(inputs={"image": IMAGE, "weight": [3, 5]}, ir=3)
    assert inspect(put(tmp_path, made)).input.name == "image"


def test_a_size_left_open_is_said_with_the_option(tmp_path: Path) -> None:
    path = put(tmp_path, model(inputs={"image": ["N", 3, "H", "W"]}, outputs={"logits": ["N", 5]}))
    refused(path, "--input, e.g. --input 3x224x224")
    assert inspect(path, parse_input("3x16x12")).input.shape == (3, 16, 12)
    path = put(tmp_path, model())
    with pytest.raises(ArtifactError, match="--input 3x16x16"):
        inspect(path, parse_input("3x16x16"))


def test_logits_may_have_axes_of_length_one_behind_them(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["logits"])]
    facts = inspect(put(tmp_path, model(nodes, outputs={"logits": [1, 3, 1, 1]})))
    assert facts.outputs[0].dims == (1, 3, 1, 1)


def test_outputs_of_any_number_rank_and_type(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Transpose", ["features"], ["turned"], perm=[1, 0]),
        helper.make_node("ArgMax", ["features"], ["label"], axis=1, keepdims=0),
    ]
    outputs: dict[str, list[Any]] = {
        "image_again": ["N", 3, 8, 8],
        "turned": [3, "N"],
        "label": ["N"],
    }
    made = model(
        [*nodes, helper.make_node("Identity", ["image"], ["image_again"])],
        {"image": ["N", 3, 8, 8]},
        outputs,
    )
    made.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    found = inspect(put(tmp_path, made)).outputs
    assert [spec.dims for spec in found] == [("batch", 3, 8, 8), (3, "batch"), ("batch",)]
    assert [(spec.dtype, spec.index) for spec in found] == [
        ("float32", False), ("float32", False), ("int64", True),
    ]  # fmt: skip


def test_channels_last_and_whole_numbers_are_understood(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["logits"], to=TensorProto.FLOAT)]
    made = model(
        nodes, {"image": ["N", 8, 6, 3]}, {"logits": ["N", 8, 6, 3]}, kind=TensorProto.UINT8
    )
    found = inspect(put(tmp_path, made)).input
    assert (found.layout, found.shape, found.dtype) == ("HWC", (8, 6, 3), "uint8")
    assert (found.channels, found.height, found.width) == (3, 8, 6)


@pytest.mark.parametrize("axis", [-1, "?", "", "nichts"])
def test_a_batch_under_any_name_is_free_once_it_has_run_at_two_sizes(
    axis: int | str, tmp_path: Path
) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["logits"])]
    made = model(nodes, {"image": [1, 3, 8, 8]}, {"logits": [1, 3, 1, 1]})
    for value in (*made.graph.input, *made.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if isinstance(axis, int):
            dim.dim_value = axis
        elif axis:
            dim.dim_param = axis
    facts = inspect(put(tmp_path, made))
    assert facts.batch is None
    assert facts.outputs[0].dims == ("batch", 3, 1, 1)


def test_further_inputs_are_those_that_were_given(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["image", "scale"], ["logits"])]
    made = model(nodes, {"image": ["N", 3, 8, 8], "scale": [1]}, {"logits": ["N", 3, 8, 8]})
    path = put(tmp_path, made)
    found = inspect(path, parse_inputs(["3x8x8", "scale=1:float32:0.5"])).input
    assert found.others == (OtherInput(name="scale", shape=(1,), value=0.5, batched=False),)
    with pytest.raises(ArtifactError, match="has no input size; it has image, scale"):
        inspect(path, parse_inputs(["3x8x8", "scale=1", "size=2"]))
    with pytest.raises(ArtifactError, match=r"scale of .* is 1, which is incompatible"):
        inspect(path, parse_inputs(["3x8x8", "scale=7"]))


# Damage ----------------------------------------------------------------------------------------


def test_files_that_are_no_onnx_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    refused(path, "No such file or directory")
    path.mkdir()
    refused(path, "Is a directory")
    path.rmdir()
    path.touch()
    refused(path, "is empty")
    whole = model().SerializeToString()
    for content in (b"<html>Not found</html>", b"\0" * 100, b"PK\3\4", whole[:-20], whole[40:]):
        path.write_bytes(content)
        refused(path, "ONNX")


@pytest.mark.parametrize("share", range(5, 100, 5))
def test_a_torn_file_is_refused_wherever_it_was_torn(share: int, tmp_path: Path) -> None:
    whole = model().SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(whole[: len(whole) * share // 100])
    with pytest.raises(ArtifactError):
        inspect(path)


def test_a_file_too_large_for_protobuf_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse
    refused(path, "has 3.0 GiB, and an ONNX file holds less than 2 GiB")


def test_weights_of_another_size_than_stated_are_refused(tmp_path: Path) -> None:
    made = model()
    made.graph.initializer[0].raw_data = b"\0" * 16
    refused(put(tmp_path, made), "is no valid ONNX")


def test_newer_versions_than_the_runtime_are_refused(tmp_path: Path) -> None:
    refused(put(tmp_path, model(ir=99)), "has IR version 99, and onnx")
    refused(put(tmp_path, model(opset=999)), "has opset 999, and onnx")


LOADING = "[ONNXRuntimeError] : 1 : FAIL : Load model from net.onnx failed:"
MODEL_CC = "/src/core/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const Options&) "


@pytest.mark.parametrize(
    ("said_by_runtime", "said"),
    [
        (
            f"{LOADING}{MODEL_CC}Unsupported model IR version: 14, max supported IR version: 13\n",
            ": Unsupported model IR version: 14, max supported IR version: 13; ",
        ),
        (
            f"{LOADING}{MODEL_CC}Much. Current official support for domain x is till opset 26.\n",
            ": its official support for domain x is till opset 26; ",
        ),
        (
            f"{LOADING}Fatal error: mine:Odd(-1) is not a registered function/op",
            ": Fatal error: mine:Odd(-1) is not a registered function/op; ",
        ),
    ],
)
def test_why_onnx_runtime_refuses_is_told_without_its_source_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_by_runtime: str, said: str
) -> None:
    def refuse(_: Path, **settings: bool) -> None:
        raise RuntimeError(said_by_runtime)

    monkeypatch.setattr(inspection, "open_session", refuse)
    refused(put(tmp_path, model()), said)


def test_operators_that_onnx_runtime_lacks_are_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sorcery", ["image"], ["logits"], domain="my.own")]
    refused(put(tmp_path, model(nodes)), "it uses operators of my.own")
    with pytest.raises(ArtifactError, match="Sorcery"):
        inspect(tmp_path / "net.onnx")


# External data ---------------------------------------------------------------------------------


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "net.data").write_bytes(np.ones(15, np.float32).tobytes())
    facts = inspect(external(tmp_path, "net.data"))
    assert facts.data_files == ("net.data",)
    assert facts.parameters == 15


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("../net.data", "outside its own folder"),
        ("sub/../../net.data", "outside its own folder"),
        ("/etc/hostname", "outside its own folder"),
        ("C:\\weights", "outside its own folder"),
        ("..\\net.data", "outside its own folder"),
        ("", "does not say in which file"),
        ("gone.data", "cannot be read (No such file"),
        ("link.data", "which is a link"),
        ("linked/net.data", "which is a link"),
        ("folder", "which is no file"),
        ("socket", "which is no file"),
    ],
)
def test_weights_elsewhere_are_refused_unread(location: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    data = tmp_path / "net.data"
    data.write_bytes(np.ones(15, np.float32).tobytes())
    (folder / "link.data").symlink_to(data)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "folder").mkdir()
    before = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.chdir(before)
    refused(external(folder, location), said)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"offset": 8}, "holds 52 bytes of it instead of 60"),
        ({"offset": 999}, "holds 0 bytes of it instead of 60"),
        ({"length": 999}, "as 999 bytes, and its sizes need 60"),
        ({"length": 8}, "as 8 bytes, and its sizes need 60"),
        ({"offset": -8}, "which are no numbers"),
    ],
)
def test_weights_outside_their_file_are_refused(
    numbers: dict[str, int], said: str, tmp_path: Path
) -> None:
    (tmp_path / "net.data").write_bytes(np.ones(15, np.float32).tobytes())
    refused(external(tmp_path, "net.data", **numbers), said)


@pytest.mark.parametrize("numbers", [{}, {"length": 0}, {"length": 60}])
def test_a_length_of_0_or_none_is_what_the_sizes_need(
    numbers: dict[str, int], tmp_path: Path
) -> None:
    values = np.arange(15, dtype=np.float32)
    (tmp_path / "net.data").write_bytes(bytes(8) + values.tobytes() + bytes(100))
    path = external(tmp_path, "net.data", offset=8, **numbers)
    assert inspect(path).parameters == 15
    (weight,) = read_with_weights(path).graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight).ravel(), values)


def test_an_output_that_is_no_numbers_in_python_is_refused_by_its_type(tmp_path: Path) -> None:
    made = model(out_kind=TensorProto.STRING)
    made.graph.node[2].output[0] = "numbers"
    cast = helper.make_node("Cast", ["numbers"], ["logits"], to=TensorProto.STRING)
    made.graph.node.append(cast)
    refused(put(tmp_path, made), f"output logits of {tmp_path}/net.onnx is tensor(string)")


def test_an_output_without_sizes_is_taken(tmp_path: Path) -> None:
    made = model()
    made.graph.output[0].type.tensor_type.ClearField("shape")
    (output,) = inspect(put(tmp_path, made)).outputs
    assert output.dims == (1, 5)


def test_tensors_may_share_bytes(tmp_path: Path) -> None:
    path = external(tmp_path, "net.data")
    made = onnx.load(path, load_external_data=False)
    twin = made.graph.initializer.add()
    twin.CopyFrom(made.graph.initializer[0])
    twin.name = "twin"
    made.graph.node.insert(2, helper.make_node("MatMul", ["flat", "twin"], ["other"]))
    made.graph.node[3].output[0] = "plain"
    made.graph.node.append(helper.make_node("Add", ["plain", "other"], ["logits"]))
    put(tmp_path, made)
    values = np.arange(15, dtype=np.float32)
    (tmp_path / "net.data").write_bytes(values.tobytes())
    assert inspect(path).parameters == 30
    both = [numpy_helper.to_array(t) for t in read_with_weights(path).graph.initializer]
    np.testing.assert_array_equal(both, [values.reshape(3, 5)] * 2)


def in_cache(folder: Path, **links: str) -> Path:
    """Lay a network and its weights out as a hub's cache does; ``links`` names other targets."""
    repository = folder / "models--who--net"
    snapshot, contents = repository / "snapshots" / "0123", repository / "blobs"
    snapshot.mkdir(parents=True)
    contents.mkdir()
    external(folder, "net.data").rename(contents / "aaaa")
    (contents / "bbbb").write_bytes(np.ones(15, np.float32).tobytes())
    (snapshot / "net.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "net.data").symlink_to(links.get("data", "../../blobs/bbbb"))
    return snapshot / "net.onnx"


def test_links_of_a_hubs_cache_are_followed(tmp_path: Path) -> None:
    path = in_cache(tmp_path)
    assert inspect(path).parameters == 15
    (weight,) = read_with_weights(path).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weight), np.ones((3, 5)))


@pytest.mark.parametrize("target", ["../../../secret", "/etc/hostname", "../../refs/main", "own"])
def test_links_out_of_a_hubs_cache_are_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.ones(15, np.float32).tobytes())
    path = in_cache(tmp_path, data=target)
    (path.parent / "own").write_bytes(np.ones(15, np.float32).tobytes())
    (path.parents[2] / "refs").mkdir()
    (path.parents[2] / "refs" / "main").write_bytes(np.ones(15, np.float32).tobytes())
    refused(path, "which is a link")


def test_a_content_of_a_cache_that_is_a_link_itself_is_refused(tmp_path: Path) -> None:
    path = in_cache(tmp_path)
    (tmp_path / "secret").write_bytes(np.ones(15, np.float32).tobytes())
    content = path.parents[2] / "blobs" / "bbbb"
    content.unlink()
    content.symlink_to(tmp_path / "secret")
    refused(path, "which is a link")


def test_a_folder_of_links_to_contents_elsewhere_is_no_cache(tmp_path: Path) -> None:
    path = in_cache(tmp_path)
    contents = path.parents[2] / "blobs"
    contents.rename(tmp_path / "elsewhere")
    contents.symlink_to(tmp_path / "elsewhere")
    refused(path, "which is a link")


def test_external_data_is_found_in_subgraphs_and_attributes_too(tmp_path: Path) -> None:
    def hidden(tensor: onnx.TensorProto) -> onnx.ModelProto:
        made = model()
        made.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))
        return made

    tensor = numpy_helper.from_array(np.ones(2, np.float32), "secret")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    refused(put(tmp_path, hidden(tensor)), "outside its own folder")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=tensor)],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    made = model()
    made.graph.node.append(
        helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    )
    refused(put(tmp_path, made), "outside its own folder")


# Not a network of images -----------------------------------------------------------------------


def identity(*names: str) -> list[onnx.NodeProto]:
    """Nodes that put out the image."""
    return [helper.make_node("Identity", ["image"], [name]) for name in names]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: model(inputs={"image": IMAGE, "mask": [1, 5]}),
            "--input image=3x8x8 --input mask=5:float32",
        ),
        (
            lambda: model(identity("logits"), kind=TensorProto.INT64, out_kind=TensorProto.INT64),
            "no input of",
        ),
        (lambda: model(identity("logits"), {"image": [1, 5]}), "image 1x5 float32"),
    ],
)
def test_networks_of_something_else_are_refused(
    make: Callable[[], onnx.ModelProto], said: str, tmp_path: Path
) -> None:
    refused(put(tmp_path, make()), said)
