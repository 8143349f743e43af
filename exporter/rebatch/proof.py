"""Proof that a file with a freed batch computes what the original does, for each image alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.inspection import OnnxFacts
from greenbatch.exporter.onnx_file.reading import real_inputs, save, with_outputs
from greenbatch.exporter.rebatch.sizes import Carrier
from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.onnx_session import open_session
from greenbatch.models.output_rows import take_images
from greenbatch.records import Parity

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Run = Callable[[Sequence[int]], "list[Array]"]

BATCH_SIZES = (1, 2, 3, 7, 16)

SAME_BOUND = 1e-5
"""Largest difference from the original at its own batch, over its largest absolute logit.

The same nodes run on the same numbers; only the choice of kernels may depend on sizes.
"""

ROWS_BOUND = 1e-3
"""The same for an image in a batch against that image alone: sums are blocked otherwise."""

_IMAGES = 7
_SEED = 20_261_121
_VARIES = 1e-4  # spread between images that a comparison needs, over the largest logit


def prove(
    original: "onnx.ModelProto",
    model: "onnx.ModelProto",
    facts: OnnxFacts,
    carriers: Mapping[str, Carrier],
    staging: Path,
) -> tuple[tuple[Parity, ...], int]:
    """Compare a new graph with its original at the original's batch, and batches with images alone.

    Where the output is the same for all images (a file without real weights), agreement would
    prove nothing. Then the constants that stand for weights are drawn at random, in both graphs
    alike and for the proof only, and what goes into a last Softmax is compared too.

    Args:
        original: Runs at ``facts.batch`` only, or at any if that is ``None``.
        model: The new graph.
        facts: Of the original.
        carriers: Where the batch is in each tensor of ``model`` that depends on the images.
        staging: A folder for temporary files.

    Returns:
        A record for each of `BATCH_SIZES` and the original's batch, and how many constants were
        drawn.

    Raises:
        ParityError: It computes something else, mixes images, or nothing could be proved.
    """
    outputs = [output.name for output in facts.outputs]
    records = _compare(original, model, facts, carriers, outputs, staging)
    if records:
        return records, 0
    drawn = _draw(original)
    outputs += _before_softmax(original, outputs[0])
    original, model = _with_constants(original, drawn), _with_constants(model, drawn)
    records = _compare(original, model, facts, carriers, outputs, staging)
    if not records:
        raise ParityError(
            f"nothing can be proved of {facts.path}: its output is the same for all images, even "
            f"with {len(drawn)} of its constants drawn at random; give it trained weights"
        )
    return records, len(drawn)


def _compare(
    original: "onnx.ModelProto",
    model: "onnx.ModelProto",
    facts: OnnxFacts,
    carriers: Mapping[str, Carrier],
    outputs: Sequence[str],
    staging: Path,
) -> tuple[Parity, ...] | None:
    """Return a record for each batch size; ``None``: the last output is the same for all images."""
    import numpy as np

    count = facts.batch or 1
    old, new = (_runner(m, facts, outputs, staging) for m in (original, model))
    groups = [[(first + i) % _IMAGES for i in range(count)] for first in range(0, _IMAGES, count)]
    truth = _joined(map(old, groups), _IMAGES)
    largest = [float(np.abs(values).max()) or 1.0 for values in truth]
    _check_same(new(groups[0]), truth, groups[0], largest, SAME_BOUND, facts)
    if float(truth[-1].std(axis=0).max()) / largest[-1] < _VARIES:
        return None
    alone = _joined((new([image]) for image in range(_IMAGES)), _IMAGES)
    results = []
    for size in sorted({*BATCH_SIZES, count}):
        order = [(3 * i) % _IMAGES for i in range(size)]
        got = [values[order] for values in alone] if size == 1 else new(order)
        rows = max(_far(g, a[order], m) for g, a, m in zip(got, alone, largest, strict=True))
        if not rows <= ROWS_BOUND:
            culprit = _first_mixing(model, facts, carriers, staging)
            raise ParityError(
                f"images of a batch reach each other in {facts.path}: at batch {size} a row "
                f"differs by {rows:.1e} of the largest logit from its image run alone, allowed are "
                f"{ROWS_BOUND:.0e}{culprit}; its network must treat each image by itself"
            )
        results.append((order, got, rows))
    records = []
    for order, got, rows in results:  # afterwards: where images mix, they differ from these too
        error = _check_same(got, truth, order, largest, ROWS_BOUND, facts)
        records.append(
            Parity(
                batch_size=len(order),
                max_abs=error * largest[-1],
                max_rel=error,
                spread=float(truth[-1].std()),
                rows_rel=rows,
            )
        )
    return tuple(records)


def _joined(parts: "Iterable[list[Array]]", count: int) -> "list[Array]":
    """Put the outputs of several runs one behind the other, ``count`` rows in all."""
    import numpy as np

    return [np.concatenate(values)[:count] for values in zip(*parts, strict=True)]


def _check_same(
    got: "list[Array]",
    truth: "list[Array]",
    order: Sequence[int],
    largest: Sequence[float],
    bound: float,
    facts: OnnxFacts,
) -> float:
    """Hold outputs to the original's; return the largest difference, relative."""
    import numpy as np

    if not all(np.isfinite(values).all() for values in (*truth, *got)):
        raise ParityError(f"{facts.path} returns values that are not finite; check its weights")
    error = max(_far(g, t[order], m) for g, t, m in zip(got, truth, largest, strict=True))
    if not error <= bound:
        raise ParityError(
            f"with a free batch axis {facts.path} computes something else: at batch {len(order)} "
            f"logits differ by {error:.1e} of the largest, allowed are {bound:.0e}; export the "
            "network again with a dynamic batch axis"
        )
    return error


def _far(got: "Array", wanted: "Array", largest: float) -> float:
    import numpy as np

    return (
        float(np.abs(got - wanted).max()) / largest if got.shape == wanted.shape else float("inf")
    )


def _runner(
    model: "onnx.ModelProto", facts: OnnxFacts, outputs: Sequence[str], staging: Path
) -> "Run":
    """Return a function from numbers of images to outputs."""
    inputs = synthetic_inputs(facts.input, _IMAGES, _SEED)
    file = staging / "proof.onnx"
    save(with_outputs(model, outputs), file)
    session = open_session(file)

    def run(order: Sequence[int]) -> "list[Array]":
        try:
            results: list[Array] = session.run(None, take_images(facts.input, inputs, order))
        except Exception as error:  # ONNX Runtime's errors have no common root
            raise ParityError(
                f"with a free batch axis {facts.path} does not run at batch {len(order)}: "
                f"{innermost_line(error)}; export the network again with a dynamic batch axis"
            ) from error
        return results

    return run


def _first_mixing(
    model: "onnx.ModelProto", facts: OnnxFacts, carriers: Mapping[str, Carrier], staging: Path
) -> str:
    """Name the first node whose output for an image depends on the others of the batch."""
    import numpy as np

    made = {name: node for node in model.graph.node for name in node.output if name in carriers}
    run = _runner(model, facts, list(made), staging)
    first, second, both = run([0]), run([1]), run([0, 1])
    for (name, node), *values in zip(made.items(), first, second, both, strict=True):
        one, two, together = values
        if not np.issubdtype(together.dtype, np.floating):
            continue
        axis, ahead = carriers[name].axis, carriers[name].ahead
        # Apart from what is ahead of the batch in its axis, images lie one behind the other.
        shape = (*one.shape[:axis], ahead, -1, *one.shape[axis + 1 :])
        wanted = np.concatenate((one.reshape(shape), two.reshape(shape)), axis + 1)
        wanted = wanted.reshape(together.shape)
        if not _far(together, wanted, float(np.abs(wanted).max()) or 1.0) <= ROWS_BOUND:
            return f" (see {node.op_type} {(node.name or name)!r})"
    return ""


def _draw(model: "onnx.ModelProto") -> "dict[str, Array]":
    """Draw values for the constants that hold one value only, as weights that nobody trained do.

    Factors and variances (one axis) are drawn near 1, so that the signal survives many layers.
    """
    import numpy as np
    import onnx

    rng = np.random.default_rng(_SEED)
    given = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
            values = onnx.numpy_helper.to_array(tensor)
            if values.size > 1 and values.min() == values.max():
                shapes[tensor.name] = tuple(tensor.dims)
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in given:
            shape = tuple(onnx.numpy_helper.to_array(given[node.input[0]]).tolist())
            fill = next((a.t.data_type for a in node.attribute), onnx.TensorProto.FLOAT)
            if shape and fill == onnx.TensorProto.FLOAT:
                shapes[node.output[0]] = shape
    drawn = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            drawn[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            deviation = (2 / max(1, int(np.prod(shape[1:])))) ** 0.5  # He et al. 2015, eq. 10
            drawn[name] = rng.standard_normal(shape, np.float32) * np.float32(deviation)
    return drawn


def _with_constants(model: "onnx.ModelProto", values: "Mapping[str, Array]") -> "onnx.ModelProto":
    """Return a copy of a model with other values for some of its constants."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph: Any = copy.graph
    inputs = list(map(_copied, real_inputs(model)))
    kept = [tensor for tensor in graph.initializer if tensor.name not in values]
    nodes = [node for node in graph.node if not set(node.output) & set(values)]
    drawn = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    kept, nodes = list(map(_copied, kept)), list(map(_copied, nodes))
    del graph.input[:], graph.initializer[:], graph.node[:]
    graph.input.extend(inputs)
    graph.initializer.extend([*kept, *drawn])
    graph.node.extend(nodes)
    copy.ir_version = max(copy.ir_version, 4)
    return copy


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _before_softmax(model: "onnx.ModelProto", output: str) -> list[str]:
    """Return what goes into a last Softmax, which may saturate."""
    maker = next((node for node in model.graph.node if output in node.output), None)
    return [maker.input[0]] if maker is not None and maker.op_type == "Softmax" else []
