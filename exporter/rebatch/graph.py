"""Following the batch through an ONNX graph, and rewriting what fixes it.

The graph is followed from its input to its output with the sizes that every tensor has at the
file's batch and those that it would have at another. Where a constant stands in the way it is
rewritten; where that cannot be done without changing what is computed, the node is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.onnx_file.reading import declare, opsets, real_inputs
from greenbatch.exporter.onnx_file.scopes import copied, is_standard, reads
from greenbatch.exporter.rebatch.branches import take_branches
from greenbatch.exporter.rebatch.questions import Questions, needed
from greenbatch.exporter.rebatch.rules import Rules
from greenbatch.exporter.rebatch.sequences import take_apart
from greenbatch.exporter.rebatch.sizes import FACTOR, Carrier, Sizes, show
from greenbatch.records import BATCH_AXIS

if TYPE_CHECKING:
    import onnx

    from greenbatch.exporter.rebatch.questions import Array

_BY_ITSELF = "its network must treat each image by itself"


class Rewriting:
    """Follows the batch through a graph, and changes what stands in its way.

    Attributes:
        carriers: Where the batch is, for all tensors that depend on the images.
        changes: What was rewritten, a clause for each.
    """

    def __init__(
        self,
        model: "onnx.ModelProto",
        path: Path,
        feeds: "Mapping[str, Array]",
        images: Sequence[str],
        staging: Path,
    ) -> None:
        """Take what can be taken out before sizes are followed: branches, and lists of tensors.

        Args:
            model: The original, without functions of its own.
            path: Its file, for the text of an error.
            feeds: All inputs by name, for as many images as the original takes.
            images: The inputs whose first axis is the batch.
            staging: A folder for temporary files.
        """
        import onnx

        self._model, self._path = onnx.ModelProto(), path
        self._model.CopyFrom(model)
        used, _ = needed(model, [value.name for value in model.graph.output])
        del self._model.graph.node[:]
        self._model.graph.node.extend(used)
        questions = Questions(path, feeds, staging)
        changes = take_branches(self._model, frozenset(images), questions)
        opset = opsets(model).get("", 0)
        changes += take_apart(self._model, frozenset(images), questions, opset)
        self._sizes = Sizes(self._model, feeds, images, questions)
        self._rules = Rules(self._sizes)
        self._rules.changes += changes
        self.carriers, self.changes = self._sizes.carriers, self._rules.changes

    def run(self) -> "onnx.ModelProto":
        """Return the model with a free batch axis.

        Raises:
            ExportError: A node holds the batch in a way that cannot be rewritten, or no output
                has it.
        """
        for node in self._model.graph.node:
            self._follow(node)
        outputs = [value.name for value in self._model.graph.output]
        carried = [name for name in outputs if name in self.carriers]
        mixed = [name for name in carried if self.carriers[name].ahead != 1]
        if mixed or not carried:
            shown = ", ".join(mixed or outputs)
            why = "lies behind another axis in" if mixed else "does not reach"
            raise ExportError(
                f"the batch {why} the output {shown} of {self._path}; export the network again "
                "with a dynamic batch axis"
            )
        return self._result()

    def _follow(self, node: "onnx.NodeProto") -> None:
        """Derive a node's sizes at the other batch; change it where they would be wrong."""
        sizes, rules = self._sizes, self._rules
        copy = copied(node)
        inputs = reads(copy)
        sees = any(name in self.carriers for name in inputs)
        self._check_takes(node, inputs)
        if any(map(sizes.moves, inputs)):
            rules.rewrite(copy)
        rules.nodes.append(copy)
        about_sizes = copy.op_type in {"Shape", "Size"} and is_standard(copy)
        if copy.op_type == "Constant" or not (
            sees or any(sizes.moves(n) or n in sizes.then_values for n in inputs)
        ):
            sizes.stay(copy)
            return
        if about_sizes:
            sizes.measure(copy)
            return
        if not sees and sizes.evaluate(copy):
            return
        for name, (kind, shape) in zip(copy.output, sizes.infer(copy), strict=True):
            if name:
                sizes.types[name], sizes.then[name] = kind, shape
                self._check(node, name, sees)

    def _check_takes(self, node: "onnx.NodeProto", inputs: Sequence[str]) -> None:
        """Refuse what cannot be followed: lists that stayed, and choices that images make."""
        sizes = self._sizes
        sees = any(name in self.carriers for name in inputs)
        if node.op_type == "If" and is_standard(node) and node.input[0] in self.carriers:
            raise sizes.refusal(
                node, "chooses by the images of the batch what it computes", _BY_ITSELF
            )
        if sees and any(name and name not in sizes.at for name in node.output):
            raise sizes.refusal(node, "puts out a list of tensors, which is not followed")

    def _check(self, node: "onnx.NodeProto", name: str, sees: bool) -> None:
        """Hold an output's sizes at the other batch to those at the file's."""
        sizes, rules = self._sizes, self._rules
        at, then = sizes.at[name], sizes.then[name]
        if len(at) != len(then):
            raise sizes.refusal(node, f"returns {show(at)}, and {show(then)} for another batch")
        grown = [a for a, (old, new) in enumerate(zip(at, then, strict=True)) if old != new]
        if sees and not grown:
            raise sizes.refusal(
                node,
                f"returns {show(at)} whatever the batch: it picks or mixes images",
                _BY_ITSELF,
            )
        if len(grown) > 1 or any(then[a] != at[a] * FACTOR for a in grown):
            raise sizes.refusal(
                node, f"returns {show(then)} for {FACTOR} times as many images as {show(at)}"
            )
        if sees:
            self.carriers[name] = rules.placed.get(name) or self._carried(node, name, grown[0])

    def _carried(self, node: "onnx.NodeProto", name: str, axis: int) -> Carrier:
        """Find what is ahead of the batch in an axis: it is as in the input that axis came from."""
        at = self._sizes.at
        if name in self._sizes.data_sized:
            return Carrier(axis, counted=True)
        for source in reads(node):
            carrier = self.carriers.get(source)
            if carrier and at[source][carrier.axis] == at[name][axis]:
                return replace(carrier, axis=axis)
        return Carrier(axis)

    def _result(self) -> "onnx.ModelProto":
        """Put the graph together again, with its dims inferred anew."""
        import onnx

        result, sizes = onnx.ModelProto(), self._sizes
        result.CopyFrom(self._model)
        graph = result.graph
        del graph.node[:]
        graph.node.extend(self._rules.nodes)
        used = {name for node in self._rules.nodes for name in reads(node)}
        for name, value in sizes.new.items():
            if name in used:
                graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        result.ir_version = max(result.ir_version, 4)  # initializers need not be inputs any more
        real = real_inputs(self._model)
        del graph.input[:], graph.value_info[:]
        graph.input.extend(real)
        for value in (*graph.input, *graph.output):
            declare(value, sizes.types[value.name], self._dims(value.name))
        return result

    def _dims(self, name: str) -> tuple[int | str, ...]:
        """Return the dims of an input or output for any batch."""
        at, carrier = self._sizes.at[name], self.carriers.get(name)
        if carrier is None:
            return at
        rows = at[carrier.axis] // self._sizes.batch
        grown = BATCH_AXIS if rows == 1 else f"{rows}*{BATCH_AXIS}"
        return (
            *at[: carrier.axis],
            "" if carrier.counted else grown,
            *at[carrier.axis + 1 :],
        )
