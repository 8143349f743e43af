"""Training runs of several machines as one dataset, side by side along ``machine``."""

import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.alignment import common_coordinates
from greenbatch.analysis.dataset.compatibility import (
    Facts,
    check_alike,
    check_known,
    distinct,
    facts_of,
    machine_names,
)
from greenbatch.analysis.dataset.described import environment_of, training_study_of
from greenbatch.analysis.dataset.merging import check_inputs, merged_attributes, run_names
from greenbatch.analysis.dataset.training_variables import KIND, VARIABLES, cell_dims
from greenbatch.analysis.dataset.variables import settings_of
from greenbatch.analysis.training.dataset.store import open_training
from greenbatch.design.environment import Gpu
from greenbatch.design.training_options import Transfer
from greenbatch.errors import RunError, UsageError

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.arrays import Numbers

_DESIGN = ("epochs", "patience", "image_size", "train_images", "validation_images", "search")
"""What is the same in runs that are set side by side; networks, data and batch sizes may differ,
and leave holes."""
_LATER_DESIGN: Mapping[str, object] = {
    "augmentation": [],
    "normalised": True,
    "transfer": Transfer().model_dump(mode="json"),
    "monitor": "loss",
    "min_change": 0.0,
    "plateau": None,
}
"""The same of what older studies do not have, with what held for them."""


def merge_training(
    runs: Sequence[Path | str], along: str | None = None, allow: Collection[str] = ()
) -> "xr.Dataset":
    """Make one dataset of the training runs of several machines.

    Runs stand along a new first dimension ``machine``, by the hosts' names; what one of them has
    not trained is a hole.

    Args:
        runs: Directories of training runs, or their dataset files.
        along: ``machine`` or ``None``; ``None`` refuses two runs of one machine.
        allow: Names of facts that may differ; see `greenbatch.analysis.dataset.compatibility`.

    Raises:
        UsageError: Training runs are not merged along the requested dimension.
        RunError: A run cannot be read, is given twice or merged already; or the runs are
            incompatible.
    """
    parts = dict(zip(run_names(runs), map(open_training, runs), strict=True))
    return merge_training_datasets(parts, along, allow)


def merge_training_datasets(
    parts: "Mapping[str, xr.Dataset]", along: str | None = None, allow: Collection[str] = ()
) -> "xr.Dataset":
    """Make one dataset of those of training runs, by the runs' names; see `merge_training`."""
    if along not in (None, "machine"):
        raise UsageError(
            f"training runs are merged along machine, not along {along}; leave --along and "
            "--apart out"
        )
    if len(parts) == 1:
        return next(iter(parts.values()))
    check_inputs(parts)
    facts = {name: _facts(part) for name, part in parts.items()}
    check_known(facts.values(), allow)
    if along is None:
        _refuse_one_machine(facts)
    allowed = check_alike(facts, allow, one_machine=False)
    labels = _labels(parts.values(), [one.machine for one in facts.values()])
    return _stacked(dict(zip(labels, parts.values(), strict=True)), allowed)


def _labels(datasets: "Iterable[xr.Dataset]", machines: Sequence[Mapping[str, str]]) -> list[str]:
    """Name machines as users do, else by the GPU that was trained on, else as `machine_names`.

    The host is added where two machines have the same GPU.
    """
    gpus = [
        "" if one.get("name") else _gpus(dataset)
        for dataset, one in zip(datasets, machines, strict=True)
    ]
    hosts = machine_names(machines)
    named = [gpu or host for gpu, host in zip(gpus, hosts, strict=True)]
    return distinct(
        [
            f"{gpu}, {host}" if gpu and named.count(gpu) > 1 else name
            for gpu, host, name in zip(gpus, hosts, named, strict=True)
        ]
    )


def _gpus(dataset: "xr.Dataset") -> str:
    """Name the GPUs of the machine; empty where nothing was trained on one."""
    if not any(str(name).endswith("cuda") for name in dataset["backend"].values):
        return ""
    gpus = [gpu for gpu in environment_of(dataset).gpus if isinstance(gpu, Gpu)]
    return ", ".join(dict.fromkeys(str(gpu.name) for gpu in gpus if gpu.name))


def _facts(dataset: "xr.Dataset") -> Facts:
    """Gather what a run says of itself; its design must be that of the others, everywhere."""
    found, study = facts_of(dataset), training_study_of(dataset)
    design = {f"design.{name}": str(study.members.get(name)) for name in _DESIGN}
    for name, before in _LATER_DESIGN.items():
        design[f"design.{name}"] = str(study.members.get(name, before))
    design["design.settings"] = ", ".join(sorted(settings_of(dataset).values())) or "none"
    return replace(found, everywhere={**found.everywhere, **design})


def _refuse_one_machine(facts: Mapping[str, Facts]) -> None:
    seen: dict[str, str] = {}
    for name, one in facts.items():
        machine = json.dumps(dict(one.machine), sort_keys=True)
        other = seen.setdefault(machine, name)
        if other != name:
            host = one.machine.get("name") or one.machine.get("hostname", "one machine")
            raise RunError(
                f"{other} and {name} were both trained on {host}; give one run of each machine, "
                "or set them side by side all the same (--along machine)"
            )


def _stacked(parts: "Mapping[str, xr.Dataset]", allowed: Sequence[str]) -> "xr.Dataset":
    import numpy as np
    import xarray as xr

    wide = _widened(parts)
    kept, differing = common_coordinates(wide)
    wide = [part.drop_vars([*kept]) for part in wide]
    labels = xr.Variable(
        "machine", np.array([*parts]), {"units": "1", "long_name": "machine that it was trained on"}
    )
    merged = xr.concat(
        wide,
        "machine",
        data_vars="all",
        coords=differing,
        compat="override",
        join="exact",
        combine_attrs="override",
    )
    merged = merged.assign_coords({**kept, "machine": labels})
    first = next(iter(parts.values()))
    merged.attrs = merged_attributes(
        parts, "machine", settings_of(first), allowed, side_by_side=True
    )
    merged.attrs |= {"kind": KIND, "search": first.attrs["search"]}
    return merged


def _widened(parts: "Mapping[str, xr.Dataset]") -> "list[xr.Dataset]":
    """Give all datasets the same labels, holes where one has none.

    Raises:
        RunError: They have not the same dimensions.
    """
    import numpy as np

    names, datasets = [*parts], [*parts.values()]
    dims = cell_dims(datasets[0])
    for name, part in zip(names[1:], datasets[1:], strict=True):
        if (other := cell_dims(part)) != dims:
            raise RunError(
                f"{names[0]} has the dimensions {', '.join(dims)} and {name} "
                f"{', '.join(other)}; merge runs of one design"
            )
    labels: dict[Hashable, Numbers] = {}
    for dim in datasets[0].dims:
        every = dict.fromkeys(label for part in datasets for label in part[dim].values.tolist())
        found = [*every] if all(isinstance(label, str) for label in every) else sorted(every)
        labels[dim] = np.array(found, np.result_type(*(part[dim].dtype for part in datasets)))
    wide = []
    for part in datasets:
        fills: dict[Hashable, object] = {}
        for key, array in part.variables.items():
            if array.dtype.kind in "OUT":
                fills[key] = ""
            else:
                missing = VARIABLES[str(key)].missing if key in VARIABLES else -1
                fills[key] = array.dtype.type(missing)
        one = part.reindex(labels, fill_value=fills)
        for dim in datasets[0].dims:
            one[dim].attrs.update(datasets[0][dim].attrs)
        wide.append(one.drop_encoding())  # a file's width of texts would cut longer ones
    return wide
