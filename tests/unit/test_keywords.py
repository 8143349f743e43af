"""A misspelt keyword of `greenbatch.bench` is found before anything is measured, and by mypy."""

import sys
from pathlib import Path

import pytest

import greenbatch
from greenbatch.design.options import BenchOptions, StudyOptions, TrainingOptions
from greenbatch.design.study import Study
from greenbatch.design.training_study import TrainingStudy
from greenbatch.errors import UnknownNameError
from greenbatch.workflows.inference import plan

PACKAGE = Path(greenbatch.__file__).parent


@pytest.mark.parametrize(
    ("keyword", "nearest"),
    [
        ("reptitions", "repetitions"),
        ("batch_size", "batch_sizes"),
        ("share_machin", "share_machine"),
    ],
)
def test_a_misspelt_keyword_is_named_with_the_nearest(keyword: str, nearest: str) -> None:
    options = {keyword: 3}
    with pytest.raises(UnknownNameError, match=f"{keyword}.*{nearest}"):
        greenbatch.bench(["alexnet"], **options)  # type: ignore[arg-type]


def test_the_keywords_are_members_of_a_study() -> None:
    given = StudyOptions.__annotations__.keys()
    filled_in = {"schema_version", "models", "scale", "artifacts_dir", "artifacts"}
    filled_in |= {"inputs", "exported"}
    assert given == Study.model_fields.keys() - filled_in
    assert given < BenchOptions.__annotations__.keys()
    filled_in = {"schema_version", "kind", "models", "scale"}
    assert TrainingOptions.__annotations__.keys() == TrainingStudy.model_fields.keys() - filled_in


def test_a_run_may_be_named_by_a_text() -> None:
    study, path = plan(["alexnet"], providers=["cpu"], batch_sizes=[1], out="runs/a")
    assert (study.name, path) == ("a", Path("runs/a"))
    assert study.batch_sizes == (1,)


@pytest.mark.slow
def test_mypy_finds_a_misspelt_keyword_and_a_value_of_a_wrong_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mypy import api

    monkeypatch.setenv("MYPYPATH", str(PACKAGE.parent))

    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "import greenbatch\n"
        "greenbatch.bench(['alexnet'], repetitions=3, out='runs/a')\n"
        "greenbatch.bench(['alexnet'], reptitions=3)\n"
        "greenbatch.bench(['alexnet'], repetitions='3')\n"
    )
    read = [
        PACKAGE / name for name in ("__init__.py", "workflows/inference.py", "design/options.py")
    ]
    found, problem, _ = api.run(
        [
            *map(str, (snippet, *read)),
            "--config-file=",
            "--explicit-package-bases",
            "--follow-imports=skip",
            f"--python-executable={sys.executable}",
            f"--cache-dir={tmp_path / 'cache'}",
        ]
    )
    assert not problem
    lines = [
        line for line in found.splitlines() if f"{snippet.name}:" in line and " error: " in line
    ]
    assert [line.rpartition(snippet.name)[2].split(":")[1] for line in lines] == ["3", "4"], found
    assert '"reptitions"' in lines[0]
