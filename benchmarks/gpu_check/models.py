"""The third step: what `gb bench --provider cuda` measures, at batch 1 and 32, in fp32 and fp16.

A run for the backends that a user gets by default, then one for each other backend: where the time
is up, the journal keeps what was measured.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu_check import artifacts, children, judging
from benchmarks.gpu_check.lines import Line, failed, not_run
from benchmarks.gpu_check.steps import BACKENDS_FIRST, Check

if TYPE_CHECKING:
    from greenbatch.records import Journal

BATCH_SIZES = (1, 32)
PRECISIONS = artifacts.PRECISIONS
_LEAST_S = 20.0
_DEFAULT_SHARE = 0.75
# Rests are short: the check has minutes, and asks whether all is well, not for the last per cent.
_PROTOCOL = {"rest_max_s": 1.0, "timeout_s": 120.0}


def lines(check: Check, limit_s: float) -> Iterator[Line]:
    """Measure, and judge each cell by the journal."""
    end_s = time.monotonic() + limit_s
    speeds: dict[str, Mapping[str, float]] = {}
    groups = _groups(check.backends)
    for number, group in enumerate(groups):
        wanted = _wanted(group, check)
        models = [model for model in check.artifacts if len(check.artifacts[model]) > 1]
        left_s = end_s - time.monotonic()
        if left_s < _LEAST_S:
            reason = f"the {limit_s:.0f} s of this step were used up"
            yield from (not_run(name, reason, on_gpu=True) for name in wanted)
            continue
        if not models:
            reason = "none of the five models was exported in fp32 and fp16"
            yield not_run(", ".join(group), reason, on_gpu=True)
            continue
        folder = check.folder / "runs" / "-".join(group)
        ended = _bench(check, group, models, folder, left_s * _share(groups[number:]))
        journal = _journal(folder)
        yield from _judged(journal, wanted, ended)
        speeds |= judging.times_s(journal.repetitions) if journal else {}
    if not check.backends:
        reason = check.no_gpu or "no backend works on this GPU"
        for model in check.models:
            yield not_run(f"{model} on every CUDA backend", reason, on_gpu=True)
    yield from judging.tensor_cores(speeds)


def _groups(backends: Sequence[str]) -> list[list[str]]:
    """Return which backends are measured in one run: the default ones together."""
    first = [name for name in backends if name in BACKENDS_FIRST]
    return [*([first] if first else []), *([name] for name in backends if name not in first)]


def _share(groups: Sequence[Sequence[str]]) -> float:
    """Return the share of the time that the first of these groups gets.

    What a user measures by default gets most, and each other backend is at least begun.
    """
    if len(groups) == 1:
        return 1.0
    return _DEFAULT_SHARE if groups[0][0] in BACKENDS_FIRST else 1 / len(groups)


def _wanted(group: Sequence[str], check: Check) -> dict[str, str]:
    """Return the name of each cell, and why it cannot be measured."""
    return {
        judging.name(model, backend, precision, batch_size): (
            ""
            if len(check.artifacts.get(model, ())) == len(PRECISIONS)
            else f"{model} was not exported in {' and '.join(PRECISIONS)}"
        )
        for backend in group
        for model in check.models
        for precision in PRECISIONS
        for batch_size in BATCH_SIZES
    }


def _bench(
    check: Check, group: Sequence[str], models: Sequence[str], folder: Path, limit_s: float
) -> children.Ended:
    name = "-".join(group)
    study = check.folder / "studies" / f"{name}.yaml"
    study.parent.mkdir(parents=True, exist_ok=True)
    members = {
        "models": list(models),
        "backends": list(group),
        "precisions": list(PRECISIONS),
        "batch_sizes": list(BATCH_SIZES),
        "repetitions": 1,
        "profile": "quick",
        "protocol": _PROTOCOL,
        "weights": "random",
        "artifacts_dir": str(check.scratch / artifacts.FOLDER),
    }
    study.write_text(json.dumps(members, indent=1) + "\n")  # JSON is YAML
    folder.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["-m", "greenbatch.cli", "bench", "--study", str(study), "--trust"]
    return children.run([*arguments, "--out", str(folder)], check.log(f"bench-{name}"), limit_s)


def _journal(folder: Path) -> "Journal | None":
    from greenbatch.records import journal

    path = folder / "journal.jsonl"
    return journal.read(path) if path.exists() else None


def _judged(
    journal: "Journal | None", wanted: Mapping[str, str], ended: children.Ended
) -> Iterator[Line]:
    left = dict(wanted)
    if journal:
        idles = judging.idle_powers_w(journal.idles)
        for repetition in journal.repetitions:
            line = judging.judge(repetition, idles.get(repetition.cell.backend, {}))
            left.pop(line.what, None)
            yield line
    for name, reason in left.items():
        if reason or ended.code is None:
            yield not_run(name, reason or ended.reason, on_gpu=True)
        else:
            yield failed(name, ended.reason or "gb bench did not measure it", on_gpu=True)
