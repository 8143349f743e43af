"""The page: Markdown for a person, JSON for a program."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu_check.lines import Line, Verdict, exit_code

if TYPE_CHECKING:
    from benchmarks.gpu_check.steps import Taken

PAGE, DATA = "README.md", "gpu-check.json"
_RESULTS = {
    0: "Everything that could run is ok.",
    1: "Something failed.",
    3: "Nothing could run on a GPU.",
}


def all_lines(taken: "Sequence[Taken]") -> list[Line]:
    """Return the lines of all steps."""
    return [line for step in taken for line in step.lines]


def write(folder: Path, taken: "Sequence[Taken]", *, complete: bool) -> None:
    """Write both files anew; a program that reads them meanwhile sees the old or the new ones.

    Args:
        folder: For them.
        taken: The steps so far.
        complete: Whether more steps follow.
    """
    _write(folder / PAGE, markdown(taken, complete=complete))
    data = {
        "exit_code": exit_code(all_lines(taken)),
        "complete": complete,
        "steps": [asdict(step) for step in taken],
    }
    _write(folder / DATA, _masked(json.dumps(data, indent=1)) + "\n")


def mask(folder: Path) -> None:
    """Leave out of what the processes wrote what does not belong on a published page."""
    for pattern in ("logs/*.txt", "studies/*.yaml", "*.jsonl"):
        for path in folder.glob(pattern):
            _write(path, _masked(path.read_text(encoding="utf-8", errors="replace")))


def markdown(taken: "Sequence[Taken]", *, complete: bool) -> str:
    """Return the page."""
    lines = all_lines(taken)
    result = _RESULTS[exit_code(lines)] if complete else "The check has not ended."
    texts = ["# GPU check", "", f"**{result}** {counted(lines)}.", ""]
    texts += ["| step | time | limit | ok | failed | not run |", "|---|---|---|---|---|---|"]
    for step in taken:
        numbers = " | ".join(str(_count(step.lines, verdict)) for verdict in Verdict)
        texts.append(
            f"| {step.name} | {step.duration_s:.0f} s | {step.limit_s:.0f} s | {numbers} |"
        )
    if faults := [line for line in lines if line.verdict is Verdict.FAILED]:
        texts += ["", "## What failed", ""]
        texts += [f"- {line.what}: {_cell(line.reason)}" for line in faults]
    for step in taken:
        texts += ["", f"## {step.name}", "", *_table(step.lines)]
    return _masked("\n".join(texts)) + "\n"


def counted(lines: Sequence[Line]) -> str:
    """Count the lines by verdict in a few words."""
    return ", ".join(f"{_count(lines, verdict)} {verdict}" for verdict in Verdict)


def _count(lines: Sequence[Line], verdict: Verdict) -> int:
    return sum(line.verdict is verdict for line in lines)


def _table(lines: Sequence[Line]) -> list[str]:
    columns = list(dict.fromkeys(name for line in lines for name in line.values))
    texts = [f"| {' | '.join(('what', *columns, 'verdict'))} |", "|---" * (len(columns) + 2) + "|"]
    for line in lines:
        verdict = f"{line.verdict}: {line.reason}" if line.reason else str(line.verdict)
        cells = (line.what, *(line.values.get(name, "") for name in columns), verdict)
        texts.append(f"| {' | '.join(map(_cell, cells))} |")
    return texts


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _masked(text: str) -> str:
    """Leave out home folders and most of a GPU's UUID: the page is to be published."""
    from greenbatch.privacy import masked

    return masked(text)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
