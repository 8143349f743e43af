"""Outputs of any number and kind are freed and proved: any batch axis, rows, positions, sets."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from greenbatch.errors import ExportError, GreenbatchError, ParityError
from greenbatch.exporter.rebatch.rewrite import Rebatched, make_dynamic
from greenbatch.models.sources.input_option import parse_inputs

Array = NDArray[Any]


def written(folder: Path, declared: str, body: str, batch: int | str, **constants: Array) -> Path:
    """Write a network from ONNX's own text form; ``<N>`` stands for the batch, ``<R>`` for -1."""
    free = isinstance(batch, str)
    text = f'<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]> net ({declared}) '
    for mark, size in (("<N>", batch), ("<R>", -1 if free else batch)):
        text, body = text.replace(mark, str(size)), body.replace(mark, str(size))
    model = parser.parse_model(text + body)
    drawn = np.random.default_rng(0)
    constants.setdefault("weight", drawn.standard_normal((48, 5)).astype(np.float32))
    for name, value in constants.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def with_opset(path: Path, opset: int) -> Path:
    """Let a file be of another opset."""
    model = onnx.load(path)
    model.opset_import[0].version = opset
    onnx.save(model, path)
    return path


def run(path: Path, *images: Array) -> dict[str, Array]:
    """Run a file by ONNX Runtime alone."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {value.name: image for value, image in zip(session.get_inputs(), images, strict=True)}
    return dict(zip(names, map(np.asarray, session.run(None, feeds)), strict=True))


def dims(made: Rebatched) -> dict[str, tuple[int | str, ...]]:
    """The dims of each output."""
    return {output.name: output.dims for output in made.facts.outputs}


IMAGE = "float[<N>,3,4,4] image"
SEVERAL = """=> (float[a,b] logits, float[c,d,e] steps, float[f,g] rows, int64[h,i] top,
        float[j,k] fixed, bool[l,m] marks) {
    flat = Flatten(image) logits = MatMul(flat, weight)
    to = Constant<value = int64[3] {<R>, 4, 12}>() y = Reshape(flat, to)
    steps = Transpose<perm = [1, 0, 2]>(y)
    back = Constant<value = int64[2] {-1, 12}>() rows = Reshape(y, back)
    two = Constant<value_ints = [2]>() best, top = TopK(logits, two)
    fixed = Identity(anchors) zero = Constant<value_float = 0.0>() marks = Greater(logits, zero)
}"""  # fmt: skip
ANCHORS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("batch", [1, 2, 3, "n"])
def test_outputs_of_any_kind_are_proved(batch: int | str, tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE, SEVERAL, batch, anchors=ANCHORS)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert made.was == (None if batch == "n" else batch)
    assert dims(made) == {
        "logits": ("batch", 5),
        "steps": (4, "batch", 12),
        "rows": ("4*batch", 12),
        "top": ("batch", 2),
        "fixed": (3, 2),
        "marks": ("batch", 5),
    }
    assert [output.name for output in made.facts.outputs if output.index] == ["top"]
    images = np.random.default_rng(1).standard_normal((5, 3, 4, 4), np.float32)
    together = run(made.facts.path, images)
    alone = [run(made.facts.path, image[None]) for image in images]
    for name, axis in (("logits", 0), ("steps", 1), ("rows", 0), ("top", 0), ("marks", 0)):
        right = np.concatenate([outputs[name] for outputs in alone], axis)
        np.testing.assert_allclose(together[name], right, atol=1e-5)
    np.testing.assert_array_equal(together["fixed"], ANCHORS)
    if isinstance(batch, int):
        for name, value in run(path, images[:batch]).items():
            np.testing.assert_allclose(run(made.facts.path, images[:batch])[name], value, atol=1e-5)


MIXED = {
    "a second output over the batch": "y = Softmax<axis = 0>(logits)",
    "a number for the whole batch": "y = ReduceMax<keepdims = 0>(logits)",
    "a running sum": "zero = Constant<value_int = 0>() y = CumSum(logits, zero)",
    "positions in the batch": """s = Softmax<axis = 0>(logits) m = Constant<value_float = 1000.0>()
        b = Mul(s, m) y = Floor(b)""",
}


@pytest.mark.parametrize("batch", [2, "n"])
@pytest.mark.parametrize("kind", MIXED)
def test_one_output_that_mixes_images_is_enough_to_refuse(
    kind: str, batch: int | str, tmp_path: Path
) -> None:
    body = f"""=> (float[a,b] logits, float y) {{
        flat = Flatten(image) logits = MatMul(flat, weight) {MIXED[kind]} }}"""
    path = written(tmp_path, IMAGE, body, batch)
    model = onnx.load(path)
    model.graph.output[1].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"whatever the batch|reach each other"):
        make_dynamic(path, tmp_path / "free.onnx")


def test_a_batch_behind_another_axis_of_an_output_is_refused(tmp_path: Path) -> None:
    body = """=> (float[a,b] rows) { flat = Flatten(image)
        to = Constant<value = int64[3] {<R>, 4, 12}>() y = Reshape(flat, to)
        t = Transpose<perm = [1, 0, 2]>(y) back = Constant<value = int64[2] {-1, 12}>()
        rows = Reshape(t, back) }"""
    path = written(tmp_path, IMAGE, body, 2)
    with pytest.raises(ExportError, match="lies behind another axis in the output rows"):
        make_dynamic(path, tmp_path / "free.onnx")


DETECTOR = """=> (int64[k,3] picked, float[k,4] found, float[k] scored) {
    flat = Flatten(image)
    b = MatMul(flat, wb) b3 = Reshape(b, tb) bs = Sigmoid(b3) low, size = Split<axis = 2>(bs)
    high = Add(low, size) boxes = Concat<axis = 2>(low, high)
    s = MatMul(flat, ws) s3 = Reshape(s, ts) scores = Sigmoid(s3)
    most = Constant<value = int64[1] {5}>() overlap = Constant<value = float[1] {0.5}>()
    least = Constant<value = float[1] {0.4}>()
    picked = NonMaxSuppression(boxes, scores, most, overlap, least)
    i = Constant<value_ints = [0, 2]>() at = Gather<axis = 1>(picked, i)
    found = GatherND(boxes, at) scored = GatherND(scores, picked)
}"""


def detector(folder: Path, batch: int | str, body: str = DETECTOR, scale: float = 1.0) -> Path:
    """Write one that finds boxes of two classes by NonMaxSuppression."""
    rng = np.random.default_rng(4)
    count = -1 if isinstance(batch, str) else batch
    return written(
        folder, IMAGE, body, batch,
        wb=rng.standard_normal((48, 80)).astype(np.float32) / 8,
        ws=scale * rng.standard_normal((48, 40)).astype(np.float32) / 8,
        tb=np.array([count, 20, 4]), ts=np.array([count, 2, 20]),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_detections_are_proved_as_sets(batch: int | str, tmp_path: Path) -> None:
    made = make_dynamic(detector(tmp_path, batch), tmp_path / "free.onnx")
    assert dims(made) == {"picked": ("count", 3), "found": ("count", 4), "scored": ("count",)}
    assert {output.name: output.image_column for output in made.facts.outputs}["picked"] == 0
    images = np.random.default_rng(1).standard_normal((4, 3, 4, 4), np.float32)
    together = run(made.facts.path, images)
    for number, image in enumerate(images):
        mine = together["picked"][:, 0] == number
        alone = run(made.facts.path, image[None])
        np.testing.assert_array_equal(together["picked"][mine][:, 1:], alone["picked"][:, 1:])
        np.testing.assert_allclose(together["found"][mine], alone["found"], atol=1e-5)


@pytest.mark.slow
def test_detections_that_no_column_gives_to_an_image_are_proved_too(tmp_path: Path) -> None:
    path = detector(tmp_path, 2, DETECTOR.replace("int64[k,3] picked, ", ""))
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert dims(made) == {"found": ("count", 4), "scored": ("count",)}


PICKED = DETECTOR.replace("[0, 2]", "[2]").replace(
    "found = GatherND(boxes, at)",
    "z = Constant<value_ints = [0]>() one = Gather<axis = 0>(boxes, z) q = Squeeze(one, z)\n"
    "found = GatherND(q, at)",
)
ALL_TOGETHER = DETECTOR.replace(
    "scores = Sigmoid(s3)", "scores2 = Sigmoid(s3) scores = Softmax<axis = 0>(scores2)"
)


@pytest.mark.parametrize("body", [PICKED, ALL_TOGETHER], ids=["first image's boxes", "competing"])
def test_detections_that_mix_images_are_refused(body: str, tmp_path: Path) -> None:
    with pytest.raises(GreenbatchError, match=r"whatever the batch|reach each other"):
        make_dynamic(detector(tmp_path, 2, body), tmp_path / "free.onnx")


def test_several_inputs_share_the_batch(tmp_path: Path) -> None:
    declared = "float[<N>,3,4,4] image, float[<N>,5] shift, float[5] scale"
    body = """=> (float[a,b] y) { to = Constant<value = int64[2] {<R>, 48}>()
        flat = Reshape(image, to) m = MatMul(flat, weight) n = Mul(m, scale)
        same = Constant<value = int64[2] {<R>, 5}>() t = Reshape(shift, same) y = Add(n, t) }"""
    path = written(tmp_path, declared, body, 2)
    given = parse_inputs(["image=3x4x4", "shift=5:float32", "scale=5:float32:2"])
    made = make_dynamic(path, tmp_path / "free.onnx", given)
    assert dims(made) == {"y": ("batch", 5)}
    assert [change.partition(" ")[0] for change in made.changes] == ["Reshape", "Reshape"]
    rng = np.random.default_rng(1)
    images, shift = rng.standard_normal((2, 3, 4, 4)), rng.standard_normal((2, 5))
    both = [images.astype(np.float32), shift.astype(np.float32), np.full(5, 2, np.float32)]
    np.testing.assert_allclose(run(made.facts.path, *both)["y"], run(path, *both)["y"], atol=1e-5)


FREE = {
    "if": """n = Shape(flat) i = Constant<value_ints = [1]>() w = Gather(n, i) c = Equal(w, i)
        x = If(c) <then_branch = t () => (float[n, m] a) { a = Sin(flat) },
                   else_branch = e () => (float[n, m] a) { a = Cos(flat) }>""",
    "loop": """n = Constant<value = int64 {3}>() c = Constant<value = bool {1}>()
        x = Loop(n, c, flat) <body = b (int64 i, bool go, float[p, q] v)
            => (bool on, float[p, q] w) { on = Identity(go) w = Sin(v) }>""",
    "sequence": """s = SplitToSequence<axis = 1>(image) z = Constant<value_int = 1>()
        a = SequenceAt(s, z) t = SequenceInsert(s, a) v = ConcatFromSequence<axis = 1>(t)
        k = Constant<value_ints = [48]>() b = Constant<value_ints = [0]>()
        o = Constant<value_ints = [1]>() g = Flatten(v) x = Slice(g, b, k, o)""",
    "an if over whole batches": """n = Size(image) l = Constant<value_int = 0>() c = Greater(n, l)
        x = If(c) <then_branch = t () => (float[n, m] a) { a = Sin(flat) },
                   else_branch = e () => (float[n, m] a) { a = Cos(flat) }>""",
}


@pytest.mark.parametrize("kind", FREE)
def test_a_free_file_keeps_its_nodes(kind: str, tmp_path: Path) -> None:
    body = f"=> (float[a,b] y) {{ flat = Flatten(image) {FREE[kind]} y = MatMul(x, weight) }}"
    path = written(tmp_path, IMAGE, body, "n")
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert (made.was, made.changes) == (None, ())
    assert onnx.load(made.facts.path).graph.node == onnx.load(path).graph.node


def test_a_free_file_that_looks_at_its_batch_is_refused(tmp_path: Path) -> None:
    body = """=> (float[a,b] y) { flat = Flatten(image) n = Shape<end = 1>(image)
        three = Constant<value_ints = [3]>() c = Equal(n, three)
        x = If(c) <then_branch = t () => (float[n, m] a) { a = Sin(flat) },
                   else_branch = e () => (float[n, m] a) { a = Cos(flat) }>
        y = MatMul(x, weight) }"""
    path = written(tmp_path, IMAGE, body, "n")
    with pytest.raises(ParityError, match=r"reach each other .* at batch 3"):
        make_dynamic(path, tmp_path / "free.onnx")


QDQ = """=> (float[a,b] y) { q = QuantizeLinear(image, s, z) d = DequantizeLinear(q, s, z)
    to = Constant<value = int64[2] {<R>, 48}>() f = Reshape(d, to) w = DequantizeLinear(wq, s)
    y = MatMul(f, w) }"""
QOPERATOR = """=> (float[a,b] y) { q = QuantizeLinear(image, s, z)
    to = Constant<value = int64[2] {<R>, 48}>() f = Reshape(q, to)
    p = QLinearMatMul(f, s, z, wq, s, zw, s, z)
    o = com.microsoft.QLinearAdd(p, s, z, bias, s, z, s, z) y = DequantizeLinear(o, s, z) }"""
CONTRIB = """=> (float[a,b] y) { to = Constant<value = int64[2] {<R>, 48}>() f = Reshape(image, to)
    m = com.microsoft.FusedMatMul<alpha = 0.5>(f, weight) y = com.microsoft.Gelu(m) }"""
WHOLE: dict[str, Array] = {
    "s": np.array(0.05, np.float32),
    "z": np.array(128, np.uint8),
    "zw": np.array(0, np.int8),
    "wq": np.random.default_rng(0).integers(-100, 100, (48, 5)).astype(np.int8),
    "bias": np.arange(5, dtype=np.uint8)[None] * 20,
}


@pytest.mark.parametrize("batch", [1, 2, "n"])
@pytest.mark.parametrize("body", [QDQ, QOPERATOR, CONTRIB], ids=["qdq", "qoperator", "contrib"])
def test_quantised_networks_and_other_domains(body: str, batch: int | str, tmp_path: Path) -> None:
    made = make_dynamic(written(tmp_path, IMAGE, body, batch, **WHOLE), tmp_path / "free.onnx")
    assert dims(made) == {"y": ("batch", 5)}


def test_a_scale_of_the_whole_batch_mixes_images(tmp_path: Path) -> None:
    body = """=> (float[a,b] y) { f = Flatten(image) q, t, u = DynamicQuantizeLinear(f)
        i = MatMulInteger(q, wq, u) j = Cast<to = 1>(i) y = Mul(j, t) }"""
    path = written(tmp_path, IMAGE, body, 2, **WHOLE)
    with pytest.raises(ExportError, match=r"DynamicQuantizeLinear 'q' .* treat each image by itse"):
        make_dynamic(path, tmp_path / "free.onnx")


@pytest.mark.parametrize("batch", [2, "n"])
@pytest.mark.parametrize("kind", ["double", "float16"])
def test_networks_of_other_floats(kind: str, batch: int | str, tmp_path: Path) -> None:
    declared = f"{kind}[<N>,3,4,4] image"
    body = f"""=> ({kind}[a,b] y) {{ to = Constant<value = int64[2] {{<R>, 48}}>()
        f = Reshape(image, to) y = MatMul(f, weight) }}"""
    dtype = np.float64 if kind == "double" else np.float16
    weight = np.random.default_rng(0).standard_normal((48, 5)).astype(dtype)
    path = written(tmp_path, declared, body, batch, weight=weight)
    (output,) = make_dynamic(path, tmp_path / "free.onnx").facts.outputs
    assert (output.dims, output.dtype) == (("batch", 5), np.dtype(dtype).name)


@pytest.mark.parametrize("opset", range(7, 27))
def test_every_opset_from_7_on(opset: int, tmp_path: Path) -> None:
    body = """=> (float[a,b] y) { to = Constant<value = int64[2] {2, 48}>()
        f = Reshape(image, to) s = Squeeze(f) y = MatMul(s, weight) }"""
    path = with_opset(written(tmp_path, IMAGE, body, 2), opset)
    assert dims(make_dynamic(path, tmp_path / "free.onnx")) == {"y": ("batch", 5)}


def test_initializers_among_the_inputs_and_odd_names(tmp_path: Path) -> None:
    body = """=> (float[a,b] y) { to = Constant<value = int64[2] {2, 48}>()
        f = Reshape(image, to) y = MatMul(f, weight) }"""
    path = with_opset(written(tmp_path, IMAGE, body, 2), 8)
    model = onnx.load(path)
    names = {"image": "画像 1", "f": "/a/b:0", "y": "greenbatch_constant", "to": "greenbatch_batch"}
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        node.name = ""
    model.graph.input[0].name, model.graph.output[0].name = names["image"], names["y"]
    model.graph.input.append(onnx.helper.make_tensor_value_info("weight", 1, [48, 5]))
    model.ir_version = 3
    onnx.save(model, path)
    made = make_dynamic(path, tmp_path / "free.onnx")
    assert (made.facts.input.name, dims(made)) == ("画像 1", {names["y"]: ("batch", 5)})
