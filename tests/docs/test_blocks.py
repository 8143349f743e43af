"""Every block of code in the documentation is run or checked, or states why not.

Python is run page by page. Commands of a shell are parsed by the parser of the command: an option
that does not exist, or a value of the wrong type, is found; what they measure is not run.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from greenbatch.cli.commands import COMMANDS
from greenbatch.extras import EXTRAS
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, commands_in
from tests.fakes import runs
from tests.fakes.compared_runs import run_of
from tests.fakes.traced_run import traced_run
from tests.thorough import needs_thorough

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
EVERY = [block for page in PAGES for block in blocks_of(page)]
SHELL = [block for block in EVERY if block.language in {"sh", "console"}]
PYTHON = [block for block in EVERY if block.language == "python"]
TESTED_ELSEWHERE = {
    "docs/dataset.md": "tests/unit/analysis/test_accessor.py",
    "docs/backends.md": "tests/unit/runners/backends/test_third_party.py",
    "docs/meters.md": "tests/unit/runners/metering/test_third_party.py",
}
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_PLAIN = {"eval", "export", ".", "cp", "cd", "pre-commit", "Rscript"}  # of the shell, and of others


def _merged() -> dict[str, Any]:
    """Write runs of one machine on two days, and of two machines with different versions."""
    few: dict[str, Any] = {"models": ("alexnet",), "batch_sizes": (1, 4)}
    for trace in (traced_run(Path("runs/monday"), blocks=2, **few) / "traces").iterdir():
        with np.load(trace) as stored:
            arrays = dict(stored)
        np.savez(trace, allow_pickle=False, latency_s=np.full(40, 0.05), **arrays)
    runs.realistic_run(
        Path("runs/tuesday"),
        spoil=lambda r: replace(r, duration_s=(r.duration_s or 0.0) * 1.001),
        **few,
    )
    for name, cpu in (("laptop", "Example CPU 1"), ("server", "Example CPU 2")):
        given = runs.environment()
        given["machine"] |= {"cpu": cpu, "name": name}
        given["versions"]["numpy"] = f"2.{len(cpu)}.{cpu[-1]}"
        run_of(Path("runs") / name, environment=given)
    for name, factor in (("before", 1.0), ("after", 1.1)):
        run_of(Path("runs") / name, factor)
    return {}


def _reported() -> dict[str, Any]:
    run_of(Path("runs/example"))
    return {}


def _network() -> dict[str, Any]:
    import torch

    from tests.fakes.networks import Convolutional

    return {"torch": torch, "nn": torch.nn, "net": Convolutional(), "build_something": list}


def _train() -> None:
    sum(range(10**5))


STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "docs/commands.md": lambda: {"train": _train, "greenbatch": __import__("greenbatch")},
    "docs/meter-a-script.md": dict,
    "docs/report.md": _reported,
    "docs/datasets-merging.md": _merged,
    "docs/your-own-network.md": _network,
}
"""Of each page whose Python is run here: what stands there before its first block."""
SLOW_PAGES = ("docs/report.md", "docs/your-own-network.md")


def parse(words: list[str]) -> None:
    """Parse a command line of ``gb`` as the command does; nothing is run."""
    name, *arguments = words[1:] or ["--help"]
    if name.startswith("-"):
        return
    command = COMMANDS[name].load(name)
    while hasattr(command, "commands"):
        member, *arguments = arguments
        command = command.commands[member]
    command.make_context(name, list(arguments))


def check(words: list[str]) -> None:
    """Check one command of a block: that it exists, with its options."""
    words = list(itertools.dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=\S*", word), words))
    if not words:
        return
    program = words[0].rpartition("/")[2]
    if program == "gb":
        parse(words)
    elif program == "make":
        targets = {word for word in words[1:] if "=" not in word}
        assert targets <= _TARGETS, targets
    elif program in {"python", "sh"}:
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        assert (program == "python" and words[1] in {"-c", "-m"}) or (ROOT / script).is_file(), (
            words
        )
    elif program == "pip":
        extras = re.findall(r"greenbatch\[([^]]+)\]", " ".join(words))
        assert {name for part in extras for name in part.split(",")} <= {"all", *EXTRAS}
    elif program == "pytest":
        assert find_spec("greenbatch.testing") is not None
    else:
        assert program in _PLAIN, f"{program}: is it checked, or is the block marked 'not run'?"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_commands_of_a_block_exist_with_their_options(block: Block) -> None:
    for words in commands_in(block.code):
        if not (block.reason and words and words[0].rpartition("/")[2] != "gb"):
            check(words)


@pytest.mark.parametrize(
    "line", ["gb bench --no-such-option", "gb nowhere", "make nothing", "frobnicate"]
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    (words,) = commands_in(line)
    with pytest.raises((KeyError, AssertionError, USAGE_ERROR)):
        check(words)


def _run_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope = STAGES[page]()
    blocks = [block for block in PYTHON if block.page == ROOT / page and not block.reason]
    assert blocks
    for block in blocks:
        code = "\n" * block.line + block.code
        exec(compile(code, str(block.page), "exec"), scope)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=needs_thorough if page in SLOW_PAGES else ()) for page in STAGES],
)
def test_the_python_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run_page(page, tmp_path, monkeypatch)


def test_all_other_python_is_run_elsewhere_or_states_why_not() -> None:
    left = {
        str(block)
        for block in PYTHON
        if str(block.page.relative_to(ROOT)) not in {*STAGES, *TESTED_ELSEWHERE}
        and not block.reason
    }
    assert left == set()
    for page, test in TESTED_ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text() or page in (ROOT / test).read_text()
