"""A fixed batch axis is freed wherever it is fixed, and the result is proved, or nothing is."""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from greenbatch.errors import ExportError, GreenbatchError, ParityError
from greenbatch.exporter.onnx_file import reading
from greenbatch.exporter.rebatch import proof, rules
from greenbatch.exporter.rebatch.graph import Rewriting
from greenbatch.exporter.rebatch.placing import after_reshape
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from greenbatch.exporter.rebatch.sizes import Carrier
from tests.fakes import own_networks
from tests.fakes.fixed_batch import Array, holds, net, refuse, repeated, run
from tests.thorough import needs_thorough

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


# Networks that torch exports with a fixed batch -------------------------------------------------


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type, int], Path]:
    """Export networks by torch at a fixed batch, each once."""
    folder = tmp_path_factory.mktemp("frozen")

    def export(kind: type[torch.nn.Module], count: int) -> Path:
        path = folder / f"{kind.__name__}-{count}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            images = torch.randn(count, 3, own_networks.SIDE, own_networks.SIDE)
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    kind().eval(), (images,), path, dynamo=True, external_data=False, verbose=False
                )
        return path

    return export


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "operators"),
    [
        (own_networks.Small, 1, {"Reshape"}),
        (own_networks.Attention, 1, {"Reshape", "Concat"}),
        (own_networks.Attention, 3, {"Reshape", "Concat"}),
        (own_networks.Recurrent, 2, {"Reshape", "GRU"}),
    ],
)
def test_a_network_that_torch_froze_is_freed(
    kind: type,
    count: int,
    operators: set[str],
    frozen: Callable[[type, int], Path],
    tmp_path: Path,
) -> None:
    path = frozen(kind, count)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert made.was == count
    assert {change.partition(" ")[0] for change in made.changes} == operators
    assert [p.batch_size for p in made.parity] == [1, 2, 3, 7, 16]
    assert made.redrawn == 0
    holds(path, made, count)
    torch.manual_seed(0)
    images = torch.randn(count, 3, own_networks.SIDE, own_networks.SIDE)
    again = make_dynamic(made.facts.path, tmp_path / "again.onnx")  # free already
    assert (again.was, again.changes) == (None, ())
    np.testing.assert_allclose(
        run(again.facts.path, images.numpy()), run(path, images.numpy()), rtol=0, atol=1e-5
    )


@pytest.mark.slow
def test_a_network_that_mixes_images_is_refused_by_name_of_the_node(
    frozen: Callable[[type, int], Path], tmp_path: Path
) -> None:
    path = frozen(own_networks.Mixing, 2)
    with pytest.raises(ExportError, match=r"ReduceMean 'node_mean' returns 1x3x16x16 whatever"):
        make_dynamic(path, tmp_path / "free.onnx")
    assert list(tmp_path.iterdir()) == []


# Each way of fixing a batch ----------------------------------------------------------------------

FREED = {
    "a number for each image": """one = Constant<value_ints = [1]>()
        number = ReduceSum<keepdims = 0>(flat, one) column = Unsqueeze(number, one)
        x = Mul(flat, column)""",
    "reshape": """
        to = Constant<value = int64[3] {<N>, 6, 8}>() y = Reshape(flat, to)
        back = Constant<value = int64[2] {-1, 48}>() x = Reshape(y, back)""",
    "reshape by zero": "to = Constant<value = int64[2] {0, 48}>() x = Reshape(flat, to)",
    "channel shuffle": """
        to = Constant<value = int64[5] {<N>, 1, 3, 4, 4}>() y = Reshape(image, to)
        z = Transpose<perm = [0, 1, 2, 4, 3]>(y) x = Flatten(z)""",
    "batch in the middle": """
        t = Transpose<perm = [1, 0, 2, 3]>(image)
        to = Constant<value = int64[3] {3, <N>, 16}>() y = Reshape(t, to)
        z = Transpose<perm = [1, 0, 2]>(y) x = Flatten(z)""",
    "batch joined to an axis": """
        t = Transpose<perm = [1, 0, 2, 3]>(image)
        to = Constant<value = int64[2] {-1, 16}>() y = Reshape(t, to) r = Relu(y)
        back = Constant<value = int64[3] {3, <N>, 16}>() u = Reshape(r, back)
        z = Transpose<perm = [1, 0, 2]>(u) x = Flatten(z)""",
    "expand of images": """
        s = ReduceMean<axes = [2]>(image)
        to = Constant<value = int64[4] {<N>, 3, 4, 4}>() y = Expand(s, to) x = Flatten(y)""",
    "slice": """
        b = Constant<value_ints = [0]>() e = Constant<value = int64[1] {<N>}>()
        x = Slice(flat, b, e, b)""",
    "resize": """
        to = Constant<value = int64[4] {<N>, 3, 8, 8}>() y = Resize(image, , , to)
        z = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(y) x = Flatten(z)""",
    "arithmetic of sizes": """
        s = Shape(image) i = Constant<value_ints = [0]>() n = Gather(s, i)
        two = Constant<value_ints = [2]>() rest = Constant<value_ints = [24]>()
        m = Mul(n, two) to = Concat<axis = 0>(m, rest) y = Reshape(flat, to)
        back = Constant<value_ints = [-1, 48]>() x = Reshape(y, back)""",
    "operator of ONNX Runtime": "y = com.microsoft.QuickGelu(image) x = Flatten(y)",
    "tile and split": """
        r = Constant<value_ints = [1, 2]>() y = Tile(flat, r) a, x = Split<axis = 1>(y)""",
}
CHANGED = {
    "reshape": ["Reshape"],
    "channel shuffle": ["Reshape"],
    "batch in the middle": ["Reshape"],
    "batch joined to an axis": ["Reshape"],
    "expand of images": ["Expand"],
    "slice": ["Slice"],
    "resize": ["Resize"],
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", FREED)
def test_an_operator_that_fixes_the_batch_is_freed(kind: str, count: int, tmp_path: Path) -> None:
    path = net(tmp_path, FREED[kind], count)
    made = make_dynamic(path, tmp_path / "free.onnx")
    fixed = CHANGED.get(kind, []) if count > 1 or kind != "expand of images" else []
    assert [change.partition(" ")[0] for change in made.changes] == fixed
    holds(path, made, count)


def test_constants_with_a_row_for_each_image_keep_one(tmp_path: Path) -> None:
    path = net(tmp_path, "x = Add(flat, shift)", 3, shift=repeated(48, count=3))
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert made.changes == ("Add 'x': the constant shift keeps one of 3 equal rows",)
    holds(path, made, 3)


@pytest.mark.parametrize("count", [1, 3])
def test_a_class_token_is_given_to_each_image(count: int, tmp_path: Path) -> None:
    body = "y = Concat<axis = 1>(token, flat) logits = MatMul(y, weight)"
    weight = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    path = net(tmp_path, body, count, token=repeated(2, count=count), weight=weight)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert made.changes == ("Concat 'y': the constant token is repeated for each image",)
    holds(path, made, count)


def test_a_computed_class_token_is_too(tmp_path: Path) -> None:
    body = (
        "two = Constant<value_ints = [3, 2]>() token = Expand(seed, two)"
        " y = Concat<axis = 1>(token, flat) logits = MatMul(y, weight)"
    )
    weight = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    path = net(tmp_path, body, 3, seed=repeated(2, count=1), weight=weight)
    holds(path, make_dynamic(path, tmp_path / "free.onnx"), 3)


@pytest.mark.parametrize("count", [1, 3])
def test_states_of_a_recurrent_network_are_repeated(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    body = (
        "to = Constant<value = int64[3] {<N>, 4, 12}>() y = Reshape(flat, to)"
        " rows = Transpose<perm = [1, 0, 2]>(y)"
        " all, last, cell = LSTM<hidden_size = 6>(rows, w, r, b, lengths, h, c)"
        " one = Constant<value_ints = [0]>() x = Squeeze(last, one) logits = MatMul(x, weight)"
    )
    state = np.repeat(some(1, 1, 6), count, 1)
    path = net(
        tmp_path, body, count, w=some(1, 24, 12), r=some(1, 24, 6), b=some(1, 48), h=state,
        c=state, lengths=np.full(count, 3, np.int32), weight=some(6, 5),
    )  # fmt: skip
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert [change for change in made.changes if "lengths is repeated" in change]
    holds(path, made, count)


@pytest.mark.parametrize("opset", [14, 17, 18])
def test_functions_inside_the_file_are_followed(opset: int, tmp_path: Path) -> None:
    path = net(tmp_path, "x = own.Fold(flat)", 2)
    model = onnx.load(path)
    nodes = [
        helper.make_node("Constant", [], ["to"], value_ints=[2, 48]),
        helper.make_node("Reshape", ["a", "to"], ["b"]),
    ]
    imports = [helper.make_opsetid("", opset)]
    model.functions.append(helper.make_function("own", "Fold", ["a"], ["b"], nodes, imports))
    onnx.save(model, path)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert [change.partition(" ")[0] for change in made.changes] == ["Reshape"]
    holds(path, made, 2)


@pytest.mark.parametrize(
    ("before", "carrier", "after", "batch", "expected"),
    [
        ((4, 48), Carrier(0), (4, 6, 8), 4, Carrier(0)),
        ((17, 4, 8), Carrier(1), (17, 8, 4), 4, Carrier(1)),  # batch x heads
        ((17, 4, 8), Carrier(1), (68, 8), 4, Carrier(0, 17)),
        ((68, 8), Carrier(0, 17), (17, 4, 8), 4, Carrier(1)),
        ((17, 1, 8), Carrier(1), (17, 8), 1, Carrier(0, 17)),  # not into the features
        ((17, 1, 8), Carrier(1), (17, 2, 4), 1, Carrier(1)),
        ((1, 9, 8), Carrier(0), (1, 3, 3, 8), 1, Carrier(0)),
        ((64, 49, 8), Carrier(0), (1, 64, 49, 8), 1, Carrier(0)),  # windows of one image
        ((4, 6), Carrier(0), (6, 4), 4, None),  # images are cut
        ((4, 6), Carrier(0), (24,), 4, Carrier(0)),
    ],
)
def test_the_batch_stays_behind_as_many_elements(
    before: tuple[int, ...],
    carrier: Carrier,
    after: tuple[int, ...],
    batch: int,
    expected: Carrier | None,
) -> None:
    assert after_reshape(before, carrier, after, batch) == expected


# Refusals ----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, type[GreenbatchError], str]] = {
    "one image is picked": (
        "i = Constant<value_ints = [0]>() y = Gather(flat, i) x = Add(flat, y)",
        ExportError,
        "Gather 'y' returns 1x48 whatever the batch",
    ),
    "one image is cut out": (
        """b = Constant<value_ints = [0]>() e = Constant<value_ints = [1]>()
        y = Slice(flat, b, e, b) x = Add(flat, y)""",
        ExportError,
        "Slice 'y' returns 1x48 whatever the batch",
    ),
    "mean of the batch": (
        "m = ReduceMean<axes = [0]>(flat) x = Sub(flat, m)",
        ExportError,
        "ReduceMean 'm' returns 1x48 whatever the batch",
    ),
    "softmax over the batch": (
        "y = Softmax<axis = 0>(flat) x = Relu(y)",
        ParityError,
        "(see Softmax 'y')",
    ),
    "sums over the batch": (
        "z = Constant<value_int = 0>() x = CumSum(flat, z)",
        ParityError,
        "(see CumSum 'x')",
    ),
    "batch put twice": (
        """y = Concat<axis = 0>(flat, flat) b = Constant<value_ints = [0]>()
        e = Constant<value_ints = [3]>() x = Slice(y, b, e, b)""",
        ExportError,
        "Slice 'x'",
    ),
    "images are cut": (
        """a = Constant<value_ints = [48, 3]>() y = Reshape(flat, a)
        t = Transpose(y) r = Relu(t) x = MatMul(r, square)""",
        ExportError,
        "MatMul 'x' cannot take 21 images",
    ),
    "a size from the batch": (
        """s = Shape(image) i = Constant<value_ints = [0]>() n = Gather(s, i)
        f = Cast<to = 1>(n) x = Mul(flat, f)""",
        ParityError,
        "(see Mul 'x')",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_freed_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    body, error, said = REFUSED[kind]
    square = np.random.default_rng(1).standard_normal((48, 48)).astype(np.float32)
    refuse(net(tmp_path, body, 3, square=square), error, said)


def test_constants_of_their_own_for_each_image_are_refused(tmp_path: Path) -> None:
    shift = np.random.default_rng(0).standard_normal((3, 48)).astype(np.float32)
    path = net(tmp_path, "x = Add(flat, shift)", 3, shift=shift)
    refuse(path, ExportError, "Add 'x' takes the constant shift, which is another for each of")


def test_infinite_values_and_those_that_no_image_changes_prove_nothing(tmp_path: Path) -> None:
    zero = np.zeros((), np.float32)
    refuse(net(tmp_path, "x = Div(flat, zero)", 1, zero=zero), ParityError, "not finite")
    refuse(net(tmp_path, "x = Mul(flat, zero)", 1, zero=zero), ParityError, "nothing can be proved")


def test_weights_that_tell_no_images_apart_are_drawn_for_the_proof_only(tmp_path: Path) -> None:
    weight = np.full((48, 5), 0.5, np.float32)
    body = "y = MatMul(flat, weight) logits = Softmax<axis = 1>(y)"
    path = net(tmp_path, body, 2, weight=weight)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert made.redrawn == 1
    model = onnx.load(made.facts.path)
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(kept["weight"], weight)
    mixing = "y = MatMul(flat, weight) z = Softmax<axis = 0>(y) logits = Softmax<axis = 1>(z)"
    refuse(net(tmp_path, mixing, 2, weight=weight), ParityError, "(see Softmax 'z')")


def test_a_wrong_rewriting_is_found_by_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = net(tmp_path, FREED["channel shuffle"], 2)
    right = Rewriting._result

    def wrong(self: Rewriting) -> onnx.ModelProto:
        model = right(self)
        (shuffle,) = [node for node in model.graph.node if node.op_type == "Transpose"]
        shuffle.attribute[0].ints[:] = [0, 1, 2, 3, 4]
        return model

    monkeypatch.setattr(Rewriting, "_result", wrong)
    refuse(path, ParityError, "computes something else")


def test_a_wrong_place_of_the_batch_is_found_by_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = net(tmp_path, FREED["batch joined to an axis"], 1)
    monkeypatch.setattr(rules, "after_reshape", lambda *_: Carrier(0))
    refuse(path, GreenbatchError, str(path))


# Files -------------------------------------------------------------------------------------------


def test_large_weights_go_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGEST_WRITTEN", 500)
    weight = np.random.default_rng(0).standard_normal((48, 50)).astype(np.float32)
    body = "y = MatMul(flat, wide) logits = MatMul(y, weight)"
    path = net(tmp_path, body, 2, wide=weight, weight=weight[:, :5].repeat(2, 0)[:50])
    made = make_dynamic(path, tmp_path / "new" / "free.onnx")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "free.onnx",
        "free.onnx.data",
    ]
    assert made.facts.data_files == ("free.onnx.data",)
    assert made.facts.path.stat().st_mode & 0o777 == path.stat().st_mode & 0o777
    holds(path, made, 2)


def test_an_existing_file_survives_a_refusal(tmp_path: Path) -> None:
    out = tmp_path / "free.onnx"
    out.write_text("mine")
    with pytest.raises(ExportError):
        make_dynamic(net(tmp_path, REFUSED["one image is picked"][0], 3), out)
    assert out.read_text() == "mine"


LIGHT_CHANGES = {
    "light_bvlc_alexnet": 1,
    "light_densenet121": 0,
    "light_inception_v1": 1,
    "light_inception_v2": 1,
    "light_resnet50": 1,
    "light_shufflenet": 33,
    "light_squeezenet": 0,
    "light_vgg19": 1,
    "light_zfnet512": 1,
}
# As others are, with larger or more layers.
DEAR = {
    "light_bvlc_alexnet",
    "light_densenet121",
    "light_inception_v2",
    "light_resnet50",
    "light_vgg19",
    "light_zfnet512",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=needs_thorough if p.stem in DEAR else (), id=p.stem) for p in LIGHT],
)
def test_the_light_models_of_onnx_go_through(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They have constants instead of weights, so the proof draws some; fewer images save a minute.
    monkeypatch.setattr(proof, "BATCH_SIZES", (1, 2))
    monkeypatch.setattr(proof, "_IMAGES", 2)
    made = make_dynamic(path, tmp_path / path.name)
    assert (made.was, len(made.changes)) == (1, LIGHT_CHANGES[path.stem])
    assert {change.partition(" ")[0] for change in made.changes} <= {"Reshape"}
    assert made.redrawn > 0
    assert max(p.rows_rel for p in made.parity) < 1e-4
    assert min(p.spread for p in made.parity) > 0
    assert made.facts.outputs[0].dims[:2] == ("batch", 1000)


def test_the_table_of_light_models_is_whole() -> None:
    assert {path.stem for path in LIGHT} == set(LIGHT_CHANGES)
