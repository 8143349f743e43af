"""What is done to each ONNX operator that fixes the batch: a rule for each."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from greenbatch.exporter.onnx_file.scopes import is_standard
from greenbatch.exporter.rebatch.placing import after_reshape
from greenbatch.exporter.rebatch.rows import BROADCASTING, Rows
from greenbatch.exporter.rebatch.sizes import FACTOR, Carrier, Sizes, show

if TYPE_CHECKING:
    import onnx

_TO_THE_END = (1 << 63) - 1
_AXES_AS_INPUT = 13  # the opset from which Squeeze takes its axes as an input
_COUNTED_SPLIT = 18  # the opset from which Split names how many equal parts it makes


class Rules:
    """Rewrites nodes so that they take any number of images.

    Attributes:
        nodes: The new graph's so far; what a rewritten node needs is put before it.
        changes: What was rewritten, a clause for each.
        placed: Where a node that moves elements puts the batch, by the name of its output.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._rows = Rows(sizes)
        self.nodes, self.changes = self._rows.nodes, self._rows.changes
        self.placed: dict[str, Carrier] = {}

    def rewrite(self, node: "onnx.NodeProto") -> None:
        """Change what fixes the batch in a node that takes it."""
        if not is_standard(node):
            return
        kind = node.op_type
        if kind == "Reshape":
            self._free_reshape(node)
        elif kind in {"Flatten", "Unsqueeze"}:
            self._place(node)
        elif kind == "Squeeze":
            self._free_squeeze(node)
        elif kind == "Expand" and self._sizes.moves(node.input[0]):
            self._free_expand(node)
        elif kind == "Tile" and self._sizes.moves(node.input[0]):
            self._place_tiles(node)
        elif kind == "Slice":
            self._free_slice(node)
        elif kind == "Split":
            self._free_split(node)
        elif kind == "Resize" and len(node.input) > 3 and node.input[3]:
            self._free_resize(node)
        elif kind == "Concat":
            self._rows.repeat_for_concat(node)
            self._place_concat(node)
        elif kind == "Einsum":
            self._rows.repeat_in_einsum(node)
        elif kind in BROADCASTING:
            self._rows.free_operands(node)
        else:
            self._rows.repeat_all(node)

    def _free_reshape(self, node: "onnx.NodeProto") -> None:
        import numpy as np

        known = self._sizes
        if len(node.input) < 2:
            raise known.refusal(node, "is of an opset before 5, with its sizes in an attribute")
        data, sizes = node.input[:2]
        if not known.moves(data):
            return
        before, target = known.at[data], known.at[node.output[0]]
        carrier = known.carriers.get(data, Carrier(known.axis(data)))
        placed = after_reshape(before, carrier, target, known.batch)
        if placed is None:
            raise known.refusal(node, f"makes {show(before)} into {show(target)}")
        self.placed[node.output[0]], place = placed, placed.axis
        wanted = tuple(n * FACTOR if a == place else n for a, n in enumerate(target))
        keeps_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
        value = known.small_value(sizes)
        if value is not None:
            requested = value.ravel().tolist()
            then = known.then[data]
            if not keeps_zero:
                requested = [
                    then[a] if n == 0 and a < len(then) else n for a, n in enumerate(requested)
                ]
            rest = math.prod(n for n in requested if n != -1)
            requested = [math.prod(then) // max(rest, 1) if n == -1 else n for n in requested]
            if tuple(requested) == wanted:
                return
        free = [-1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = known.add(np.array(free, np.int64))
        self._rows.note(node, f"sizes {show(target)} become {show(free)}")

    def _free_expand(self, node: "onnx.NodeProto") -> None:
        import numpy as np

        known = self._sizes
        data, sizes = node.input[:2]
        target = known.at[node.output[0]]
        place = known.axis(data) + len(target) - len(known.at[data])
        value = known.small_value(sizes)
        wanted = known.then[data][known.axis(data)]
        if value is not None:
            requested = [1] * (len(target) - value.size) + value.ravel().tolist()
            if requested[place] in {1, wanted}:
                return
        free = [1 if a == place else n for a, n in enumerate(target)]
        node.input[1] = known.add(np.array(free, np.int64))
        self._rows.note(node, f"sizes {show(target)} become {show(free)}")

    def _free_slice(self, node: "onnx.NodeProto") -> None:
        """Let a slice that takes the whole batch take the whole of any."""
        import numpy as np

        known = self._sizes
        data = node.input[0]
        if not known.moves(data):
            return
        axis, length = known.axis(data), known.at[data][known.axis(data)]
        attributes = {a.name: a for a in node.attribute}
        if "ends" in attributes:  # before opset 10
            starts, ends = list(attributes["starts"].ints), list(attributes["ends"].ints)
            axes = list(attributes["axes"].ints) if "axes" in attributes else [*range(len(ends))]
            steps = [1] * len(ends)
        else:
            parts = [known.small_value(name) if name else None for name in node.input[1:]]
            if any(part is None for name, part in zip(node.input[1:], parts, strict=True) if name):
                return
            lists = [None if part is None else part.ravel().tolist() for part in parts]
            starts, ends = lists[0] or [], lists[1] or []
            axes = lists[2] if len(lists) > 2 and lists[2] is not None else [*range(len(ends))]
            steps = lists[3] if len(lists) > 3 and lists[3] is not None else [1] * len(ends)
        for index, (start, end, where, step) in enumerate(
            zip(starts, ends, axes, steps, strict=True)
        ):
            whole = start in {0, -length} and step == 1 and length <= end < known.then[data][axis]
            if where % len(known.at[data]) == axis and whole:
                ends[index], starts[index] = _TO_THE_END, 0
                if "ends" in attributes:
                    attributes["ends"].ints[:] = ends
                    attributes["starts"].ints[:] = starts
                else:
                    node.input[1] = known.add(np.array(starts, np.int64))
                    node.input[2] = known.add(np.array(ends, np.int64))
                self._rows.note(node, f"its end {end} on the batch axis becomes the whole")

    def _free_resize(self, node: "onnx.NodeProto") -> None:
        known = self._sizes
        data, sizes = node.input[0], node.input[3]
        if not known.moves(data):
            return
        axis, value, rank = known.axis(data), known.small_value(sizes), len(known.at[data])
        resized = next((list(a.ints) for a in node.attribute if a.name == "axes"), [*range(rank)])
        places = [place for place, at in enumerate(resized) if at % rank == axis]
        if not places:
            return
        if value is not None and int(value[places[0]]) == known.then[data][axis]:
            return
        target = known.at[node.output[0]]
        if len(resized) < rank:  # all sizes are given from here on
            kept = [attribute for attribute in node.attribute if attribute.name != "axes"]
            del node.attribute[:]
            node.attribute.extend(kept)
        node.input[3] = self._rows.sizes_with_batch(node, target, axis)
        self._rows.note(node, f"sizes {show(target)} take the batch from the input")

    def _place(self, node: "onnx.NodeProto") -> None:
        """Note where the batch goes as axes are joined or added; sizes follow by themselves."""
        known, data, output = self._sizes, node.input[0], node.output[0]
        if known.moves(data):
            carrier = known.carriers.get(data, Carrier(known.axis(data)))
            placed = after_reshape(known.at[data], carrier, known.at[output], known.batch)
            if placed is not None:
                self.placed[output] = placed

    def _free_squeeze(self, node: "onnx.NodeProto") -> None:
        """Name the axes of one that takes out all of size 1: the batch may be such."""
        import numpy as np

        known, data = self._sizes, node.input[0]
        named = any(a.name == "axes" for a in node.attribute) or len(node.input) > 1
        if known.moves(data) and not named:
            sizes = known.at[data]
            if sizes[known.axis(data)] == 1:
                raise known.refusal(node, f"takes the batch out of {show(sizes)}")
            axes = [axis for axis, size in enumerate(sizes) if size == 1]
            if not axes:  # no axes at all would be those of length 1 again
                node.op_type = "Identity"
            elif known.opset >= _AXES_AS_INPUT:
                node.input.append(known.add(np.array(axes, np.int64)))
            else:
                attribute = node.attribute.add(name="axes", ints=axes)
                attribute.type = attribute.INTS
            shown = ", ".join(map(str, axes)) or "no axis"
            self._rows.note(node, f"takes out the axes of length 1 by number: {shown}")
        self._place(node)

    def _place_tiles(self, node: "onnx.NodeProto") -> None:
        """Note how many copies of the batch lie one behind the other."""
        known, data = self._sizes, node.input[0]
        axis, repeats = known.axis(data), known.small_value(node.input[1])
        carrier = known.carriers.get(data, Carrier(axis))
        if repeats is not None:
            copies = int(repeats.ravel()[axis])
            self.placed[node.output[0]] = replace(carrier, ahead=carrier.ahead * copies)

    def _place_concat(self, node: "onnx.NodeProto") -> None:
        """Note how many batches lie one behind the other, e.g. images and their mirror images."""
        known = self._sizes
        sizes = [known.at[name] for name in node.input]
        moving = [name for name in node.input if known.moves(name)]
        axis = known.axis(moving[0])
        along = next(a.i for a in node.attribute if a.name == "axis") % len(sizes[0])
        carriers = {known.carriers.get(name, Carrier(axis)) for name in moving}
        if (
            along == axis
            and len(moving) == len(sizes) > 1
            and len(set(sizes)) == len(carriers) == 1
        ):
            (carrier,) = carriers
            self.placed[node.output[0]] = replace(carrier, ahead=carrier.ahead * len(sizes))

    def _free_split(self, node: "onnx.NodeProto") -> None:
        """Let one that takes batches apart which lie one behind the other take apart any."""
        known, data = self._sizes, node.input[0]
        if not known.moves(data):
            return
        rank, outputs = len(known.at[data]), len(node.output)
        along = next((a.i for a in node.attribute if a.name == "axis"), 0) % rank
        carrier = known.carriers.get(data, Carrier(known.axis(data)))
        equal = len({known.at[name] for name in node.output}) == 1
        if along != known.axis(data) or not equal or carrier.ahead % outputs:
            return
        for name in node.output:
            self.placed[name] = replace(carrier, ahead=carrier.ahead // outputs)
        sized = any(a.name == "split" for a in node.attribute) or len(node.input) > 1
        if not sized:
            return
        kept = [attribute for attribute in node.attribute if attribute.name != "split"]
        del node.attribute[:], node.input[1:]
        node.attribute.extend(kept)
        if known.opset >= _COUNTED_SPLIT:
            counted = node.attribute.add(name="num_outputs", i=outputs)
            counted.type = counted.INT
        self._rows.note(node, f"splits the batch into {outputs} equal parts")
