"""Normalisations of as many rows as the data decide, in a form that torch exports.

torch's own first compare the number of elements with zero, which nobody knows while a graph is
made. The regions of a detector and the tokens that a network keeps are such rows.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class AnyRows(TorchFunctionMode):
    """While it is entered, such normalisations are computed as sums and products."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call a function of torch, or what stands for it."""
        stand_in = _STAND_INS.get(func)
        values = args[0] if args else (kwargs or {}).get("input")
        if stand_in and isinstance(values, Tensor) and free_unbacked_symbols(values.shape):
            func = stand_in
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise by channel, as ``functional.batch_norm`` of a network in evaluation mode."""
    if training or running_mean is None or running_var is None:
        axes = [axis for axis in range(input.ndim) if axis != 1]
        running_var, running_mean = torch.var_mean(input, axes, correction=0)
    return _scaled(input, running_mean, running_var, weight, bias, eps)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each row by channel, as ``functional.instance_norm`` of such a network."""
    if use_input_stats or running_mean is None or running_var is None:
        axes = [*range(2, input.ndim)]
        running_var, running_mean = torch.var_mean(input, axes, correction=0, keepdim=True)
    return _scaled(input, running_mean, running_var, weight, bias, eps)


def _scaled(
    values: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Normalise values (N, channels, ...); what is of a channel has one axis, or all of theirs."""

    def by_channel(each: Tensor) -> Tensor:
        return each.reshape(-1, *[1] * (values.ndim - 2)) if each.ndim == 1 else each

    scale = torch.rsqrt(by_channel(variance) + eps)
    if weight is not None:
        scale = scale * by_channel(weight)
    found = (values - by_channel(mean)) * scale
    return found if bias is None else found + by_channel(bias)


_STAND_INS: Mapping[Callable[..., object], Callable[..., object]] = {
    functional.batch_norm: _batch_norm,
    functional.instance_norm: _instance_norm,
}
