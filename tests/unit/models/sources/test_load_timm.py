"""Networks of timm, by a stand-in for it: with its weights, without a connection, absent."""

import sys
import types

import pytest
import torch

from greenbatch.errors import UsageError, WeightsError
from greenbatch.models.sources.load import SourceWarning, load
from greenbatch.models.sources.parse import parse_source
from tests.fakes import own_networks


def fake_timm(offline: bool) -> types.ModuleType:
    """What `load` uses of timm, with timm's signatures."""

    def create_model(name: str, pretrained: bool = False) -> torch.nn.Module:
        if pretrained and offline:
            raise OSError("We couldn't connect\nto the hub.")
        module = own_networks.Small()
        module.pretrained_cfg = {  # type: ignore[assignment]
            "input_size": (3, 16, 16),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "crop_pct": 0.8,
            "interpolation": "bicubic",
        }
        return module

    timm = types.ModuleType("timm")
    members: dict[str, object] = {
        "__version__": "1.0",
        "create_model": create_model,
        "is_model": lambda name: name == "tiny",
        "list_models": lambda: ["tiny"],
    }
    vars(timm).update(members)
    return timm


def test_timm_is_asked_for_network_input_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=False))
    network = load(parse_source("timm:tiny.in1k"))
    assert (network.spec.name, network.spec.source) == ("timm_tiny.in1k", "timm")
    form = network.spec.input
    assert (form.shape, form.crop, form.resize) == ((3, 16, 16), 16, 20)
    assert (form.mean, form.std, form.interpolation) == ((0.5,) * 3, (0.25,) * 3, "bicubic")
    assert network.applied.kind == "pretrained"
    assert load(parse_source("timm:tiny"), weights="random").applied.kind == "random"


def test_timm_without_a_connection_draws_weights_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=True))
    with pytest.warns(SourceWarning, match="cannot be loaded .*couldn't connect.*so random ones"):
        assert load(parse_source("timm:tiny")).applied.kind == "random"
    with pytest.raises(WeightsError, match="couldn't connect"):
        load(parse_source("timm:tiny"), weights="pretrained")


def test_an_absent_timm_and_an_unknown_name_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'greenbatch\[timm\]'"):
        load(parse_source("timm:tiny"))
    monkeypatch.setitem(sys.modules, "timm", fake_timm(offline=True))
    with pytest.raises(UsageError, match="has no network 'tinny'; did you mean timm:tiny"):
        load(parse_source("timm:tinny"))
