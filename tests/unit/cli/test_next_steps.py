"""What a result leads to: commands that parse, on standard error.

That each command prints one is tested beside it.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greenbatch.cli.commands import COMMANDS
from greenbatch.cli.output import next_steps
from greenbatch.design.presets import resolve
from greenbatch.design.study import Study
from greenbatch.records import Cell
from greenbatch.runners.known import ThisMachine
from tests.fakes.compared_runs import run_of


@dataclass(frozen=True)
class Policy:
    text: str


@dataclass(frozen=True)
class Choice:
    cell: Cell
    policy: Policy


@dataclass(frozen=True)
class Found:
    best: Choice | None
    rate_hz: float = 20.0


def command_in(line: str) -> tuple[str, list[str], Any]:
    """Return the purpose and the words of the command in a line, and what it parses to."""
    purpose, _, text = line.rstrip("\n").partition(": gb ")
    name, *arguments = shlex.split(text)
    command = COMMANDS[name].load(name)
    given = list(arguments)
    if name == "study":
        command, given = command.commands[given[0]], given[1:]
    return purpose, [name, *arguments], command.make_context(name, given).params


@pytest.mark.parametrize("policy", ["greedy:1", "dynamic:4:5ms"])
def test_the_policy_is_measured_as_a_server_of_the_run_s_study(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, policy: str
) -> None:
    run = run_of(tmp_path / "a run", repetitions=5)
    choice = Choice(Cell("alexnet", "onnxruntime-cpu", batch_size=4), Policy(policy))
    found: list[Any] = [Found(None), Found(choice)]
    next_steps.suggest_serving(run, found, "poisson")
    captured = capsys.readouterr()
    assert captured.out == ""
    purpose, _, params = command_in(captured.err)
    assert purpose == "measure this policy"
    study = resolve(params["name"], ThisMachine(), changes=params["changes"])
    assert isinstance(study, Study)
    (cell,) = study.cells()
    assert str(cell) == f"alexnet on onnxruntime-cpu with {policy} at 20 requests/s (poisson)"
    assert study.repetitions == 5


def test_without_a_policy_or_a_study_nothing_follows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    choice = Choice(Cell("alexnet", "onnxruntime-cpu"), Policy("greedy:1"))
    none: list[Any] = [Found(None)]
    one: list[Any] = [Found(choice)]
    next_steps.suggest_serving(run_of(tmp_path / "run"), none, "poisson")
    next_steps.suggest_serving(tmp_path, one, "poisson")
    next_steps.suggest_again(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_run_is_measured_again_with_more_repetitions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    next_steps.suggest_again(run_of(tmp_path / "run"), "too noisy", repetitions="10")
    _, words, params = command_in(capsys.readouterr().err)
    assert words[:2] == ["study", "run"]
    assert params["changes"] == ["repetitions=10"]
