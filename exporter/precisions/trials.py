"""A network as it would compute with some nodes kept in float32, judged on a few images."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ParityError
from greenbatch.exporter.precisions import fidelity
from greenbatch.exporter.precisions.calibration import Images
from greenbatch.exporter.precisions.rounded import write_rounded
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.precisions.sensitivity import MULTIPLYING, Node
from greenbatch.exporter.precisions.unquantised import quantised_nodes, without
from greenbatch.exporter.precisions.widths import find_widths
from greenbatch.models.output_rows import Outputs
from greenbatch.records import TensorSpec

if TYPE_CHECKING:
    import onnx

_IMAGES, _BYTES = 8, 5_000_000  # that are measured on: fewer of large ones, but two
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network's outputs in fp32, and what they are of.

    Attributes:
        name: Of the model, for errors.
        images: What it is judged by.
        specs: What the outputs are.
        outputs: By name, for all the images.
    """

    name: str
    images: Images
    specs: Sequence[TensorSpec]
    outputs: Outputs


def wanted_of(
    path: Path, images: Images, specs: Sequence[TensorSpec], name: str, most: int | None = None
) -> Wanted:
    """Run a fp32 graph on the first images, by default on as many as nodes are measured on.

    Raises:
        ExportError: ONNX Runtime cannot load or run it.
    """
    each = images.pixels.nbytes // max(1, len(images))
    some = images.first(most or min(_IMAGES, max(2, _BYTES // max(1, each))))
    return Wanted(name, some, specs, run(path, some, specs, name))


def rounding_nodes(model: "onnx.ModelProto", precision: str) -> list[Node]:
    """Return the nodes that compute in 16 bits."""
    widths = find_widths(model, precision, _NONE)
    return [
        Node(node.name, node.op_type in MULTIPLYING)
        for node, places in zip(model.graph.node, widths.read, strict=True)
        if places or (node.op_type != "Constant" and widths.made.intersection(node.output))
    ]


class RoundedLoss:
    """What a network loses in 16 bits, from the nodes that are kept in float32."""

    def __init__(
        self, model: "onnx.ModelProto", wanted: Wanted, precision: str, folder: Path
    ) -> None:
        self._model, self._precision = model, precision
        self._wanted = wanted
        self._path = folder / "rounded.onnx"

    def __call__(self, kept: Collection[str]) -> float:
        """Return the loss, see `greenbatch.exporter.precisions.sensitivity.Loss`."""
        write_rounded(self._model, self._path, self._precision, kept)
        return _loss(self._path, self._wanted, self._precision)


class QuantisedLoss:
    """What a network loses in int8, from the nodes that are kept in float32."""

    def __init__(
        self,
        model: "onnx.ModelProto",
        floats: "Mapping[str, onnx.TensorProto]",
        wanted: Wanted,
        folder: Path,
    ) -> None:
        self._model, self._floats = model, floats
        self._wanted = wanted
        self._path = folder / "quantised.onnx"
        self.nodes = quantised_nodes(model)

    def __call__(self, kept: Collection[str]) -> float:
        """Return the loss, see `greenbatch.exporter.precisions.sensitivity.Loss`."""
        import onnx

        onnx.save(without(self._model, self._floats, kept), self._path)
        return _loss(self._path, self._wanted, "int8")


def _loss(path: Path, wanted: Wanted, precision: str) -> float:
    """Return the loss of a graph; infinite where its outputs cannot be compared."""
    name = f"{wanted.name} in {precision}"
    got = run(path, wanted.images, wanted.specs, name, optimise=False)
    try:
        found = fidelity.compare(
            wanted.specs, wanted.name, wanted.outputs, got, precision, wanted.images
        )
    except ParityError:
        return math.inf
    return fidelity.loss(found, precision)
