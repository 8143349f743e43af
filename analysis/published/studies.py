"""Figures that the studies behind our presets printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cells of inference a figure is of."""

    models: Sequence[str] = ()
    batch_size: int = 1
    precision: str = "fp32"
    one: str = ""
    over: str = ""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A figure as it was printed.

    Attributes:
        kind: How it is computed: ``eta_squared`` (of a factor), ``eta_squared_h`` (of the choices,
            by Kruskal-Wallis), ``most_over_least``, ``arrived`` (searches within the bound),
            ``spearman_trainings``, ``greatest_saving``. Of inference: ``mean_ratio`` (of networks),
            ``by_policy``, ``spearman``.
        of: A factor, a strategy or a figure.
        value: As printed, with what it holds for.
        words: What it is, of inference; of trainings the kind says it.
        where: Of inference: ``models`` (none: all), ``batch_size``, ``precision``, and the runtimes
            ``one`` and ``over`` of a ratio.
    """

    kind: str
    of: str
    value: str
    words: str = ""
    where: Where = field(default_factory=Where)


@dataclass(frozen=True, slots=True)
class PublishedStudy:
    """The figures of one study, and where they were printed.

    Attributes:
        carbon_intensity: That it computes with, in g CO2e per kWh; ``None``: it does not.
    """

    source: str
    figures: Sequence[PublishedFigure]
    carbon_intensity: float | None = None


@cache
def published_studies() -> Mapping[str, PublishedStudy]:
    """Read all studies that are shipped, by the name of the preset that repeats them."""
    from greenbatch.documents import parse_yaml

    text = Path(__file__).with_name("studies.yaml").read_text(encoding="utf-8")
    found = parse_yaml(text)
    return {
        name: PublishedStudy(
            study["source"],
            tuple(_figure(dict(figure)) for figure in study["figures"]),
            study.get("carbon_intensity"),
        )
        for name, study in found.items()
    }


def _figure(members: dict[str, Any]) -> PublishedFigure:
    where = Where(**members.pop("where", {}))
    return PublishedFigure(**members, where=where)
