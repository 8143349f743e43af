"""Many exports at a time: a failing one costs itself alone, memory is bounded, nothing is left."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from greenbatch.cli import main
from greenbatch.cli.output.export_progress import outcome_table
from greenbatch.exporter import parallel as fleets
from greenbatch.exporter.parallel import GIB, Fleet, Outcome, Plan, need_bytes
from greenbatch.models import ModelSpec, find, names
from greenbatch.records import Manifest, Parity, TensorSpec, WeightsRecord
from tests.fakes.networks import SPEC

# A worker as `gb export NAME --json` is one to its fleet. The name says what it does.
WORKER = """
import json, os, pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
(folder / f"{name}.began").write_text(repr(time.monotonic()))
if "fails" in name:
    print("Traceback: chatter", file=sys.stderr)
    sys.exit("gb: the network is no good; give it up")
if "killed" in name:
    os.kill(os.getpid(), signal.SIGKILL)
if "works" in name:
    if "deaf" in name:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / f".{name}.export-x").mkdir()
    (folder / f".{name}.export-x" / "half").touch()
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    time.sleep(60)
time.sleep(0.3)
if "silent" not in name:
    (folder / f"{name}-fp32.json").write_text(sys.argv[3].replace("NAME", name))
print("chatter")
print(json.dumps({"verdict": "proved", "precision": "fp32", "up_to_date": False,
                  "notes": ["random ones are used"], "gpu_notes": ["CUDA leaves one"]}))
(folder / f"{name}.ended").write_text(repr(time.monotonic()))
"""

MANIFEST = Manifest(
    model="NAME",
    precision="fp32",
    file="NAME-fp32.onnx",
    sha256="0",
    size_bytes=1,
    opset=20,
    nodes=3,
    parameters=1,
    inputs=(TensorSpec(name="input", dtype="float32", dims=("batch", 3, 16, 16)),),
    outputs=(TensorSpec(name="logits", dtype="float32", dims=("batch", 10)),),
    weights=WeightsRecord(kind="random", detail="seed 0", file="w", sha256="0"),
    parity=(Parity(batch_size=1, max_abs=0, max_rel=1e-6, spread=1, rows_rel=1e-7),),
    recipe="0",
    exported_at="",
    export_s=1.0,
)


def specs(*names: str, gib: float = 0.0) -> list[ModelSpec]:
    """Networks whose exports are estimated to need about ``gib`` more than a small one."""
    parameters = int(gib * GIB / fleets._PER_PARAMETER_BYTES)
    return [replace(SPEC, name=name, parameters=parameters) for name in names]


def plan_of(folder: Path, jobs: int = 2, memory_gib: float = 100) -> Plan:
    """Plan with the worker above."""
    text = MANIFEST.to_json()
    return Plan(
        folder=folder,
        command=lambda name: [sys.executable, "-c", WORKER, name, str(folder), text],
        jobs=jobs,
        memory_bytes=int(memory_gib * GIB),
        threads=1,
    )


def span(folder: Path, name: str) -> tuple[float, float]:
    """When a worker was at work."""
    began, ended = (float((folder / f"{name}.{end}").read_text()) for end in ("began", "ended"))
    return began, ended


@pytest.mark.slow
def test_each_network_has_its_outcome_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    names = ("a", "fails", "killed", "silent", "b")
    outcomes = {o.model: o for o in Fleet(plan_of(tmp_path)).run(specs(*names))}
    assert set(outcomes) == set(names)
    assert [outcomes[name].verdict for name in names] == ["proved", *["failed"] * 3, "proved"]
    assert outcomes["fails"].reason == "the network is no good; give it up"
    assert "was killed" in outcomes["killed"].reason
    assert "left no proof: cannot read the manifest" in outcomes["silent"].reason
    assert outcomes["a"].manifest == replace(MANIFEST, model="a", file="a-fp32.onnx")
    assert outcomes["a"].notes == ("random ones are used",)
    assert outcomes["a"].gpu_notes == ("CUDA leaves one",)
    for outcome in outcomes.values():
        assert "\n" not in outcome.reason
        assert outcome.seconds > 0
        assert outcome.memory_peak_bytes is not None
        assert outcome.memory_peak_bytes > 1 << 20


@pytest.mark.slow
def test_no_more_are_at_work_than_was_said(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    fleet = Fleet(plan_of(tmp_path, jobs=2))
    seen: list[int] = []
    assert all(o.good for o in fleet.run(specs(*names), lambda: seen.append(len(fleet.at_work))))
    assert max(seen) == 2
    assert fleet.at_work == ()
    assert fleet.memory_peak_bytes > 1 << 20
    spans = [span(tmp_path, name) for name in names]
    for began, _ in spans:
        assert sum(b <= began < e for b, e in spans) <= 2


@pytest.mark.slow
def test_what_does_not_fit_into_memory_together_runs_one_after_the_other(tmp_path: Path) -> None:
    large = specs("large1", "large2", gib=4)
    assert len(list(Fleet(plan_of(tmp_path, memory_gib=8)).run([*large, *specs("small")]))) == 3
    first, second = span(tmp_path, "large1"), span(tmp_path, "large2")
    assert first[1] <= second[0]
    assert span(tmp_path, "small")[0] < first[1], "a small one fits beside"


@pytest.mark.slow
def test_one_that_needs_more_than_there_is_runs_alone(tmp_path: Path) -> None:
    chosen = [*specs("small"), *specs("huge", gib=50), *specs("small2")]
    outcomes = list(Fleet(plan_of(tmp_path, memory_gib=4)).run(chosen))
    assert all(outcome.good for outcome in outcomes)
    began, ended = span(tmp_path, "huge")
    for name in ("small", "small2"):
        other = span(tmp_path, name)
        assert other[1] <= began or ended <= other[0]


def test_the_estimate_covers_the_peaks_that_were_measured() -> None:
    for name, peak_gb in (("densenet201", 2.12), ("efficientnet_b5", 2.52), ("vit_l_16", 3.81)):
        assert peak_gb < need_bytes(find(name)) / 1e9 < 2 * peak_gb, name


def wait_for(path: Path) -> None:
    """Wait until a file is there and says something."""
    while not (path.is_file() and path.read_text()):
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["works", "works_deaf"])
def test_stopping_early_ends_the_workers_and_removes_what_they_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(fleets, "_END_TIMEOUT_S", 1.0)
    running = Fleet(plan_of(tmp_path)).run(specs("small", name))
    with closing(running):
        assert next(running).model == "small"
        wait_for(tmp_path / f"{name}.pid")
        pid = int((tmp_path / f"{name}.pid").read_text())
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert not list(tmp_path.glob(".*.export-*"))


def test_an_exception_of_who_is_told_ends_the_workers_too(tmp_path: Path) -> None:
    def interrupt() -> None:
        if (tmp_path / "works.pid").is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Fleet(plan_of(tmp_path)).run(specs("works"), interrupt))
    wait_for(tmp_path / "works.pid")
    assert not psutil.pid_exists(int((tmp_path / "works.pid").read_text()))
    assert not list(tmp_path.glob(".*.export-*"))


Gb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gb:
    """``gb export`` of a few networks of the registry, with an outcome made up for each."""

    def run(
        *arguments: str, bad: tuple[str, ...] = (), stop_before: str = ""
    ) -> tuple[int, str, str]:
        def outcomes(self: Fleet, chosen: list[ModelSpec], on_tick: object) -> object:
            for spec in chosen:
                if spec.name == stop_before:
                    raise KeyboardInterrupt
                made = replace(MANIFEST, model=spec.name, file=f"{spec.name}-fp32.onnx")
                common = {"model": spec.name, "seconds": 12.0, "memory_peak_bytes": 10**9}
                notes = {"notes": ("so",), "gpu_notes": (f"CUDA leaves one of {spec.name}",)}
                if spec.name in bad:
                    yield Outcome(**common, verdict="failed", reason="no good; [give] it up")  # type: ignore[arg-type]
                else:
                    yield Outcome(**common, verdict="proved", manifest=made, **notes)  # type: ignore[arg-type]

        def closable(self: Fleet, chosen: list[ModelSpec], on_tick: object) -> object:
            self.memory_peak_bytes = 2 * 10**9
            return outcomes(self, chosen, on_tick)

        monkeypatch.setattr(Fleet, "run", closable)
        with pytest.raises(SystemExit) as ended:
            main(["export", *arguments, "--out", str(tmp_path)])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def test_the_command_ends_in_a_table_and_exits_0_if_all_are_proved(gb: Gb) -> None:
    code, out, err = gb("alexnet", "vit_b_16", "--weights", "random")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["model", "alexnet", "vit_b_16", "2"]
    row = ["12 s", "1 B", "3", "1.0e-06", "1.0e-07", "1 GB", "proved"]
    assert re.split(r"  +", out.splitlines()[1].strip())[1:] == row
    assert out.splitlines()[-1].startswith("2 proved in ")
    assert out.splitlines()[-1].endswith("2 GB of memory at most at once")
    lines = err.splitlines()
    assert lines[0] == "gb: so", "what all say is said once"
    assert lines[1] == "gb: CUDA leaves one of alexnet"
    assert lines[2].startswith("[1/2] alexnet: proved in 12 s, 1 B, largest error 1.0e-06, peak")
    assert "left" in lines[2]
    assert lines[3] == "gb: CUDA leaves one of vit_b_16"
    assert "left" not in lines[4]


def test_the_command_exits_3_and_says_why_if_one_is_not(gb: Gb) -> None:
    code, out, err = gb("alexnet", "vit_b_16", "--weights", "random", bad=("alexnet",))
    assert code == 3
    assert out.splitlines()[1].split()[-1] == "failed"
    assert out.splitlines()[3] == "alexnet: no good; [give] it up"
    assert "alexnet: failed: no good; [give] it up" in err
    assert out.splitlines()[-1].startswith("1 proved, 1 failed in ")


@pytest.mark.parametrize(("columns", "widest"), [(80, 80), (120, 86)])
def test_the_table_is_whole_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, widest: int
) -> None:
    name = max(names(), key=len)
    manifest = replace(MANIFEST, size_bytes=1_230_000_000)
    done = Outcome(
        model=name,
        verdict="proved",
        seconds=3599.0,
        memory_peak_bytes=1_230_000_000,
        manifest=manifest,
    )
    kept = Outcome(model=name, verdict="up to date", manifest=manifest)
    failed = Outcome(model=name, verdict="failed", reason="a long " * 30)
    console = Console(width=columns, file=io.StringIO(), highlight=False)
    console.print(outcome_table([done, kept, failed], tmp_path, columns))
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert [line.split()[0] for line in lines] == ["model", *[name] * 3], "a line for each"
    assert " ".join(lines[1].split()[1:]) == "59 min 59 s 1.23 GB 3 1.0e-06 1.0e-07 1.23 GB proved"
    assert lines[2].endswith("up to date")
    assert max(map(len, lines)) <= widest
    assert "…" not in "".join(lines)


def test_json_is_a_line_for_each_and_one_sentence_of_error(gb: Gb) -> None:
    code, out, err = gb("alexnet", "vit_b_16", "densenet121", "--json", bad=("vit_b_16",))
    result = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [line["verdict"] for line in result] == ["proved", "failed", "proved"]
    assert [line["notes"] for line in result] == [["so"], [], []]
    left = [[f"CUDA leaves one of {name}"] for name in ("alexnet", "densenet121")]
    assert [line["gpu_notes"] for line in result] == [left[0], [], left[1]]
    assert result[1]["reason"] == "no good; [give] it up"
    assert result[0]["max_rel"] == 1e-6
    assert all(line["memory_peak_bytes"] == 10**9 for line in result)
    assert err == (
        "gb: 1 of 3 networks did not become a verified artifact: vit_b_16: no good; [give] it up\n"
    )


def test_what_is_up_to_date_gets_no_process(
    gb: Gb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from greenbatch.cli.output import export_progress as screen

    there = replace(MANIFEST, model="alexnet", file="alexnet-fp32.onnx")
    monkeypatch.setattr(
        screen, "find_up_to_date", lambda name, *_, **__: there if name == "alexnet" else None
    )
    code, out, _ = gb("alexnet", "vit_b_16", "--json")
    result = [json.loads(line) for line in out.splitlines()]
    assert [(line["model"], line["up_to_date"]) for line in result] == [
        ("alexnet", True),
        ("vit_b_16", False),
    ]
    assert result[0]["memory_peak_bytes"] is None
    code, out, _ = gb("alexnet", "vit_b_16", "--json", "--force")
    assert [json.loads(line)["up_to_date"] for line in out.splitlines()] == [False, False]
    code, out, err = gb("alexnet", "vit_b_16")
    assert (code, "[1/2] alexnet: up to date" in err) == (0, True)
    assert out.splitlines()[-1].startswith("1 proved, 1 up to date in ")


@pytest.mark.slow
def test_all_means_every_network_small_ones_first(gb: Gb) -> None:
    from greenbatch.models import registry

    _, out, _ = gb("--all", "--json")
    names = [json.loads(line)["model"] for line in out.splitlines()]
    assert sorted(names) == sorted(registry.names())
    sizes = [registry.find(name).parameters for name in names]
    assert sizes == sorted(sizes)
    code, _, err = gb("alexnet", "--all")
    assert code == 2
    assert "--all and the model alexnet" in err


@pytest.mark.slow
def test_a_family_or_all_of_them_is_chosen_beside_the_classifiers(gb: Gb) -> None:
    from greenbatch.models import registry

    def chosen(*arguments: str) -> set[str]:
        code, out, _ = gb(*arguments, "--json")
        assert code == 0
        return {json.loads(line)["model"] for line in out.splitlines()}

    detectors = set(registry.names("detection"))
    assert chosen("--family", "detection") == detectors
    assert chosen("--all", "--family", "detection", "--family", "vit") == detectors | set(
        registry.names("vit")
    )
    everything = chosen("--all", "--family", "all")
    assert everything == set(registry.names(registry.ALL))
    assert len(everything) >= 121
    code, _, err = gb("--family", "detections")
    assert (code, "'detection'" in err) == (2, True)
    code, _, err = gb("alexnet", "--family", "vit")
    assert (code, "--family and the model alexnet" in err) == (2, True)


def test_the_memory_of_clips_and_large_images_is_estimated() -> None:
    from greenbatch.models import find

    assert need_bytes(find("mvit_v1_b")) > need_bytes(find("vit_b_32"))
    assert need_bytes(find("retinanet_resnet50_fpn")) > need_bytes(find("resnet50"))
    peaks = {
        "lraspp_mobilenet_v3_large": 4.66,
        "deeplabv3_resnet101": 8.65,
        "fcn_resnet101": 8.54,
        "keypointrcnn_resnet50_fpn": 4.89,
        "raft_small": 3.79,
        "raft_large": 4.76,
        "s3d": 2.65,
        "r3d_18": 2.07,
        "swin3d_t": 10.75,
        "swin3d_b": 14.97,
        "mvit_v1_b": 4.64,
        "mvit_v2_s": 14.71,
    }
    for name, peak_gb in peaks.items():
        assert peak_gb < need_bytes(find(name)) / 1e9 < 6 * peak_gb, name  # s3d attends to nothing


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], "1 of 2 artifacts .* the same command continues"),
        (
            ["--force", "--precision", "fp16"],
            "1 of 4 artifacts .* the same command without --force continues",
        ),
    ],
)
def test_an_interruption_says_what_is_kept_and_how_to_go_on(
    gb: Gb, tmp_path: Path, options: list[str], kept: str
) -> None:
    code, out, err = gb("alexnet", "vit_b_16", *options, "--json", stop_before="vit_b_16")
    assert code == 130
    assert json.loads(out)["model"] == "alexnet"
    assert re.fullmatch(f"gb: interrupted; {kept}.*\n", err)
    assert str(tmp_path) in err


def test_an_interruption_counts_no_failed_network_as_kept(gb: Gb, tmp_path: Path) -> None:
    code, _, err = gb("alexnet", "vit_b_16", "--json", bad=("alexnet",), stop_before="vit_b_16")
    assert code == 130
    assert err.startswith(f"gb: interrupted; no artifact in {tmp_path}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("models", "at_work", "number"),
    [
        (["vgg11", "alexnet", "--jobs", "2"], 2, signal.SIGINT),
        (["vgg11", "alexnet", "--jobs", "2"], 2, signal.SIGTERM),
        (["--all", "--jobs", "1"], 1, signal.SIGINT),
        (["alexnet"], 1, signal.SIGINT),
    ],
)
def test_interrupting_the_command_ends_its_workers_and_leaves_nothing(
    tmp_path: Path, models: list[str], at_work: int, number: signal.Signals
) -> None:
    folder = tmp_path / "artifacts"
    line = [sys.executable, "-m", "greenbatch.cli", "export", *models]
    process = subprocess.Popen(
        [*line, "--weights", "random", "--out", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the signal can reach the command alone
    )
    while len(list(folder.glob(".*.export-*"))) < at_work:
        assert process.poll() is None
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) == (0 if models == ["alexnet"] else at_work)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert err.startswith(f"gb: interrupted; no artifact in {folder}")
    assert err.count("\n") == 1
    assert not any(worker.is_running() for worker in workers)
    assert {path.suffix for path in folder.iterdir()} <= {".lock"}
