"""What a state dict does not hold comes back with the values that it was exported with."""

import pytest
import torch
from torch import nn

from greenbatch.models.build import build
from greenbatch.models.registry import STUDY, find
from greenbatch.models.weights.unsaved import PREFIX, restore, saved, unsaved_tensors
from tests.fakes import own_networks

NAMES = {f"{PREFIX}{name}" for name in ("mix", "offsets.0", "offsets.1.more")}


def test_a_network_built_again_computes_the_same_once_its_tensors_are_restored() -> None:
    first, second = own_networks.unsaved(), own_networks.unsaved()
    images = torch.randn(2, 3, 16, 16)
    kept = first.state_dict() | unsaved_tensors(first)
    assert kept.keys() == first.state_dict().keys() | NAMES
    second.load_state_dict(saved(kept))
    assert not torch.allclose(first(images), second(images))
    restore(second, kept)
    assert torch.equal(first(images), second(images))


def test_tensors_in_tuples_and_parts_come_back_and_tied_ones_are_left_out() -> None:
    def make() -> nn.Module:
        part = nn.Linear(2, 2)
        part.pair = (torch.randn(2), "text")  # type: ignore[assignment]
        part.tied = [part.weight]  # type: ignore[assignment]
        return nn.Sequential(part)

    first, second = make(), make()
    kept = unsaved_tensors(first)
    assert kept.keys() == {f"{PREFIX}0.pair.0"}
    restore(second, kept)
    assert torch.equal(unsaved_tensors(second)[f"{PREFIX}0.pair.0"], kept[f"{PREFIX}0.pair.0"])


def test_what_was_made_while_the_network_ran_is_left_as_it_is() -> None:
    module = own_networks.unsaved()
    before = unsaved_tensors(module)
    restore(module, {f"{PREFIX}mix": torch.zeros(3), f"{PREFIX}gone": torch.zeros(1)})
    after = unsaved_tensors(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_buffer_without_values_gets_those_that_it_had() -> None:
    first = own_networks.unsaved()
    with torch.device("meta"):
        second = own_networks.unsaved()
    second = second.to_empty(device="cpu")
    kept = first.state_dict() | unsaved_tensors(first)
    second.load_state_dict(saved(kept))
    restore(second, kept)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(first(images), second(images))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDY)
def test_the_study_models_have_none(name: str) -> None:
    with torch.device("meta"):
        module = build(find(name))
    names = module.state_dict().keys()
    module = module.to_empty(device="cpu")
    assert module.state_dict().keys() == names
    assert not unsaved_tensors(module)
