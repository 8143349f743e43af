"""Hyperparameters: what is refused, in a sentence; what is given reaches the optimiser."""

import pytest
import torch
from torch.optim import SGD, Adam

from greenbatch.errors import UnknownNameError
from greenbatch.runners.training.design.hyperparameters import check, optimizer, taken


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("model", "name", "text", "sentence"),
    [
        ("dense", "learning_rate", "0", "learning_rate is 0; wanted a number above 0"),
        ("dense", "learning_rate", "nan", "learning_rate is nan; wanted a number above 0"),
        ("dense", "learning_rate", "fast", "learning_rate is fast; wanted a number above 0"),
        ("resnet18", "weight_decay", "-1", "weight_decay is -1; wanted a number of at least 0"),
        (
            "dense",
            "momentum",
            "1",
            "momentum is 1; wanted a number of at least 0 and below 1",
        ),
        ("dense", "optimizer", "lion", "optimizer is lion; wanted one of adam, sgd"),
        (
            "dense",
            "linear_layers",
            "2.5",
            "linear_layers is 2.5; wanted a whole number of at least 1 and at most 64",
        ),
        (
            "simple-cnn",
            "width",
            "narrow",
            "width is narrow; wanted halving, linear, or a whole number of at least 1",
        ),
        ("simple-cnn", "relu", "2", "relu is 2; wanted one of 0, 1"),
        ("dense", "dropout", "1", "dropout is 1; wanted a number of at least 0 and below 1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told_with_what_was_wanted(
    model: str, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole text is compared
        check(model, {name: text})
    assert str(caught.value) == sentence


def test_a_setting_that_a_network_does_not_take_is_told_with_those_that_it_takes() -> None:
    with pytest.raises(ValueError, match=r"^dense takes no conv_layers; it takes opt.*width"):
        check("dense", {"conv_layers": "1"})
    with pytest.raises(ValueError, match=r"^densenet121 takes no head"):
        check("densenet121", {"head": "delrey"})
    with pytest.raises(UnknownNameError, match="did you mean 'dense'"):
        check("dens", {})


@pytest.mark.parametrize("model", ["dense", "simple-cnn", "nasnet-mobile", "vgg16", "timm:any"])
def test_every_default_is_a_value_that_may_be_given(model: str) -> None:
    check(model, {setting.name: setting.default for setting in taken(model)})


def test_both_optimisers_get_what_was_set_and_else_the_defaults_that_are_told() -> None:
    given = {"learning_rate": "0.02", "momentum": "0.5", "weight_decay": "0.1"}
    made = optimizer({**given, "optimizer": "sgd", "beta2": "0.9"}, parameters())
    assert isinstance(made, SGD)
    group = made.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.02, 0.5, 0.1)
    made = optimizer({**given, "beta2": "0.99", "epsilon": "1e-6", "relu": "1"}, parameters())
    assert isinstance(made, Adam)
    group = made.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.02, (0.5, 0.99), 1e-6)
    assert group["weight_decay"] == 0.1
    plain = optimizer({}, parameters())
    assert isinstance(plain, Adam)
    assert plain.defaults == Adam(parameters()).defaults


def test_a_step_of_sgd_changes_weights_by_rate_times_gradient() -> None:
    weights = parameters()
    made = optimizer({"optimizer": "sgd", "learning_rate": "0.25", "momentum": "0"}, weights)
    (weights[0] * torch.tensor([2.0, -4.0])).sum().backward()  # type: ignore[no-untyped-call]
    made.step()
    assert weights[0].tolist() == [0.5, 2.0]
