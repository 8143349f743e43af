"""Options of ``gb fleet`` that cannot be meant: one sentence each, before anything is exported."""

from pathlib import Path

import pytest

from greenbatch.cli import main

STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu]
batch_sizes: [1]
repetitions: 1
weights: random
meters: [none]
"""


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must be refused, and return its sentence."""
    with pytest.raises(SystemExit) as ended:
        main(["fleet", *map(str, arguments)])
    assert ended.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    return sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--local", "1", "--scheduler", "tcp://a:1"), "exclude each other"),
        (("--slurm", "--local", "1"), "exclude each other"),
        (("--partition", "lab"), "add --slurm"),
        (("--scheduler", "tcp://a:1", "--worker-env", "a.yaml"), "workers of --local"),
        (("--unit", "cell"), "valid: block, study"),
        (("--versions", "any"), "valid: refuse, group"),
        (("--machines", "all"), "EPYC 9354=4"),
        (("--wait", "soon"), "e.g. 30m"),
        (("--local", "0"), "from 1 to 1000"),
        (("--kinds", "missing.yaml"), "cannot read --kinds missing.yaml"),
        (("--worker-env", "missing.yaml"), "cannot read --worker-env"),
        (("--machines", "any", "--unit", "study"), "use --machines each"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    assert words in refused(capsys, "run", study, *options, "--out", tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "no list of mappings"),
        ("a: b", "no list of mappings"),
        ("- {A: b}", "has 1 entries, and --local is 2"),
    ],
)
def test_variables_of_workers_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    study, variables = tmp_path / "study.yaml", tmp_path / "workers.yaml"
    study.write_text(STUDY)
    variables.write_text(text)
    options = ("--local", 2, "--worker-env", variables)
    assert words in refused(capsys, "run", study, *options)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[a]", "no mapping of kinds"), ("EPYC: {fans: 2}", "names 'fans' of EPYC; valid: cores")],
)
def test_kinds_that_cannot_be_checked_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    study, kinds = tmp_path / "study.yaml", tmp_path / "kinds.yaml"
    study.write_text(STUDY)
    kinds.write_text(text)
    assert words in refused(capsys, "run", study, "--kinds", kinds)


def test_a_training_study_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "gb study run" in refused(capsys, "run", "yarally-training-layers")


@pytest.mark.parametrize("command", ["attach", "status", "logs", "cancel"])
def test_a_folder_without_a_fleet_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    assert "is not a fleet" in refused(capsys, command, tmp_path)
