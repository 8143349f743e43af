"""What a file leaves undone is put in order; what is no valid ONNX is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from greenbatch.errors import ArtifactError
from greenbatch.exporter.onnx_file.inspection import inspect
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from tests.fakes.fixed_batch import holds, net, run

BODY = "to = Constant<value = int64[2] {<N>, 48}>() y = Reshape(flat, to) x = Sin(y)"


def changed(folder: Path, how: str) -> tuple[Path, Path]:
    """Write a network as it should be and as it occurs."""
    path = net(folder, BODY, 2)
    model = onnx.load(path)
    nodes, graph = list(model.graph.node), model.graph
    if how == "unsorted":
        del graph.node[:]
        graph.node.extend(map(_copied, nodes[::-1]))
    elif how == "nodes of one name":
        for node in graph.node:
            node.name = "node"
    elif how == "graph without a name":
        graph.name = ""
    elif how == "a constant twice":
        graph.initializer.append(_copied(graph.initializer[0]))
    odd = folder / "odd.onnx"
    odd.write_bytes(model.SerializeToString())
    return path, odd


def _copied(message: onnx.NodeProto) -> onnx.NodeProto:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


@pytest.mark.parametrize(
    "how", ["unsorted", "nodes of one name", "graph without a name", "a constant twice"]
)
def test_what_is_undone_is_put_in_order(how: str, tmp_path: Path) -> None:
    path, odd = changed(tmp_path, how)
    made = make_dynamic(odd, tmp_path / "free.onnx")
    holds(path, made, 2)


@pytest.mark.parametrize("batch", [-1, 0])
def test_a_size_below_1_is_open(batch: int, tmp_path: Path) -> None:
    path = net(tmp_path, "x = Sin(flat)", 1)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)
    assert inspect(path).batch is None
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert (made.was, made.changes) == (None, ())
    (image,) = onnx.load(made.facts.path).graph.input
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim][:2] == [
        "batch",
        3,
    ]


def test_a_size_of_0_that_is_no_batch_is_open_where_a_size_is_given(tmp_path: Path) -> None:
    path = net(tmp_path, "x = Sin(flat)", 1)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 0
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"--input 3x4x224"):
        inspect(path)


def test_constants_of_one_name_that_differ_are_refused(tmp_path: Path) -> None:
    path = net(tmp_path, "x = Sin(flat)", 2)
    model = onnx.load(path)
    other = numpy_helper.from_array(np.ones((48, 5), np.float32), "weight")
    model.graph.initializer.append(other)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="weight initializer name is not unique"):
        inspect(path)


def test_nodes_that_run_in_circles_are_refused(tmp_path: Path) -> None:
    path = net(tmp_path, "x = Sin(flat)", 2)
    model = onnx.load(path)
    model.graph.node[0].input[0] = "x"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="topologically sorted"):
        inspect(path)


def test_sparse_weights_are_followed(tmp_path: Path) -> None:
    path = net(tmp_path, BODY, 2)
    model = onnx.load(path)
    values = onnx.helper.make_tensor("weight", onnx.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    places = onnx.helper.make_tensor("places", onnx.TensorProto.INT64, [3], [0, 7, 100])
    del model.graph.initializer[:]
    sparse = onnx.helper.make_sparse_tensor(values, places, [48, 5])
    model.graph.sparse_initializer.append(sparse)
    onnx.save(model, path)
    made = make_dynamic(path, tmp_path / "free.onnx")
    images = np.random.default_rng(1).standard_normal((2, 3, 4, 4), np.float32)
    np.testing.assert_allclose(run(made.facts.path, images), run(path, images), atol=1e-5)


@pytest.mark.parametrize("name", [b"image", b"weight", b"Sin"])
def test_names_that_are_no_text_are_refused(name: bytes, tmp_path: Path) -> None:
    path = net(tmp_path, "x = Sin(flat)", 2)
    path.write_bytes(path.read_bytes().replace(name, b"\x85" + name[1:]))
    with pytest.raises(ArtifactError, match="no text in UTF-8"):
        inspect(path)
