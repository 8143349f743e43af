"""What energies rest on, domain by domain, and whether two of them may be divided.

The one rule of comparisons of energy: reports, ``ds.gb``, ``gb compare`` and merges ask here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.counted import counted_domains
from greenbatch.analysis.dataset.groups import values_of
from greenbatch.analysis.dataset.variables import PROVENANCES, SOURCES, STATUSES
from greenbatch.errors import UsageError
from greenbatch.records import Provenance
from greenbatch.records.estimate import EstimateFacts, facts_of_estimate, model_of_estimate
from greenbatch.records.provenance import combine

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.variables import AnyArray

_MISSING = PROVENANCES.index("missing")
_OK = STATUSES.index("ok")
_TOTAL = ""  # the domain of a sum whose parts are not known


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One domain in an energy.

    Attributes:
        source: ``measured`` or ``estimated``; ``mixed`` of a sum whose parts are not known.
        model: What an estimate assumes (its power at rest and at full load, the hardware threads,
            where these are from), in words; empty where it was not recorded. Two parts are
            compared by its ``facts``, so it may be put in other words.
        facts: The same in numbers, see `greenbatch.records.estimate.facts_of_estimate`.
    """

    domain: str
    source: Provenance
    model: str = field(default="", compare=False)
    facts: tuple[EstimateFacts | str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", facts_of_estimate(self.model))


@dataclass(frozen=True, slots=True)
class Basis:
    """What the energy of a cell rests on.

    Attributes:
        parts: The domains that count, by name; empty: there is no energy.
        others: What other repetitions of the cell rest on.
    """

    parts: tuple[Part, ...] = ()
    others: "tuple[Basis, ...]" = ()

    @classmethod
    def of(cls, source: Provenance) -> "Basis":
        """Make that of a sum of which nothing else is known."""
        return cls(() if source is Provenance.MISSING else (Part(_TOTAL, source),))

    @classmethod
    def of_repetitions(cls, bases: "Iterable[Basis]") -> "Basis":
        """Join those of a cell's repetitions."""
        first, *others = dict.fromkeys(bases) or (cls(),)
        return cls(first.parts, tuple(others))

    @property
    def source(self) -> Provenance:
        """What the whole rests on."""
        own = combine(part.source for part in self.parts)
        return combine([own, *(other.source for other in self.others)])

    @property
    def models(self) -> tuple[str, ...]:
        """What its estimates assume, each once."""
        return each_once(
            (
                *(part.model for part in self.parts),
                *(model for other in self.others for model in other.models),
            )
        )

    def without_models(self) -> "Basis":
        """Leave out what estimates assume, so that it may differ."""
        return Basis.of_repetitions(
            Basis(tuple(replace(part, model="") for part in one.parts))
            for one in (self, *self.others)
        )


def unlike(one: Basis, other: Basis) -> str:
    """Say why two energies may not be divided; empty where they may.

    Measured energies may, whatever their domains, and so may estimates by one model. Energies in
    part estimated may where they rest on the same domains, each in the same way: an estimate is
    compared with no measurement, and with no estimate by another model.
    """
    for basis in (one, other):
        if not basis.parts:
            return "energy is missing"
    for basis in (one, other):
        if basis.others:
            return f"repetitions of a cell differ: {_differing(basis, basis.others[0])}"
    kinds = {one.source, other.source}
    if kinds == {Provenance.MEASURED}:
        return ""
    if Provenance.MIXED not in kinds and len(kinds) > 1:
        return _kinds(one, other)
    if kinds == {Provenance.MIXED} and _TOTAL in (one.parts[0].domain, other.parts[0].domain):
        return "mixed against mixed: which domains are estimated was not recorded"
    mixed = Provenance.MIXED in kinds
    if mixed and _sources(one) != _sources(other):
        return f"{_kinds(one, other)}: {_differing(one, other)}"
    ours, theirs = ({part.domain: part for part in basis.parts} for basis in (one, other))
    facts = ((ours[domain].facts, theirs[domain].facts) for domain in ours.keys() & theirs.keys())
    if any(a and b and a != b for a, b in facts):
        return _differing(one, other)
    return ""


def all_unlike(bases: Iterable[Basis]) -> str:
    """Say why some of several energies may not be divided; those that are missing decide nothing.

    Repetitions of one cell that differ are a reason too.
    """
    known = [basis for basis in dict.fromkeys(bases) if basis.parts]
    pairs = (*((basis, basis) for basis in known), *combinations(known, 2))
    return next(filter(None, (unlike(one, other) for one, other in pairs)), "")


def _kinds(one: Basis, other: Basis) -> str:
    return f"{one.source} against {other.source}"


def _sources(basis: Basis) -> list[tuple[str, Provenance]]:
    return [(part.domain, part.source) for part in basis.parts]


def _differing(one: Basis, other: Basis) -> str:
    """Name the first domain in which two differ."""
    ours, theirs = ({part.domain: part for part in basis.parts} for basis in (one, other))
    for domain in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(domain), theirs.get(domain)
        name = domain or "the energy"
        if a is None or b is None:
            return f"{name} counts on one side only"
        if a.source != b.source:
            return f"{name} is {a.source} against {b.source}"
        if a.facts != b.facts:
            return (
                f"{name} is estimated by other models (--cpu-tdp and the granted hardware threads "
                f"decide which): {a.model or 'not recorded'} against {b.model or 'not recorded'}"
            )
    return "no domain"


@dataclass(frozen=True, eq=False)
class Bases:
    """What the energies of a dataset's cells rest on.

    Attributes:
        codes: Positions in ``table``, by cell.
        table: Each basis once.
    """

    codes: "xr.DataArray"
    table: tuple[Basis, ...]

    def of(self, codes: "NDArray[np.integer]") -> Iterator[Basis]:
        """List what some of the codes stand for, each once."""
        import numpy as np

        return (self.table[code] for code in np.unique(codes).tolist())

    def refuse_unlike(self, codes: "NDArray[np.integer]", what: str) -> None:
        """Refuse to compare energies that may not be divided.

        Args:
            codes: Of the cells that would be compared.
            what: What was requested; begins the sentence.

        Raises:
            UsageError: See `unlike`.
        """
        if reason := all_unlike(self.of(codes)):
            raise UsageError(
                f"{what} would compare energies that are not alike ({reason}); an estimate is "
                "not compared with a measurement, nor with an estimate by another model: select "
                "cells and repetitions of one kind"
            )


def models_of_estimates(dataset: "xr.Dataset") -> list[str]:
    """List what the estimates of a dataset assume, in words, each once."""
    if "energy_reason" not in dataset:
        return []
    estimated = values_of(dataset, "energy_source") == SOURCES.index("estimated")
    texts = dict.fromkeys(values_of(dataset, "energy_reason")[estimated].tolist())
    return list(each_once(model_of_estimate(str(text)) for text in texts if text))


def each_once(models: Iterable[str]) -> tuple[str, ...]:
    """Leave out models that state the same as an earlier one, in whatever words."""
    found: dict[tuple[EstimateFacts | str, ...], str] = {}
    for model in models:
        if facts := facts_of_estimate(model):
            found.setdefault(facts, model)
    return tuple(found.values())


def bases_of(dataset: "xr.Dataset", total: str = "energy_per_image_source") -> Bases:
    """Find what the energy per image of each cell rests on.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        total: The variable that says what the sum over the domains rests on.
    """
    import numpy as np
    import xarray as xr

    codes = dataset[total]
    dims = tuple(dim for dim in codes.dims if dim != "repetition")
    known = (codes.where(dataset["status"] == _OK, _MISSING) != _MISSING).transpose(..., *dims)
    order = known.dims
    inside = known.ndim - len(dims)
    places = known.values.reshape(prod(known.shape[:inside]), *known.shape[inside:])
    rows, found = _rows(dataset, codes.transpose(*order).values, known.values, order)
    table = [Basis(), *found]
    numbers = np.zeros(places.shape, dtype=np.int64)
    numbers[places] = rows + 1
    lowest = np.where(places, numbers, len(table)).min(axis=0, initial=len(table))
    highest = numbers.max(axis=0, initial=0)
    result = highest.copy()
    for place in np.argwhere((highest > 0) & (lowest != highest)).tolist():
        own = numbers.reshape(len(numbers), -1)[:, np.ravel_multi_index(place, highest.shape)]
        varying = Basis.of_repetitions(table[number] for number in own[own > 0].tolist())
        if varying not in table:
            table.append(varying)
        result[tuple(place)] = table.index(varying)
    cells = codes.isel(repetition=0, drop=True) if "repetition" in codes.dims else codes
    array = xr.DataArray(result, dims=dims, coords=cells.coords)
    return Bases(array, tuple(table))


def _rows(
    dataset: "xr.Dataset", codes: "AnyArray", known: "AnyArray", order: tuple[object, ...]
) -> "tuple[NDArray[np.int64], list[Basis]]":
    """Number the bases of the repetitions that have an energy, and list them."""
    import numpy as np

    if "domain" not in dataset.dims or "energy_source" not in dataset:  # edited by hand
        kinds, rows = np.unique(codes[known], return_inverse=True)
        return rows, [Basis.of(Provenance(PROVENANCES[kind])) for kind in kinds.tolist()]
    along = (*order, "domain")
    counted = counted_domains(dataset).broadcast_like(dataset["energy_source"])
    sources = dataset["energy_source"].transpose(*along).values[known]
    sources = np.where(counted.transpose(*along).values[known], sources, 0).astype(np.int64)
    estimated = sources == SOURCES.index("estimated")
    sources[(sources > 0) & ~estimated] = 1
    models = [""]
    if "energy_reason" in dataset:
        texts = dataset["energy_reason"].transpose(*along).values[known][estimated]
        numbers: dict[str, int] = {}
        sources[estimated] = [2 + numbers.setdefault(str(t), len(numbers)) for t in texts.tolist()]
        models = [model_of_estimate(text) for text in numbers] or models
    else:
        sources[estimated] = 2
    distinct, rows = np.unique(sources, axis=0, return_inverse=True)
    domains = [str(name) for name in dataset["domain"].values]
    return rows.reshape(-1), [_basis(domains, row, models) for row in distinct.tolist()]


def _basis(domains: list[str], row: list[int], models: list[str]) -> Basis:
    parts = [
        Part(domain, Provenance.ESTIMATED, models[code - 2])
        if code > 1
        else Part(domain, Provenance.MEASURED)
        for domain, code in zip(domains, row, strict=True)
        if code
    ]
    return Basis(tuple(sorted(parts)))
