"""What a dataset must have to be read: attributes, variables, labels, and the codes in them."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, SupportsInt

from greenbatch import units
from greenbatch.analysis.dataset import training_variables as training
from greenbatch.analysis.dataset import variables as inference
from greenbatch.analysis.dataset.variables import PROVENANCES, QUANTILES, Variable, settings_of
from greenbatch.design.environment import Environment
from greenbatch.design.recorded import RecordedStudy, RecordedTrainingStudy
from greenbatch.documents import parse_json
from greenbatch.records import IO, PRECISIONS, TRAFFIC, TRAINING_PRECISIONS

if TYPE_CHECKING:
    import xarray as xr

NEEDED = (
    "status",
    "duration",
    "iterations",
    "latency",
    "energy_source",
    "energy_reason",
    "energy_per_image",
    "energy_per_image_net",
    "energy_per_image_source",
    "memory_peak",
    "counts",
    "year",
    "weights",
)
"""Of inference; what else a dataset lacks is missing in its report."""
_TEXTS = ("title", "source", "run_digest", "energy_provenance", "journal_torn")
_FACTORS = {"precision": PRECISIONS, "io": IO}


def known_names(dataset: "xr.Dataset") -> set[str]:
    """Return the names of the variables that a dataset of its kind may have.

    Raises:
        ValueError: Its attribute ``settings`` cannot be read.
    """
    home = training if _is_training(dataset.attrs) else inference
    known = {*home.VARIABLES, *home.COORDINATES, *_settings(dataset.attrs), *inference.MERGED}
    if home is training:
        return known | {
            str(name) for name in dataset.variables if str(name).startswith(training.HYPERPARAMETER)
        }
    return known | {*inference.table(servers=True), "scenario"}


def _is_training(attrs: Mapping[Hashable, object]) -> bool:
    return bool(attrs.get("kind") == training.KIND)


def _settings(attrs: Mapping[Hashable, object]) -> dict[str, str]:
    found = _parsed(attrs, "settings", {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("its attribute 'settings' is no mapping of texts")
    return found


def _parsed(attrs: Mapping[Hashable, object], name: str, missing: object) -> object:
    if name not in attrs:
        return missing
    try:
        return parse_json(str(attrs[name]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"its attribute {name!r} is no JSON") from error


def require_attributes(attrs: Mapping[Hashable, object]) -> None:
    """Check the attributes that analysis reads.

    Raises:
        ValueError: One is missing or has a wrong type; the message is a phrase.
    """
    for name in _TEXTS:
        if not isinstance(attrs.get(name), str):
            raise ValueError(f"it has no text {name!r} among its attributes")
    if attrs["energy_provenance"] not in PROVENANCES:
        raise ValueError(f"its attribute 'energy_provenance' is {attrs['energy_provenance']!r}")
    schema = attrs.get("schema", 0)
    try:
        if not isinstance(schema, SupportsInt | str):
            raise TypeError
        int(schema)
    except (TypeError, ValueError):
        raise ValueError(f"its attribute 'schema' is {schema!r}, no number") from None
    for name, check in (("study", _require_study), ("environment", _require_environment)):
        try:
            check(attrs)
        except ValueError as error:
            raise ValueError(f"of its attribute {name!r}, {error}") from error
    _settings(attrs)
    accuracies, parts = _parsed(attrs, "accuracy", []), _parsed(attrs, "parts", [])
    if not isinstance(accuracies, list) or not isinstance(parts, list):
        name = "parts" if isinstance(accuracies, list) else "accuracy"
        raise ValueError(f"its attribute {name!r} is no list")
    if not isinstance(_parsed(attrs, "search", {}), dict | None):
        raise ValueError("its attribute 'search' is no mapping")
    if attrs.get("merged_along") in ("machine", "run"):
        for part in parts:
            _require_part(part)


def _require_study(attrs: Mapping[Hashable, object]) -> None:
    kind = RecordedTrainingStudy if _is_training(attrs) else RecordedStudy
    kind.read(_parsed(attrs, "study", None))


def _require_environment(attrs: Mapping[Hashable, object]) -> None:
    Environment.read(_parsed(attrs, "environment", None))


def _require_part(part: object) -> None:
    """Check what is remembered of a run in a merged dataset."""
    types = {"label": str, "attributes": dict, "labels": dict, "coordinates": list}
    if not isinstance(part, dict):
        raise ValueError("its attribute 'parts' lists what is no run")
    for name, wanted in types.items():
        if not isinstance(part.get(name), wanted):
            raise ValueError(f"its attribute 'parts' lists a run without {name!r}")
    require_attributes(part["attributes"])


def require_form(dataset: "xr.Dataset") -> None:
    """Check that a dataset has what is needed, as this program lays it out.

    Raises:
        ValueError: A variable, a dimension or a label is missing or wrong; the message is a phrase.
    """
    table: dict[str, tuple[Variable, tuple[str, ...]]]
    servers = "traffic" in dataset.dims
    if _is_training(dataset.attrs):
        cell: tuple[str, ...] = training.cell_dims(dataset)
        table = {name: (v, v.along(cell)) for name, v in training.VARIABLES.items()}
        needed = [name for name in table if name != "energy_reason"]
        labels: dict[str, tuple[object, ...]] = {"precision": TRAINING_PRECISIONS}
    else:
        cell = ("model", "variant")
        table = inference.table(servers=servers)
        needed = [*NEEDED, *(inference.SERVER + name for name in NEEDED if servers)]
        needed = [name for name in needed if name in table or name in inference.COORDINATES]
        needed += [*inference.VARIANT, *settings_of(dataset), *(TRAFFIC if servers else ())]
        labels = {"quantile": QUANTILES}
    if lacking := [name for name in needed if name not in dataset.variables]:
        more = f" and {units.count(len(lacking) - 1, 'more variable')}" if len(lacking) > 1 else ""
        raise ValueError(f"it lacks {lacking[0]}{more}")
    if not _is_training(dataset.attrs):
        if "batch_size" not in dataset.dims:
            raise ValueError("it lacks the dimension batch_size, one of whose labels was chosen")
        if not dataset.sizes["batch_size"] and not servers:
            raise ValueError("no label is left along its dimension batch_size")
    merged = dataset.attrs.get("merged_along")
    for dim in (*cell, "repetition", *([merged] if merged in ("machine", "run") else [])):
        if dim not in dataset.dims:
            raise ValueError(f"it lacks the dimension {dim}, one of whose labels was chosen")
        if not dataset.sizes[dim]:
            raise ValueError(f"no label is left along its dimension {dim}")
    for name in map(str, dataset.dims):
        _require_labels(dataset, name, labels.get(name))
    if not _is_training(dataset.attrs):
        _require_factors(dataset)
    apart = {dim for dim in ("machine", "run") if dim in dataset.dims}
    for name, (variable, dims) in table.items():
        if name in dataset:
            _require_variable(dataset[name], variable, {*dims, *apart})


def _require_factors(dataset: "xr.Dataset") -> None:
    """Check the coordinates that say what variants and traffic are."""
    own = {*inference.VARIANT, *settings_of(dataset)}
    for name in (*own, *(TRAFFIC if "traffic" in dataset.dims else ())):
        dim = "variant" if name in own else "traffic"
        if dataset[name].dims != (dim,):
            raise ValueError(f"its coordinate {name} does not go along {dim}")
        found, known = dataset[name].values.tolist(), _FACTORS.get(name)
        if not all(isinstance(label, str) for label in found):
            raise ValueError(f"a label of its coordinate {name} is no text")
        if known and (foreign := [label for label in found if label not in known]):
            raise ValueError(f"its coordinate {name} has the label {foreign[0]!r}")


def _require_labels(dataset: "xr.Dataset", dim: str, known: tuple[object, ...] | None) -> None:
    if dim not in dataset.coords:
        raise ValueError(f"it lacks the labels of its dimension {dim}")
    found = dataset[dim].values.tolist()
    if len(set(found)) < len(found):
        raise ValueError(f"a label of its dimension {dim} is there twice")
    if dim in ("batch_size", "repetition", "trial", "epoch"):
        if not all(isinstance(label, int) and label >= (dim == "batch_size") for label in found):
            raise ValueError(f"a label of its dimension {dim} is no whole number")
    elif dim == "quantile":
        if tuple(found) != known:
            raise ValueError(f"its quantiles are not {', '.join(map(str, known or ()))}")
    elif not all(isinstance(label, str) and label for label in found):
        raise ValueError(f"a label of its dimension {dim} is no text")
    elif known and (foreign := [label for label in found if label not in known]):
        raise ValueError(f"its dimension {dim} has the label {foreign[0]!r}")


def _require_variable(array: "xr.DataArray", variable: Variable, dims: set[str]) -> None:
    if {*map(str, array.dims)} != dims:
        raise ValueError(
            f"{array.name} has the dimensions {', '.join(map(str, array.dims))}, wanted "
            f"{', '.join(sorted(dims))}"
        )
    values = array.values
    if variable.kind == "text":
        kinds = set(map(type, values.ravel().tolist()))
        if not kinds <= {str}:
            raise ValueError(f"{array.name} holds what is no text")
    elif variable.kind == "number":
        if values.dtype.kind not in "fiu":
            raise ValueError(f"{array.name} holds what is no number")
    else:
        most = len(variable.meanings) - 1 if variable.kind == "code" else 127
        if values.dtype.kind not in "iu" or (
            values.size and not 0 <= int(values.min()) <= int(values.max()) <= most
        ):
            raise ValueError(f"{array.name} holds values that are no codes of it")
