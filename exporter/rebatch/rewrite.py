"""Frees the batch axis of an ``.onnx`` file that fixes it, and proves that nothing else changed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import ArtifactError, ExportError, ParityError
from greenbatch.exporter.causes import innermost_line
from greenbatch.exporter.onnx_file.inspection import OnnxFacts, inspect
from greenbatch.exporter.onnx_file.reading import declare, opsets, read_with_weights, save
from greenbatch.exporter.rebatch.graph import Rewriting
from greenbatch.exporter.rebatch.proof import Claim, prove, run_once
from greenbatch.models import InputSpec
from greenbatch.models.inputs import synthetic_inputs, tensors_of
from greenbatch.records import Parity, TensorSpec

if TYPE_CHECKING:
    import onnx

_NOTHING: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebatched:
    """A file whose batch axis was freed.

    Attributes:
        facts: Of the new file; its ``batch`` is ``None``.
        was: The batch that the original fixes; ``None``: it was free already.
        changes: What was rewritten, a clause for each node.
        parity: At the original batch against the original, and at other batches.
        redrawn: Weights that were drawn at random for the proof, because with the file's own the
            output is the same for all images; they are not in the file.
    """

    facts: OnnxFacts
    was: int | None
    changes: tuple[str, ...]
    parity: tuple[Parity, ...]
    redrawn: int = 0


def make_dynamic(
    path: Path | str,
    out: Path | str,
    input: InputSpec | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Rebatched:
    """Write a file that computes the same for batches of any size.

    Args:
        path: The original; left as it is.
        out: The new file. Weights of 2 GiB and more go beside it, into ``NAME.data``.
        input: See `greenbatch.exporter.onnx_file.inspection.inspect`.
        on_step: Is called with each step, in a few words.

    Raises:
        ArtifactError: The original cannot be used, see
            `greenbatch.exporter.onnx_file.inspection.inspect`.
        ExportError: A node holds the batch in a way that cannot be rewritten.
        ParityError: The new file computes something else, or images of a batch reach each other.
            In all cases nothing is written.
    """
    path, out = Path(path), Path(out)
    report = on_step or (lambda step: None)
    facts = inspect(path, input)
    original = read_with_weights(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.rebatch-") as folder:
        staging = Path(folder)
        if facts.batch is None:
            original = model = _as_it_is(original, facts)
            changes = _NOTHING
        else:
            report(f"following the batch through {path.name}")
            model, changes = _freed(original, facts, staging)
        draft = staging / out.name
        save(model, draft)
        report(f"proving {out.name}")
        claim = Claim(path, facts.input, facts.outputs, facts.batch)
        found = _inspected(draft, model, claim, staging)
        claim = replace(claim, outputs=found.outputs)
        parity, redrawn = prove(original, model, claim, staging)
        for file in (draft.with_name(f"{out.name}.data"), draft):
            if file.exists():
                file.chmod(path.stat().st_mode & 0o666)
                file.replace(out.parent / file.name)
    return Rebatched(
        facts=replace(found, path=out),
        was=facts.batch,
        changes=changes,
        parity=parity,
        redrawn=redrawn,
    )


def _freed(
    original: "onnx.ModelProto", facts: OnnxFacts, staging: Path
) -> "tuple[onnx.ModelProto, tuple[str, ...]]":
    """Return a graph whose batch is free, and what was rewritten in it."""
    feeds = synthetic_inputs(facts.input, facts.batch or 1, seed=0)
    images = [spec.name for spec in tensors_of(facts.input) if spec.batch_axis is not None]
    rewriting = Rewriting(_inlined(original, facts.path), facts.path, feeds, images, staging)
    model = rewriting.run()
    return model, tuple(rewriting.changes)


def _inlined(model: "onnx.ModelProto", path: Path) -> "onnx.ModelProto":
    """Return a graph with the nodes of its functions in the place of their calls."""
    import onnx
    from onnx.inliner import inline_local_functions

    version = opsets(model).get("")
    own = [o for f in model.functions for o in f.opset_import if o.domain in {"", "ai.onnx"}]
    others = any(opset.version != version for opset in own)
    try:
        if others:  # their nodes become those of the graph's opset, by the types that they take
            model = onnx.shape_inference.infer_shapes(model)
        return inline_local_functions(model, convert_version=others)
    except Exception as error:  # onnx's errors have no common root
        raise ExportError(
            f"the functions in {path} cannot be inlined: {innermost_line(error)}; export the "
            "network again with a dynamic batch axis"
        ) from error


def _as_it_is(model: "onnx.ModelProto", facts: OnnxFacts) -> "onnx.ModelProto":
    """Return a graph whose batch is free already; its inputs and outputs alone are declared anew.

    Its nodes stay. What was declared of other tensors may be of another input's sizes.
    """
    del model.graph.value_info[:]
    dims = {spec.name: spec.dims for spec in tensors_of(facts.input)}
    dims |= {spec.name: _open(spec) for spec in facts.outputs}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in dims:
            declare(value, value.type.tensor_type.elem_type, dims[value.name])
    return model


def _open(spec: TensorSpec) -> tuple[int | str, ...]:
    """Return an output's dims without the names of sizes that the data decide."""
    return tuple(
        "" if isinstance(dim, str) and axis != spec.batch_axis else dim
        for axis, dim in enumerate(spec.dims)
    )


def _inspected(draft: Path, model: "onnx.ModelProto", claim: Claim, staging: Path) -> OnnxFacts:
    """Return what a new file is; errors name the original, as its draft goes."""
    try:
        found = inspect(draft, claim.input)
    except ArtifactError as error:
        run_once(model, claim, staging, 2)
        raise ParityError(str(error).replace(str(draft), str(claim.path))) from error
    if found.batch is not None:
        run_once(model, claim, staging, 2)
        raise ParityError(
            f"with a free batch axis the outputs of {claim.path} do not follow the number of "
            "images; export the network again with a dynamic batch axis"
        )
    return found
