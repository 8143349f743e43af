"""Weights from elsewhere: they fit but for the last layer, or are refused in a sentence."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from greenbatch.errors import WeightsError
from greenbatch.models.weights import checkpoints
from greenbatch.runners.training.child import building, pretrained

SHAPE = (3, 32, 32)
NAME = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of 7 classes."""
    path = tmp_path_factory.mktemp("weights") / "seven.pt"
    torch.save(building.build(NAME, {}, SHAPE, 7, seed=1).state_dict(), path)
    return path


def test_all_but_the_last_layer_is_that_of_the_file(file: Path) -> None:
    given = torch.load(file, weights_only=True)
    random = building.build(NAME, {}, SHAPE, 4, seed=2).state_dict()
    for classes, last in ((4, random), (7, given)):
        network = building.build(NAME, {}, SHAPE, classes, 2, str(file))
        for name, value in network.state_dict().items():
            assert torch.equal(value, (last if name.startswith("fc.") else given)[name]), name
        assert network.training


def test_weights_of_another_network_are_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"do not fit mobilenet_v2: \d+ of its tensors"):
        building.build("mobilenet_v2", {}, SHAPE, 4, 2, str(file))
    with pytest.raises(WeightsError, match="do not fit dense"):
        building.build("dense", {}, SHAPE, 4, 2, str(file))


def test_the_body_of_a_head_of_del_rey_takes_them_whole(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    whole = building.build("mobilenet_v2", {}, SHAPE, 5, seed=1)
    torch.save(whole.state_dict(), path)
    network = building.build("mobilenet_v2", {"head": "delrey"}, (1, 32, 32), 2, 3, str(path))
    body = network.get_submodule("1.0").state_dict()
    given = whole.state_dict()
    assert body.keys() == {name for name in given if not name.startswith("classifier.")}
    assert all(torch.equal(value, given[name]) for name, value in body.items())


def test_without_a_network_published_weights_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("[Errno -2] Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(checkpoints, "_open", offline)
    with pytest.raises(WeightsError) as caught:
        pretrained.state_of("resnet50", "pretrained")
    sentence = str(caught.value)
    assert sentence.startswith("cannot begin resnet50 from published weights: cannot fetch")
    assert "Name or service not known" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("name", ["dense", "nasnet-mobile"])
def test_nothing_is_published_for_networks_of_our_own_layers(name: str) -> None:
    with pytest.raises(WeightsError, match=f"no weights are published for the layers of {name}"):
        pretrained.state_of(name, "pretrained")


def test_timm_without_weights_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def failed(*_: Any, **__: Any) -> None:
        raise OSError("we could not connect\nto the hub")

    monkeypatch.setattr(timm, "create_model", failed)
    with pytest.raises(WeightsError) as caught:
        pretrained.state_of("timm:mobilenetv2_050", "pretrained")
    assert "we could not connect; connect to the network once" in str(caught.value)
    assert "\n" not in str(caught.value)
