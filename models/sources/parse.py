"""Where a network comes from: torchvision, a callable of the user's, timm, or a file."""

import contextlib
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from greenbatch.errors import ExportError, GreenbatchError, UsageError, WeightsError
from greenbatch.models import registry
from greenbatch.models.inputs import synthetic_images
from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.models.weights.load import Weights, WeightsApplied, load_weights

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["torchvision", "python", "timm", "pt2", "onnx"]

_FILES: dict[str, Kind] = {".pt2": "pt2", ".onnx": "onnx"}
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CALLABLE = re.compile(rf"({_DOTTED}):({_DOTTED})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_CROP_SHARE = 0.875  # of the resized side: 224 of 256, the usual evaluation on ImageNet
_GREY_MEAN, _GREY_STD = 0.449, 0.226  # mean of ImageNet's three channels
_TRIED_BATCH = 2


class SourceWarning(UserWarning):
    """A network was changed before it was used, or did not get the weights hoped for."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a user named.

    Attributes:
        kind: ``torchvision``, ``python``, ``timm``, ``pt2`` or ``onnx``, as in a manifest.
        text: The network's name, ``module:callable``, or the path of a file.
    """

    kind: Kind
    text: str

    @property
    def default_name(self) -> str:
        """A name for the artifact, safe as a file's: ``nets_build`` for ``pkg.nets:build``."""
        if self.kind == "torchvision":
            return self.text
        if self.kind == "python":
            module, _, attribute = self.text.partition(":")
            wish = f"{module.rpartition('.')[2]}_{attribute}"
        elif self.kind == "timm":
            wish = f"timm_{self.text}"
        else:
            wish = Path(self.text).stem
        return re.sub(r"[^a-z0-9_.-]", "_", wish.lower()).lstrip("_.-")[:100]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is ready to be exported.

    Attributes:
        module: On the CPU, in evaluation mode; maps (N, C, H, W) to (N, classes).
        spec: Its name and input.
        applied: Which weights it holds; ``kind`` is ``own`` where they are as the source made
            them.
    """

    module: "nn.Module"
    spec: ModelSpec
    applied: WeightsApplied


def parse_source(text: str) -> Source:
    """Read what a user named, without importing or opening it.

    Args:
        text: A torchvision name, ``package.module:callable``, ``timm:NAME``, or the path of a
            ``.pt2`` or ``.onnx`` file.

    Raises:
        UnknownNameError: It looks like a name of torchvision and is none.
        UsageError: It is nothing of all that, or there is no such file.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    if text.startswith("timm:"):
        if not text[5:]:
            raise UsageError("timm: names no network; write timm:NAME, e.g. timm:resnet18")
        return Source("timm", text[5:])
    if suffix in _FILES:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it")
        if not path.is_file():
            raise UsageError(f"there is no file {path}; check its path")
        return Source(_FILES[suffix], text)
    if suffix in {".pt", ".pth", ".safetensors"}:
        raise UsageError(
            f"{path} holds weights, which are no network; name the network and give "
            f"--weights {path}"
        )
    if suffix == ".py":
        raise UsageError(
            f"{path} is a Python file and does not name the callable; "
            f"write {path.stem}:CALLABLE, e.g. {path.stem}:build"
        )
    if ":" in text:
        if not _CALLABLE.fullmatch(text):
            raise UsageError(
                f"{text!r} is no callable; write package.module:callable, e.g. mypkg.nets:build"
            )
        return Source("python", text)
    return Source("torchvision", registry.find(text).name)


def runs_code(text: str) -> bool:
    """Whether a source is a module that is imported: loading any other runs no code of its own."""
    known = text.startswith("timm:") or Path(text).suffix.lower() in _FILES
    return ":" in text and not known


def parse_input(text: str) -> InputSpec:
    """Read an input's shape, as in ``3x320x320``.

    Three channels get ImageNet's mean and standard deviation, others the average of those. A
    photograph is resized so that the square cut from it is 0.875 of its shorter side.

    Raises:
        UsageError: It is not three positive numbers.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})x(\d{1,5})", text.strip().lower())
    if match is None or "0" in (shape := [str(int(number)) for number in match.groups()]):
        raise UsageError(
            f"the input {text!r} is not channels, height and width; write it like 3x224x224"
        )
    channels, height, width = map(int, shape)
    crop = min(height, width)
    spec = {"shape": (channels, height, width), "crop": crop, "resize": round(crop / _CROP_SHARE)}
    if channels == 3:
        return InputSpec(**spec)  # type: ignore[arg-type]
    grey = {"mean": (_GREY_MEAN,) * channels, "std": (_GREY_STD,) * channels}
    return InputSpec(**spec, **grey)  # type: ignore[arg-type]


def check_name(name: str) -> str:
    """Return a name for a user's own network if it can be one.

    Raises:
        UsageError: It cannot be part of a file's name everywhere, or is a known model's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name {name!r} is unfit for a file; use up to 100 of a-z, 0-9, '_', '.' and '-', "
            "beginning with a letter or digit, in --name"
        )
    if name in registry.names():
        raise UsageError(
            f"the name {name!r} is that of a torchvision network; choose another --name"
        )
    return name


def load(
    source: Source,
    input: InputSpec | None = None,
    name: str | None = None,
    weights: str | Path | Weights = "auto",
    seed: int = 0,
) -> Network:
    """Build or read a network and try it on two images.

    Args:
        source: Any but an ``.onnx`` file, which is no torch module.
        input: Its input; by default what the source says, else 3x224x224.
        name: Of the artifact; see `Source.default_name`.
        weights: ``auto`` keeps what the source made; for timm it is pretrained where that can be
            had. A callable also takes ``random`` and a file.
        seed: Of random weights.

    Raises:
        UsageError: The name or the callable is unfit.
        ExportError: The network cannot be had or does not map images to logits.
        WeightsError: The weights cannot be had or do not fit.

    Warns:
        SourceWarning: The network was in training mode, or pretrained weights cannot be had.
    """
    choice = Weights.parse(weights)
    if source.kind == "onnx":
        raise UsageError(f"{source.text} is an ONNX file already; export it with --dynamic-batch")
    if source.kind == "torchvision":
        from greenbatch.models.build import build

        spec = registry.find(source.text)
        module = build(spec)
        return Network(module, spec, load_weights(module, spec, choice, seed))
    name = check_name(name or source.default_name)
    if source.kind == "timm":
        module, found, applied = _from_timm(source.text, choice)
    elif source.kind == "pt2":
        from greenbatch.models.sources.exported_program import load_program

        if choice.kind != "auto":
            raise WeightsError(
                f"{source.text} holds its own weights and takes no others; leave --weights out"
            )
        program = load_program(Path(source.text))
        module, found = program.module, parse_input("x".join(map(str, program.shape)))
        if input is not None and input.shape != found.shape:
            raise UsageError(
                f"{source.text} was exported for images {found.shape}, and --input says "
                f"{input.shape}; leave --input out, or export the program again"
            )
        applied = WeightsApplied("own", Path(source.text).name)
    else:
        if choice.kind == "pretrained":
            raise WeightsError(
                f"nothing is published for {source.text}; let the callable load its weights, or "
                "give --weights random or a file"
            )
        module, found = _from_callable(source.text), InputSpec()
        applied = WeightsApplied("own", source.text)
    spec = _own_spec(name, source.kind, module, input or found)
    _ready(module, spec)
    _try(module, spec)
    if choice.kind in {"random", "file"}:
        applied = load_weights(module, spec, choice, seed)
    elif applied.kind == "random":
        applied = replace(load_weights(module, spec, "random", seed), note=applied.note)
    if applied.note:
        warnings.warn(applied.note, SourceWarning, stacklevel=2)
    return Network(module, spec, applied)


def _own_spec(name: str, kind: Kind, module: "nn.Module", form: InputSpec) -> ModelSpec:
    """Make the spec of a network of which nothing is published."""
    return ModelSpec(
        name=name,
        family="own",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        weights="",
        input=form,
        source=kind,
    )


def _from_callable(text: str) -> "nn.Module":
    """Import a module, call its callable and return the network that it makes.

    Modules of the current folder are found too, behind all that is installed.
    """
    from torch import nn

    module_name, _, attribute = text.partition(":")
    with _current_folder():
        try:
            found: Any = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            missing = getattr(error, "name", None)
            if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(
                f"{missing}."
            ):
                cure = "check its name, or run gb in the folder that holds it"
                raise UsageError(
                    f"there is no module {missing!r} in {Path.cwd()} nor among the installed "
                    f"packages; {_hidden(module_name) or cure}"
                ) from error
            raise ExportError(f"importing {module_name} raises {_said(error)}; fix it") from error
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                raise UsageError(_no_attribute(found, part, module_name)) from error
        if isinstance(found, nn.Module):
            return found
        if not callable(found):
            raise UsageError(
                f"{text} is of type {type(found).__name__} and cannot be called; name a callable "
                "without arguments that returns an nn.Module"
            )
        if needed := _required(found):
            raise UsageError(
                f"{text} cannot be called without arguments (it needs {', '.join(needed)}); give "
                "them defaults, or write a function that passes them"
            )
        try:
            made = found()
        except (Exception, SystemExit) as error:
            raise ExportError(f"calling {text} raises {_said(error)}; fix it") from error
    if not isinstance(made, nn.Module):
        raise ExportError(f"{text} returns {_kind_of(made)}; it must return an nn.Module")
    return made


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules of the current folder be imported that no installed module is named like."""
    folder = str(Path.cwd())
    importlib.invalidate_caches()
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _hidden(module_name: str) -> str | None:
    """Say how to reach a module of the current folder that an installed one comes before."""
    top = module_name.partition(".")[0]
    own = next((path for path in (Path(f"{top}.py"), Path(top)) if path.exists()), None)
    found = getattr(sys.modules.get(top), "__file__", None) or ""
    if own is None or not found or Path(found).is_relative_to(Path.cwd()):
        return None
    return f"the installed module {top} ({found}) comes before ./{own}, which needs another name"


def _no_attribute(owner: Any, part: str, module_name: str) -> str:
    names = (
        [name for name in vars(owner) if not name.startswith("_")]
        if hasattr(owner, "__dict__")
        else []
    )
    near = get_close_matches(part, names, n=1, cutoff=0.5)
    cure = _hidden(module_name) or (f"did you mean {near[0]!r}?" if near else "check its name")
    return f"{getattr(owner, '__name__', type(owner).__name__)} has no {part!r}; {cure}"


def _from_timm(name: str, choice: Weights) -> "tuple[nn.Module, InputSpec, WeightsApplied]":
    try:
        timm: Any = importlib.import_module("timm")
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
                    f"timm's weights of {name} cannot be loaded: {_said(error)}; try again with a "
                    "connection, or take --weights random"
                ) from error
            note = f"timm's weights cannot be loaded ({_said(error)}), so random ones are used"
    applied = WeightsApplied("pretrained", f"timm {name}")
    if module is None:
        applied = WeightsApplied("random", "", note)
        try:
            module = create(pretrained=False)
        except Exception as error:
            raise ExportError(
                f"timm cannot build {name}: {_said(error)}; choose another"
            ) from error
    return module, _timm_input(dict(getattr(module, "pretrained_cfg", None) or {})), applied


def _timm_input(config: Mapping[str, Any]) -> InputSpec:
    """Read an input from timm's ``pretrained_cfg``."""
    form = parse_input("x".join(map(str, config.get("input_size") or (3, 224, 224))))
    return replace(
        form,
        resize=int(form.crop / (config.get("crop_pct") or _CROP_SHARE)),
        mean=tuple(config.get("mean") or form.mean),
        std=tuple(config.get("std") or form.std),
        interpolation=config.get("interpolation") or form.interpolation,
    )


def _ready(module: "nn.Module", spec: ModelSpec) -> None:
    """Put a network where and how it is exported: on the CPU, in evaluation mode, in fp32."""
    import torch

    if any(part.training for part in module.modules()):
        warnings.warn(
            f"{spec.name} was in training mode and is put into evaluation mode",
            SourceWarning,
            stacklevel=3,
        )
        module.eval()
    state = list(module.state_dict().items())
    for name, value in state:
        if value.is_meta:
            raise ExportError(
                f"{name} of {spec.name} has no values (device meta); load its weights"
            )
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ExportError(
                f"{name} of {spec.name} is {value.dtype} instead of torch.float32; return "
                "module.float(), and choose the precision with --precision"
            )
    module.cpu()


def _try(module: "nn.Module", spec: ModelSpec) -> None:
    """Run a network on two images and see that it returns a row of logits for each."""
    import torch
    from torch import nn

    needed = _required(module.forward)
    if len(needed) > 1:
        raise ExportError(
            f"{spec.name} takes {len(needed)} inputs ({', '.join(needed)}), and gb measures "
            "networks of one image; wrap it in a module whose forward takes the images alone"
        )
    channels = spec.input.shape[0]
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    size = "x".join(map(str, spec.input.shape))
    images = torch.from_numpy(synthetic_images(spec, _TRIED_BATCH, seed=0))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            logits = module(images)
    except Exception as error:
        if first is not None and first.in_channels != channels:
            raise ExportError(
                f"{spec.name} takes images of {first.in_channels} channels instead of {channels}; "
                f"pass --input {first.in_channels}x{size.partition('x')[2]}"
            ) from error
        raise ExportError(
            f"{spec.name} raises {_said(error)} for images of {size}; give the size that it takes "
            "with --input CxHxW, or fix it"
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise ExportError(
            f"{spec.name} returns {_kind_of(logits)} instead of logits (N, classes); wrap it in a "
            "module whose forward returns the logits alone"
        )
    if logits.ndim != 2 or len(logits) != _TRIED_BATCH or not logits.is_floating_point():
        raise ExportError(
            f"{spec.name} returns {logits.dtype} of shape {tuple(logits.shape)} for "
            f"{_TRIED_BATCH} images instead of logits ({_TRIED_BATCH}, classes); wrap it in a "
            "module whose forward returns a row of them for each image"
        )


def _required(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments without which a function cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in ones do not tell
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _kind_of(value: object) -> str:
    """Say what a value is, and what is in it."""
    name = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {name} with {', '.join(map(str, value)) or 'nothing'}"
    if is_dataclass(value):
        return f"a {name} with {', '.join(field.name for field in fields(value))}"
    if isinstance(value, (tuple, list)):
        return f"a {name} of {len(value)}"
    if value is None:
        return "None"
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def _said(error: BaseException) -> str:
    """Say an error's type and its first line."""
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), "").rstrip(".")[:300]
    if isinstance(error, GreenbatchError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
