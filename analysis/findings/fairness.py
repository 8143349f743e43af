"""Effective settings of each backend, and what keeps two of them from being compared.

A ratio between two backends is the runtimes' own only where their settings are the same.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from greenbatch.records import FACTORS, Cell, Repetition

NOT_REPORTED = "not reported"
NOT_RECORDED = "not recorded"


class Nature(StrEnum):
    """How values of a factor compare between two runtimes; within one runtime they must be equal.

    Attributes:
        VALUE: A setting that can be made equal: other values are a mismatch.
        SWITCH: On or off is a setting; how it is done is the runtime's own.
        OWN: The runtime's own choice, a part of what is compared: never a mismatch.
    """

    VALUE = "value"
    SWITCH = "switch"
    OWN = "own"


NATURES: Mapping[str, Nature] = {
    "threads": Nature.VALUE,
    "inter_op_threads": Nature.VALUE,
    "affinity": Nature.VALUE,
    "spinning": Nature.SWITCH,
    "arithmetic": Nature.VALUE,
    "layout": Nature.OWN,
    "transfers": Nature.VALUE,
    "graph_capture": Nature.SWITCH,
    "autotuning": Nature.SWITCH,
    "optimization": Nature.OWN,
}
"""The nature of each of `greenbatch.records.FACTORS`; that of a library's version is a value."""

_LIBRARIES = frozenset({"cuda", "cudnn", "onnxruntime", "openvino", "tensorrt", "torch", "triton"})
_VERSION = re.compile(r"v?\d+\.\d+\.\d")
_OFF = re.compile(
    r"(off|none|no|false|disabled|0)\b|OMP_WAIT_POLICY=passive|(GOMP_SPINCOUNT|KMP_BLOCKTIME)=0\b",
    re.IGNORECASE,
)
_DEFAULT = re.compile(r"\bdefault$")  # of a library that does not report its default


def switched_off(value: object) -> bool:
    """Whether the value of a switch, as a backend reports it, says that it is off."""
    return _OFF.match(str(value)) is not None


class Kind(StrEnum):
    """Whether a factor is known to differ, or only not known to be the same."""

    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A factor in which two backends are not, or not known to be, alike.

    Attributes:
        text: In plain words, after the factor's name: ``2 against 1``, ``not reported by torch``.
    """

    factor: str
    kind: Kind
    text: str

    @property
    def name(self) -> str:
        """The factor's name for a person."""
        return factor_name(self.factor)

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class InForce:
    """Effective settings of a backend.

    Attributes:
        label: What it is called: the backend with what was set on it.
        backend: The backend alone.
        values: The distinct values of each factor and of each library's version; ``None`` is
            a value that the runtime does not report. A factor that was not recorded has no entry.
    """

    label: str
    backend: str
    values: Mapping[str, tuple[str | None, ...]]

    def text(self, factor: str) -> str:
        """The factor's value for a person: ``1 or 2``, ``not reported``, ``not recorded``."""
        if factor not in self.values:
            return NOT_RECORDED
        return " or ".join(NOT_REPORTED if v is None else v for v in self.values[factor])

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries whose versions as loaded were recorded."""
        return tuple(name for name in self.values if name not in FACTORS)


@dataclass(frozen=True, slots=True)
class Fairness:
    """What a run recorded of its backends' settings.

    Attributes:
        variants: In the study's order.
    """

    variants: Sequence[InForce] = ()
    _cells: Mapping[Cell, InForce] = field(default_factory=dict, repr=False)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The factors that were recorded for any backend, in the order of `FACTORS`."""
        return tuple(f for f in FACTORS if any(f in v.values for v in self.variants))

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries whose version was recorded for any backend."""
        return tuple(dict.fromkeys(name for v in self.variants for name in v.libraries))

    def between(self, cell: Cell, reference: Cell) -> list[Mismatch] | None:
        """List what keeps two cells from being compared; ``None`` where neither was recorded."""
        a, b = self._cells.get(cell), self._cells.get(reference)
        if a is None or b is None:
            return None
        return mismatches(a, b)


def fairness(repetitions: Iterable[Repetition], cells: Iterable[Cell] = ()) -> Fairness:
    """Gather the effective settings by backend, as set, and by cell.

    Args:
        repetitions: Of a journal. One that ended before its settings were reported adds nothing.
        cells: In the study's order, which that of the variants follows; a journal is shuffled.
    """
    reported: dict[Cell, dict[tuple[tuple[str, object], ...], None]] = {cell: {} for cell in cells}
    for record in repetitions:
        if record.settings:
            reported.setdefault(record.cell, {})[tuple(sorted(record.settings.items()))] = None
    found = {cell: settings for cell, settings in reported.items() if settings}
    several = len({cell.precision for cell in found}) > 1
    labels = {c: f"{c.variant} {c.precision}" if several else c.variant for c in found}
    variants: dict[str, InForce] = {}
    for label in dict.fromkeys(labels.values()):
        members = [cell for cell in found if labels[cell] == label]
        every = dict.fromkeys(settings for cell in members for settings in found[cell])
        variants[label] = InForce(label, members[0].backend, _values(every))
    by_cell = {c: InForce(labels[c], c.backend, _values(every)) for c, every in found.items()}
    return Fairness(list(variants.values()), by_cell)


def mismatches(a: InForce, b: InForce) -> list[Mismatch]:
    """List the settings in which two backends differ, or may differ; `NATURES` says what counts.

    Off and `none` (the runtime has no such thing) are the same in effect, as are `none` and one
    operator at a time. What the same runtime does not report twice is its one default, and no
    mismatch.
    """
    found = []
    same_runtime = a.backend == b.backend
    shared = (name for name in a.libraries if name in b.libraries)
    for factor in (*FACTORS, *shared):
        nature = Nature.VALUE if same_runtime else NATURES.get(factor, Nature.VALUE)
        if nature is Nature.OWN:
            continue
        left, right = a.values.get(factor), b.values.get(factor)
        silent = [x.label for x, v in ((a, left), (b, right)) if v is not None and None in v]
        absent = [x.label for x, v in ((a, left), (b, right)) if v is None]
        if absent:
            who = "" if len(absent) == 2 else f" for {absent[0]}"
            found.append(Mismatch(factor, Kind.UNKNOWN, f"{NOT_RECORDED}{who}"))
        elif silent and not (same_runtime and left == right):
            who = "either" if len(silent) == 2 else silent[0]
            found.append(Mismatch(factor, Kind.UNKNOWN, f"{NOT_REPORTED} by {who}"))
        elif left and right and _effects(factor, left, nature) != _effects(factor, right, nature):
            text = f"{a.text(factor)} against {b.text(factor)}"
            vague = nature is Nature.SWITCH and any(_DEFAULT.search(v or "") for v in left + right)
            found.append(Mismatch(factor, Kind.UNKNOWN if vague else Kind.DIFFERS, text))
    return found


def in_words(found: Sequence[Mismatch]) -> str:
    """Join mismatches to one clause: what differs, then what is unknown, for the same want once."""
    clauses = [str(mismatch) for mismatch in found if mismatch.kind is Kind.DIFFERS]
    unknown: dict[str, list[str]] = {}
    for mismatch in found:
        if mismatch.kind is Kind.UNKNOWN:
            unknown.setdefault(mismatch.text, []).append(mismatch.name)
    clauses += [f"{', '.join(names)}: {text}" for text, names in unknown.items()]
    return "; ".join(clauses)


def factor_name(factor: str) -> str:
    """A factor's name as it is shown."""
    return factor.replace("_", " ")


def _values(
    reported: Iterable[tuple[tuple[str, object], ...]],
) -> dict[str, tuple[str | None, ...]]:
    """Collect the distinct texts of factors and versions, factors first and in their order."""
    found: dict[str, dict[str | None, None]] = {factor: {} for factor in FACTORS}
    for settings in reported:
        for name, value in settings:
            if name in FACTORS or (value is not None and _is_version(name, value)):
                found.setdefault(name, {})[_text(value)] = None
    return {
        name: tuple(sorted(texts, key=lambda t: (t is None, t or "")))
        for name, texts in found.items()
        if texts
    }


def _is_version(name: str, value: object) -> bool:
    return name in _LIBRARIES or ("." not in name and bool(_VERSION.match(str(value))))


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _effects(factor: str, values: Sequence[str | None], nature: Nature) -> frozenset[str]:
    """Reduce values to what they do, as far as two runtimes' words can be compared."""
    if nature is Nature.SWITCH:
        return frozenset(
            "off" if _OFF.match(v or "") else v or "" if _DEFAULT.search(v or "") else "on"
            for v in values
        )
    alone = "1" if factor == "inter_op_threads" else "none"
    return frozenset(alone if (v or "").lower() in ("none", "off") else v or "" for v in values)
