"""Trainings under a meter of known power: true to it, and true to themselves when interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
import xarray as xr

from greenbatch.design.training_study import make_training_study
from greenbatch.records import Journal, Status, Training, parse, total_energy
from greenbatch.runners.metering import MeterOptions, open_meters
from greenbatch.runners.run.directory import TrainingDirectory
from greenbatch.runners.run.environment import describe
from greenbatch.runners.training.parent.execution import execute
from greenbatch.workflows.training import resume_training
from tests.conftest import Gb
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve
from tests.thorough import needs_thorough

PACKAGE_W = 50.0
DESIGN = (
    *("simple-cnn", "--data", "digits", "--epochs", "3", "--batch-sizes", "2"),
    *("--set", "learning_rate=0.003", "--set", "dropout=0.3", "--repetitions", "1"),
    *("--profile", "quick", "--meter", "rapl", "--seed", "5"),
    *("--threads", "1"),
)
# The command, but for beats: often enough that a kill meets one.
_COMMAND = (
    "import sys\n"
    "from greenbatch.runners.training.parent import session\n"
    "session.BEAT_S = 0.1\n"
    "from greenbatch.cli import main\n"
    "main(sys.argv[1:])\n"
)


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powercap]:
    """A package that draws 50 W, whatever happens."""
    powercap = Powercap(tmp_path_factory.mktemp("sys"))
    powercap.add("intel-rapl:0", "package-0")
    with powercap.running({"intel-rapl:0": PowerCurve(PACKAGE_W)}, tick_s=0.002):
        yield powercap


@pytest.fixture(scope="module")
def whole(meter: Powercap, gb: Gb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    ran = gb("train", *DESIGN, "--out", run, env=meter.environment())
    assert "simple-cnn" in ran.stdout
    assert "counter" in ran.stdout
    return run


def journal_of(run: Path) -> Journal:
    return parse((run / "journal.jsonl").read_bytes())


def joules(phase: Any) -> float:
    energy_j = total_energy(phase.energy).energy_j
    assert energy_j is not None
    return energy_j


@pytest.mark.alone
@pytest.mark.slow
def test_energy_of_an_epoch_and_of_an_image_is_power_times_time(whole: Path) -> None:
    journal = journal_of(whole)
    assert len(journal.epochs) == 3
    for epoch in journal.epochs:
        for phase in (epoch.train, epoch.validation, epoch.checkpoint):
            truth_j = PACKAGE_W * phase.duration_s
            assert abs(joules(phase) - truth_j) <= (phase.energy[0].uncertainty_j or 0.0)
    # The counter itself ticks late now and then: of three epochs, the one in the middle.
    assert median(
        joules(epoch.train) / (PACKAGE_W * epoch.train.duration_s) for epoch in journal.epochs
    ) == pytest.approx(1, rel=0.005)
    (training,) = journal.trainings
    assert training.whole is not None
    assert joules(training.whole) == pytest.approx(PACKAGE_W * training.whole.duration_s, rel=0.005)
    parts = [p for e in journal.epochs for p in (e.train, e.validation, e.checkpoint)]
    assert training.whole.duration_s == pytest.approx(sum(p.duration_s for p in parts))
    assert joules(training.whole) == pytest.approx(sum(map(joules, parts)), rel=0.002)
    assert training.whole.images == 3 * (1437 + 360)
    with xr.open_dataset(whole / "dataset.nc") as dataset:
        truth_j = PACKAGE_W * training.whole.duration_s / training.whole.images
        assert float(dataset["energy_per_image_seen"].squeeze()) == pytest.approx(
            truth_j, rel=0.005
        )
    assert training.idle_w["package-0"] == pytest.approx(PACKAGE_W, rel=0.02)
    assert training.lost is None
    assert not (whole / "checkpoints").exists()


@needs_thorough
@pytest.mark.alone
@pytest.mark.slow
def test_a_killed_training_goes_on_and_what_was_lost_is_apart(
    whole: Path, meter: Powercap, gb: Gb, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    environment = {**os.environ, **meter.environment()}
    parent = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "train", *DESIGN, "--out", str(run)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: amid_an_epoch(run), parent)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    before = journal_of(run)
    assert not before.trainings

    ran = gb("train", "--resume", run, env=meter.environment())
    assert "at least; no other figure includes it" in ran.stdout
    after, reference = journal_of(run), journal_of(whole)
    scores = [(e.epoch, e.train_loss, e.loss, e.accuracy, e.f1) for e in after.epochs]
    assert scores == [(e.epoch, e.train_loss, e.loss, e.accuracy, e.f1) for e in reference.epochs]
    (training,) = after.trainings
    assert (training.status, training.sessions) == (Status.OK, 2)
    assert training.lost is not None
    lost = [beat.lost for beat in before.beats][-1]
    assert joules(training.lost) == pytest.approx(joules(lost))
    assert joules(training.lost) == pytest.approx(PACKAGE_W * lost.duration_s, rel=0.05)
    assert training.whole is not None
    parts = [p for e in after.epochs for p in (e.train, e.validation, e.checkpoint)]
    assert joules(training.whole) == pytest.approx(sum(map(joules, parts)))

    finished = (run / "journal.jsonl").read_bytes()
    with_meter = pytest.MonkeyPatch()
    with contextlib.ExitStack() as stack:
        stack.callback(with_meter.undo)
        with_meter.setenv("GB_SYSFS", str(meter.sysfs))
        assert resume_training(run).trainings == after.trainings
    assert (run / "journal.jsonl").read_bytes() == finished


def amid_an_epoch(run: Path) -> bool:
    """Whether the last beat came a tenth of a second or more behind a checkpoint."""
    file = run / "journal.jsonl"
    journal = parse(file.read_bytes()) if file.exists() else None
    if journal is None or not journal.epochs:
        return False
    beat = journal.beats[-1]
    return beat.epoch == len(journal.epochs) and beat.lost.duration_s >= 0.1


def wait_for(happens: Any, parent: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert parent.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def small(path: Path, **more: Any) -> TrainingDirectory:
    """A run of the smallest network, without a meter."""
    members = {
        "models": ["dense"],
        "threads": 1,
        "train_images": 400,
        "batch_sizes": [8],
        "repetitions": 1,
        "profile": "quick",
        "meters": ["none"],
    }
    study = make_training_study(members | more)
    with open_meters(study.meters, MeterOptions()) as metering:
        return TrainingDirectory.create(path, study, describe(study, metering))


def go_on(directory: TrainingDirectory, on_progress: Any) -> tuple[Training, ...]:
    study = directory.study
    with open_meters(study.meters, MeterOptions()) as metering:
        return execute(directory, metering, on_progress)


@pytest.mark.slow
def test_a_child_that_is_killed_ends_its_training_and_not_the_run(tmp_path: Path) -> None:
    killed: list[object] = []

    def kill_once(progress: Any) -> None:
        if progress.epoch and not killed:
            killed.append(progress.next)
            for process in psutil.Process().children():
                process.kill()

    settings = {"learning_rate": ["0.001", "1e18"], "optimizer": "sgd"}
    with small(tmp_path / "run", epochs=200, settings=settings) as directory:
        ended = go_on(directory, kill_once)
    trainings = {dict(training.cell.settings)["learning_rate"]: training for training in ended}
    assert "killed by SIGKILL" in said(trainings["0.001"])
    assert trainings["0.001"].lost is not None
    assert trainings["0.001"].lost.duration_s > 0
    assert "the loss is" in said(trainings["1e18"])
    assert "try a lower learning rate than 1e+18" in said(trainings["1e18"])
    assert len(journal_of(tmp_path / "run").trainings) == 2


@needs_thorough
@pytest.mark.slow
def test_what_an_interruption_costs_is_written_down_before_the_end(tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.epoch:
            raise KeyboardInterrupt

    with small(tmp_path / "run", epochs=4) as directory, pytest.raises(KeyboardInterrupt):
        go_on(directory, stop)
    left = journal_of(tmp_path / "run")
    assert left.beats[-1].epoch == len(left.epochs) == 1
    assert left.beats[-1].lost.duration_s > 0
    environment = describe(directory.study, open_meters(("none",), MeterOptions()))
    with TrainingDirectory.resume(tmp_path / "run", environment) as again:
        (training,) = go_on(again, lambda progress: None)
    assert [epoch.epoch for epoch in journal_of(tmp_path / "run").epochs] == [0, 1, 2, 3]
    assert (training.sessions, training.stopped) == (2, "epochs")
    assert training.lost == left.beats[-1].lost


def said(training: Training) -> str:
    assert training.status is Status.ERROR
    assert training.whole is None
    return training.reason or ""
