"""A shell completes commands, options and commands of a group."""

import subprocess

import pytest

from greenbatch.cli import main


def completed(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gb re", ["resume", "report", "recommend"]),
        ("gb bench --batch-s", ["--batch-sizes"]),
        ("gb study r", ["run"]),
    ],
)
def test_what_was_begun_is_completed(
    line: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    assert sorted(completed(capsys).split()) == sorted(words)


def test_the_script_for_bash_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GB_COMPLETE", "source_bash")
    script = completed(capsys)
    assert "_GB_COMPLETE=complete_bash" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
