"""Inputs reach the arguments that are called like them, and the others in order."""

import functools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from greenbatch.errors import ExportError
from greenbatch.models.sources.arguments import plain_forward

A, B, C = (torch.full((2,), float(value)) for value in (2, 3, 5))


def network(function: Callable[..., torch.Tensor]) -> nn.Module:
    """A network of one weight, with this function as its forward."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        @functools.wraps(function)
        def forward(self, *given: torch.Tensor, **named: torch.Tensor) -> object:  # type: ignore[override]
            return function(self, *given, **named)

    return Net()


def own(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Take one input."""
    assert "weight" in net.state_dict()
    return x


def minus(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Take two inputs in an order that matters."""
    return x - y


def defaults(net: nn.Module, x: torch.Tensor, y: torch.Tensor = B, *, z: float = 1) -> torch.Tensor:
    """Need one of three."""
    return x - y * z


def keyword_only(net: nn.Module, *, image: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Take nothing by position."""
    return image - shift


def star(net: nn.Module, *images: torch.Tensor, **others: torch.Tensor) -> torch.Tensor:
    """Take any number."""
    assert not others
    return images[0] - sum(images[1:], torch.zeros(()))


def first_and_star(net: nn.Module, x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
    """Take one and any number."""
    return x - sum(more, torch.zeros(()))


def positional(net: nn.Module, x: torch.Tensor, /, y: torch.Tensor = B) -> torch.Tensor:
    """Take one by position alone."""
    return x - y


@pytest.mark.parametrize(
    ("function", "names", "given", "expected"),
    [
        (own, ["input"], [A], A),
        (minus, ["x", "y"], [A, B], A - B),
        (minus, ["input", "other"], [A, B], A - B),
        (minus, ["y", "x"], [A, B], B - A),
        (minus, ["input", "x"], [A, B], B - A),
        (defaults, ["input"], [A], A - B),
        (defaults, ["input", "z"], [A, C], A - B * C),
        (defaults, ["z", "input", "y"], [A, B, C], B - C * A),
        (keyword_only, ["input", "shift"], [A, B], A - B),
        (keyword_only, ["shift", "image"], [A, B], B - A),
        (star, ["input"], [A], A),
        (star, ["input", "more", "most"], [A, B, C], A - B - C),
        (first_and_star, ["a", "b", "c"], [A, B, C], A - B - C),
        (positional, ["input"], [A], A - B),
        (positional, ["y", "input"], [A, B], B - A),
    ],
)
def test_inputs_find_their_arguments(
    function: Callable[..., torch.Tensor],
    names: Sequence[str],
    given: list[torch.Tensor],
    expected: torch.Tensor,
) -> None:
    module = network(function)
    state = module.state_dict()
    module = plain_forward(module, "net", names)
    assert torch.equal(module(*given), expected)
    assert module.state_dict().keys() == state.keys() == {"weight"}


@pytest.mark.parametrize(
    ("function", "names", "said"),
    [
        (minus, ["input"], r"takes 2 inputs \(x, y\), and it was given 1 \(input\)"),
        (minus, ["a", "b", "c"], r"takes 2 inputs \(x, y\), and it was given 3 \(a, b, c\)"),
        (keyword_only, ["input"], "--input image=SHAPE --input shift=SHAPE"),
        (own, ["image", "scale"], r"takes 1 input \(x\), and it was given 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_option(
    function: Callable[..., torch.Tensor], names: Sequence[str], said: str
) -> None:
    with pytest.raises(ExportError, match=said):
        plain_forward(network(function), "net", names)


def test_a_hook_sees_what_the_module_itself_is_called_with() -> None:
    module = network(minus)
    seen: list[tuple[torch.Tensor, ...]] = []
    module.register_forward_pre_hook(lambda part, given: seen.append(given))
    outer = plain_forward(module, "net", ["y", "x"])
    assert torch.equal(outer(A, B), B - A)
    assert len(seen) == 1
    assert torch.equal(torch.stack(seen[0]), torch.stack([B, A]))
    assert outer.state_dict().keys() == module.state_dict().keys()
    assert not outer.half().eval().training
    assert module.state_dict()["weight"].dtype == torch.float16


def test_a_forward_that_was_replaced_on_the_instance_is_called() -> None:
    module = network(own)
    module.forward = lambda *images: images[0] * 7
    plain_forward(module, "net", ["input"])
    assert torch.equal(module(A), A * 7)


@pytest.mark.slow
def test_any_number_of_images_can_be_exported_with_a_free_batch() -> None:
    module = network(star)
    plain_forward(module, "net", ["input"])
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=(batch,))
    assert program.module()(torch.ones(3, 2 * 2)).shape == (3, 4)
