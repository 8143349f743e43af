"""Graphs in nodes, lists of tensors, more operators: freed where no image decides, or refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from greenbatch.errors import ExportError, GreenbatchError, ParityError
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from tests.fakes.fixed_batch import holds, net, refuse, repeated

Array = NDArray[Any]


def drawn(*shape: int) -> Array:
    """Constants with a value of their own in each place."""
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


ONE_IF = """
    c = Constant<value = bool {1}>()
    x = If(c) <then_branch = t () => (float[n, m] a) { b = Relu(flat) a = Sin(b) },
               else_branch = e () => (float[n, m] a) { a = Cos(flat) }>"""

FREED = {
    "if of a constant": ONE_IF,
    "if of sizes": """
        mean = GlobalAveragePool(image) s = Shape(mean) i = Constant<value_ints = [3]>()
        last = Gather(s, i) one = Constant<value_ints = [1]>() c = Equal(last, one)
        thin = If(c) <then_branch = t () => (float[n, m, o] a) { a = Squeeze(mean, i) },
                      else_branch = e () => (float[n, m, o, p] a) { a = Identity(mean) }>
        three = Flatten(thin) y = Concat<axis = 1>(three, flat)
        to = Constant<value_ints = [48]>() start = Constant<value_ints = [0]>()
        x = Slice(y, start, to, one)""",
    "if in an if": """
        c = Constant<value = bool {1}>()
        x = If(c) <then_branch = t () => (float[n, m] a) {
                d = Not(c)
                a = If(d) <then_branch = u () => (float[n, m] q) { q = Cos(flat) },
                           else_branch = v () => (float[n, m] q) {
                               b = Constant<value = int64[2] {<N>, 48}>() q = Reshape(flat, b) }>
            }, else_branch = e () => (float[n, m] a) { a = Cos(flat) }>""",
    "two ifs of the same names": ONE_IF.replace("x = If", "flat2 = If")
    + ONE_IF.replace("c = Con", "c2 = Con").replace("If(c)", "If(c2)").replace("flat)", "flat2)"),
    "a loop over a constant": """
        n = Constant<value = int64 {3}>() c = Constant<value = bool {1}>()
        one = Constant<value_float = 1.0>() zero = Constant<value_float = 0.5>()
        factor = Loop(n, c, zero) <body = b (int64 i, bool go, float v) => (bool on, float w)
            { on = Identity(go) w = Add(v, one) }>
        y = Sin(flat) x = Mul(y, factor)""",
    "a loop over images": """
        n = Constant<value = int64 {3}>() c = Constant<value = bool {1}>()
        x = Loop(n, c, flat) <body = b (int64 i, bool go, float[p, q] v)
            => (bool on, float[p, q] w) { on = Identity(go) w = Sin(v) }>""",
    "a list of parts": """
        s = SplitToSequence<axis = 1>(image) zero = Constant<value_int = 0>()
        two = Constant<value_int = -1>() a = SequenceAt(s, zero) b = SequenceAt(s, two)
        t = SequenceConstruct(b, a, b) y = ConcatFromSequence<axis = 1>(t) x = Flatten(y)""",
    "a list of sized parts": """
        sizes = Constant<value_ints = [1, 2]>() s = SplitToSequence<axis = 1>(image, sizes)
        last = Constant<value_int = 1>() b = SequenceAt(s, last) t = SequenceErase(s, last)
        zero = Constant<value_int = 0>() u = SequenceInsert(t, b, zero)
        y = ConcatFromSequence<axis = 1>(u) x = Flatten(y)""",
    "a list of equal parts and a rest": """
        size = Constant<value_int = 2>() s = SplitToSequence<axis = 1>(image, size)
        e = SequenceEmpty() zero = Constant<value_int = 0>() one = Constant<value_int = 1>()
        a = SequenceAt(s, zero) b = SequenceAt(s, one) f = SequenceInsert(e, b)
        g = SequenceInsert(f, a) y = ConcatFromSequence<axis = 1>(g) x = Flatten(y)""",
    "unbind and stack": """
        s = SplitToSequence<axis = 1, keepdims = 0>(image)
        y = ConcatFromSequence<axis = 1, new_axis = 1>(s) x = Flatten(y)""",
    "the length of a list": """
        s = SplitToSequence<axis = 1>(image) n = SequenceLength(s) f = Cast<to = 1>(n)
        y = Sin(flat) x = Mul(y, f)""",
    "an optional": """
        o = Optional(flat) has = OptionalHasElement(o) y = OptionalGetElement(o)
        x = If(has) <then_branch = t () => (float[n, m] a) { a = Sin(y) },
                     else_branch = e () => (float[n, m] a) { a = Cos(y) }>""",
    "squeeze of all axes": """
        to = Constant<value = int64[4] {<N>, 1, 48, 1}>() y = Reshape(flat, to) z = Squeeze(y)
        back = Constant<value = int64[2] {<N>, 48}>() x = Reshape(z, back)""",
    "images and their mirror images": """
        b = Constant<value_ints = [-1]>() e = Constant<value_ints = [-9223372036854775807]>()
        a = Constant<value_ints = [3]>() mirrored = Slice(image, b, e, a, b)
        both = Concat<axis = 0>(image, mirrored) w = Sin(both)
        half = Constant<value = int64[2] {<N>, <N>}>() p, q = Split<axis = 0>(w, half)
        r = Mul(q, p) y = Add(p, r) x = Flatten(y)""",
    "copies behind each other": """
        twice = Constant<value_ints = [2, 1]>() y = Tile(flat, twice)
        to = Constant<value = int64[3] {2, <N>, 48}>() z = Reshape(y, to)
        u = Sin(z) x = ReduceSum<keepdims = 0>(u, first)""",
    "resize of two axes": """
        to = Constant<value = int64[2] {<N>, 6}>() y = Resize<axes = [0, 1], mode = "nearest">
            (image, , , to) z = Flatten(y) b = Constant<value_ints = [0]>()
        e = Constant<value_ints = [48]>() a = Constant<value_ints = [1]>() x = Slice(z, b, e, a)""",
    "a filled state": """
        to = Constant<value = int64[3] {<N>, 4, 12}>() y = Reshape(flat, to)
        rows = Transpose<perm = [1, 0, 2]>(y)
        sizes = Constant<value = int64[3] {1, <N>, 12}>() h = ConstantOfShape(sizes)
        all, last = GRU<hidden_size = 12>(rows, input, hidden, , , h)
        z = Transpose<perm = [2, 1, 0, 3]>(all) x = Flatten(z)""",
    "a filled row beside the images": """
        sizes = Constant<value = int64[2] {<N>, 48}>() z = ConstantOfShape(sizes)
        x = Sub(z, flat)""",
    "a tiled token": """
        times = Constant<value = int64[2] {<N>, 1}>() one = Tile(token, times)
        y = Concat<axis = 1>(one, flat) b = Constant<value_ints = [0]>()
        e = Constant<value_ints = [48]>() a = Constant<value_ints = [1]>()
        x = Slice(y, b, e, a)""",
    "a token expanded by a size": """
        n = Shape<end = 1>(image) c = Constant<value_ints = [2]>() to = Concat<axis = 0>(n, c)
        one = Expand(token, to) y = Concat<axis = 1>(one, flat) b = Constant<value_ints = [0]>()
        e = Constant<value_ints = [48]>() a = Constant<value_ints = [1]>()
        x = Slice(y, b, e, a)""",
    "a sampling grid": "y = GridSample<mode = \"linear\">(image, grid) x = Flatten(y)",
    "picked by a constant": "x = GatherElements<axis = 1>(flat, order)",
    "a sum over letters": "x = Einsum<equation = \"ni,nij->nj\">(flat, square)",
}  # fmt: skip
NEEDS = {"resize of two axes": 18, "a sampling grid": 20}


def constants(count: int) -> dict[str, Array]:
    """What the bodies name."""
    return {
        "first": np.array([0], np.int64),
        "input": drawn(1, 36, 12),
        "hidden": drawn(1, 36, 12),
        "grid": np.repeat(np.tanh(drawn(1, 4, 4, 2)), count, 0),
        "order": np.repeat(np.arange(48)[::-1][None].astype(np.int64), count, 0),
        "square": repeated(48, 48, count=count),
        "token": drawn(1, 2),
    }


def written(folder: Path, kind: str, body: str, count: int) -> Path:
    """Write a network with the constants that its body names."""
    used = {n: v for n, v in constants(count).items() if re.search(rf"[( ]{n}[,)]", body)}
    return net(folder, body, count, opset=NEEDS.get(kind, 17), **used)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(k, n) for k in FREED for n in (1, 3) if (k, n) != ("squeeze of all axes", 1)],
)
def test_what_no_image_decides_is_freed(kind: str, count: int, tmp_path: Path) -> None:
    path = written(tmp_path, kind, FREED[kind], count)
    made = make_dynamic(path, tmp_path / "free.onnx")
    holds(path, made, count)
    if "list" in kind or "unbind" in kind or "optional" in kind or "if" in kind.split():
        kinds = {node.op_type for node in onnx.load(made.facts.path).graph.node}
        assert not {k for k in kinds if "Sequence" in k or "Optional" in k or k == "If"}


REFUSED: dict[str, tuple[str, type[GreenbatchError], str]] = {
    "an if that images decide": (
        """m = ReduceMax<keepdims = 0>(flat) z = Constant<value_float = 0.0>() c = Greater(m, z)
        x = If(c) <then_branch = t () => (float[n, m] a) { a = Sin(flat) },
                   else_branch = e () => (float[n, m] a) { a = Cos(flat) }>""",
        ExportError,
        "ReduceMax 'm' returns a number whatever the batch",
    ),
    "a loop that fixes the batch": (
        """n = Constant<value = int64 {2}>() c = Constant<value = bool {1}>()
        x = Loop(n, c, flat) <body = b (int64 i, bool go, float[p, q] v)
            => (bool on, float[p, q] w) { on = Identity(go)
                to = Constant<value = int64[2] {<N>, 48}>() w = Reshape(v, to) }>""",
        ExportError,
        "Loop 'x' holds a graph that cannot take 21 images",
    ),
    "a loop over the images": (
        """n = Constant<value = int64 {<N>}>() c = Constant<value = bool {1}>()
        x = Loop(n, c) <body = b (int64 i, bool go) => (bool on, float[q] w)
            { on = Identity(go) w = Gather(flat, i) }>""",
        ExportError,
        "Loop 'x' returns 3x48 whatever the batch",
    ),
    "a list of images": (
        """s = SplitToSequence<axis = 0>(flat) zero = Constant<value_int = 0>()
        a = SequenceAt(s, zero) x = Add(flat, a)""",
        ExportError,
        "Split 's_0'",
    ),
    "a list that a node fills": (
        """s = SplitToSequence<axis = 1>(image)
        t = SequenceMap(s) <body = b (float[n, c, h, w] v) => (float[n, c, h, w] u) { u = Sin(v) }>
        y = ConcatFromSequence<axis = 1>(t) x = Flatten(y)""",
        ExportError,
        "SequenceMap 't' ",
    ),
    "images that are added to their mirror images": (
        """both = Concat<axis = 0>(flat, flat) half = Constant<value = int64[2] {2, 4}>()
        p, q = Split<axis = 0>(both, half) b = Constant<value_ints = [0]>()
        e = Constant<value_ints = [3]>() x = Slice(q, b, e, b)""",
        GreenbatchError,
        "Split 'p'",
    ),
    "softmax over the batch in a loop": (
        """n = Constant<value = int64 {2}>() c = Constant<value = bool {1}>()
        x = Loop(n, c, flat) <body = b (int64 i, bool go, float[p, q] v)
            => (bool on, float[p, q] w) { on = Identity(go) w = Softmax<axis = 0>(v) }>""",
        ParityError,
        "(see Loop 'x')",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_images_decide_or_a_body_fixes_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    body, error, said = REFUSED[kind]
    refuse(written(tmp_path, kind, body, 3), error, said)


def test_a_squeeze_that_takes_a_batch_of_one_out_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "", FREED["squeeze of all axes"], 1)
    refuse(path, ExportError, "Squeeze 'z' takes the batch out of 1x1x48x1")
