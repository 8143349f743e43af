"""Figures of a dataset with their intervals over repetitions, along whatever dimensions it has.

Everything here goes by the names of dimensions, so that a dataset may be narrowed (``sel``) or have
more of them. What an energy rests on goes along; an estimate is never set against a measurement.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import bases_of, unlike
from greenbatch.analysis.dataset.factors import factors_along, factors_of, select
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

_NO_BASIS = 0  # the first of a table of bases
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
        reference: Labels by dimension or factor, as ``{"backend": "torch-cpu"}``: each cell is
            divided by the one that has these and else its own labels. Where that backend was set
            in several ways and they are not named, the first in the design is meant.
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
    over = figure_of(dataset, metric, quantile)
    chosen, counterpart = _counterparts(dataset, reference)
    divisor = counterpart(over.values)
    unlike_text: xr.DataArray | None = None
    pairs = (over.values / divisor).where((over.values > 0) & (divisor > 0))
    if over.source is not None:
        unlike_text = _unlike(dataset, counterpart)
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
    if flags is not None:
        flags = (flags | counterpart(flags, 0).astype(flags.dtype)).assign_attrs(flags.attrs)
    ratio = Figure(f"{metric}_ratio", pairs.assign_attrs(attrs), over.source, why, flags)
    # Student's t of logarithms of ratios is the paired t on logarithms.
    result = _summarised(ratio, LOGARITHMIC, PAIRED)
    result.attrs["reference"] = labels_text
    return result


def _unlike(dataset: "xr.Dataset", counterpart: "Callable[..., xr.DataArray]") -> "xr.DataArray":
    """Say of each cell why its energy is not divided by the reference's; empty where it may be."""
    import numpy as np
    import xarray as xr

    bases = bases_of(dataset)
    codes, others = xr.broadcast(bases.codes, counterpart(bases.codes, _NO_BASIS))
    pairs, places = np.unique(
        np.stack([codes.values.ravel(), others.values.ravel()]), axis=1, return_inverse=True
    )
    sides = ((bases.table[a], bases.table[b]) for a, b in pairs.T.tolist())
    texts = [unlike(one, other) if one.parts and other.parts else "" for one, other in sides]
    values = np.array(texts, dtype=object)[places].reshape(codes.shape)
    return codes.copy(data=values)


def _counterparts(
    dataset: "xr.Dataset", reference: Mapping[str, Hashable]
) -> "tuple[dict[str, Hashable], Callable[..., xr.DataArray]]":
    """Find for each cell the one that it is divided by.

    Returns:
        The labels of the reference, and a function that gives an array by the counterparts of the
        cells; what it gives is missing where a cell has none.
    """
    import numpy as np

    chosen = {name: _label(dataset, name, label) for name, label in reference.items()}
    moved: dict[str, NDArray[np.intp]] = {}
    for dim in ("variant", "traffic"):
        along = factors_along(dataset, dim)
        if not along.keys() & chosen.keys():
            continue
        if "backend" in chosen:
            same = select(dataset, {name: chosen[name] for name in along if name in chosen})
            for name in settings_of(dataset).keys() & along.keys() - chosen.keys():
                chosen[name] = same[name].values[0].item()
        rows = [dict(zip(along, row, strict=True)) for row in zip(*along.values(), strict=True)]
        places = {tuple(row.values()): place for place, row in enumerate(rows)}
        own = {name: label for name, label in chosen.items() if name in along}
        moved[dim] = np.array([places.get(tuple((row | own).values()), -1) for row in rows])
    apart = {dim: label for dim, label in chosen.items() if dim in dataset.dims}

    def counterpart(array: "xr.DataArray", missing: float = math.nan) -> "xr.DataArray":
        for dim, places in moved.items():
            known = array[dim].copy(data=places >= 0)
            array = array.copy(data=array.isel({dim: places}).values).where(known, missing)
        return array.sel({dim: apart[dim] for dim in apart if dim in array.dims}, drop=True)

    return chosen, counterpart


def _label(dataset: "xr.Dataset", name: str, label: Hashable) -> Hashable:
    """Return the label that is meant, as the dataset has it.

    Raises:
        UnknownNameError: There is no such factor or label.
    """
    known = (*factors_of(dataset), *(str(dim) for dim in dataset["status"].dims))
    if name not in known:
        raise UnknownNameError("dimension", name, known)
    found: Hashable = select(dataset, {name: label})[name].values.reshape(-1)[0].item()
    return found


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


def _why_missing(dataset: "xr.Dataset", source: "xr.DataArray | None") -> "xr.DataArray":
    """Return for each cell why a figure is missing."""
    import xarray as xr

    if "reason" in dataset:
        text = _first_told(dataset["reason"], "repetition")
    else:
        text = xr.full_like(dataset["status"].isel(repetition=0, drop=True), "", dtype=object)
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
