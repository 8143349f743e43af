"""A training in a child is the same, interrupted or not, and however long it is warmed up."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from greenbatch.design.protocol import PROFILES
from greenbatch.errors import MeasurementError, UsageError
from greenbatch.records import TrainingCell
from greenbatch.runners.child.messages import Message, encode
from greenbatch.runners.training.child import checkpoints, fitting
from greenbatch.runners.training.messages import (
    Course,
    Data,
    EpochEnded,
    Heartbeat,
    Preflight,
    PreflightResult,
    Train,
    Trained,
    TrainingLoaded,
)
from tests.thorough import needs_thorough

SETTINGS = (("dropout", "0.5"), ("learning_rate", "0.01"), ("linear_layers", "2"))
CELL = TrainingCell("dense", "digits", batch_size=32, settings=SETTINGS)
RULES = replace(PROFILES["quick"], warm_up_min_s=0.0, warm_up_max_s=0.0, idle_s=0.0)
DATA = Data(
    data_dir="data",
    image_size=None,
    train_images=200,
    validation_images=50,
    seed=0,
    cache_bytes=2**20,
    normalised=True,
)
COURSE = Course(
    epochs=4,
    patience=0,
    monitor="loss",
    min_change=0.0,
    plateau_factor=1.0,
    plateau_patience=0,
    frozen_epochs=0,
    frozen_settings=(),
    frozen_batch_norm=False,
)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, and leave the tests' own process as it was."""
    monkeypatch.setattr(fitting, "_configure", lambda cell, request: torch.device("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def request(folder: Path, cell: TrainingCell = CELL, **more: Any) -> Train:
    folder.mkdir(parents=True, exist_ok=True)
    plain = Train(
        cell=cell,
        data=DATA,
        workers=None,
        prefetch=2,
        augmentation=(),
        threads=1,
        training_seed=3,
        weights="random",
        course=COURSE,
        held_epochs=0,
        checkpoints=folder,
        protocol=RULES,
        settles=False,
        idle_before_s=0.0,
        beat_s=1e9,
    )
    course = {name: more.pop(name) for name in (*more,) if hasattr(COURSE, name)}
    return replace(plain, course=replace(COURSE, **course), **more)


@dataclass(frozen=True)
class Sent:
    """What a child sent while it trained."""

    loaded: TrainingLoaded
    beats: list[Heartbeat]
    epochs: list[EpochEnded]
    trained: Trained

    @property
    def curve(self) -> list[tuple[float, ...]]:
        """Number, losses and scores of each epoch."""
        return [(e.epoch, e.train_loss, e.loss, e.accuracy, e.f1) for e in self.epochs]


def fit(request: Train) -> Sent:
    """Train; every message is one that can be sent."""
    sent: list[Message] = []

    def send(message: Message) -> None:
        encode(message)
        sent.append(message)

    fitting.fit(request, send, 0.0)
    loaded, trained = sent[0], sent[-1]
    assert isinstance(loaded, TrainingLoaded)
    assert isinstance(trained, Trained)
    return Sent(
        loaded,
        [each for each in sent if isinstance(each, Heartbeat)],
        [each for each in sent if isinstance(each, EpochEnded)],
        trained,
    )


@pytest.mark.slow
def test_a_training_that_is_resumed_is_the_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = fit(request(tmp_path / "whole"))
    first = fit(request(tmp_path / "parts", epochs=2))
    second = fit(request(tmp_path / "parts", held_epochs=2))
    assert first.curve + second.curve == whole.curve
    assert [event[0] for event in second.curve] == [2, 3]
    weights = [
        torch.load(checkpoints.path_of(tmp_path / name, 4), weights_only=True)["network"]
        for name in ("whole", "parts")
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


@pytest.mark.slow
def test_the_warm_up_leaves_nothing_behind(tmp_path: Path) -> None:
    short = fit(request(tmp_path / "short", epochs=2))
    longer = replace(RULES, warm_up_iterations=40)
    long = fit(request(tmp_path / "long", epochs=2, protocol=longer))
    warm_ups = [short.trained.warm_up, long.trained.warm_up]
    assert [warm_up and warm_up.iterations for warm_up in warm_ups] == [1, 40]
    assert long.curve == short.curve


@pytest.mark.slow
def test_it_learns_and_another_seed_learns_otherwise(tmp_path: Path) -> None:
    cell = TrainingCell("dense", "digits", settings=(("learning_rate", "0.003"),))
    curve = fit(request(tmp_path / "a", cell)).curve
    other = fit(request(tmp_path / "b", cell, training_seed=4)).curve
    assert curve[-1][2] < curve[0][2]
    assert curve[-1][3] > 0.5
    assert curve[0][1] != other[0][1]


@pytest.mark.slow
def test_phases_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    sent = fit(request(tmp_path, epochs=3))
    ends = [each.ends_s for each in sent.epochs]
    assert all(list(each) == sorted(each) for each in ends)
    assert [each[0] for each in ends[1:]] == [each[-1] for each in ends[:-1]]
    assert sent.trained.window == (ends[0][0], ends[-1][-1])
    images = [(each.train_images, each.validation_images) for each in sent.epochs]
    assert images == [(200, 50)] * 3


@pytest.mark.slow
def test_beats_tell_how_many_images_came_behind_the_checkpoint(tmp_path: Path) -> None:
    sent = fit(request(tmp_path, epochs=2, beat_s=0.0))
    assert [each.images for each in sent.beats if each.epoch == 1][:2] == [32, 64]
    assert sent.beats[-1].images == 250
    seldom = fit(request(tmp_path / "none", epochs=1))
    assert not seldom.beats


@pytest.mark.slow
def test_patience_ends_it_and_is_not_forgotten_in_a_checkpoint(tmp_path: Path) -> None:
    cell = TrainingCell("dense", "digits", settings=(("learning_rate", "0.2"),))
    sent = fit(request(tmp_path / "whole", cell, epochs=50, patience=2))
    losses = [event[2] for event in sent.curve]
    assert sent.trained.stopped == "patience"
    assert len(losses) < 50
    assert min(losses) == losses[-3]
    resumed = fit(request(tmp_path / "whole", cell, epochs=50, patience=2, held_epochs=len(losses)))
    assert resumed.curve == []
    assert resumed.trained.stopped == "patience"
    assert resumed.trained.warm_up is None


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_it_in_a_sentence(tmp_path: Path) -> None:
    cell = TrainingCell(
        "dense", "digits", settings=(("learning_rate", "1e18"), ("optimizer", "sgd"))
    )
    with pytest.raises(MeasurementError, match=r"the loss is .* in epoch 1, .*1e\+18") as error:
        fit(request(tmp_path, cell))
    assert "try a lower learning rate" in str(error.value)


def test_data_of_one_class_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images" / "cat").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"images/cat/{number}.png")
    name = f"folder:{tmp_path / 'images'}"
    with pytest.raises(UsageError, match="of one class only"):
        fit(request(tmp_path, TrainingCell("dense", name)))
    sent: list[Message] = []
    fitting.preflight(
        Preflight(backends=("torch-cpu",), names=(name,), data=DATA, weights={}), sent.append
    )
    (found,) = sent
    assert isinstance(found, PreflightResult)
    assert "of one class only" in str(found.fault)
    assert found.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("precision", [pytest.param("amp-bf16", marks=needs_thorough), "amp-fp16"])
def test_mixed_precision_trains_and_goes_on(tmp_path: Path, precision: str) -> None:
    cell = TrainingCell("dense", "digits", precision=precision, settings=SETTINGS)
    sent = fit(request(tmp_path, cell, epochs=2))
    again = fit(request(tmp_path, cell, epochs=3, held_epochs=2))
    exact = fit(request(tmp_path / "fp32", epochs=3)).curve
    assert [event[0] for event in sent.curve + again.curve] == [0, 1, 2]
    assert sent.trained.settings["amp"] == precision.removeprefix("amp-")
    assert sent.curve[0][1] != exact[0][1], "the precision made no difference"
    assert sent.curve[0][1] == pytest.approx(exact[0][1], rel=0.05)


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_read_is_left_for_the_one_before(tmp_path: Path) -> None:
    whole = fit(request(tmp_path, epochs=3)).curve
    checkpoints.path_of(tmp_path, 3).write_bytes(b"torn")
    sent = fit(request(tmp_path, held_epochs=3, epochs=3))
    assert sent.loaded.epochs == 2
    assert "epoch-000003.pt cannot be read" in sent.loaded.note
    assert sent.curve == whole[2:]
    for count in (1, 2, 3):
        checkpoints.path_of(tmp_path, count).write_bytes(b"torn")
    sent = fit(request(tmp_path, held_epochs=3, epochs=3))
    assert (sent.loaded.epochs, sent.curve) == (0, whole)
    assert "it begins anew" in sent.loaded.note


@pytest.mark.slow
def test_what_was_in_force_is_told(tmp_path: Path) -> None:
    settings = fit(request(tmp_path, epochs=1)).trained.settings
    assert settings["optimizer"] == "Adam"
    assert settings["optimizer_lr"] == 0.01
    assert settings["dropout"] == "0.5"
    assert settings["seed"] == 3
    assert (settings["train_images"], settings["classes"]) == (200, 10)


@pytest.mark.slow
@needs_thorough
def test_a_training_in_two_stages_resumes_between_and_within_them(tmp_path: Path) -> None:
    two: dict[str, Any] = {
        "frozen_epochs": 2,
        "frozen_settings": (("learning_rate", "0.05"),),
        "augmentation": ("brightness",),
        "workers": 2,
        "plateau_factor": 0.5,
        "plateau_patience": 1,
        "min_change": 10.0,  # no epoch but the first of a stage is better
    }
    whole = fit(request(tmp_path / "whole", **two)).curve
    for held in (1, 2, 3):
        folder = tmp_path / f"{held}"
        first = fit(request(folder, epochs=held, **two))
        second = fit(request(folder, held_epochs=held, **two))
        assert first.curve + second.curve == whole
    states = [
        torch.load(checkpoints.path_of(tmp_path / "whole", count), weights_only=True)
        for count in (2, 3, 4)
    ]
    rates = [state["optimizer"]["param_groups"][0]["lr"] for state in states[1:]]
    assert rates == [0.01, 0.005]
    assert [state["state"]["frozen"] for state in states] == [False, False, False]
