"""Asking ONNX Runtime what the tensors of a graph are at the file's batch."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.reading import save
from greenbatch.exporter.onnx_file.scopes import all_names, reads, unused
from greenbatch.models.onnx_session import open_session

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

Shape = tuple[int, ...]

_NOT_ALL_TENSORS = frozenset(
    {
        "SplitToSequence", "SequenceConstruct", "SequenceEmpty", "SequenceMap", "Optional", "If",
        "Loop", "Scan", "ZipMap",
    }
)  # fmt: skip
"""Operators that may put out lists and optionals, of which there are no sizes."""


class Questions:
    """Runs parts of a graph on one batch of images."""

    def __init__(self, path: Path, feeds: "Mapping[str, Array]", staging: Path) -> None:
        """Keep what each question needs.

        Args:
            path: Of the original, for the text of an error.
            feeds: All inputs by name, for as many images as the original takes.
            staging: A folder for temporary files.
        """
        self._path, self._feeds, self._staging = path, feeds, staging

    def types(self, model: "onnx.ModelProto", names: Sequence[str]) -> dict[str, str]:
        """Return the types of tensors in ONNX Runtime's words, e.g. ``tensor(float)``."""
        if not names:
            return {}
        outputs = self._open(part_of(model, names)).get_outputs()
        return {output.name: output.type for output in outputs}

    def values(self, model: "onnx.ModelProto", names: Sequence[str]) -> "list[Array]":
        """Return the values of tensors."""
        return self._answers(part_of(model, names), names) if names else []

    def shapes(self, model: "onnx.ModelProto", names: Sequence[str]) -> dict[str, Shape]:
        """Return the sizes of tensors; what is a sequence or an optional has none."""
        import onnx

        if any(node.op_type in _NOT_ALL_TENSORS for node in model.graph.node):
            made = [name for name in names if name not in self._feeds]
            kinds = self.types(model, made)
            names = [name for name in names if kinds.get(name, "tensor(").startswith("tensor(")]
        if not names:
            return {}
        part = part_of(model, names)
        fresh = unused(all_names(part.graph))
        sizes = [fresh(f"size_of_{place}") for place in range(len(names))]
        part.graph.node.extend(
            onnx.helper.make_node("Shape", [name], [size], name=size)
            for name, size in zip(names, sizes, strict=True)
        )
        del part.graph.output[:]
        part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sizes)
        answers = self._answers(part, sizes)
        return {name: tuple(map(int, size)) for name, size in zip(names, answers, strict=True)}

    def _answers(self, part: "onnx.ModelProto", names: Sequence[str]) -> "list[Array]":
        session = self._open(part)
        feeds = {value.name: self._feeds[value.name] for value in part.graph.input}
        try:
            answers: list[Array] = session.run(list(names), feeds)
        except Exception as error:  # ONNX Runtime's errors have no common root
            raise self._refusal(error) from error
        return answers

    def refusal(
        self,
        node: "onnx.NodeProto",
        why: str,
        cure: str = "export the network again with a dynamic batch axis",
    ) -> ExportError:
        """Return the error that names a node, why it stands in the way, and what to do."""
        return ExportError(
            f"the batch of {self._path} cannot be freed: {called(node)} {why}; {cure}"
        )

    def _open(self, model: "onnx.ModelProto") -> "ort.InferenceSession":
        file = self._staging / "question.onnx"
        save(model, file)
        try:
            return open_session(file, optimise=False)
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> ExportError:
        return ExportError(
            f"the batch of {self._path} cannot be freed: its tensors cannot be computed one by one "
            f"({innermost_line(error)}); export the network again with a dynamic batch axis"
        )


def called(node: "onnx.NodeProto") -> str:
    """Name a node as a person finds it: ``Reshape 'node_view'``."""
    return f"{node.op_type} {(node.name or next(iter(node.output), ''))!r}"


def needed(
    model: "onnx.ModelProto", names: Iterable[str]
) -> "tuple[list[onnx.NodeProto], set[str]]":
    """Return the nodes that some tensors follow from, in their order, and all that they read."""
    wanted, nodes = set(names), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
            nodes.append(node)
    return nodes[::-1], wanted


def part_of(model: "onnx.ModelProto", names: Iterable[str]) -> "onnx.ModelProto":
    """Return the part of a graph that some tensors follow from, with these as its outputs."""
    import onnx

    outputs = list(names)
    nodes, wanted = needed(model, outputs)
    result = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    graph = result.graph
    graph.name = "part"
    graph.node.extend(nodes)
    given = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    graph.initializer.extend(given)
    sparse = [t for t in model.graph.sparse_initializer if t.values.name in wanted]
    graph.sparse_initializer.extend(sparse)
    constants = {tensor.name for tensor in given} | {tensor.values.name for tensor in sparse}
    graph.input.extend(v for v in model.graph.input if v.name in wanted - constants)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return result
