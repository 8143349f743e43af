"""Following the batch through an ONNX graph, and rewriting what fixes it.

The graph is followed from its input to its output with the sizes that every tensor has at the
file's batch and those that it would have at another. Where a constant stands in the way it is
rewritten; where that cannot be done without changing what is computed, the node is named.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ExportError
from greenbatch.exporter.onnx_file.inspection import OnnxFacts
from greenbatch.exporter.onnx_file.reading import real_inputs
from greenbatch.exporter.rebatch.rules import Rules
from greenbatch.exporter.rebatch.sizes import FACTOR, Carrier, Sizes, show

if TYPE_CHECKING:
    import onnx


class Rewriting:
    """Follows the batch through a graph, and changes what stands in its way.

    Attributes:
        carriers: Where the batch is, for all tensors that depend on the images.
        changes: What was rewritten, a clause for each.
    """

    def __init__(self, model: "onnx.ModelProto", facts: OnnxFacts, staging: Path) -> None:
        self._model, self._facts = model, facts
        self._sizes = Sizes(model, facts, staging)
        self._rules = Rules(self._sizes)
        self.carriers, self.changes = self._sizes.carriers, self._rules.changes

    def run(self) -> "onnx.ModelProto":
        """Return the model with a free batch axis.

        Raises:
            ExportError: A node holds the batch in a way that cannot be rewritten.
        """
        for node in self._model.graph.node:
            self._follow(node)
        outputs = [output.name for output in self._facts.outputs]
        if not any(name in self.carriers for name in outputs):
            raise ExportError(
                f"the batch does not reach any output of {self._facts.path} "
                f"({', '.join(outputs)}); export the network again with a dynamic batch axis"
            )
        return self._result()

    def _follow(self, node: "onnx.NodeProto") -> None:
        """Derive a node's sizes at the other batch; change it where they would be wrong."""
        import onnx

        sizes, rules = self._sizes, self._rules
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        inputs = [name for name in copy.input if name]
        if any(a.type in {a.GRAPH, a.GRAPHS} for a in copy.attribute):
            raise sizes.refusal(node, "holds a graph of its own, which is not followed")
        sees = any(name in self.carriers for name in inputs)
        if any(map(sizes.moves, inputs)):
            rules.rewrite(copy)
        rules.nodes.append(copy)
        about_sizes = copy.op_type in {"Shape", "Size"} and not copy.domain
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

    def _check(self, node: "onnx.NodeProto", name: str, sees: bool) -> None:
        """Hold an output's sizes at the other batch to those at the file's."""
        sizes, rules = self._sizes, self._rules
        at, then = sizes.at[name], sizes.then[name]
        if len(at) != len(then):
            raise sizes.refusal(node, f"returns {show(at)}, and {show(then)} for another batch")
        grown = [a for a, (old, new) in enumerate(zip(at, then, strict=True)) if old != new]
        if sees and not grown:
            raise sizes.refusal(
                node, f"returns {show(at)} whatever the batch: it picks or mixes images"
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
        for source in node.input:
            carrier = self.carriers.get(source)
            if carrier and at[source][carrier.axis] == at[name][axis]:
                return Carrier(axis, carrier.ahead)
        return Carrier(axis)

    def _result(self) -> "onnx.ModelProto":
        """Put the graph together again, with its dims inferred anew."""
        import onnx

        result = onnx.ModelProto()
        result.CopyFrom(self._model)
        graph = result.graph
        del graph.node[:]
        graph.node.extend(self._rules.nodes)
        used = {name for node in self._rules.nodes for name in node.input}
        for name, value in self._sizes.new.items():
            if name in used:
                graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        result.ir_version = max(result.ir_version, 4)  # initializers need not be inputs any more
        real = real_inputs(self._model)
        del graph.input[:], graph.value_info[:]
        graph.input.extend(real)
        for value in (graph.input[0], graph.output[0]):
            value.type.tensor_type.elem_type = self._sizes.types[value.name]
            dims = [*self._sizes.at[value.name]]
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for axis, size in enumerate(dims):
                dim = shape.dim.add()
                if axis == 0:
                    dim.dim_param = "batch"
                else:
                    dim.dim_value = size
        return result
