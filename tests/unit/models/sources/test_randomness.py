"""A network that is random in evaluation mode is refused by the module that is."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

from greenbatch.errors import ExportError
from greenbatch.models.sources.randomness import check_repeatable

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Noise(nn.Module):
    """Adds what it draws to its input."""

    def __init__(self, draw: Callable[[torch.Tensor], torch.Tensor | float]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor to one of its shape."""
        return x + self.draw(x)


class Dropping(nn.Dropout):
    """Drops in evaluation mode too, as Monte Carlo dropout does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor to one of its shape."""
        return nn.functional.dropout(x, self.p, training=True)


class Counting(nn.Module):
    """Keeps a state."""

    count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor to one of its shape."""
        self.count += 1
        return x * self.count


class Own(nn.Sequential):
    """Draws outside of its parts."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor to one of its shape."""
        found: torch.Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return found + torch.rand(1)


class Kept(nn.Module):
    """Returns values that are not finite, and several outputs."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map a tensor to two."""
        return {"a": x / 0.0 - x / 0.0, "b": x.argmax(1)}


def within(part: nn.Module) -> nn.Module:
    """A network with a part in its midst."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), part), nn.Flatten()).eval()


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (Dropping(0.3), "is random in evaluation mode: its module 1.1 (Dropping)"),
        (Noise(torch.randn_like), "is random in evaluation mode: its module 1.1 (Noise)"),
        (
            Noise(lambda x: 1e-6 * torch.rand_like(x)),
            "is random in evaluation mode: its module 1.1",
        ),
        (Noise(lambda x: random.random()), "or is random, in evaluation mode: its module 1.1"),
        (Counting(), "keeps a state from one batch to the next, or is random, in evaluation mode"),
    ],
)
def test_the_random_module_is_named(part: nn.Module, what: str) -> None:
    module, before = within(part), torch.get_rng_state()
    with pytest.raises(ExportError) as caught:
        check_repeatable(module, "net", [IMAGES])
    assert str(caught.value).startswith("net ")
    assert what in str(caught.value)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_forward_that_draws_outside_of_all_parts_is_named_itself() -> None:
    with pytest.raises(ExportError, match=r"its own forward \(Own\)"):
        check_repeatable(Own(nn.Conv2d(3, 4, 3)).eval(), "net", [IMAGES])


@pytest.mark.parametrize("part", [nn.Dropout(0.5), nn.RReLU(), nn.BatchNorm2d(4), Kept()])
def test_a_network_that_repeats_itself_passes(part: nn.Module) -> None:
    module = within(part) if not isinstance(part, Kept) else part
    check_repeatable(module, "net", [IMAGES])


def test_the_random_operator_of_a_graph_is_named() -> None:
    program = torch.export.export(Noise(torch.randn_like), (IMAGES,))
    with pytest.raises(ExportError, match=r"its operator aten\.randn_like"):
        check_repeatable(program.module(), "net", [IMAGES])
