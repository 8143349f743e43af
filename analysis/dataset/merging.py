"""Several runs as one dataset: side by side along ``machine`` or ``run``, or as repetitions."""

import hashlib
import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from greenbatch import units
from greenbatch.analysis.dataset.alignment import (
    alike,
    common_coordinates,
    first_known,
    known,
    widened,
)
from greenbatch.analysis.dataset.compatibility import (
    Facts,
    check_alike,
    check_known,
    distinct,
    facts_of,
    machine_names,
)
from greenbatch.analysis.dataset.dataset_files import NOTE
from greenbatch.analysis.dataset.groups import values_of
from greenbatch.analysis.dataset.variables import SERVER, STATUSES, VARIABLES
from greenbatch.errors import RunError, UnknownNameError, UsageError
from greenbatch.records.provenance import Provenance, combine

if TYPE_CHECKING:
    import xarray as xr

Along = Literal["machine", "repetition", "run"]


def merge_datasets(
    parts: "Mapping[str, xr.Dataset]", along: Along | None = None, allow: Collection[str] = ()
) -> "xr.Dataset":
    """Make one dataset of those of single runs, by the runs' names; see `merge`."""
    if along is not None and along not in get_args(Along):
        raise UnknownNameError("dimension to merge along", along, get_args(Along))
    if len(parts) == 1:
        return next(iter(parts.values()))
    check_inputs(parts)
    facts = {name: facts_of(part) for name, part in parts.items()}
    beside = {str(c) for part in parts.values() for c in part.coords if c not in part.dims}
    check_known(facts.values(), allow, beside)
    if along == "run":
        return _stacked(parts, "run", [])
    groups = _groups(facts, along)
    allowed: list[str] = []
    machines = []
    for group in groups:
        members = {name: facts[name] for name in group}
        allowed += check_alike(members, allow, one_machine=True)
        machines.append(_repeated({name: parts[name] for name in group}, allowed, allow))
    if len(groups) == 1:
        return machines[0]
    allowed += check_alike(facts, allow, one_machine=False)
    labels = machine_names([facts[group[0]].machine for group in groups])
    if any(len(group) > 1 for group in groups):
        machines = [
            one if "run" in one.coords else _of_runs(one, [group[0]], [one.sizes["repetition"]])
            for one, group in zip(machines, groups, strict=True)
        ]
    stacked = _stacked(dict(zip(labels, machines, strict=True)), "machine", allowed)
    stacked["machine"].attrs.update(units="1", long_name="machine that it was measured on")
    return stacked


def separate(dataset: "xr.Dataset") -> "dict[str, xr.Dataset]":
    """Take a dataset along ``machine`` or ``run`` apart again.

    Returns:
        By label, the datasets that were merged: with their own labels and attributes. A dataset
        without such a dimension stands alone, by its title.

    Raises:
        RunError: Labels that it was merged with are gone.
    """
    dim = dataset.attrs.get("merged_along")
    if dim not in ("machine", "run"):
        return {str(dataset.attrs.get("title", "run")): dataset}
    try:
        return {
            part["label"]: _part(dataset.sel({dim: part["label"]}, drop=True), part)
            for part in json.loads(dataset.attrs["parts"])
        }
    except (LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"the dataset cannot be taken apart along {dim}: labels that it was merged with are "
            f"gone ({error}); select from the datasets of its runs, or give the merged file as "
            "'gb merge' wrote it"
        ) from error


def _part(dataset: "xr.Dataset", part: Mapping[str, Any]) -> "xr.Dataset":
    labels = part["labels"]
    dataset = dataset.drop_dims([dim for dim in dataset.dims if dim not in labels])
    dataset = dataset.drop_vars(set(dataset.coords) - set(part["coordinates"]))
    every = {dim: dataset[dim].values.tolist() for dim in labels}
    dataset = dataset.isel({d: [every[d].index(one) for one in own] for d, own in labels.items()})
    for dim, not_set in part.get("not_set", {}).items():  # of trainings
        dataset[dim].attrs.pop("not_set", None)
        dataset[dim].attrs.update({"not_set": not_set} if not_set is not None else {})
    noted = {NOTE: dataset.attrs[NOTE]} if NOTE in dataset.attrs else {}
    dataset.attrs = part["attributes"] | noted
    return dataset


def run_names(runs: Sequence[Path | str]) -> list[str]:
    """Name runs by their directories, each apart from the others.

    Raises:
        UsageError: No run was given.
    """
    if not runs:
        raise UsageError("no run was given; name one or more directories that 'gb bench' wrote")
    return distinct([Path(run).resolve().name for run in runs])


def check_inputs(parts: "Mapping[str, xr.Dataset]") -> None:
    """Refuse datasets that are merged already, and a run that is given twice."""
    seen: dict[str, str] = {}
    for name, part in parts.items():
        if "merged_along" in part.attrs:
            raise RunError(f"{name} is merged already; give the runs that it was made of")
        other = seen.setdefault(str(part.attrs["run_digest"]), name)
        if other != name:
            raise RunError(f"{other} and {name} are the same run; give each run once")


def _groups(facts: Mapping[str, Facts], along: Along | None) -> list[list[str]]:
    """Put the names of runs together that become repetitions of one design."""
    if along == "machine":
        return [[name] for name in facts]
    if along == "repetition":
        return [list(facts)]
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, one in facts.items():
        groups.setdefault(tuple(sorted(one.machine.items())), []).append(name)
    return list(groups.values())


def _repeated(
    parts: "Mapping[str, xr.Dataset]", allowed: list[str], allow: Collection[str]
) -> "xr.Dataset":
    """Put runs behind one another along ``repetition``; one run stays as it is.

    Args:
        parts: By name.
        allowed: What differs and may; phrases are added.
        allow: Names of what may differ.
    """
    import numpy as np
    import xarray as xr

    if len(parts) == 1:
        return next(iter(parts.values()))
    _refuse_copies(parts)
    wide, settings = widened(parts, but="repetition")
    counts = [part.sizes["repetition"] for part in wide]
    starts = np.cumsum([0, *counts])
    wide = [
        part.assign_coords(repetition=("repetition", start + np.arange(count), attrs))
        for part, start, count, attrs in zip(
            wide, starts, counts, (part["repetition"].attrs for part in wide), strict=False
        )
    ]
    kept, differing = common_coordinates(wide)
    if "counts" in differing:  # of cells on different devices; each repetition says for itself
        differing.remove("counts")
        kept["counts"] = _extreme([part["counts"] for part in wide], "max")
    named = {name.partition(".")[0] for name in allow}
    if "artifact" in named:  # the weights are a part of it
        named |= {"weights", "weights_detail"}
    if refused := [name for name in differing if name not in named]:
        raise RunError(
            f"{' and '.join(parts)} disagree about the coordinate {refused[0]}; name what may "
            f"differ (--allow-difference {','.join(refused)}), or keep the runs apart (--apart)"
        )
    for name in differing:
        allowed.append(f"{name} differs, and is that of {next(iter(parts))}")
        kept[name] = wide[0][name]
    joined = {
        name: _joined([part.variables[name] for part in wide], "repetition")
        if "repetition" in wide[0].variables[name].dims
        else _agreed(name, [part[name] for part in wide], [*parts])
        for name in map(str, wide[0].data_vars)
    }
    dims = {name: wide[0][name] for name in wide[0].dims}
    rows = _joined([part.variables["repetition"] for part in wide], "repetition")
    merged = xr.Dataset(joined, {**dims, "repetition": rows, **kept})
    merged = _of_runs(merged, [*parts], counts)
    merged.attrs = merged_attributes(parts, "repetition", settings, allowed)
    study = json.loads(str(merged.attrs["study"])) | {"repetitions": int(starts[-1])}
    merged.attrs["study"] = json.dumps(study)
    return merged


def _of_runs(dataset: "xr.Dataset", runs: Sequence[str], counts: Sequence[int]) -> "xr.Dataset":
    """Say of every repetition which run it is of, and its number there."""
    import numpy as np

    own = np.concatenate([np.arange(count) for count in counts])
    attributes = {"units": "1", "long_name": "run that the repetition is of"}
    number = {"units": "1", "long_name": "number of the block in its own run, from 0"}
    return dataset.assign_coords(
        run=("repetition", np.repeat([*runs], counts), attributes),
        run_repetition=("repetition", own, number),
    )


def _agreed(name: str, arrays: "Sequence[xr.DataArray]", runs: Sequence[str]) -> "xr.DataArray":
    """Return what holds for all runs: of memory, the smallest batch; else the one value."""
    name = name.removeprefix(SERVER)
    if name == "in_design":
        return _extreme(arrays, "max")
    if name in ("max_batch_size", "min_failing_batch_size"):  # what fitted in every run
        return _extreme(arrays, "min")
    missing = VARIABLES[name].missing
    if name.startswith("stopped"):  # as within a run, the latest says
        arrays = arrays[::-1]
    found = arrays[0]
    for other, run in zip(arrays[1:], runs[1:], strict=True):
        if alike(found.variable, other.variable):
            continue
        differ = known(found, missing) & known(other, missing) & (found != other)
        if bool(differ.any()) and not name.startswith("stopped"):
            raise RunError(
                f"{runs[0]} and {run} hold another {name} of one artifact; evaluate it once, or "
                "keep the runs apart (--apart)"
            )
        found = first_known(found, other, missing)
    return found


def _extreme(arrays: "Sequence[xr.DataArray]", which: Literal["min", "max"]) -> "xr.DataArray":
    import xarray as xr

    side_by_side = xr.concat(
        arrays, "part", join="exact", coords="minimal", compat="override", combine_attrs="override"
    )
    return getattr(side_by_side, which)("part", keep_attrs=True)  # type: ignore[no-any-return]


def _refuse_copies(parts: "Mapping[str, xr.Dataset]") -> None:
    """Refuse runs that share repetitions: counted twice, these would narrow every interval.

    A run that was copied while it was measured, and both of which were resumed, share some.
    """
    import numpy as np

    seen: dict[str, set[tuple[float, ...]]] = {}
    for name, part in parts.items():
        ok = values_of(part, "status") == STATUSES.index("ok")
        columns = [values_of(part, v)[ok] for v in ("duration", "throughput", "order_position")]
        seen[name] = set(map(tuple, np.stack(columns, axis=-1).tolist()))
    for (a, of_a), (b, of_b) in combinations(seen.items(), 2):
        if not (shared := len(of_a & of_b)):
            continue
        if shared in (len(of_a), len(of_b)):
            less, more = (a, b) if shared == len(of_a) else (b, a)
            raise RunError(
                f"every repetition of {less} is in {more}, to the last digit: one is a copy of the "
                "other; give only the longer one"
            )
        raise RunError(
            f"{units.are(shared, 'repetition')} in both {a} and {b}, to the last digit: one was "
            "copied from the other while it was measured; give only one of them"
        )


def _joined(variables: "Sequence[xr.Variable]", dim: str) -> "xr.Variable":
    """Put variables behind one another along a dimension, of which they may have none.

    It is what `xarray.concat` does, without the alignment of datasets that are aligned already,
    which would take most of the time of a merge.
    """
    import numpy as np
    import xarray as xr

    first = variables[0]
    if dim in first.dims:
        values = [one.transpose(*first.dims).values for one in variables]
        joined = np.concatenate(values, axis=first.dims.index(dim))
        return xr.Variable(first.dims, joined, first.attrs)
    stacked = np.stack([one.transpose(*first.dims).values for one in variables])
    return xr.Variable((dim, *first.dims), stacked, first.attrs)


def _stacked(
    parts: "Mapping[str, xr.Dataset]", dim: Literal["machine", "run"], allowed: list[str]
) -> "xr.Dataset":
    """Put datasets side by side along a new first dimension."""
    import numpy as np
    import xarray as xr

    wide, settings = widened(parts)
    kept, differing = common_coordinates(wide)
    names = [*wide[0].data_vars, *differing]
    joined = {name: _joined([part.variables[name] for part in wide], dim) for name in names}
    labels = xr.Variable(dim, np.array([*parts]), {"units": "1", "long_name": "run that it is of"})
    dims = {name: wide[0][name] for name in wide[0].dims}
    merged = xr.Dataset(joined, {**dims, **kept, dim: labels}).set_coords(differing)
    merged.attrs = merged_attributes(parts, dim, settings, allowed, side_by_side=True)
    return merged


def merged_attributes(
    parts: "Mapping[str, xr.Dataset]",
    along: Along,
    settings: Mapping[str, str],
    allowed: Sequence[str],
    *,
    side_by_side: bool = False,
) -> dict[str, object]:
    """Gather the attributes of the whole; those of the parts go along as JSON.

    Args:
        parts: By label, as they were.
        along: The dimension that they are merged along.
        settings: Names of the settings of all, by dimension.
        allowed: What differs all the same, a phrase each.
        side_by_side: Whether each part keeps its labels and attributes.
    """
    first = next(iter(parts.values())).attrs
    every = [part.attrs for part in parts.values()]
    digest = hashlib.sha256("".join(str(one["run_digest"]) for one in every).encode())
    accuracies = [json.loads(one.get("accuracy", "[]")) for one in every]
    described_parts = []
    for name, part in parts.items():
        described: dict[str, object] = {"label": name, "attributes": _plain(part.attrs)}
        if side_by_side:
            own = {str(dim): part[dim].values.tolist() for dim in part.dims}
            described["labels"] = own
            described["coordinates"] = [str(name) for name in part.coords]
            dims = [dim for dim in settings if dim in part.dims]  # of trainings
            described |= (
                {"not_set": {d: part[d].attrs.get("not_set") for d in dims}} if dims else {}
            )
        described_parts.append(described)
    notes = "; ".join(dict.fromkeys(str(one[NOTE]) for one in every if NOTE in one))
    return {
        **{name: first[name] for name in ("Conventions", "source", "schema")},
        **({NOTE: notes} if notes else {}),
        "title": " + ".join(str(one["title"]) for one in every),
        "settings": json.dumps(dict(settings)),
        "energy_provenance": combine(Provenance(one["energy_provenance"]) for one in every).value,
        # Side by side, each part has its own.
        "study": "{}" if side_by_side else first["study"],
        "environment": "{}" if side_by_side else first["environment"],
        "journal_torn": "; ".join(str(one["journal_torn"]) for one in every if one["journal_torn"]),
        "run_digest": digest.hexdigest(),
        "accuracy": json.dumps([record for some in accuracies for record in some]),
        "merged_along": along,
        "parts": json.dumps(described_parts),
        "allowed_differences": "; ".join(allowed),
    }


def _plain(attrs: Mapping[Hashable, object]) -> dict[str, object]:
    """Make numpy scalars, which a file gives back, numbers of Python."""
    return {str(k): v.item() if hasattr(v, "item") else v for k, v in attrs.items()}
