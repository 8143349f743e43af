"""A network of timm: build it, with its published weights if they can be loaded."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from greenbatch.errors import ExportError, UsageError, WeightsError
from greenbatch.models.sources.describe import error_text
from greenbatch.models.sources.input_option import CROP_SHARE, parse_input
from greenbatch.models.spec import InputSpec
from greenbatch.models.weights.load import Weights, WeightsApplied

if TYPE_CHECKING:
    from torch import nn


def load_timm(name: str, choice: Weights) -> "tuple[nn.Module, InputSpec, WeightsApplied]":
    """Build a network of timm; return it with its input and the weights that it has.

    Args:
        name: Without ``timm:``.
        choice: ``auto`` takes the published weights if they can be loaded, else random ones.

    Raises:
        UsageError: timm is not installed, or has no such network.
        WeightsError: Published weights were requested and cannot be loaded.
        ExportError: timm cannot build the network.
    """
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"timm:{name} needs the package timm; install it with: pip install 'greenbatch[timm]'"
        ) from error
    if not timm.is_model(name.partition(".")[0]):
        near = get_close_matches(name, timm.list_models(), n=1, cutoff=0.5)
        cure = f"did you mean timm:{near[0]}?" if near else "see timm.list_models()"
        raise UsageError(f"timm {timm.__version__} has no network {name!r}; {cure}")

    def create(pretrained: bool) -> "nn.Module":
        import torch

        with torch.random.fork_rng(devices=()):
            made: nn.Module = timm.create_model(name, pretrained=pretrained)
        return made.eval()

    module, note = None, None
    if choice.kind in {"auto", "pretrained"}:
        try:
            module = create(pretrained=True)
        except Exception as error:  # the hub's and timm's errors have no common root
            if choice.kind == "pretrained":
                raise WeightsError(
                    f"timm's weights of {name} cannot be loaded: {error_text(error)}; try again "
                    "with a connection, or take --weights random"
                ) from error
            note = f"timm's weights cannot be loaded ({error_text(error)}), so random ones are used"
    applied = WeightsApplied("pretrained", f"timm {name}")
    if module is None:
        applied = WeightsApplied("random", "", note)
        try:
            module = create(pretrained=False)
        except Exception as error:
            raise ExportError(
                f"timm cannot build {name}: {error_text(error)}; choose another"
            ) from error
    return module, _timm_input(dict(getattr(module, "pretrained_cfg", None) or {})), applied


def _timm_input(config: Mapping[str, Any]) -> InputSpec:
    """Read an input from timm's ``pretrained_cfg``."""
    input_spec = parse_input("x".join(map(str, config.get("input_size") or (3, 224, 224))))
    return replace(
        input_spec,
        resize=int(input_spec.crop / (config.get("crop_pct") or CROP_SHARE)),
        mean=tuple(config.get("mean") or input_spec.mean),
        std=tuple(config.get("std") or input_spec.std),
        interpolation=config.get("interpolation") or input_spec.interpolation,
    )
