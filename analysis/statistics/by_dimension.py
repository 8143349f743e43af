"""Figures of a dataset with their intervals over repetitions, along whatever dimensions it has.

Everything here goes by the names of dimensions, so that a dataset may be narrowed (``sel``) or have
more of them. What an energy rests on goes along; an estimate is never set against a measurement.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import bases_of, unlike
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.variables import PROVENANCES, STATUSES, settings_of
from greenbatch.analysis.statistics.interval_methods import (
    LOGARITHMIC,
    MEANS,
    PAIRED,
    PLAIN,
    REAL_LEVELS,
)
from greenbatch.analysis.statistics.intervals import LEAST, bounded
from greenbatch.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

_MISSING = PROVENANCES.index("missing")
_MIXED = PROVENANCES.index("mixed")
_ENERGIES = ("energy_per_image", "energy_per_image_net")
METRICS = (*_ENERGIES, "latency", "response_time", "throughput")


@dataclass(frozen=True)
class Figure:
    """A figure by cell and repetition.

    Attributes:
        values: NaN where a repetition is not ok or the figure is missing; with ``units`` and
            ``long_name``.
        source: What an energy rests on, by cell; ``None`` for anything else.
        reasons: Gives `why`; not called before it is needed, as texts take their time.
        flags: Masks of the repetitions; ``None`` where they are not known.
    """

    name: str
    values: "xr.DataArray"
    source: "xr.DataArray | None"
    reasons: "Callable[[], xr.DataArray]"
    flags: "xr.DataArray | None" = None

    @cached_property
    def why(self) -> "xr.DataArray":
        """By cell, what to say where no repetition has it."""
        return self.reasons()

    @property
    def cells(self) -> "xr.DataArray":
        """The first repetition, for the dimensions and coordinates of the cells."""
        return self.values.isel(repetition=0, drop=True)


def figure_of(dataset: "xr.Dataset", metric: str, quantile: float = 0.5) -> Figure:
    """Take a metric out of a dataset.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        metric: One of ``METRICS``.
        quantile: Of ``latency`` and ``response_time``; one that the dataset has.

    Raises:
        UnknownNameError: There is no such metric or quantile.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    values = dataset[metric]
    attrs = dict(values.attrs)
    if "quantile" in values.dims:
        known = values["quantile"].values.tolist()
        if quantile not in known:
            raise UnknownNameError("quantile", f"{quantile:g}", [f"{q:g}" for q in known])
        values = values.sel(quantile=quantile, drop=True)
        attrs["long_name"] += f", quantile {quantile:g}"
    values = values.where(dataset["status"] == STATUSES.index("ok")).assign_attrs(attrs)
    energy = metric in _ENERGIES
    source = source_of(dataset) if energy else None
    reasons = partial(_why_missing, dataset, source)
    return Figure(metric, values, source, reasons, dataset.get("flags"))


def source_of(dataset: "xr.Dataset") -> "xr.DataArray":
    """Say what each cell's energy per image rests on: positions in ``PROVENANCES``.

    Repetitions that differ make it ``mixed``.
    """
    import numpy as np

    codes = dataset["energy_per_image_source"]
    codes = codes.where(dataset["status"] == STATUSES.index("ok"), _MISSING)
    lowest = codes.where(codes != _MISSING, len(PROVENANCES)).min("repetition")
    highest = codes.max("repetition")
    found = highest.where((highest == _MISSING) | (lowest == highest), _MIXED)
    attrs = dataset["energy_per_image_source"].attrs
    return found.astype(np.int8).assign_attrs(attrs)


def intervals_of(figure: Figure, method: str = LOGARITHMIC) -> "xr.Dataset":
    """Summarise a figure over repetitions, each cell by itself.

    Args:
        figure: By cell and repetition.
        method: Of `greenbatch.analysis.statistics.interval_methods.MEANS`. On logarithms the
            centre is the geometric mean; a cell with a value that is not positive gets Student's t
            and its arithmetic mean.

    Returns:
        ``NAME``, ``NAME_low``, ``NAME_high``, ``repetitions``, ``flagged`` (how many of these carry
        a flag) and ``flags`` (which flags these are), ``reason`` (why the figure or its interval
        is missing), and of an energy ``energy_source``. Bounds are 95 % from three
        repetitions on, the range of two, and none of one.

    Raises:
        UnknownNameError: There is no such method.
    """
    if method not in MEANS:
        raise UnknownNameError("method", method, MEANS)
    return _summarised(figure, method, method)


def ratios_of(
    dataset: "xr.Dataset",
    reference: Mapping[str, Hashable],
    metric: str = "energy_per_image",
    quantile: float = 0.5,
) -> "xr.Dataset":
    """Divide every cell by the one that has the reference's labels, paired by block.

    What a block shares (a warmer room, other load) cancels. The interval is Student's on the
    logarithms of the ratios; see ``docs/statistics.md``.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        reference: Labels by dimension, as ``{"backend": "torch-cpu"}``. Where that backend was
            set in several ways and they are not named, the first in the design is meant.
        metric, quantile: As for `values_of`.

    Returns:
        As `intervals_of`, named ``METRIC_ratio``. A pair of energies that are not alike is
        withheld, and its ``reason`` says so: see
        `greenbatch.analysis.dataset.energy_basis.unlike`.

    Raises:
        UsageError: No label is given, or blocks of two machines would be paired.
        UnknownNameError: There is no such dimension or label.
    """
    if not reference:
        raise UsageError("a ratio needs a reference; give one, such as backend='torch-cpu'")
    for dim in ("machine", "run"):
        if dim in reference:
            raise UsageError(
                f"blocks of two {dim}s are not the same stretch of time; compare them as two runs"
            )
    chosen = _with_settings(dataset, reference)
    base = select(dataset, chosen)
    over, under = (figure_of(part, metric, quantile) for part in (dataset, base))
    unlike_text: xr.DataArray | None = None
    divisor = _without(under.values, chosen)
    pairs = (over.values / divisor).where((over.values > 0) & (divisor > 0))
    if over.source is not None and under.source is not None:
        unlike_text = _unlike(dataset, base, chosen)
        pairs = pairs.where(unlike_text == "")

    def why() -> "xr.DataArray":
        alone = over.values.notnull().any("repetition")
        both = (over.values.notnull() & divisor.notnull()).any("repetition")
        text = over.why.where(~alone, "no block has both")
        text = text.where(~both, "a figure that is not positive has no ratio")
        return text if unlike_text is None else text.where(unlike_text == "", unlike_text)

    labels_text = ", ".join(f"{dim} {label}" for dim, label in chosen.items())
    attrs = {
        "units": "1",
        "long_name": f"{over.values.attrs['long_name']}, over that of {labels_text}",
    }
    flags = over.flags
    if flags is not None and under.flags is not None:
        flags = (flags | _without(under.flags, chosen)).assign_attrs(flags.attrs)
    ratio = Figure(f"{metric}_ratio", pairs.assign_attrs(attrs), over.source, why, flags)
    # Student's t of logarithms of ratios is the paired t on logarithms.
    result = _summarised(ratio, LOGARITHMIC, PAIRED)
    result.attrs["reference"] = labels_text
    return result


def _unlike(
    dataset: "xr.Dataset", base: "xr.Dataset", chosen: Mapping[str, Hashable]
) -> "xr.DataArray":
    """Say of each cell why its energy is not divided by the reference's; empty where it may be."""
    import numpy as np
    import xarray as xr

    ours, theirs = bases_of(dataset), bases_of(base)
    codes, others = xr.broadcast(ours.codes, _without(theirs.codes, chosen))
    pairs, places = np.unique(
        np.stack([codes.values.ravel(), others.values.ravel()]), axis=1, return_inverse=True
    )
    sides = ((ours.table[a], theirs.table[b]) for a, b in pairs.T.tolist())
    texts = [unlike(one, other) if one.parts and other.parts else "" for one, other in sides]
    values = np.array(texts, dtype=object)[places].reshape(codes.shape)
    return codes.copy(data=values)


def select(dataset: "xr.Dataset", labels: Mapping[str, Hashable]) -> "xr.Dataset":
    """Narrow a dataset to labels, each with a message of its own where it does not exist.

    Raises:
        UnknownNameError: There is no such dimension or label.
    """
    for dim, label in labels.items():
        if dim not in dataset.coords or dim == "repetition":
            known = [str(name) for name in dataset["energy_per_image"].coords]
            raise UnknownNameError("dimension", dim, known)
        known_labels = dataset[dim].values.reshape(-1).tolist()
        if label not in known_labels:
            raise UnknownNameError(dim, str(label), map(str, known_labels))
    return dataset.sel({dim: label for dim, label in labels.items() if dim in dataset.dims})


def designed(dataset: "xr.Dataset") -> "xr.Dataset":
    """Drop the settings' labels that no cell of this part of the grid has."""
    for dim in settings_of(dataset):
        if dim in dataset.dims and "in_design" in dataset:
            held = dataset["in_design"]
            kept = held.max([d for d in held.dims if d != dim]).values.astype(bool)
            dataset = dataset.isel({dim: kept})
    return dataset


def _with_settings(dataset: "xr.Dataset", reference: Mapping[str, Hashable]) -> dict[str, Hashable]:
    chosen = dict(reference)
    held = designed(select(dataset, chosen))
    if "backend" in chosen:
        for dim in settings_of(dataset):
            if dim not in chosen and dim in held.dims and held.sizes[dim]:
                chosen[dim] = held[dim].values[0].item()
    return chosen


def _summarised(figure: Figure, method: str, method_name: str) -> "xr.Dataset":
    import xarray as xr

    low, centre, high, counts = xr.apply_ufunc(
        lambda values: bounded(values, method),
        figure.values,
        input_core_dims=[["repetition"]],
        output_core_dims=[[], [], [], []],
    )
    # Bootstrap-t of three, or BCa without spread, has no bounds.
    has_bounds = low.notnull() & high.notnull()
    reason = figure.why.where(counts == 0, "the method has no bounds for these values")
    reason = reason.where(counts != 1, "one repetition has no interval").where(~has_bounds, "")
    name, attrs = figure.name, figure.values.attrs
    long_name = attrs["long_name"]
    variables = {
        name: centre.assign_attrs(attrs),
        f"{name}_low": low.where(has_bounds).assign_attrs(
            attrs | {"long_name": f"{long_name}, lower bound"}
        ),
        f"{name}_high": high.where(has_bounds).assign_attrs(
            attrs | {"long_name": f"{long_name}, upper bound"}
        ),
        "repetitions": counts.assign_attrs(units="1", long_name="repetitions behind the figure"),
        "reason": reason.astype(str).assign_attrs(
            units="1", long_name="why the figure or its interval is missing"
        ),
    }
    if figure.flags is not None:
        variables |= _flagged(figure.flags, figure.values.notnull())
    plain = ""
    if "logarithms" in method and bool((has_bounds & (figure.values <= 0).any("repetition")).any()):
        plain = f" ({PLAIN} where a value is not positive)"
    described = f"95 %, {method_name}{plain}, over repetitions; of two their range"
    fewest = int(counts.where(counts >= LEAST).min().fillna(0))
    if level := REAL_LEVELS.get(method, {}).get(fewest):
        described += f"; of {fewest} repetitions such intervals contain the mean in about {level} %"
    attrs = {"Conventions": "CF-1.11", "interval": described}
    if figure.source is not None:
        variables["energy_source"] = figure.source
        attrs["energy_provenance"] = provenance_of(figure.source.values).value
    return xr.Dataset(variables, attrs=attrs)


def _flagged(flags: "xr.DataArray", used: "xr.DataArray") -> "dict[str, xr.DataArray]":
    """Count the repetitions behind a figure that carry a flag, and gather their flags.

    Args:
        flags: Masks of the repetitions.
        used: Which of them have the figure.
    """
    import numpy as np

    masks = flags.where(used, 0).astype(np.int16)
    union = masks.reduce(np.bitwise_or.reduce, "repetition")
    count = (masks != 0).sum("repetition")
    long_name = "repetitions behind the figure that carry a flag"
    return {
        "flagged": count.assign_attrs(units="1", long_name=long_name),
        "flags": union.assign_attrs(
            flags.attrs | {"long_name": "flags of the repetitions behind the figure"}
        ),
    }


def _without(array: "xr.DataArray", dims: Mapping[str, Hashable]) -> "xr.DataArray":
    """Drop the scalar coordinates of what was selected, and what belongs to them."""
    gone = [str(n) for n, c in array.coords.items() if not c.dims or n in dims]
    return array.drop_vars(gone)


def _why_missing(dataset: "xr.Dataset", source: "xr.DataArray | None") -> "xr.DataArray":
    """Return for each cell why a figure is missing."""
    text = _first_told(dataset["reason"], "repetition")
    if source is not None:
        text = text.where(text != "", _first_told(dataset["energy_reason"], "repetition", "domain"))
        idle = "idle power is missing, or estimated where the energy is measured"
        text = text.where(source == _MISSING, idle)
    if "in_design" in dataset:
        text = text.where(dataset["in_design"] == 1, "not in the design")
    return text.where(text != "", "not measured")


def _first_told(texts: "xr.DataArray", *dims: str) -> "xr.DataArray":
    """Return the first text that is not empty, over dimensions."""
    import numpy as np
    import xarray as xr

    core = [dim for dim in dims if dim in texts.dims]

    def first(array: "NDArray[np.object_]") -> "NDArray[np.object_]":
        flat = array.reshape(
            *array.shape[: array.ndim - len(core)], prod(array.shape[-len(core) :])
        )
        if not flat.shape[-1]:  # a run without any domain
            return np.full(flat.shape[:-1], "", dtype=object)
        place = np.expand_dims((flat != "").argmax(-1), -1)
        return np.take_along_axis(flat, place, -1)[..., 0]

    found: xr.DataArray = xr.apply_ufunc(first, texts.astype(object), input_core_dims=[core])
    return found
