"""An ``If`` whose condition no image decides becomes the branch that is taken."""

from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import (
    all_names,
    copied,
    is_standard,
    rename,
    unused,
    with_values_of,
)
from greenbatch.exporter.rebatch.questions import Questions, called

if TYPE_CHECKING:
    import onnx


def take_branches(
    model: "onnx.ModelProto", images: frozenset[str], questions: Questions
) -> list[str]:
    """Put the nodes of the branch that is taken in place of each ``If``, also of those inside it.

    Exporters write an ``If`` where a size was open while they traced; with the sizes of images
    given, the same branch is taken for all of them. Which one, a run of the file shows. An ``If``
    that depends on what is in the images stays.

    Args:
        model: Changed in place.
        images: The inputs with a row for each image.
        questions: Runs the model.

    Returns:
        A clause for each ``If`` that is gone.
    """
    changes: list[str] = []
    while chosen := _decided(model, images):
        conditions = questions.values(model, [node.input[0] for node in chosen])
        taken = {
            node.output[0]: "then_branch" if condition.any() else "else_branch"
            for node, condition in zip(chosen, conditions, strict=True)
        }
        changes += [
            f"{called(node)}: its {taken[node.output[0]].replace('_', ' ')} is always taken"
            for node in chosen
        ]
        _replace(model, taken)
    return changes


def _decided(model: "onnx.ModelProto", images: frozenset[str]) -> "list[onnx.NodeProto]":
    """Return the nodes ``If`` whose condition depends on sizes and constants only."""
    touched = with_values_of(model.graph.node, images)
    return [
        node
        for node in model.graph.node
        if node.op_type == "If" and is_standard(node) and node.input[0] not in touched
    ]


def _replace(model: "onnx.ModelProto", taken: dict[str, str]) -> None:
    import onnx

    graph = model.graph
    fresh = unused(all_names(graph))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        branch = taken.get(node.output[0] if node.output else "")
        if branch is None:
            nodes.append(copied(node))
            continue
        body = next(a.g for a in node.attribute if a.name == branch)
        own = [name for inner in body.node for name in inner.output if name]
        own += [tensor.name for tensor in body.initializer]
        names = {name: fresh(name) for name in own}
        for tensor in body.initializer:
            kept = graph.initializer.add()
            kept.CopyFrom(tensor)
            kept.name = names[tensor.name]
        for inner in map(copied, body.node):
            rename(inner, names)
            nodes.append(inner)
        nodes += [
            onnx.helper.make_node("Identity", [names.get(value.name, value.name)], [output])
            for value, output in zip(body.output, node.output, strict=True)
            if output
        ]
    del graph.node[:]
    graph.node.extend(nodes)
