"""Frees the batch axis of an ``.onnx`` file that fixes it, and proves that nothing else changed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from greenbatch.exporter.onnx_file.inspection import OnnxFacts, inspect
from greenbatch.exporter.onnx_file.reading import read_with_weights, save
from greenbatch.exporter.rebatch.graph import Rewriting
from greenbatch.exporter.rebatch.proof import prove
from greenbatch.models import InputSpec
from greenbatch.records import Parity


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
    from onnx.inliner import inline_local_functions

    path, out = Path(path), Path(out)
    report = on_step or (lambda step: None)
    facts = inspect(path, input)
    report(f"following the batch through {path.name}")
    original = inline_local_functions(read_with_weights(path))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.rebatch-") as folder:
        staging = Path(folder)
        rewriting = Rewriting(original, facts, staging)
        model = rewriting.run()
        draft = staging / out.name
        save(model, draft)
        report(f"proving {out.name}")
        parity, redrawn = prove(original, model, facts, rewriting.carriers, staging)
        found = inspect(draft, facts.input)
        for file in (draft.with_name(f"{out.name}.data"), draft):
            if file.exists():
                file.chmod(path.stat().st_mode & 0o666)
                file.replace(out.parent / file.name)
    return Rebatched(
        facts=replace(found, path=out),
        was=facts.batch,
        changes=tuple(rewriting.changes),
        parity=parity,
        redrawn=redrawn,
    )
