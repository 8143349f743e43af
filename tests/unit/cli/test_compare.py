"""``gb compare``: verdicts as a table, Markdown, JUnit XML, JSON and an exit code."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer

from greenbatch.cli.compare import compare, read_threshold
from greenbatch.errors import FileError, RunError, UsageError
from greenbatch.records import EnergySource, Repetition, encode, parse
from tests.fakes import runs
from tests.fakes.compared_runs import run_of

HOSTILE = "<script>alert(1)</script>|*`@all\\"


def shown(
    capsys: pytest.CaptureFixture[str], base: Path, new: Path, **more: Any
) -> tuple[int, str]:
    code = compare(base, new, **more)
    return code, capsys.readouterr().out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("runs") / "base")


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "code"), [(1.05, 1), (1.01, 0), (1.0001, 0), (0.9, 0)])
def test_only_worse_beyond_the_threshold_exits_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path, factor: float, code: int
) -> None:
    assert shown(capsys, base, run_of(tmp_path / "new", factor))[0] == code


@pytest.mark.slow
def test_the_command_exits_with_the_code(base: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(compare)
    new = run_of(tmp_path / "new", 1.05)
    assert app([str(base), str(new)], standalone_mode=False) == 1
    assert app([str(base), str(new), "--threshold", "6%"], standalone_mode=False) == 0


@pytest.mark.slow
def test_the_table_says_verdict_ratio_and_what_it_means(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    code, out = shown(capsys, base, run_of(tmp_path / "new", 1.05))
    assert code == 1
    line = next(line for line in out.splitlines() if "at batch 4" in line)
    assert line.split("  ")[0] == "alexnet on onnxruntime-cpu at batch 4"
    assert "worse" in line
    assert "1.050× (1.047 … 1.053)" in line
    assert "Energy per image, new over base: 2 worse." in out
    assert "Two runs share no blocks" in " ".join(out.split())


@pytest.mark.slow
def test_a_higher_latency_is_worse_and_a_higher_throughput_better(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    from greenbatch.cli.compare import Metric

    new = run_of(tmp_path / "new", 1.1)
    for one, other, metric, expected in (
        (base, new, Metric.LATENCY, (1, "worse")),
        (base, new, Metric.THROUGHPUT, (1, "worse")),
        (new, base, Metric.THROUGHPUT, (0, "better")),
    ):
        code, out = shown(capsys, one, other, metric=metric, as_json=True)
        assert (code, json.loads(out)["cells"][0]["verdict"]) == expected


@pytest.mark.slow
def test_json_holds_everything(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    new = run_of(tmp_path / "new", 1.05, batch_sizes=(4, 16))
    code, out = shown(capsys, base, new, as_json=True)
    found = json.loads(out)
    assert (code, found["worse"], found["metric"]) == (1, True, "energy_per_image")
    verdicts = {cell["cell"].split()[-1]: cell for cell in found["cells"]}
    assert verdicts["1"]["reason"] == "the new run does not have this cell"
    assert verdicts["16"]["reason"] == "the base does not have this cell"
    assert verdicts["4"]["ratio"]["centre"] == pytest.approx(1.05)
    assert verdicts["4"]["repetitions"] == [4, 4]
    assert found["overall"]["centre"] == pytest.approx(1.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"protocol": {"window_s": 0.5}}, "window: 2 s against 0.5 s"),
        (
            {"artifacts": {"alexnet": {"file": "a.onnx", "sha256": "1" * 64}}},
            "artifact: 000000000000 against 111111111111",
        ),
        (
            {"environment": runs.environment(machine={"cpu": "Other CPU", "cores": 2})},
            "cpu: Example CPU 9000 against Other CPU",
        ),
        ({"source": EnergySource.ESTIMATED}, "measured against estimated"),
    ],
)
def test_unlike_runs_are_refused_with_the_difference_named(
    tmp_path: Path, base: Path, change: dict[str, Any], difference: str
) -> None:
    new = run_of(tmp_path / "new", 1.05, **change)
    with pytest.raises(RunError, match=difference):
        compare(base, new)


@pytest.mark.slow
def test_a_difference_that_is_meant_is_allowed_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    artifacts = {"alexnet": {"file": "a.onnx", "sha256": "1" * 64}}
    new = run_of(tmp_path / "new", 1.05, artifacts=artifacts)
    assert shown(capsys, base, new, allow_difference=["artifact"])[0] == 1
    with pytest.raises(
        UsageError, match=r"unknown difference 'artefact'; choose one of .*artifact"
    ):
        compare(base, new, allow_difference=["artefact"])


def test_what_the_runtime_did_with_a_setting_is_compared_too(tmp_path: Path, base: Path) -> None:
    new = run_of(tmp_path / "new")
    rewritten(new, lambda record: replace(record, settings={"threads": 3}))
    with pytest.raises(RunError, match="threads: 2 against 3"):
        compare(base, new)


@pytest.mark.slow
def test_markdown_and_xml_show_settings_as_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = run_of(tmp_path / "base", mode=HOSTILE)
    new = run_of(tmp_path / "new", 1.05, mode=HOSTILE)
    junit = tmp_path / "junit.xml"
    code, out = shown(capsys, old, new, markdown=True, junit=junit)
    assert code == 1
    assert out.startswith("### greenbatch: worse\n")
    assert "<script" not in out
    assert "@all" not in out
    row = next(line for line in out.splitlines() if "batch 4" in line)
    assert "&lt;script>alert(1)&lt;/script>\\|\\*\\`&#64;all\\\\" in row
    assert row.replace("\\|", "").count("|") == 7
    suite = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "2", "0")
    assert suite[0].get("name") == f"alexnet on onnxruntime-cpu (mode={HOSTILE}) at batch 1"
    failure = suite[0].find("failure")
    assert failure is not None
    assert "1.050×" in (failure.get("message") or "")


@pytest.mark.slow
def test_xml_survives_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = run_of(tmp_path / "base", mode="a\x1bb")
    new = run_of(tmp_path / "new", 1.01, mode="a\x1bb")
    shown(capsys, old, new, junit=tmp_path / "junit.xml")
    assert (
        ET.parse(tmp_path / "junit.xml")
        .getroot()[0]
        .get("name", "")
        .startswith("alexnet on onnxruntime-cpu (mode=a\ufffdb)")
    )


@pytest.mark.slow
def test_xml_skips_what_was_not_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    new = run_of(tmp_path / "new", batch_sizes=(4, 16))
    code, _ = shown(capsys, base, new, junit=tmp_path / "junit.xml")
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    skipped = [case.find("skipped") is not None for case in suite]
    assert (code, suite.get("skipped"), skipped) == (0, "2", [True, False, True])


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("0.03", 0.03), (" 2.5 % ", 0.025)])
def test_thresholds_are_read(text: str, share: float) -> None:
    assert read_threshold(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["3", "0", "-1%", "100%", "much", "%", "nan", "3%%", "3%x"])
def test_thresholds_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--threshold .*; .*3% or 0\.03"):
        read_threshold(text)


def estimated(path: Path, model: str, factor: float = 1.0, *, cores_granted: float = 2.0) -> Path:
    """A run whose energies are estimated by a model."""
    machine = runs.environment()["machine"] | {"cores_granted": cores_granted}
    run = run_of(
        path,
        factor,
        source=EnergySource.ESTIMATED,
        environment=runs.environment(machine=machine),
    )
    rewritten(
        run,
        lambda record: replace(
            record, energy=tuple(replace(one, reason=model) for one in record.energy)
        ),
    )
    return run


def rewritten(run: Path, change: Callable[[Repetition], Repetition]) -> None:
    """Change every repetition of a run."""
    journal = run / "journal.jsonl"
    records = parse(journal.read_bytes(), "journal").repetitions
    journal.write_bytes(b"".join(encode(change(record)) for record in records))


@pytest.mark.slow
def test_estimates_by_other_models_are_refused_with_the_command_that_compares_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # The same CPU time: with a TDP of 125 W the estimate is 1.5 times that without.
    base = estimated(tmp_path / "base", "2 threads at 0.74 W, up to 3.5 W")
    new = estimated(tmp_path / "new", "2 threads at 0.74 W, up to 62.5 W", 1.5)
    with pytest.raises(RunError, match=r"up to 3\.5 W against .*up to 62\.5 W") as caught:
        compare(base, new)
    command = f"gb compare {base} {new} --allow-difference energy.estimate"
    assert str(caught.value).endswith(command)
    assert shown(capsys, base, new, allow_difference=["energy.estimate"])[0] == 1


@pytest.mark.slow
def test_the_hardware_threads_granted_must_be_alike(tmp_path: Path) -> None:
    base = estimated(tmp_path / "base", "2 threads at 0.74 W")
    new = estimated(tmp_path / "new", "8 threads at 0.74 W", 1.64, cores_granted=8)
    with pytest.raises(RunError, match=r"cores_granted: 2\.0 against 8") as caught:
        compare(base, new)
    assert str(caught.value).endswith("--allow-difference energy.estimate,cores_granted")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "difference"),
    [
        ({"machine": {"governor": "powersave"}}, "governor: performance against powersave"),
        ({"machine": {"boost": True}}, "boost: False against True"),
        (
            {"gpus": [{"name": "G", "power_limit_w": 350.0}]},
            "power_limit: 700 W against 350 W",
        ),
    ],
)
def test_what_sets_the_power_of_the_machine_must_be_alike(
    tmp_path: Path, environment: dict[str, Any], difference: str
) -> None:
    usual = {
        "machine": runs.environment()["machine"] | {"governor": "performance", "boost": False},
        "gpus": [{"name": "G", "power_limit_w": 700.0}],
    }
    machine = usual["machine"] | environment.get("machine", {})
    base = run_of(tmp_path / "base", environment=runs.environment(**usual))
    changed = usual | environment | {"machine": machine}
    new = run_of(tmp_path / "new", 1.05, environment=runs.environment(**changed))
    with pytest.raises(RunError, match=difference):
        compare(base, new)


@pytest.mark.slow
def test_all_differences_are_listed_at_once_with_the_command_to_paste(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    new = run_of(tmp_path / "new", 1.05, threads=4, protocol={"window_s": 1.0})
    rewritten(new, lambda record: replace(record, settings={"threads": 4, "spinning": True}))
    with pytest.raises(RunError, match="threads: 2 against 4") as caught:
        compare(base, new)
    listed = "threads,window"
    assert str(caught.value).endswith(f"--allow-difference {listed}")
    assert "gb bench --threads 1,2" in str(caught.value)
    assert shown(capsys, base, new, allow_difference=[listed])[0] == 1
    assert shown(capsys, base, new, allow_difference=["threads", "window"])[0] == 1


@pytest.mark.slow
def test_flags_stand_beside_the_verdict_and_can_be_left_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    new = run_of(tmp_path / "new", 1.05)
    rewritten(
        new,
        lambda record: replace(
            record, flags=("disturbed", "throttled") if record.block else ("throttled",)
        ),
    )
    _, out = shown(capsys, base, new, as_json=True)
    (cell, _) = json.loads(out)["cells"]
    assert cell["reason"] == "new run: 4 of 4 flagged throttled, 3 of 4 disturbed"
    assert cell["flags"] == {"base": {}, "new": {"throttled": 4, "disturbed": 3}}
    _, out = shown(capsys, base, new, as_json=True, exclude_flag=["disturbed"])
    assert json.loads(out)["cells"][0]["repetitions"] == [4, 1]
    with pytest.raises(
        RunError, match=r"no figure .* --exclude-flag throttled,disturbed leaves out"
    ):
        compare(base, new, exclude_flag=["throttled,disturbed"])
    with pytest.raises(UsageError, match="unknown flag 'loud'"):
        compare(base, new, exclude_flag=["loud"])


def test_a_network_that_fell_back_to_the_cpu_is_not_compared_with_one_that_did_not(
    tmp_path: Path, base: Path
) -> None:
    new = run_of(tmp_path / "new", 1.05)
    rewritten(new, lambda record: replace(record, flags=("fallback",)))
    with pytest.raises(RunError, match="fallback: no against yes"):
        compare(base, new)


def noisy_pair(folder: Path, noise: float) -> list[Path]:
    """Two runs whose blocks rise by ``noise`` each, the new one 1 % higher."""
    found = [run_of(folder / name) for name in ("base", "new")]

    def spread(record: Repetition, shift: float) -> Repetition:
        energy_j = 40.0 * shift * (1 + noise * record.block)
        return replace(record, energy=(runs.figure(energy_j),))

    rewritten(found[0], lambda record: spread(record, 1.0))
    rewritten(found[1], lambda record: spread(record, 1.01))
    return found


@pytest.mark.slow
def test_a_gate_that_is_not_decided_says_so_and_fails_on_request(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base, new = noisy = noisy_pair(tmp_path, 0.1)
    code = compare(base, new)
    out, errors = capsys.readouterr()
    assert code == 0
    assert errors.startswith("too noisy: measure both runs with more repetitions, e.g.: gb study ")
    assert errors.endswith(" --set repetitions=10\n")
    assert out.startswith("Not decided: 2 of 2 cells are too noisy to tell.\n")
    assert shown(capsys, *noisy, markdown=True)[1].startswith("### greenbatch: not decided: 2 of 2")
    code, out = shown(capsys, *noisy, as_json=True, fail_on_noise=True)
    assert (code, json.loads(out)["decided"]) == (5, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "remedy"),
    [
        (0.01, r"To decide, measure both runs with --repetitions \d\d?\."),
        (0.1, r"each run needs \d{3} repetitions; a quieter machine or longer windows"),
    ],
)
def test_what_would_decide_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, noise: float, remedy: str
) -> None:
    _, out = shown(capsys, *noisy_pair(tmp_path, noise))
    assert re.search(remedy, " ".join(out.split()))


@pytest.mark.slow
def test_a_decided_gate_is_none_of_noise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, base: Path
) -> None:
    for factor, code, first in ((1.05, 1, "Worse."), (1.0001, 0, "Not worse.")):
        found = shown(capsys, base, run_of(tmp_path / first, factor), fail_on_noise=True)
        assert found[0] == code
        assert found[1].startswith(first)


def test_a_run_is_not_compared_with_itself(tmp_path: Path, base: Path) -> None:
    with pytest.raises(RunError, match="are the same run; compare a run before a change"):
        compare(base, base)


@pytest.mark.slow
def test_wrong_use_is_refused(tmp_path: Path, base: Path) -> None:
    with pytest.raises(UsageError, match="choose one"):
        compare(base, base, markdown=True, as_json=True)
    with pytest.raises(RunError, match="nowhere is not there; give the directory"):
        compare(base, tmp_path / "nowhere")
    with pytest.raises(FileError, match="cannot write"):
        compare(base, run_of(tmp_path / "new", 1.01), junit=tmp_path / "no" / "junit.xml")


@pytest.mark.slow
def test_runs_of_other_networks_are_refused_by_their_cells(base: Path, tmp_path: Path) -> None:
    new = run_of(tmp_path / "new", batch_sizes=(2, 8))
    with pytest.raises(RunError, match=r"no cell in common, e\.g\. alexnet.*batch 1.*batch 2") as e:
        compare(base, new)
    assert "--allow-difference" not in str(e.value)


@pytest.mark.slow
def test_a_run_with_a_budget_is_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget: dict[str, Any] = {"budget": 600.0, "decide": "best", "within": 0.03}
    compare(base, run_of(tmp_path / "new", **budget))
    said = capsys.readouterr().err
    assert said.count("had a budget: cells that it left have few repetitions") == 1
    assert str(tmp_path / "new") in said
    assert said.endswith(f"see every cell of the new run: gb report {tmp_path / 'new'}\n")
