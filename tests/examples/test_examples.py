"""The examples run as they stand, and are short.

The network, the backend and the meter have tests beside those of their kind: `tests.runs
.test_own_network`, and ``test_third_party`` of backends and of meters.
"""

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import greenbatch
from tests.fakes.compared_runs import run_of
from tests.thorough import needs_thorough

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RUN = ROOT / "docs/examples/five-models-four-runtimes-2-cores"
FILES = [
    EXAMPLES / "own_network.py",
    EXAMPLES / "reference-backend/reference_backend.py",
    EXAMPLES / "supply-meter/laptop_supply.py",
    EXAMPLES / "read_dataset.ipynb",
    EXAMPLES / "ci_gate.sh",
    EXAMPLES / "read_run.R",
]
LONGEST = 60


def cells(notebook: Path) -> list[tuple[str, list[str]]]:
    """Return the code of each cell of a notebook, and its tags."""
    every = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in every
        if cell["cell_type"] == "code"
    ]


def test_every_example_is_listed_and_short() -> None:
    linked = re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(), re.M)
    assert sorted(linked) == sorted(str(file.relative_to(EXAMPLES)) for file in FILES)
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".ipynb":
            text = "\n".join(code for code, _ in cells(file))
        assert len(text.splitlines()) <= LONGEST, file


def test_the_notebook_reads_the_run_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    scope: dict[str, object] = {}
    for code, tags in cells(EXAMPLES / "read_dataset.ipynb"):
        if "hvplot" in tags and find_spec("hvplot") is None:
            continue  # 'make docs' has it
        *statements, last = ast.parse(code).body
        exec(compile(ast.Module([*statements], []), "cell", "exec"), scope)
        if isinstance(last, ast.Expr):
            scope["_"] = eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), scope)
    table = scope["table"]
    assert {"model", "variant", "batch_size", "energy", "latency"} <= set(table.columns)  # type: ignore[attr-defined]
    assert len(table) == 60  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "code"), [(1.2, 1), pytest.param(1.001, 0, marks=needs_thorough)]
)
def test_the_gate_stops_a_run_that_is_worse(tmp_path: Path, factor: float, code: int) -> None:
    run_of(tmp_path / "base")
    run_of(tmp_path / "new", factor)
    shim = tmp_path / "bin" / "gb"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m greenbatch.cli "$@"\n')
    shim.chmod(0o755)
    ran = subprocess.run(
        ["sh", str(EXAMPLES / "ci_gate.sh"), "base", "new"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "<testsuite" in (tmp_path / "energy.xml").read_text()


def rows_of_r(run: Path) -> list[list[str]]:
    """Run the script of R; return the words of each row of its table of best cells."""
    ran = subprocess.run(
        ["Rscript", str(EXAMPLES / "read_run.R"), str(run)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "there is no package called" in ran.stderr:
        pytest.skip("R has no package ncdf4")
    assert ran.returncode == 0, ran.stderr
    assert "unit: J" in ran.stdout
    lines = ran.stdout.splitlines()
    (head,) = (number for number, line in enumerate(lines) if "energy_j" in line)
    return [line.split() for line in lines[head + 1 : -1]]


needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")


@pytest.mark.slow
@needs_r
def test_r_finds_the_best_cells_of_the_reports_table_with_their_intervals() -> None:
    with (RUN / "report/tables/best.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    rows = rows_of_r(RUN)
    assert len(rows) == len({row["model"] for row in table}) == 5
    for batch_size, backend, _, model, *figures in rows:
        best = min(
            (row for row in table if row["model"] == model),
            key=lambda row: float(row["energy_per_image_J"]),
        )
        assert (batch_size, backend) == (best["batch_size"], best["backend"])
        expected = [float(best[f"energy_per_image_J{end}"]) for end in ("", "_low", "_high")]
        assert [float(figure) for figure in figures] == pytest.approx(expected, rel=5e-3)


@pytest.mark.slow
@needs_r
def test_r_reads_a_run_of_one_network(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    greenbatch.open(run)  # writes dataset.nc
    assert [row[:5] for row in rows_of_r(run)] == [
        ["4", "onnxruntime-cpu", "fp32", "alexnet", "0.1"]
    ]
