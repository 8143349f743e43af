"""Machines side by side: which one for a target, and whether networks order them alike."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.statistics.intervals import Interval, interval, ratio_of_runs
from greenbatch.analysis.statistics.random_intercepts import fit_random_intercept
from greenbatch.confidence import student_quantile
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

_RANDOM = "t on logarithms, the machine as random effect"
_OFFLINE = ("model", "variant", "batch_size")


@dataclass(frozen=True, slots=True)
class MachineChoice:
    """The cell of a network that costs the least energy per image on a machine.

    Attributes:
        machine, model, variant: Labels of the dataset.
        batch_size: In images.
        energy_j: Energy per image with its 95 % interval, in J.
        latency_s: Mean over repetitions of the quantile that is limited, in s.
        over_best: Ratio to the best machine for the network, with its 95 % interval; ``None``: it
            is the best one.
    """

    machine: str
    model: str
    variant: str
    batch_size: int
    energy_j: Interval
    latency_s: float
    over_best: Interval | None = None


def best_by_machine(
    dataset: "xr.Dataset", *, limit_s: float | None = None, quantile: float = 0.99
) -> list[MachineChoice]:
    """Choose on each machine the cell with the least energy per image, for each network.

    Args:
        dataset: Along ``machine``, as ``gb fleet`` and ``gb merge`` write it.
        limit_s: The largest latency of a batch, in s; ``None``: any.
        quantile: Of the latency that is limited.

    Returns:
        By network, the machines from the best on. A machine without a cell within the limit, or
        without energies, is left out. The choice among cells is by the means; the interval of the
        chosen one is not adjusted for that.

    Raises:
        UsageError: The dataset has no machines.
    """
    if "machine" not in dataset.dims:
        raise UsageError(
            "the dataset has no dimension machine; merge runs of several machines with: "
            "gb merge RUN... --along machine"
        )
    found: list[MachineChoice] = []
    for model in dataset["model"].values.tolist():
        values: dict[str, list[float]] = {}
        choices = []
        for machine in dataset["machine"].values.tolist():
            one = dataset.sel(machine=machine, model=model)
            if chosen := _best(one, str(machine), str(model), limit_s, quantile):
                choices.append(chosen[0])
                values[str(machine)] = chosen[1]
        choices.sort(key=lambda choice: choice.energy_j.centre)
        for choice in choices:
            ratio = ratio_of_runs(values[choice.machine], values[choices[0].machine])
            over = None if choice is choices[0] else ratio
            found.append(
                MachineChoice(
                    choice.machine,
                    choice.model,
                    choice.variant,
                    choice.batch_size,
                    choice.energy_j,
                    choice.latency_s,
                    over,
                )
            )
    return found


def _best(
    one: "xr.Dataset", machine: str, model: str, limit_s: float | None, quantile: float
) -> tuple[MachineChoice, list[float]] | None:
    best: tuple[MachineChoice, list[float]] | None = None
    ok = one["status"] == STATUSES.index("ok")
    energies = one["energy_per_image"].where(ok).transpose("variant", "batch_size", ...)
    latencies = one["latency"].where(ok).sel(quantile=quantile)
    for variant in one["variant"].values.tolist():
        for batch in one["batch_size"].values.tolist():
            cell = {"variant": variant, "batch_size": batch}
            values = [v for v in energies.sel(cell).values.tolist() if not math.isnan(v)]
            latency = interval(latencies.sel(cell).values.tolist())
            latency_s = latency.centre if latency else math.nan
            energy = interval(values)
            if energy is None or (limit_s is not None and not latency_s <= limit_s):
                continue
            if best is None or energy.centre < best[0].energy_j.centre:
                choice = MachineChoice(machine, model, str(variant), int(batch), energy, latency_s)
                best = choice, values
    return best


@dataclass(frozen=True, slots=True)
class Interaction:
    """Whether the ratio between machines depends on the network.

    Attributes:
        f, p: Of the F test of the interaction of network and machine.
        degrees_of_freedom: Of numerator and denominator.
    """

    f: float
    p: float
    degrees_of_freedom: tuple[int, int]


def interaction_of(dataset: "xr.Dataset") -> Interaction | None:
    """Test the interaction of network and machine in the logarithm of energy per image.

    The model has an effect of each cell and of each machine; the larger one has an effect of the
    machine for each network. ``None`` of fewer than two networks or machines.
    """
    import numpy as np
    from scipy.stats import f as f_distribution

    rows = _rows(dataset)
    if min(len({row[index] for row in rows}) for index in (0, 1)) < 2 if rows else True:
        return None
    y = np.log([row[3] for row in rows])
    cells = _dummies([(row[1], row[2]) for row in rows])
    machines = _dummies([row[0] for row in rows])
    within = _dummies([row[:2] for row in rows])
    small, small_rank = _rest(y, np.hstack([cells, machines]))
    large, large_rank = _rest(y, np.hstack([cells, within]))
    more, free = large_rank - small_rank, len(y) - large_rank
    if more < 1 or free < 1 or large <= 0:
        return None
    value = (small - large) / more / (large / free)
    return Interaction(float(value), float(f_distribution.sf(value, more, free)), (more, free))


@dataclass(frozen=True, slots=True)
class KindMean:
    """Energy per image of a cell over machines of one kind.

    Attributes:
        kind: Names processor, cores and GPUs.
        model, variant: Labels of the dataset.
        batch_size: In images.
        energy_j: Geometric mean per image in J, with the 95 % interval of `shared_means`.
        machines, repetitions: How many have the cell.
    """

    kind: str
    model: str
    variant: str
    batch_size: int
    energy_j: Interval
    machines: int
    repetitions: int


def means_by_kind(dataset: "xr.Dataset", kinds: Mapping[str, str]) -> list[KindMean]:
    """Summarise each cell over the machines of one kind, for kinds of two machines or more.

    Args:
        dataset: Along ``machine``, of inference.
        kinds: The kind of each machine, by its label.

    Returns:
        By kind, in the order of the dataset. A kind without energies, or whose repetitions do not
        differ, is left out.
    """
    found: list[KindMean] = []
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name, one in kinds.items() if one == kind]
        rows = _rows(dataset.sel(machine=names)) if len(names) > 1 else []
        values: dict[tuple[str, str, int], dict[str, list[float]]] = {}
        for machine, model, (variant, batch), energy_j in rows:
            by_machine = values.setdefault((model, variant, batch), {})
            by_machine.setdefault(machine, []).append(energy_j)
        try:
            means = shared_means(values)
        except UsageError:
            continue
        for cell, (mean, low, high) in means.items():
            count = sum(map(len, values[cell].values()))
            energies = Interval(low, mean, high, count, _RANDOM)
            found.append(KindMean(kind, *cell, energies, len(values[cell]), count))
    return found


_Cell = TypeVar("_Cell", bound=Hashable)


def shared_means(
    values: Mapping[_Cell, Mapping[str, Sequence[float]]],
) -> dict[_Cell, tuple[float, float, float]]:
    """Return mean and 95 % interval of each cell where machines of one kind share the repetitions.

    A machine is a random effect: the interval holds for another machine of the kind too.

    Args:
        values: By cell and machine, e.g. energies per image in J; all above 0.

    Returns:
        By cell the geometric mean and the ends of its interval, by Student's t with one degree of
        freedom less than there are machines.

    Raises:
        UsageError: Of one machine, or without a repetition that could be a rest.
    """
    import numpy as np

    rows = [(c, m, v) for c, by in values.items() for m, some in by.items() for v in some]
    count = len({machine for _, machine, _ in rows})
    if count < 2:
        raise UsageError("machines that share repetitions are at least two; there is one")
    y = np.log([value for *_, value in rows])
    design = _dummies([cell for cell, *_ in rows])
    fit = fit_random_intercept(y, design, _dummies([machine for _, machine, _ in rows]))
    quantile = student_quantile(count - 1)
    return {
        cell: (
            math.exp(centre),
            math.exp(centre - quantile * error),
            math.exp(centre + quantile * error),
        )
        for cell, centre, error in zip(
            dict.fromkeys(cell for cell, *_ in rows), fit.estimates, fit.errors, strict=True
        )
    }


def _rows(dataset: "xr.Dataset") -> list[tuple[str, str, tuple[str, int], float]]:
    """Return machine, network, cell and energy per image of each repetition that has one."""
    ok = dataset["status"] == STATUSES.index("ok")
    energies = dataset["energy_per_image"].where(ok)
    dims = ("machine", *_OFFLINE)
    stacked = energies.transpose(*dims, "repetition")
    labels = [stacked[dim].values.tolist() for dim in dims]
    rows = []
    for place in zip(*stacked.notnull().values.nonzero(), strict=True):
        machine, model, variant, batch = (
            names[i] for names, i in zip(labels, place[:4], strict=True)
        )
        rows.append((machine, model, (variant, batch), float(stacked.values[place])))
    return rows


def _dummies(levels: Sequence[object]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    import numpy as np

    codes: dict[object, int] = {}
    found = [codes.setdefault(level, len(codes)) for level in levels]
    return np.eye(len(codes))[found]


def _rest(
    y: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    design: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
) -> tuple[float, int]:
    """Return the sum of squares that a design leaves, and its rank."""
    import numpy as np

    estimates, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ estimates
    return float(rest @ rest), int(rank)
