"""Presets and study files: what there is runs, what is wrong is one sentence with its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from greenbatch.cli import main
from greenbatch.design.files import load, read_study
from greenbatch.design.presets import FOLDER, presets, resolve
from greenbatch.design.study import Study
from greenbatch.errors import StudyError, UnknownNameError, UsageError
from greenbatch.runners.known import ThisMachine

NAMES = {
    "alizadeh-runtimes",
    "cruz-guide",
    "duran-serving",
    "efficiency-paradox",
    "mlperf-like",
    "torchvision-timeline",
    "yarally-batching",
    "yarally-batching-strict",
    "zeus-stable",
}
TRAINING = {
    "delrey",
    "yarally-search-published",
    "yarally-search-published-5",
    "yarally-training-layers",
    "yarally-training-search",
}
GOOD = "models: [alexnet]\nbackends: [torch-cpu]\nscenarios: [server]\nrates: [16]\n"


def gb(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def inference(name: str, **options: Any) -> Study:
    """Resolve a study that is one of inference."""
    design = resolve(name, ThisMachine(), **options)
    assert isinstance(design, Study)
    return design


def test_every_preset_of_the_design_is_there() -> None:
    assert set(presets()) == NAMES | TRAINING


@pytest.mark.parametrize("name", sorted(NAMES | TRAINING))
def test_a_preset_says_its_source_and_holds_together(name: str) -> None:
    design = resolve(name, ThisMachine())
    assert design.cells()
    assert len(design.about) > 100
    assert design.name == name


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_preset_at_a_hundredth_fits_a_small_machine_and_says_so(name: str) -> None:
    whole, design = inference(name), inference(name, provider="cpu", scale=0.01)
    assert design.scale == 0.01
    assert design.repetitions == 1
    assert {backend.rpartition("-")[2] for backend in design.backends} == {"cpu"}
    assert all(design.window_for(cell, None) <= 20 for cell in design.cells())
    assert design.rules.rest_max_s <= max(10.0, 0.01 * whole.rules.rest_max_s)
    assert design.rules.rest_min_s <= max(0.1, 0.01 * whole.rules.rest_min_s)


def test_the_batching_paper_is_repeated_as_it_was() -> None:
    design = inference("yarally-batching")
    assert (design.requests, design.rates, design.repetitions) == (8192, (16.0,), 1)
    assert design.policies == ("fixed:16", "fixed:32", "fixed:64", "fixed:128", "greedy:128")
    assert design.as_published
    assert design.window_for(design.cells()[0], None) == 512.0
    assert design.preprocessing == "pipeline"
    assert design.images
    assert (design.images.folder, design.images.count) == ("generated:3", 3)


def test_the_batching_paper_takes_several_rates_and_the_readers_images(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    design = inference(
        "yarally-batching", changes=["rates=[1, 16, 32]", f"images={tmp_path}", "models=[alexnet]"]
    )
    assert design.images
    assert (design.images.folder, design.images.count) == (str(tmp_path), 1)
    assert {cell.served.rate for cell in design.cells()} == {"1", "16", "32"}
    assert len(design.cells()) == 15


def test_the_strict_study_of_batching_ends_within_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    design = inference("yarally-batching-strict")
    lengths_s = {
        cell.served.rate: design.window_for(cell, None) for cell in design.cells() if cell.is_server
    }
    assert lengths_s == {"1": 120, "16": 120, "128": 2000 / 128}  # 125 s at 16 requests/s
    code, out, _ = gb(capsys, "study", "run", "yarally-batching-strict", "--dry-run")
    assert code == 0
    hours = int(out.splitlines()[-1].partition("at least ")[2].partition(" h")[0])
    assert 12 <= hours <= 18  # start-up adds up to half a minute to each of 800 repetitions


def test_arrivals_are_never_shorter_than_the_window_of_the_protocol() -> None:
    design = inference(
        "yarally-batching-strict", changes=["longest_arrivals_s=1", "protocol.window_s=4"]
    )
    assert {design.window_for(c, None) for c in design.cells() if c.is_server} == {4.0}


def test_what_is_shown_is_the_file_that_would_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = gb(capsys, "study", "show", "cruz-guide", "--set", "repetitions=5")
    assert code == 0
    (tmp_path / "own.yaml").write_text(shown)
    assert read_study(tmp_path / "own.yaml") == resolve(
        "cruz-guide", ThisMachine(), changes=["repetitions=5"]
    )


def test_members_and_rules_are_changed_as_in_a_file() -> None:
    design = inference(
        "zeus-stable", changes=["models=[alexnet]", "protocol.window_s=4", "batch_sizes=[2]"]
    )
    assert design.models == ("alexnet",)
    assert design.rules.window_s == 4
    assert len(design.cells()) == len(design.backends)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("repetition=5", "unknown member of a study 'repetition'; did you mean 'repetitions'"),
        ("protocol.windows=4", "unknown rule of the protocol 'windows'; did you mean 'window_s'"),
        ("models", "write KEY=VALUE"),
        ("=5", "write KEY=VALUE"),
        ("models=[alexnet", "is not YAML"),
        ("models=[alexnett]", "unknown model 'alexnett'"),
        ("backends=3", "backends"),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused(change: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("[", r"\[")):
        resolve("zeus-stable", ThisMachine(), changes=[change], provider="cpu")


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_a_scale_shortens_and_nothing_else(scale: float) -> None:
    with pytest.raises(StudyError, match="above 0 and at most 1"):
        resolve("zeus-stable", ThisMachine(), scale=scale)


def test_a_study_that_is_not_there_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'yarally-batching'"):
        resolve("yaraly-batching", ThisMachine())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD + "colour: green\n", "line 5: colour is not a member of a study"),
        (GOOD + "repetitions: many\n", "line 5: repetitions is 'many'"),
        (
            GOOD + "protocol:\n  idle_s: 1\n  window_s: -2\n",
            "line 7: protocol.window_s is -2",
        ),
        (GOOD.replace("[16]", "[16, 0]"), "line 4: rates.1 is 0"),
        (GOOD.replace("[16]", "[fast]"), "line 4: rates.0 is 'fast'"),
        (GOOD.replace("[16]", "[]"), "line 4: rates is missing or empty"),
        (GOOD.replace("[alexnet]", "[]"), "line 1: models"),
        (GOOD.replace("alexnet", "alexnett"), "line 1: unknown model 'alexnett'"),
        (GOOD.replace("torch-cpu", "torch-gpu"), "line 2: unknown backend 'torch-gpu'"),
        (GOOD + "policies:\n- greedy:4\n- often\n", "line 7: unknown batching policy 'often'"),
        (GOOD + "arrivals: [rain]\n", "line 5: unknown arrivals 'rain'"),
        ("models: [alexnet\n", "is not YAML in line"),
        ("- alexnet\n", "holds list; wanted a mapping"),
    ],
)
def test_a_fault_in_a_file_is_one_sentence_with_its_line(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    code, _, errors = gb(capsys, "study", "run", path, "--dry-run")
    assert code == 2
    assert sentence in errors
    assert errors.count("\n") == 1


def test_the_line_is_that_of_the_value_in_a_long_list(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("backends: [torch-cpu]\nbatch_sizes:\n  - 1\n  - 2\n  - 0\n")
    file = load(path)
    assert file.lines["batch_sizes", 2] == 5
    with pytest.raises(StudyError, match=r"line 5: batch_sizes\.2 is 0"):
        file.study()


def test_a_dry_run_prints_the_order_and_the_least_time_and_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = gb(capsys, "study", "run", "yarally-batching", "--provider", "cpu", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 26
    assert lines[0].startswith("block 0: ")
    assert "25 repetitions of 25 cells, at least 3 h" in lines[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_preset_that_asks_for_what_the_machine_lacks_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GB_NVML", str(tmp_path / "none.so"))
    options = ("--scale", "0.01", "--weights", "random", "--out", tmp_path / "run")
    code, _, errors = gb(capsys, "study", "run", "alizadeh-runtimes", *options)
    assert code == 3
    plan, _worth, _checked, refusal = errors.splitlines()
    assert plan.startswith("gb: measuring 12 repetitions of 12 cells")
    assert "cuda" in refusal.lower()
    assert not (tmp_path / "run").exists()


def test_every_shipped_file_is_yaml_with_its_own_name() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["name"] == path.stem
