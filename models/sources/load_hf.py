"""An image network of Hugging Face's transformers, from a local folder, the hub or its cache."""

import contextlib
import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from greenbatch.errors import ExportError, UsageError, WeightsError
from greenbatch.models.inputs import synthetic_images
from greenbatch.models.sources.describe import error_text
from greenbatch.models.sources.exported_program import silent
from greenbatch.models.sources.hf_attention import leave_out_masks
from greenbatch.models.sources.hf_input import image_input
from greenbatch.models.weights.load import Weights, WeightsApplied

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

    from greenbatch.models.spec import InputSpec

Made = TypeVar("Made")

IMAGES = "pixel_values"
_TASKS = (
    "AutoModelForObjectDetection",
    "AutoModelForSemanticSegmentation",
    "AutoModelForImageClassification",
    "AutoModel",
)
"""Which class is taken where ``config.json`` names none: the first that the architecture has."""
_LEFT_OUT = frozenset({"loss", "loss_dict", "hidden_states", "attentions", "past_key_values"})
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class _Found:
    """A network's description, before it is built."""

    config: "PreTrainedConfig"
    network: "type[PreTrainedModel]"
    preprocessor: Mapping[str, object]
    note: str


def load_hf(name: str, choice: Weights) -> "tuple[nn.Module, InputSpec, WeightsApplied]":
    """Build an image network of transformers; return it with its input and the weights it has.

    No code is taken from the folder or the hub, and weights are read from ``.safetensors`` alone.

    Args:
        name: A folder with a ``config.json``, or a name on the hub.
        choice: ``auto`` takes the weights that are there, else random ones.

    Raises:
        UsageError: transformers is not installed, or there is no such network.
        WeightsError: Weights were requested and cannot be loaded, or they do not fit.
        ExportError: The network takes no images, or transformers cannot build it.
    """
    import torch

    try:
        transformers = importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"hf:{name} needs the package transformers; install it with: "
            "pip install 'greenbatch[transformers]'"
        ) from error
    with (
        warnings.catch_warnings(),
        silent("transformers"),
        silent("huggingface_hub"),
        _no_progress(transformers),
    ):
        warnings.simplefilter("ignore")
        found = _find(transformers, name)
        module, applied = _build(found, name, choice)
        _leave_out(module)
        input_spec = image_input(found.config, found.preprocessor, IMAGES)
        images = torch.from_numpy(synthetic_images(input_spec, 2, seed=0))
        leave_out_masks(transformers, module, images)
    if found.note:
        applied = WeightsApplied(applied.kind, applied.detail, _both(found.note, applied.note))
    return module, input_spec, applied


@contextlib.contextmanager
def _no_progress(transformers: ModuleType) -> Iterator[None]:
    """Leave out the bars that transformers draws while it loads."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _find(transformers: ModuleType, name: str) -> _Found:
    """Read a network's configuration and choose its class."""
    folder = Path(name)
    if folder.is_dir() and not (folder / _CONFIG).is_file():
        raise UsageError(f"there is no {_CONFIG} in {folder}; name a folder of save_pretrained")
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the hub's and transformers' errors have no common root
        cure = (
            f"check its {_CONFIG}"
            if folder.is_dir()
            else "check the name and the connection, or name a folder with a config.json"
        )
        raise UsageError(f"hf:{name} cannot be found: {error_text(error)}; {cure}") from error
    if getattr(config, "quantization_config", None):
        raise ExportError(
            f"hf:{name} is quantised by another library; name the network in fp32, and choose the "
            "precision with --precision"
        )
    network, note = _network_class(transformers, config, name)
    if "input_ids" in inspect.signature(network.forward).parameters:
        network, config = _image_tower(transformers, network, config, name)
    return _Found(config, network, _preprocessor(transformers, name), note)


def _network_class(
    transformers: ModuleType, config: "PreTrainedConfig", name: str
) -> "tuple[type[PreTrainedModel], str]":
    """Return the class of a network, and a note where its configuration names none."""
    for architecture in config.architectures or ():
        network = getattr(transformers, architecture, None)
        if network is None:
            raise ExportError(
                f"transformers {transformers.__version__} has no {architecture}, which hf:{name} "
                "needs, and code of the hub is never run; load it in a callable"
            )
        return network, ""
    both = hasattr(config, "text_config") and hasattr(config, "vision_config")
    for task in _TASKS[-1:] if both else _TASKS:
        mapping = getattr(transformers, task)._model_mapping
        if type(config) in mapping.keys():  # noqa: SIM118  # its `in` is another question
            network = mapping[type(config)]
            network = network[0] if isinstance(network, tuple) else network
            part = "the image part of " if both else ""
            return network, f"{_CONFIG} names no architecture, so {part}{network.__name__} is taken"
    raise ExportError(
        f"hf:{name} is a {config.model_type}, of which transformers {transformers.__version__} "
        "has no network of images; load it in a callable"
    )


def _image_tower(
    transformers: ModuleType,
    network: "type[PreTrainedModel]",
    config: "PreTrainedConfig",
    name: str,
) -> "tuple[type[PreTrainedModel], PreTrainedConfig]":
    """Return the part of a network of texts and images that takes images alone."""
    family = network.__name__.removesuffix("Model")
    for tower in (f"{family}VisionModelWithProjection", f"{family}VisionModel"):
        if (found := getattr(transformers, tower, None)) and hasattr(config, "vision_config"):
            return found, config.vision_config
    raise ExportError(
        f"hf:{name} is a {network.__name__}, which takes texts (input_ids), and transformers has "
        "no part of it that takes images alone; wrap it in a callable"
    )


def _preprocessor(transformers: ModuleType, name: str) -> Mapping[str, object]:
    """Return what is said of the preparation of images; empty: nothing is."""
    path = Path(name) / _PREPROCESSOR
    try:
        if not Path(name).is_dir():
            path = Path(transformers.utils.cached_file(name, _PREPROCESSOR))
        elif not path.is_file():
            return {}
        text = path.read_bytes()
    except Exception:  # there is none, or no connection to ask for it
        return {}
    try:
        read: object = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is no JSON; repair or delete it") from error
    return read if isinstance(read, dict) else {}


def _build(found: _Found, name: str, choice: Weights) -> "tuple[nn.Module, WeightsApplied]":
    """Build a network, with the weights that are there or with others."""
    import torch

    def create(make: Callable[..., Made], *given: object, **options: object) -> Made:
        with torch.random.fork_rng(devices=()):
            return make(*given, dtype=torch.float32, **options)

    note = None
    files = _weights_in(Path(name))
    if choice.kind in {"auto", "pretrained"}:
        try:
            module, report = create(
                found.network.from_pretrained,
                name,
                config=found.config,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # the hub's and transformers' errors have no common root
            if choice.kind == "pretrained" or files:
                held = f" of {', '.join(files)}" if files else ""
                raise WeightsError(
                    f"the weights{held} of hf:{name} cannot be loaded: {error_text(error)}; save "
                    "them again with save_pretrained as .safetensors, or take --weights random"
                ) from error
            note = (
                f"the weights of hf:{name} cannot be loaded ({error_text(error)}), so random ones "
                "are used"
            )
        else:
            _refuse_gaps(report, name)
            return module.eval(), WeightsApplied("pretrained", f"transformers {name}")
    try:
        module = create(found.network._from_config, found.config)
    except Exception as error:
        raise ExportError(
            f"transformers cannot build hf:{name}: {error_text(error)}; choose another"
        ) from error
    return module.eval(), WeightsApplied("random", "", note)


def _weights_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder that hold weights, in any format."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.suffix in {".safetensors", ".bin", ".pt"})


def _refuse_gaps(report: Mapping[str, Iterable[object]], name: str) -> None:
    """Refuse weights that do not cover the network: transformers draws the others at random."""
    missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if missing:
        raise WeightsError(
            f"the weights of hf:{name} lack {len(missing)} tensors ({', '.join(missing[:3])}"
            f"{', ...' if missing[3:] else ''}); name the architecture that they were saved from "
            f"in {_CONFIG}, or take --weights random"
        )


def _leave_out(module: "nn.Module") -> None:
    """Let a network take images alone, and return neither losses nor caches."""
    own = type(module)

    def forward(self: "nn.Module", pixel_values: object) -> object:
        returned = own.forward(self, pixel_values=pixel_values, return_dict=True)
        return {key: value for key, value in returned.items() if key not in _LEFT_OUT}

    module.__class__ = type(own.__name__, (own,), {"forward": forward})


def _both(first: str, second: str | None) -> str:
    return f"{first}; {second}" if second else first
