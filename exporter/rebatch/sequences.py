"""Lists of tensors in a graph become the tensors that are in them.

A list whose length and positions no image decides only names tensors: ``SplitToSequence`` is a
``Split``, ``SequenceAt`` one of its parts, ``ConcatFromSequence`` a ``Concat``. An optional that is
filled is the tensor in it.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import (
    all_names,
    copied,
    is_standard,
    reads,
    unused,
    with_values_of,
)
from greenbatch.exporter.rebatch.questions import Questions, Shape, called
from greenbatch.exporter.rebatch.sizes import PREFIX

if TYPE_CHECKING:
    import onnx

_MAKING = frozenset({"SplitToSequence", "SequenceConstruct", "SequenceEmpty", "Optional"})
_NUMBERS = {"SplitToSequence": 1, "SequenceAt": 1, "SequenceInsert": 2, "SequenceErase": 1}
"""Operators by which of their inputs holds a length or a position."""
_AXES_AS_INPUT = 13  # the opset from which Split, Squeeze and Unsqueeze take them as an input


def take_apart(
    model: "onnx.ModelProto", images: frozenset[str], questions: Questions, opset: int
) -> list[str]:
    """Replace the lists of tensors, as far as no image decides what is in them.

    Args:
        model: Changed in place.
        images: The inputs with a row for each image.
        questions: Runs the model.
        opset: Of ONNX's own operators.

    Returns:
        A clause for each node that made a list.
    """
    if not any(node.op_type in _MAKING and is_standard(node) for node in model.graph.node):
        return []
    lists = _Lists(model, images, questions, opset)
    for node in model.graph.node:
        lists.take(node)
    lists.finish()
    return lists.changes


class _Lists:
    """The lists while the nodes are gone through, by name."""

    def __init__(
        self, model: "onnx.ModelProto", images: frozenset[str], questions: Questions, opset: int
    ) -> None:
        self._model, self._opset, self._questions = model, opset, questions
        self._fresh = unused(all_names(model.graph))
        self._members: dict[str, list[str]] = {}
        self._filled: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self.changes: list[str] = []
        touched = with_values_of(model.graph.node, images)
        nodes = [node for node in model.graph.node if is_standard(node)]
        numbers = [
            node.input[_NUMBERS[node.op_type]]
            for node in nodes
            if node.op_type in _NUMBERS and len(node.input) > _NUMBERS[node.op_type]
        ]
        numbers = [name for name in dict.fromkeys(numbers) if name and name not in touched]
        values = questions.values(model, numbers)
        self._numbers = dict(zip(numbers, values, strict=True))
        split = [node.input[0] for node in nodes if node.op_type == "SplitToSequence"]
        self._shapes = questions.shapes(model, list(dict.fromkeys(split)))
        self._rules: dict[str, Callable[[onnx.NodeProto], bool]] = {
            "SplitToSequence": self._split,
            "SequenceEmpty": self._empty,
            "SequenceConstruct": self._construct,
            "SequenceInsert": self._insert,
            "SequenceErase": self._erase,
            "SequenceAt": self._at,
            "SequenceLength": self._length,
            "ConcatFromSequence": self._concat,
            "Identity": self._alias,
            "Optional": self._optional,
            "OptionalHasElement": self._has_element,
            "OptionalGetElement": self._alias,
        }

    def take(self, node: "onnx.NodeProto") -> None:
        """Replace a node, or keep it where it has nothing to do with lists that are known."""
        rule = self._rules.get(node.op_type) if is_standard(node) else None
        if rule is not None and rule(node):
            return
        if any(name in self._members or name in self._filled for name in reads(node)):
            raise self._questions.refusal(node, "takes a list of tensors, which is not followed")
        self._nodes.append(copied(node))

    def finish(self) -> None:
        """Put the nodes into the graph; an output that was an optional is the tensor in it."""
        graph = self._model.graph
        for value in graph.output:
            if value.name in self._filled:
                value.type.Clear()
                self._make("Identity", [self._filled[value.name]], value.name)
        del graph.node[:]
        graph.node.extend(self._nodes)

    def _split(self, node: "onnx.NodeProto") -> bool:
        data, shape = node.input[0], self._shapes.get(node.input[0])
        axis, keep = _attribute(node, "axis", 0), bool(_attribute(node, "keepdims", 1))
        counted = len(node.input) > 1 and bool(node.input[1])
        if shape is None or (counted and node.input[1] not in self._numbers):
            return False
        parts = self._parts(node.input[1] if counted else "", shape, axis)
        members = [self._fresh(f"{node.output[0]}_{place}") for place in range(len(parts))]
        if len(parts) == 1:
            self._make("Identity", [data], members[0])
        elif self._opset >= _AXES_AS_INPUT:
            self._make("Split", [data, self._constant(parts)], *members, axis=axis)
        else:
            self._make("Split", [data], *members, axis=axis, split=parts)
        if not counted and not keep:
            members = [self._with_axis("Squeeze", member, axis) for member in members]
        self._members[node.output[0]] = members
        self.changes.append(f"{called(node)}: the list of {len(parts)} parts becomes a Split")
        return True

    def _parts(self, sizes: str, shape: Shape, axis: int) -> list[int]:
        length = shape[axis]
        if not sizes:
            return [1] * length
        value = self._numbers[sizes]
        if value.ndim:
            return [int(size) for size in value]
        most = int(value)
        return [min(most, length - most * i) for i in range(math.ceil(length / most))]

    def _empty(self, node: "onnx.NodeProto") -> bool:
        self._members[node.output[0]] = []
        return True

    def _construct(self, node: "onnx.NodeProto") -> bool:
        self._members[node.output[0]] = list(node.input)
        self.changes.append(f"{called(node)}: the list of {len(node.input)} tensors is taken apart")
        return True

    def _insert(self, node: "onnx.NodeProto") -> bool:
        place = self._place(node, 2)
        if place is None or node.input[0] not in self._members:
            return False
        members = list(self._members[node.input[0]])
        members.insert(len(members) if place == len(members) else place, node.input[1])
        self._members[node.output[0]] = members
        return True

    def _erase(self, node: "onnx.NodeProto") -> bool:
        place = self._place(node, 1)
        if place is None or node.input[0] not in self._members:
            return False
        members = list(self._members[node.input[0]])
        del members[place]
        self._members[node.output[0]] = members
        return True

    def _at(self, node: "onnx.NodeProto") -> bool:
        place = self._place(node, 1)
        if place is None or node.input[0] not in self._members:
            return False
        self._make("Identity", [self._members[node.input[0]][place]], node.output[0])
        return True

    def _place(self, node: "onnx.NodeProto", where: int) -> int | None:
        """Return the position that a node names; the end of the list if it names none."""
        if len(node.input) <= where or not node.input[where]:
            members = self._members.get(node.input[0], [])
            return len(members) if node.op_type == "SequenceInsert" else len(members) - 1
        value = self._numbers.get(node.input[where])
        return None if value is None else int(value)

    def _length(self, node: "onnx.NodeProto") -> bool:
        import numpy as np
        import onnx

        if node.input[0] not in self._members:
            return False
        count = np.array(len(self._members[node.input[0]]), np.int64)
        self._constant_node(node.output[0], onnx.numpy_helper.from_array(count))
        return True

    def _concat(self, node: "onnx.NodeProto") -> bool:
        members, axis = self._members.get(node.input[0]), _attribute(node, "axis", 0)
        if members is None:
            return False
        if _attribute(node, "new_axis", 0):
            members = [self._with_axis("Unsqueeze", member, axis) for member in members]
        self._make("Concat", members, node.output[0], axis=axis)
        return True

    def _alias(self, node: "onnx.NodeProto") -> bool:
        source, name = node.input[0], node.output[0]
        if source in self._members:
            self._members[name] = self._members[source]
        elif node.op_type == "Identity" and source in self._filled:
            self._filled[name] = self._filled[source]
        elif source in self._filled:
            self._make("Identity", [self._filled[source]], name)
        else:
            return False
        return True

    def _optional(self, node: "onnx.NodeProto") -> bool:
        if not node.input or not node.input[0]:
            return False
        source = node.input[0]
        if source in self._members:
            self._members[node.output[0]] = self._members[source]
        else:
            self._filled[node.output[0]] = source
        self.changes.append(f"{called(node)}: the optional is the tensor in it")
        return True

    def _has_element(self, node: "onnx.NodeProto") -> bool:
        import numpy as np
        import onnx

        source = node.input[0] if node.input else ""
        if source not in self._filled and source not in self._members:
            return False
        self._constant_node(node.output[0], onnx.numpy_helper.from_array(np.array(True)))
        return True

    def _with_axis(self, kind: str, name: str, axis: int) -> str:
        made = self._fresh(f"{name}_{kind.lower()}d")
        if self._opset >= _AXES_AS_INPUT:
            self._make(kind, [name, self._constant([axis])], made)
        else:
            self._make(kind, [name], made, axes=[axis])
        return made

    def _constant(self, values: list[int]) -> str:
        import numpy as np
        import onnx

        name = self._fresh(f"{PREFIX}list")
        tensor = onnx.numpy_helper.from_array(np.array(values, np.int64), name)
        self._model.graph.initializer.append(tensor)
        return name

    def _constant_node(self, name: str, value: "onnx.TensorProto") -> None:
        import onnx

        self._nodes.append(onnx.helper.make_node("Constant", [], [name], name=name, value=value))

    def _make(
        self, kind: str, inputs: list[str], *outputs: str, **attributes: int | list[int]
    ) -> None:
        import onnx

        node = onnx.helper.make_node(kind, inputs, list(outputs), name=outputs[0])
        node.attribute.extend(onnx.helper.make_attribute(*pair) for pair in attributes.items())
        self._nodes.append(node)


def _attribute(node: "onnx.NodeProto", name: str, otherwise: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), otherwise)
