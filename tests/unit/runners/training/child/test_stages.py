"""A frozen body keeps its weights and its statistics; the head learns, then all of it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import nn

from greenbatch.runners.training.child import building, stages
from greenbatch.runners.training.child.training_state import TrainingState, make_training_state
from greenbatch.runners.training.messages import Course

COURSE = Course(
    epochs=4,
    patience=0,
    monitor="loss",
    min_change=0.0,
    plateau_factor=1.0,
    plateau_patience=0,
    frozen_epochs=2,
    frozen_settings=(("learning_rate", "0.03"), ("optimizer", "adam")),
    frozen_batch_norm=True,
)
SETTINGS = {"optimizer": "sgd", "learning_rate": "0.01", "conv_layers": "1", "linear_layers": "2"}
IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4


@pytest.fixture
def state() -> TrainingState:
    """A convolutional network in front of two linear layers."""
    network = building.build("simple-cnn", SETTINGS, (1, 8, 8), 4, seed=0)
    return make_training_state(network, SETTINGS, "fp32", torch.device("cpu"))


def changed(state: TrainingState) -> set[str]:
    """Learn from a batch; return the tensors that are not as before."""
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    state.step(IMAGES, LABELS)
    after: Mapping[str, torch.Tensor] = state.network.state_dict()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_in_the_first_stage_the_last_layer_alone_learns(state: TrainingState) -> None:
    stages.enter(state, "simple-cnn", SETTINGS, COURSE, frozen=True)
    assert changed(state) == {"6.weight", "6.bias"}
    assert isinstance(state.optimizer, torch.optim.Adam)
    assert state.optimizer.param_groups[0]["lr"] == 0.03


def test_in_the_second_stage_all_learns_but_the_statistics_of_frozen_normalisation(
    state: TrainingState,
) -> None:
    names = {name for name, _ in state.network.named_parameters()}
    stages.enter(state, "simple-cnn", SETTINGS, COURSE, frozen=True)
    stages.enter(state, "simple-cnn", SETTINGS, COURSE, frozen=False)
    assert changed(state) == names
    assert isinstance(state.optimizer, torch.optim.SGD)
    stages.enter(
        state, "simple-cnn", SETTINGS, replace(COURSE, frozen_batch_norm=False), frozen=False
    )
    statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert statistics < changed(state)


def test_what_stays_still_does_so_behind_a_validation_and_in_a_twin(state: TrainingState) -> None:
    stages.enter(state, "simple-cnn", SETTINGS, COURSE, frozen=True)
    twin = state.twin()
    for each in (state, twin):
        each.network.eval()
        each.learn()
        assert changed(each) == {"6.weight", "6.bias"}
        assert any(part.training for part in each.network.modules())
    norm = twin.network.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert not norm.training


@pytest.mark.parametrize("channels", [1, 3])
def test_the_head_of_del_rey_is_what_stands_behind_the_body(channels: int) -> None:
    settings = {"head": "delrey"}
    network = building.build("mobilenet_v2", settings, (channels, 32, 32), 2, seed=0)
    head = list(stages.head_of("mobilenet_v2", settings, network))
    linear = [(part.in_features, part.out_features) for part in head if isinstance(part, nn.Linear)]
    assert linear == [(1280, 512), (512, 2)]
    assert len(head) == 3
    (last,) = stages.head_of("mobilenet_v2", {}, network)
    assert isinstance(last, nn.Linear)
    assert last.out_features == 2


def test_a_reduced_rate_is_that_of_every_parameter(state: TrainingState) -> None:
    stages.enter(state, "simple-cnn", SETTINGS, COURSE, frozen=False)
    state.reduce_rate(0.1)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert rates == [pytest.approx(0.001)]


def test_multiplications_are_those_of_the_layers_by_hand(state: TrainingState) -> None:
    # a convolution 3x3 from 1 to 3 filters on 8x8, then 48 to 32 and 32 to 4 values
    assert state.macs((1, 8, 8)) == 3 * 9 * 64 + 48 * 32 + 32 * 4
    assert state.network.training
