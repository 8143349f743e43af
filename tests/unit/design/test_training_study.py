"""Studies of trainings by ``gb study``: found, changed, shortened, refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from greenbatch.cli import main
from greenbatch.design.presets import resolve
from greenbatch.design.study import Study
from greenbatch.design.training_study import TrainingStudy
from greenbatch.errors import StudyError, UsageError
from greenbatch.runners.known import ThisMachine

GOOD = """\
kind: training
name: own
models: [simple-cnn]
epochs: 8
search:
  strategies: [grid, gp]
  trials: 40
  space: {relu: [0, 1], learning_rate: {low: 0.001, high: 0.1, log: true}}
"""


def gb(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A study file of a search."""
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    return path


def trainings(name: object, **options: Any) -> TrainingStudy:
    """Resolve a study that is one of trainings."""
    design = resolve(str(name), ThisMachine(), **options)
    assert isinstance(design, TrainingStudy)
    return design


def test_the_kind_in_its_file_says_what_a_study_is(own: Path) -> None:
    assert trainings(own).name == "own"
    assert isinstance(resolve("zeus-stable", ThisMachine()), Study)


def test_data_provider_changes_and_scale_reach_a_study_of_trainings(own: Path) -> None:
    design = trainings(
        own,
        data=["fashion-mnist", "digits"],
        provider="cuda",
        scale=0.5,
        changes=["search.trials=20", "epochs=4", "protocol.rest_min_s=10", "settings={dropout: 0}"],
    )
    assert design.data == ("fashion-mnist", "digits")
    assert design.backends == ("torch-cuda",)
    assert (design.epochs, design.scale) == (2, 0.5)
    assert design.rules.rest_min_s == 5
    assert design.settings == {"dropout": ("0",)}
    assert design.search is not None
    assert design.search.trials == 10
    assert design.search.strategies == ("grid", "gp")


@pytest.mark.parametrize(
    ("name", "scale"),
    [("yarally-training-search", 0.05), ("yarally-training-layers", 0.05), ("delrey", 0.01)],
)
def test_a_shortened_preset_fits_a_small_machine_and_says_so(name: str, scale: float) -> None:
    whole = trainings(name)
    design = trainings(name, data=["digits"], scale=scale)
    assert design.scale == scale
    assert (design.repetitions, design.data) == (2, ("digits",))
    assert design.epochs <= 2
    few = (64, 32) if design.image_size else (1437, 360)
    assert (design.train_images, design.validation_images) == few
    assert design.rules.rest_min_s <= 3
    assert design.cells() == whole.cells()


def test_data_is_for_trainings(own: Path) -> None:
    with pytest.raises(StudyError, match="--data digits is for a study of trainings"):
        resolve("zeus-stable", ThisMachine(), data=["digits"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"data": ["digit"]}, "did you mean 'digits'"),
        ({"provider": "tensorrt"}, "unknown provider of trainings 'tensorrt'"),
        ({"changes": ["rates=[3]"]}, "unknown member of a study 'rates'"),
        ({"changes": ["search.trial=3"]}, "unknown member of a search 'trial'; did you mean 'tri"),
        ({"changes": ["data.x=3"]}, "unknown member of a study 'data.x'"),
        ({"changes": ["search=3", "search.trials=3"]}, "changes a part of search, which is 3"),
        ({"changes": ["kind=inference"]}, "kind is 'inference'"),
        ({"scale": 2.0}, "above 0 and at most 1"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    options: dict[str, Any], sentence: str, own: Path
) -> None:
    with pytest.raises(UsageError, match=sentence.replace("[", r"\[")):
        resolve(str(own), ThisMachine(), **options)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("transfer={weights: {resnet50: random}}", "names resnet50, which is not among the models"),
        ("transfer={frozen_epochs: 99}", "frozen_epochs is 99, more than the"),
        ("transfer={frozen: {optimizer: sgd}}", "frozen is given without frozen_epochs"),
        ("transfer={frozen_epochs: 1, frozen: {dropout: 0}}", "frozen has dropout; it has opt"),
        ("transfer={frozen_epochs: 1, frozen: {optimizer: lbfgs}}", "optimizer is lbfgs"),
        ("plateau={factor: 2}", "plateau.factor"),
        ("augmentation=[flip, flip]", "'flip' is named twice"),
        ("pipeline={workers: -1}", "pipeline.workers"),
        ("search.space={}", "the search space is empty; give a hyperparameter"),
        ("search.space={relu: []}", "relu has nothing to choose from"),
        ("search.space={colour: [1]}", "simple-cnn takes no colour; it takes optimizer"),
        ("search.space={relu: [2]}", "relu is 2; wanted one of 0, 1"),
        ("search.space={learning_rate: {low: 0, high: 1, log: true}}", "wanted more than 0"),
        ("search.strategies=[bayes]", "search.strategies.0 is 'bayes'"),
        ("search.strategies=[gp, gp]", "'gp' is named twice"),
        ("search.strategies=[]", "search.strategies"),
        ("search.trials=0", "search.trials is 0"),
        ("search.objective=speed", "search.objective is 'speed'"),
        ("search.within=2", "search.within is 2"),
        ("settings={relu: [1]}", "relu is a setting and is searched; leave it out of one"),
        ("models=[simple-cn]", "unknown network 'simple-cn'; did you mean 'simple-cnn'"),
    ],
)
def test_a_search_that_cannot_be_done_is_one_sentence(
    change: str, sentence: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = gb(capsys, "study", "run", own, "--set", change, "--dry-run")
    assert code == 2
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_fault_in_a_file_comes_with_its_line(own: Path) -> None:
    own.write_text(GOOD.replace("trials: 40", "trials: none"))
    with pytest.raises(StudyError, match=r"line 7: search\.trials is 'none'"):
        resolve(str(own), ThisMachine())


def test_weights_and_artifacts_are_not_for_trainings(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--weights", "--artifacts"):
        code, _, errors = gb(capsys, "study", "run", own, option, "random", "--dry-run")
        assert code == 2
        assert f"{option} is for studies of inference; remove it" in errors


def test_what_is_shown_is_the_file_that_would_run_it(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = gb(capsys, "study", "show", own, "--data", "cifar10", "--scale", "0.1")
    assert code == 0
    assert yaml.safe_load(shown)["kind"] == "training"
    (tmp_path / "shown.yaml").write_text(shown)
    assert resolve(str(tmp_path / "shown.yaml"), ThisMachine()) == resolve(
        str(own), ThisMachine(), data=["cifar10"], scale=0.1
    )


def test_a_dry_run_tells_the_searches_of_each_block_and_how_many_trainings(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = gb(capsys, "study", "run", own, "--dry-run")
    assert code == 0
    *blocks, last = out.splitlines()
    assert len(blocks) == 3
    assert blocks[0].startswith("block 0: simple-cnn on digits with torch-cpu")
    assert blocks[0].endswith("trials, in turns: grid 8, gp 40")  # 2 x 4 points, no more
    assert last.startswith("144 trainings of up to 8 epochs, at least 12 min")
