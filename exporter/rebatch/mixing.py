"""Which node of a graph lets the images of a batch reach each other."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import with_values_of

if TYPE_CHECKING:
    import onnx

    from greenbatch.models.output_rows import Array


def images_reached(model: "onnx.ModelProto", images: Sequence[str]) -> "dict[str, onnx.NodeProto]":
    """Return the tensors that depend on what is in the images, each with the node that makes it.

    Args:
        model: The graph.
        images: The inputs with a row for each image.
    """
    touched = with_values_of(model.graph.node, images)
    return {name: node for node in model.graph.node for name in node.output if name in touched}


def first_mixing(
    made: "dict[str, onnx.NodeProto]",
    run: "Callable[[Sequence[int]], Sequence[Array]]",
    bound: float,
) -> str:
    """Name the first node whose output for an image depends on the others of the batch.

    Args:
        made: From `images_reached`.
        run: From numbers of images to the values of these tensors.
        bound: Largest difference that is no dependence, over the largest value of a tensor.

    Returns:
        A clause in brackets for the text of an error; empty: there is none.
    """
    first, second, both = run([0]), run([1]), run([0, 1])
    for (name, node), one, two, together in zip(made.items(), first, second, both, strict=True):
        if not _side_by_side(one, two, together, bound):
            return f" (see {node.op_type} {(node.name or name)!r})"
    return ""


def _side_by_side(one: "Array", two: "Array", both: "Array", bound: float) -> bool:
    """Whether a tensor of two images holds those of each alone, one behind the other in an axis.

    Apart from what is ahead of the batch in its axis, that is. What does not hold numbers, or has
    as many for two images as for one, is no one's in particular.
    """
    import numpy as np

    if not all(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in (one, two, both)):
        return True
    if one.shape != two.shape or len(one.shape) != len(both.shape) or not one.size:
        return True
    grown = [a for a, (o, b) in enumerate(zip(one.shape, both.shape, strict=True)) if o != b]
    if not grown:
        return _far(one, both, _largest(both)) <= bound
    (axis,) = grown if len(grown) == 1 else (0,)
    for ahead in range(1, one.shape[axis] + 1):
        if one.shape[axis] % ahead:
            continue
        shape = (*one.shape[:axis], ahead, -1, *one.shape[axis + 1 :])
        wanted = np.concatenate((one.reshape(shape), two.reshape(shape)), axis + 1)
        if wanted.size == both.size and (
            _far(both, wanted.reshape(both.shape), _largest(wanted)) <= bound
        ):
            return True
    return False


def _largest(values: "Array") -> float:
    import numpy as np

    return float(np.abs(values).max(initial=0)) or 1.0


def _far(got: "Array", wanted: "Array", largest: float) -> float:
    import numpy as np

    return float(np.abs(got - wanted).max()) / largest if got.shape == wanted.shape else np.inf
