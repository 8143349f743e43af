"""A training in a child is the same, interrupted or not, and however long it is warmed up."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from greenbatch.design.protocol import PROFILES
from greenbatch.errors import MeasurementError, UsageError
from greenbatch.records import TrainingCell
from greenbatch.runners.training.child import checkpoints, fitting
from greenbatch.runners.training.data import datasets

SETTINGS = (("dropout", "0.5"), ("learning_rate", "0.01"), ("linear_layers", "2"))
CELL = TrainingCell("dense", "digits", batch_size=32, settings=SETTINGS)
RULES = asdict(PROFILES["quick"]) | {"warm_up_min_s": 0.0, "warm_up_max_s": 0.0, "idle_s": 0.0}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train on one thread, and leave the tests' own process as it was."""
    monkeypatch.setattr(fitting, "_configure", lambda cell, request: torch.device("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def request(folder: Path, cell: TrainingCell = CELL, **more: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "cell": asdict(cell),
        "threads": 1,
        "data_dir": "data",
        "image_size": None,
        "train_images": 200,
        "validation_images": 50,
        "seed": 0,
        "training_seed": 3,
        "epochs": 4,
        "patience": 0,
        "held_epochs": 0,
        "checkpoints": str(folder),
        "protocol": RULES,
        "idle_before_s": 0.0,
        "beat_s": 1e9,
    } | more


def fit(members: dict[str, Any]) -> list[dict[str, Any]]:
    """Train; return what was told."""
    told: list[dict[str, Any]] = []
    fitting.fit(members, lambda **event: told.append(event), 0.0)
    return told


def epochs(told: list[dict[str, Any]]) -> list[tuple[float, ...]]:
    keys = ("epoch", "train_loss", "loss", "accuracy", "f1")
    return [tuple(event[key] for key in keys) for event in told if event["event"] == "epoch"]


def test_a_training_that_is_resumed_is_the_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = fit(request(tmp_path / "whole"))
    first = fit(request(tmp_path / "parts", epochs=2))
    second = fit(request(tmp_path / "parts", held_epochs=2))
    assert epochs(first) + epochs(second) == epochs(whole)
    assert [event[0] for event in epochs(second)] == [2, 3]
    weights = [
        torch.load(checkpoints.path_of(tmp_path / name, 4), weights_only=True)["network"]
        for name in ("whole", "parts")
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_the_warm_up_leaves_nothing_behind(tmp_path: Path) -> None:
    short = fit(request(tmp_path / "short", epochs=2))
    longer = RULES | {"warm_up_iterations": 40}
    long = fit(request(tmp_path / "long", epochs=2, protocol=longer))
    assert [told[-1]["warm_up"]["iterations"] for told in (short, long)] == [1, 40]
    assert epochs(long) == epochs(short)


def test_it_learns_and_another_seed_learns_otherwise(tmp_path: Path) -> None:
    cell = TrainingCell("dense", "digits", settings=(("learning_rate", "0.003"),))
    told = epochs(fit(request(tmp_path / "a", cell)))
    other = epochs(fit(request(tmp_path / "b", cell, training_seed=4)))
    assert told[-1][2] < told[0][2]
    assert told[-1][3] > 0.5
    assert told[0][1] != other[0][1]


def test_phases_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    told = fit(request(tmp_path, epochs=3))
    ends = [event["ends_s"] for event in told if event["event"] == "epoch"]
    assert all(list(each) == sorted(each) for each in ends)
    assert [each[0] for each in ends[1:]] == [each[-1] for each in ends[:-1]]
    assert told[-1]["window"] == (ends[0][0], ends[-1][-1])
    images = [(e["train_images"], e["validation_images"]) for e in told if e["event"] == "epoch"]
    assert images == [(200, 50)] * 3


def test_beats_tell_how_many_images_came_behind_the_checkpoint(tmp_path: Path) -> None:
    told = fit(request(tmp_path, epochs=2, beat_s=0.0))
    beats = [event for event in told if event["event"] == "beat"]
    assert [event["images"] for event in beats if event["epoch"] == 1][:2] == [32, 64]
    assert beats[-1]["images"] == 250
    seldom = fit(request(tmp_path / "none", epochs=1))
    assert not [event for event in seldom if event["event"] == "beat"]


def test_patience_ends_it_and_is_not_forgotten_in_a_checkpoint(tmp_path: Path) -> None:
    cell = TrainingCell("dense", "digits", settings=(("learning_rate", "0.2"),))
    told = fit(request(tmp_path / "whole", cell, epochs=50, patience=2))
    losses = [event[2] for event in epochs(told)]
    assert told[-1]["stopped"] == "patience"
    assert len(losses) < 50
    assert min(losses) == losses[-3]
    resumed = fit(request(tmp_path / "whole", cell, epochs=50, patience=2, held_epochs=len(losses)))
    assert epochs(resumed) == []
    assert resumed[-1]["stopped"] == "patience"
    assert resumed[-1]["warm_up"] is None


def test_a_loss_that_is_no_number_ends_it_in_a_sentence(tmp_path: Path) -> None:
    cell = TrainingCell(
        "dense", "digits", settings=(("learning_rate", "1e18"), ("optimizer", "sgd"))
    )
    with pytest.raises(MeasurementError, match=r"the loss is .* in epoch 1, .*1e\+18") as error:
        fit(request(tmp_path, cell))
    assert "try a lower learning rate" in str(error.value)


def split(labels: list[int]) -> datasets.Split:
    images = torch.zeros(len(labels), 1, 8, 8)
    part: Any = TensorDataset(images, torch.tensor(labels))
    return datasets.Split(
        train=part,
        validation=part,
        shape=(1, 8, 8),
        classes=("no", "yes"),
        mean=(0.0,),
        std=(1.0,),
        skipped=0,
        notes=(),
    )


def test_data_of_one_class_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images" / "cat").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"images/cat/{number}.png")
    name = f"folder:{tmp_path / 'images'}"
    with pytest.raises(UsageError, match="of one class only"):
        fit(request(tmp_path, TrainingCell("dense", name)))
    told: list[dict[str, Any]] = []
    members = request(tmp_path) | {"backends": ["torch-cpu"], "data": [name]}
    fitting.rehearse(members, lambda **event: told.append(event))
    assert "of one class only" in told[0]["fault"]
    assert told[0]["code"] == 2


@pytest.mark.parametrize("precision", ["amp-bf16", "amp-fp16"])
def test_mixed_precision_trains_and_goes_on(tmp_path: Path, precision: str) -> None:
    cell = TrainingCell("dense", "digits", precision=precision, settings=SETTINGS)
    told = fit(request(tmp_path, cell, epochs=2))
    again = fit(request(tmp_path, cell, epochs=3, held_epochs=2))
    exact = epochs(fit(request(tmp_path / "fp32", epochs=3)))
    assert [event[0] for event in epochs(told) + epochs(again)] == [0, 1, 2]
    assert told[-1]["settings"]["amp"] == precision.removeprefix("amp-")
    assert epochs(told)[0][1] != exact[0][1], "the precision made no difference"
    assert epochs(told)[0][1] == pytest.approx(exact[0][1], rel=0.05)


def test_a_checkpoint_that_cannot_be_read_is_left_for_the_one_before(tmp_path: Path) -> None:
    whole = epochs(fit(request(tmp_path, epochs=3)))
    checkpoints.path_of(tmp_path, 3).write_bytes(b"torn")
    told = fit(request(tmp_path, held_epochs=3, epochs=3))
    assert told[0]["epochs"] == 2
    assert "epoch-000003.pt cannot be read" in told[0]["note"]
    assert epochs(told) == whole[2:]
    for count in (1, 2, 3):
        checkpoints.path_of(tmp_path, count).write_bytes(b"torn")
    told = fit(request(tmp_path, held_epochs=3, epochs=3))
    assert (told[0]["epochs"], epochs(told)) == (0, whole)
    assert "it begins anew" in told[0]["note"]


def test_what_was_in_force_is_told(tmp_path: Path) -> None:
    settings = fit(request(tmp_path, epochs=1))[-1]["settings"]
    assert settings["optimizer"] == "Adam"
    assert settings["optimizer_lr"] == 0.01
    assert settings["dropout"] == "0.5"
    assert settings["seed"] == 3
    assert (settings["train_images"], settings["classes"]) == (200, 10)
