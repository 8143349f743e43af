"""Extras: what the distribution declares, and what a command says where one is not installed."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from greenbatch import extras
from greenbatch.errors import MissingPackage
from tests.fakes.light_install import without_extras
from tests.thorough import needs_thorough

ROOT = Path(__file__).parents[2]
RUN = ROOT / "docs/examples/five-models-four-runtimes-2-cores"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

_MANY = """
import contextlib, io, json, sys
from greenbatch.cli import main
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(line)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


def light(tmp_path: Path, *lines: list[str]) -> list[tuple[int, str, str]]:
    """Run commands, one after the other, where no extra is installed."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=without_extras(tmp_path),
    )
    return [tuple(json.loads(answer)) for answer in done.stdout.splitlines()]


def test_the_extras_are_those_of_the_distribution_and_all_has_every_one() -> None:
    declared = PROJECT["optional-dependencies"]
    assert set(declared) == {"all", *extras.EXTRAS}
    assert declared["all"] == [f"greenbatch[{','.join(sorted(extras.EXTRAS))}]"]


def test_no_dependency_of_the_distribution_itself_is_one_of_an_extra() -> None:
    base = {line.partition(">")[0].lower() for line in PROJECT["dependencies"]}
    assert base.isdisjoint({"torch", "torchvision", "onnx", "onnxruntime-gpu", "onnxscript"})
    assert {"nvidia-ml-py", "typer", "xarray"} <= base


@pytest.mark.slow
def test_what_measures_names_the_missing_packages_and_the_line_that_installs_them(
    tmp_path: Path,
) -> None:
    lines = [
        ["bench", "alexnet", "--provider", "cpu", "--batch-sizes", "1", "--out", "run"],
        ["export", "alexnet"],
        ["eval", "alexnet", "--data", "."],
        ["layers", "alexnet"],
        ["train", "simple-cnn", "--data", "digits", "--out", "run"],
        ["bench", "--runtime", "openvino", "--provider", "cpu", "--batch-sizes", "1"],
    ]
    extra = ["bench", "bench", "bench", "bench", "bench", "openvino"]
    for line, wanted, (code, out, err) in zip(lines, extra, light(tmp_path, *lines), strict=True):
        assert (code, out) == (MissingPackage.exit_code, ""), (line, err)
        assert err.startswith("gb: ")
        assert err.count("\n") == 1, err
        assert err.endswith(f"not installed; run: pip install 'greenbatch[{wanted}]'\n"), err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_lists_and_meters_works_without_extras(tmp_path: Path) -> None:
    lines = [
        ["models", "--study", "--json"],
        ["study", "list"],
        ["bench", "--help"],
        ["meter", "--json", "--", "true"],
    ]
    answers = light(tmp_path, *lines)
    assert [code for code, _, _ in answers] == [0] * len(lines), answers
    assert json.loads(answers[-1][1])["duration_s"] > 0


@needs_thorough
@pytest.mark.slow
def test_what_reads_runs_works_without_extras(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    lines = [
        ["report", "run", "--json"],
        ["compare", "run", "run"],
        ["recommend", "run", "--rate", "2", "--p99", "5s"],
        ["merge", "run", "--out", "merged.nc"],
        ["doctor"],
    ]
    report, compare, recommend, merge, doctor = light(tmp_path, *lines)
    assert (report[0], recommend[0]) == (0, 0), (report, recommend)
    assert (tmp_path / json.loads(report[1])["report"]).is_file()
    assert "the same run" in compare[2]
    assert "not installed" not in merge[2]
    assert "run: pip install 'greenbatch[bench]'" in doctor[1]


def test_a_failed_import_of_such_a_package_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from greenbatch import cli
    from greenbatch.models import registry

    monkeypatch.setitem(sys.modules, "timm", None)

    def imports(*_: object) -> None:
        __import__("timm.models")

    monkeypatch.setattr(registry, "names", imports)
    with pytest.raises(SystemExit) as end:
        cli.main(["models"])
    assert end.value.code == MissingPackage.exit_code
    assert capsys.readouterr().err == (
        "gb: timm is not installed; run: pip install 'greenbatch[timm]'\n"
    )


def test_another_failed_import_is_not_explained() -> None:
    assert extras.explain(ModuleNotFoundError("no", name="somebody_elses")) is None
    assert extras.explain(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None
    assert extras.explain(ValueError("no")) is None
    assert extras.missing(["somebody_elses"]) == ()


def test_several_packages_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "onnx", "optuna"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage) as error:
        extras.require("a search", ["torch", "onnx", "torch", "optuna"])
    assert str(error.value) == (
        "a search needs torch, onnx and optuna, which are not installed; "
        "run: pip install 'greenbatch[bench,train]'"
    )
