"""Whatever a graph computes for each image alone is proved for any batch; what mixes is refused."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from greenbatch.errors import ExportError
from greenbatch.exporter.rebatch.rewrite import make_dynamic
from tests.thorough import examples

SIDE, CHANNELS = 6, 4
NAMES = ("N", "batch_size", "?", "", "unk__12", "日本語", "a b", "N*1", "dim/0")
Batch: TypeAlias = int | str
Dims: TypeAlias = tuple[int | str, ...]


@dataclass
class Drawing:
    """A graph while it is drawn: nodes, constants, and the outputs with the dims to be found."""

    batch: Batch
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    outputs: dict[str, Dims] = field(default_factory=dict)

    def add(self, kind: str, *inputs: str, **attributes: int | list[int]) -> str:
        """Add a node; return the name of its output."""
        name = f"t{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self.nodes.append(node)
        return name

    def constant(self, value: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
        """Add a constant; return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def drawn(self, *shape: int) -> str:
        """Add a constant of random numbers."""
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def reshape(self, name: str, *sizes: int | str) -> str:
        """Reshape; ``"batch"`` stands for as many rows as there are images, times 1."""
        free = not isinstance(self.batch, int) or self.batch < 1
        numbers = [
            -1 if free and s == "batch" else self.batch if s == "batch" else s for s in sizes
        ]
        return self.add("Reshape", name, self.constant(np.array(numbers, np.int64)))

    def rows(self, name: str, count: int, *rest: int) -> str:
        """Reshape to ``count`` rows of each image."""
        free = not isinstance(self.batch, int) or self.batch < 1
        first = -1 if free else self.batch * count
        return self.add("Reshape", name, self.constant(np.array([first, *rest], np.int64)))


def convolve(draw: Drawing, name: str) -> str:
    """Convolve, and bend."""
    made = draw.add("Conv", name, draw.drawn(CHANNELS, CHANNELS, 3, 3), pads=[1, 1, 1, 1])
    return draw.add("Sigmoid", made)


def shuffle(draw: Drawing, name: str) -> str:
    """Exchange channels, by a reshape that holds the batch."""
    grouped = draw.reshape(name, "batch", 2, CHANNELS // 2, SIDE, SIDE)
    return draw.reshape(
        draw.add("Transpose", grouped, perm=[0, 2, 1, 3, 4]), "batch", CHANNELS, SIDE, SIDE
    )


def attend(draw: Drawing, name: str) -> str:
    """Let the places of each image see each other, with the batch behind them."""
    tokens = draw.reshape(name, "batch", CHANNELS, SIDE * SIDE)
    turned = draw.add("Transpose", tokens, perm=[2, 0, 1])  # places, batch, channels
    seen = draw.add("Softmax", draw.add("Mul", turned, draw.drawn(1, 1, CHANNELS)), axis=0)
    back = draw.add("Transpose", draw.add("Mul", seen, turned), perm=[1, 2, 0])
    return draw.reshape(back, "batch", CHANNELS, SIDE, SIDE)


def shift(draw: Drawing, name: str) -> str:
    """Add a constant of one row."""
    return draw.add("Add", name, draw.drawn(1, CHANNELS, SIDE, 1))


TRUNK: tuple[Callable[[Drawing, str], str], ...] = (convolve, shuffle, attend, shift)


def scores(draw: Drawing, name: str, order: list[int]) -> tuple[str, Dims]:
    """A row for each image."""
    flat = draw.add("Flatten", name)
    return draw.add("MatMul", flat, draw.drawn(CHANNELS * SIDE * SIDE, 5)), ("batch", 5)


def turned(draw: Drawing, name: str, order: list[int]) -> tuple[str, Dims]:
    """The batch on any axis."""
    sizes: Dims = ("batch", CHANNELS, SIDE, SIDE)
    return draw.add("Transpose", name, perm=order), tuple(sizes[axis] for axis in order)


def many(draw: Drawing, name: str, order: list[int]) -> tuple[str, Dims]:
    """Several rows for each image."""
    return draw.rows(name, CHANNELS, SIDE * SIDE), (f"{CHANNELS}*batch", SIDE * SIDE)


def places(draw: Drawing, name: str, order: list[int]) -> tuple[str, Dims]:
    """Positions."""
    return draw.add("ArgMax", name, axis=1, keepdims=0), ("batch", SIDE, SIDE)


def anchors(draw: Drawing, name: str, order: list[int]) -> tuple[str, Dims]:
    """A constant."""
    return draw.add("Identity", draw.drawn(7, 2)), (7, 2)


HEADS = (scores, turned, many, places, anchors)


def centred(draw: Drawing, name: str) -> str:
    """Subtract the mean over the batch."""
    return draw.add("Sub", name, draw.add("ReduceMean", name, axes=[0]))


def competing(draw: Drawing, name: str) -> str:
    """Let images compete."""
    return draw.add("Softmax", name, axis=0)


def summed(draw: Drawing, name: str) -> str:
    """Add to each image those before it."""
    return draw.add("CumSum", name, draw.constant(np.array(0, np.int64)))


def ruled(draw: Drawing, name: str) -> str:
    """Let the first image scale all."""
    zero = draw.constant(np.array([0], np.int64))
    return draw.add("Mul", name, draw.add("Gather", name, zero, axis=0))


MIXING = (centred, competing, summed, ruled)


@st.composite
def graphs(draw: st.DrawFn, mixing: bool) -> tuple[onnx.ModelProto, dict[str, Dims]]:
    """A network of images with one to three outputs, and the dims of each."""
    batch = draw(st.one_of(st.sampled_from(NAMES), st.sampled_from([1, 2, 3, -1, 0])))
    drawing = Drawing(batch, np.random.default_rng(draw(st.integers(0, 2**32))))
    kernel = drawing.drawn(CHANNELS, 3, 1, 1)
    value = drawing.add("Conv", "image", kernel)
    for layer in draw(st.lists(st.sampled_from(TRUNK), max_size=3)):
        value = layer(drawing, value)
    heads = [draw(st.sampled_from(HEADS[:3])), *draw(st.lists(st.sampled_from(HEADS), max_size=2))]
    taken = draw(st.sampled_from(MIXING))(drawing, value) if mixing else value
    for place, head in enumerate(heads):
        order = list(draw(st.permutations(range(4))))
        made, dims = head(drawing, taken if place == 0 else value, order)
        drawing.outputs[drawing.add("Identity", made)] = dims
    names = list(drawing.outputs)
    for place in draw(st.permutations(range(len(names)))):  # the graph lists them in any order
        drawing.outputs[names[place]] = drawing.outputs.pop(names[place])
    graph = helper.make_graph(
        drawing.nodes,
        "drawn",
        [helper.make_tensor_value_info("image", 1, [batch, 3, SIDE, SIDE])],
        [onnx.ValueInfoProto(name=name) for name in drawing.outputs],
        drawing.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for output in model.graph.output:
        kind = onnx.TensorProto.INT64 if "ArgMax" in _maker(model, output.name) else 1
        output.type.tensor_type.elem_type = kind
    return model, drawing.outputs


def _maker(model: onnx.ModelProto, name: str) -> str:
    """Return the operator in front of an output's Identity."""
    made = {node.output[0]: node for node in model.graph.node}
    return str(made[made[name].input[0]].op_type)


QUIET = settings(
    max_examples=examples(12, 400),
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@QUIET
@given(drawn=graphs(mixing=False), seed=st.integers(0, 2**16))
def test_what_each_image_gives_alone_is_proved_on_any_axis(
    drawn: tuple[onnx.ModelProto, dict[str, Dims]], seed: int
) -> None:
    model, wanted = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(model, path)
        made = make_dynamic(path, Path(folder) / "free.onnx")
        assert {output.name: output.dims for output in made.facts.outputs} == wanted
        assert [output.name for output in made.facts.outputs] == list(wanted)
        session = ort.InferenceSession(made.facts.path, providers=["CPUExecutionProvider"])
        images = np.random.default_rng(seed).standard_normal((5, 3, SIDE, SIDE), np.float32)
        together = session.run(None, {"image": images})
        alone = [session.run(None, {"image": image[None]}) for image in images]
        for place, dims in enumerate(wanted.values()):
            axis = next((a for a, dim in enumerate(dims) if isinstance(dim, str)), None)
            parts = [outputs[place] for outputs in alone]
            right = parts[0] if axis is None else np.concatenate(parts, axis)
            np.testing.assert_allclose(together[place], right, rtol=0, atol=1e-4)


@pytest.mark.slow
@QUIET
@given(drawn=graphs(mixing=True))
def test_images_that_reach_each_other_are_refused(
    drawn: tuple[onnx.ModelProto, dict[str, Dims]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(drawn[0], path)
        with pytest.raises(ExportError):
            make_dynamic(path, Path(folder) / "free.onnx")
        assert [file.name for file in Path(folder).iterdir()] == ["net.onnx"]
