"""Which weights a network gets: published, random, or from a file."""

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from greenbatch.errors import UnknownNameError, WeightsError
from greenbatch.models.spec import ModelSpec
from greenbatch.models.weights.checkpoints import fetch_checkpoint
from greenbatch.models.weights.former_names import called_now
from greenbatch.models.weights.random_weights import draw_weights
from greenbatch.models.weights.unsaved import saved

if TYPE_CHECKING:
    import torch
    from torch import nn

Kind = Literal["auto", "pretrained", "random", "file"]
WORDS: tuple[Kind, ...] = get_args(Kind)[:3]
SUFFIXES = (".safetensors", ".pth", ".pt")
_COUNTED = ".num_batches_tracked"
_NAMED = 3  # how many names an error message lists


@dataclass(frozen=True, slots=True)
class Weights:
    """A choice of weights.

    Attributes:
        kind: ``auto`` is pretrained where the published file is cached or can be fetched, and
            random elsewhere.
        path: The file; ``None`` for the other kinds.
    """

    kind: Kind
    path: Path | None = None

    @classmethod
    def parse(cls, text: "str | Path | Weights") -> "Weights":
        """Read a choice: ``auto``, ``pretrained``, ``random``, or the path of a file.

        Raises:
            UnknownNameError: It is neither one of the words nor looks like a weights file.
            WeightsError: The file does not exist.
        """
        if isinstance(text, Weights):
            return text
        for word in WORDS:
            if text == word:
                return cls(word)
        path = Path(text)
        if path.suffix not in SUFFIXES:
            raise UnknownNameError("weights", str(text), (*WORDS, *(f"FILE{s}" for s in SUFFIXES)))
        if not path.is_file():
            raise WeightsError(f"there is no weights file {path}; check its path")
        return cls("file", path)


@dataclass(frozen=True, slots=True)
class WeightsApplied:
    """Which weights a network got.

    Attributes:
        kind: ``pretrained``, ``random`` or ``file``: never ``auto``.
        detail: The weights' published name, the seed, or the file's name.
        note: Why random weights were taken though others were hoped for; a sentence without the
            model's name, so that many models need it only once.
    """

    kind: str
    detail: str
    note: str | None = None


def load_weights(
    module: "nn.Module", spec: ModelSpec, choice: "str | Path | Weights" = "auto", seed: int = 0
) -> WeightsApplied:
    """Give a network its weights, in place.

    Args:
        module: The network, as `greenbatch.models.build` makes it.
        spec: Its spec.
        choice: See `Weights`.
        seed: Of random weights (see `greenbatch.models.weights.random_weights`); unused for others.

    Raises:
        WeightsError: The weights cannot be had, cannot be read or do not fit.
        UnknownNameError: ``choice`` is no choice.
    """
    weights = Weights.parse(choice)
    if weights.kind == "file":
        assert weights.path is not None
        _fit(module, spec, read_state(weights.path), weights.path.name)
        return WeightsApplied("file", weights.path.name)
    note = None
    if weights.kind != "random":
        try:
            path = fetch_checkpoint(spec)
        except WeightsError as error:
            if weights.kind == "pretrained":
                raise
            cause = getattr(error.__cause__, "reason", None) or error.__cause__ or error
            note = f"published weights cannot be fetched ({cause}), so random ones are used"
        else:
            _fit(module, spec, read_state(path), spec.checkpoint)
            return WeightsApplied("pretrained", spec.weights)
    draw_weights(module, spec, seed)
    return WeightsApplied("random", f"seed {seed}", note)


def read_state(path: Path) -> "dict[str, torch.Tensor]":
    """Read tensors by name from a file, without running code that is in it.

    Args:
        path: ``.safetensors``; or ``.pth`` and ``.pt`` as `torch.save` writes them, where the
            tensors may also lie under ``state_dict`` or ``model`` as training scripts have it.

    Raises:
        WeightsError: It cannot be read so, or holds something else.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():  # torch warns of a pickle that it then refuses
                warnings.simplefilter("ignore", UserWarning)
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"cannot read {path} without running code that is in it; "
            "save the network's state_dict() alone, best as .safetensors"
        ) from error
    except Exception as error:  # a torn pickle raises whatever its reader stumbles over
        cause = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise WeightsError(
            f"cannot read the weights file {path}: {cause}; delete it and get it again"
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise WeightsError(
            f"{path} does not hold tensors by name; save the network's state_dict() into it"
        )
    return saved(cast("dict[str, torch.Tensor]", dict(content)))


def _fit(
    module: "nn.Module", spec: ModelSpec, state: "dict[str, torch.Tensor]", origin: str
) -> None:
    """Load ``state`` into ``module``; every name and shape must agree."""
    own = module.state_dict()
    if spec.training_only:
        state = {k: v for k, v in state.items() if not k.startswith(spec.training_only)}
    state = {name if name in own else called_now(name): value for name, value in state.items()}
    # Frozen normalisations count no batches; files that were saved while they learned may.
    state = {k: v for k, v in state.items() if k in own or not k.endswith(_COUNTED)}
    for name, value in own.items():
        if name.endswith(_COUNTED):  # older files lack it; inference ignores it
            state.setdefault(name, value)
    faults = [
        f"{len(names)} {what} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for what, names in (
            ("missing", [name for name in own if name not in state]),
            ("unexpected", [name for name in state if name not in own]),
            (
                "of another shape",
                [
                    f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
                    for name, value in state.items()
                    if name in own and value.shape != own[name].shape
                ],
            ),
        )
        if names
    ]
    if faults:
        raise WeightsError(
            f"the weights in {origin} do not fit {spec.name}: {'; '.join(faults)}; "
            f"give a file that was saved from {spec.name}"
        )
    module.load_state_dict(state)
