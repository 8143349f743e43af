"""Networks whose batch is fixed, and what holds for what is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from greenbatch.errors import GreenbatchError
from greenbatch.exporter.onnx_file.inspection import inspect
from greenbatch.exporter.rebatch.rewrite import Rebatched, make_dynamic

Array = NDArray[Any]


def run(path: Path, images: Array) -> Array:
    """Run a file by ONNX Runtime alone, without greenbatch."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(logits)


def holds(original: Path, made: Rebatched, count: int) -> None:
    """Hold a new file to its original and to its own rows, by other images than the proof's."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((2 * count + 5, *made.facts.input.shape), np.float32)
    assert made.facts.batch is None
    assert inspect(made.facts.path).outputs[0].dims[0] == "batch"
    whole = run(made.facts.path, images)
    np.testing.assert_allclose(whole[:count], run(original, images[:count]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        whole[count : 2 * count], run(original, images[count : 2 * count]), rtol=0, atol=1e-5
    )
    onnx.checker.check_model(made.facts.path, full_check=True)


def net(folder: Path, body: str, count: int, *, opset: int = 17, **constants: Array) -> Path:
    """Write a network of images (count, 3, 4, 4) from ONNX's own text form.

    ``body`` maps ``flat`` (count, 48) or ``image`` to ``x``; a linear layer (48 -> 5) follows if it
    does not make ``logits``. ``N`` in it stands for the count.
    """
    rng = np.random.default_rng(0)
    head = "" if "logits" in body else "logits = MatMul(x, weight)"
    text = f"""
    <ir_version: 9, opset_import: ["" : {opset}, "own" : 1, "com.microsoft" : 1]>
    net (float[{count},3,4,4] image) => (float[{count},5] logits) {{
        flat = Flatten(image)
        {body.replace("<N>", str(count))}
        {head}
    }}"""
    model = parser.parse_model(text)
    constants.setdefault("weight", rng.standard_normal((48, 5)).astype(np.float32))
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def repeated(*shape: int, count: int) -> Array:
    """A constant with the same random row for each image."""
    row = np.random.default_rng(2).standard_normal((1, *shape)).astype(np.float32)
    return np.repeat(row, count, 0)


def ints(*values: int) -> Array:
    """Sizes."""
    return np.array(values, np.int64)


def refuse(path: Path, error: type[GreenbatchError], said: str) -> None:
    """Hold that a file is refused in one sentence and that nothing is left behind."""
    out = path.parent / "new"
    with pytest.raises(error) as caught:
        make_dynamic(path, out / "free.onnx")
    text = str(caught.value)
    assert said in text
    assert ";" in text
    assert "\n" not in text
    assert list(out.iterdir()) == []
