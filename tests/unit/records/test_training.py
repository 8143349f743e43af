"""Records of trainings: what they refuse, and that a journal gives them back."""

import dataclasses
from typing import Any

import pytest

from greenbatch.records import (
    Beat,
    EnergyFigure,
    EnergySource,
    Epoch,
    Phase,
    Status,
    Training,
    TrainingCell,
    encode,
    parse,
)

CELL = TrainingCell("simple-cnn", "digits", batch_size=64, settings=(("relu", "1"),))
FIGURE = EnergyFigure(
    domain="package-0", source=EnergySource.COUNTER, energy_j=12.5, uncertainty_j=0.1
)


def phase(**members: Any) -> Phase:
    return Phase(duration_s=2.0, images=100, energy=(FIGURE,), **members)


def epoch(**changed: Any) -> Epoch:
    members: dict[str, Any] = {
        "cell": CELL,
        "block": 0,
        "session": 0,
        "epoch": 3,
        "train": phase(),
        "validation": phase(),
        "checkpoint": Phase(duration_s=0.1),
        "train_loss": 1.5,
        "loss": 1.6,
        "accuracy": 0.75,
        "f1": 0.7,
    }
    return Epoch(**(members | changed))


def training(**changed: Any) -> Training:
    members: dict[str, Any] = {
        "cell": CELL,
        "block": 0,
        "position": 0,
        "status": Status.OK,
        "started_at": "2026-01-01T00:00:00+00:00",
        "stopped": "epochs",
        "best_epoch": 3,
        "whole": phase(),
    }
    return Training(**(members | changed))


def test_a_journal_gives_back_what_was_written() -> None:
    beat = Beat(cell=CELL, block=0, session=1, epoch=4, lost=phase())
    journal = parse(encode(epoch()) + encode(beat) + encode(training()))
    assert journal.epochs == (epoch(),)
    assert journal.beats == (beat,)
    assert journal.trainings == (training(),)
    assert journal.repetitions == ()


def test_a_journal_cut_in_an_epoch_keeps_those_before_it() -> None:
    whole = encode(epoch(epoch=0))
    journal = parse(whole + encode(epoch(epoch=1))[:-20])
    assert [each.epoch for each in journal.epochs] == [0]
    assert journal.torn
    assert journal.valid_bytes == len(whole)


@pytest.mark.parametrize("name", ["train_loss", "loss", "accuracy", "f1"])
def test_an_epoch_without_a_finite_figure_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is nan"):
        epoch(**{name: float("nan")})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"status": Status.ERROR}, "needs a reason"),
        ({"whole": None}, "an ok training has a window"),
        ({"stopped": None}, "a cause of its end"),
        ({"flags": ("odd",)}, "unknown flags: odd"),
    ],
)
def test_a_training_that_does_not_hold_together_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        training(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"data": ""}, "needs a model, data and a backend"),
        ({"strategy": "grid"}, "a trial has a strategy and a number"),
        ({"trial": 0}, "a trial has a strategy and a number"),
    ],
)
def test_a_cell_that_cannot_be_trained_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CELL, **changed)


def test_a_cell_names_files_by_all_that_tells_it_from_others() -> None:
    trial = dataclasses.replace(CELL, strategy="gp", trial=7)
    assert CELL.slug == "simple-cnn_digits_torch-cpu_fp32_b64_relu-1"
    assert trial.slug == "simple-cnn_digits_torch-cpu_fp32_b64_gp_t7"
    folder = dataclasses.replace(CELL, data="folder:/data/flowers")
    assert folder.slug == "simple-cnn_folder--data-flowers_torch-cpu_fp32_b64_relu-1"


def test_a_cell_is_told_in_words() -> None:
    trial = dataclasses.replace(CELL, precision="amp-bf16", strategy="gp", trial=7)
    assert str(trial) == (
        "simple-cnn on digits with torch-cpu in amp-bf16, batch 64, relu 1, trial 7 of gp"
    )
