"""Variants and traffic: what makes each, how it is labelled, and those that a design has."""

import json
import re
from collections.abc import Collection, Iterable
from itertools import product
from math import prod
from typing import NamedTuple, Self

from greenbatch.analysis.dataset.variables import COORDINATES, MERGED, SERVER, VARIABLES
from greenbatch.design.recorded import RecordedStudy
from greenbatch.records import AS_RECORDED, Cell, Traffic
from greenbatch.records.cells import Pairs

MOST_PLACES = 3_000_000
"""Places in the grid of repetitions; a dataset needs about a kilobyte for each."""
_PLAIN = re.compile(r"[\w.+:/@%-]+")


class Variant(NamedTuple):
    """How a cell is computed: a backend with its precision, io and settings."""

    backend: str
    precision: str
    io: str
    settings: Pairs

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Return that of a cell."""
        return cls(cell.backend, cell.precision, cell.io, cell.settings)

    @property
    def label(self) -> str:
        """A name that no other variant has: ``onnxruntime-cpu (allow_spinning=0) fp32``."""
        pairs = ", ".join(f"{_plain(name)}={_plain(text)}" for name, text in self.settings)
        settings = f" ({pairs})" if pairs else ""
        return (
            f"{self.backend}{settings} {self.precision}{'' if self.io == 'host' else f' {self.io}'}"
        )


def traffic_label(traffic: Traffic) -> str:
    """Name a server's traffic as no other is named: ``poisson greedy:16 40``."""
    return " ".join(_plain(text) for _, text in traffic.pairs)


def _plain(text: str) -> str:
    """Quote a text that could be taken for a part of a label."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def variants_of(study: RecordedStudy) -> list[Variant]:
    """List the variants of a design: every backend as set in every way, in every precision, io."""
    settings: dict[str, list[list[tuple[str, str]]]] = {backend: [] for backend in study.backends}
    for key, values in study.settings.items():
        backend, _, name = key.partition(".")
        if backend in settings:
            settings[backend].append([(name, str(value)) for value in values])
    each = len(study.precisions) * len(study.io)
    _require_few("variants", each * sum(prod(map(len, some)) for some in settings.values()))
    return [
        Variant(backend, precision, io, tuple(sorted(pairs)))
        for backend, choices in settings.items()
        for pairs in product(*(some for some in choices if some))
        for precision in study.precisions
        for io in study.io
    ]


def traffic_of(study: RecordedStudy) -> list[Traffic]:
    """List the combinations of arrivals, policies and rates of a design."""
    rates = [f"{rate:g}" for rate in study.rates] or [AS_RECORDED]
    _require_few(
        "combinations of arrivals, policies and rates",
        len(study.arrivals) * len(study.policies) * len(rates),
    )
    return [Traffic(*texts) for texts in product(study.arrivals, study.policies, rates)]


def _require_few(what: str, count: int) -> None:
    if count > MOST_PLACES:
        raise ValueError(f"{count:,} {what}, and at most {MOST_PLACES:,} can be laid out")


def setting_names(
    names: Iterable[str], taken: Collection[str] = (*VARIABLES, *COORDINATES, *MERGED)
) -> dict[str, str]:
    """Name a coordinate for each setting: an identifier that nothing else in a dataset has.

    >>> setting_names(["intra_op.allow_spinning", "device"])
    {'intra_op_allow_spinning': 'intra_op.allow_spinning', 'setting_device': 'device'}
    """
    found: dict[str, str] = {}
    for name in names:
        identifier = re.sub(r"\W", "_", name)
        while identifier in found or identifier in taken or identifier.startswith(SERVER):
            identifier = f"setting_{identifier}"
        found[identifier] = name
    return found
