"""The network of a process is loaded once for the batch sizes that follow each other."""

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from greenbatch.design.protocol import PROFILES
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.child.network import LoadedNetwork, goes_on
from tests.fakes.messages import LOAD

if TYPE_CHECKING:
    from greenbatch.runners.child.messages import Load


class Sizes:
    """A backend that notes the batch sizes that it is for."""

    is_rebatchable = True

    def __init__(self, task: backends.Task) -> None:
        self.sizes = [task.cell.batch_size]

    def rebatch(self, task: backends.Task) -> None:
        """Note another one."""
        self.sizes.append(task.cell.batch_size)


class Fixed(Sizes):
    """One that was compiled for one size."""

    is_rebatchable = False


def of(size: int, model: str = "alexnet") -> "Load":
    """What is to be loaded for a batch size."""
    return replace(LOAD, cell=Cell(model, "torch-cpu", batch_size=size))


def asked(loaded: LoadedNetwork, load: "Load") -> tuple[Sizes, bool]:
    """Ask for the network of a load."""
    task = cast("backends.Task", type("Task", (), {"cell": load.cell}))
    backend, is_new = loaded.for_batch(load, task)
    return cast("Sizes", backend), is_new


def test_a_network_goes_on_with_other_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "resolve", lambda spec: Sizes)
    loaded = LoadedNetwork()
    first, is_new = asked(loaded, of(4))
    assert is_new
    assert asked(loaded, of(1)) == (first, False)
    assert asked(loaded, of(16)) == (first, False)
    assert first.sizes == [4, 1, 16]
    other, is_new = asked(loaded, of(16, "vit_b_16"))
    assert is_new
    assert other is not first


def test_a_network_of_one_size_is_loaded_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "resolve", lambda spec: Fixed)
    loaded = LoadedNetwork()
    first, _ = asked(loaded, of(4))
    second, is_new = asked(loaded, of(1))
    assert is_new
    assert second is not first


def test_servers_do_not_go_on() -> None:
    served = Cell(
        "alexnet",
        "torch-cpu",
        scenario="server",
        batch_size=4,
        traffic=(("arrivals", "poisson"), ("policy", "greedy:4"), ("rate", "10")),
    )
    backend = cast(
        "backends.Backend", Sizes(cast("backends.Task", type("T", (), {"cell": served})))
    )
    assert goes_on(backend, replace(LOAD.cell, batch_size=4))
    assert not goes_on(backend, served)
    assert not goes_on(cast("backends.Backend", object()), LOAD.cell)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_warm_up_of_a_network_that_ran_already_may_be_shorter(profile: str) -> None:
    rules = PROFILES[profile]
    assert rules.in_session() == replace(rules, warm_up_min_s=rules.warm_up_min_s / 4)
