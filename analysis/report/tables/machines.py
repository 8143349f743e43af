"""Machines of one kind together: each cell's energy over all of them."""

from collections.abc import Sequence

from greenbatch.analysis.findings.machines import KindMean
from greenbatch.analysis.findings.wording import Table, spread

KINDS_NOTE = (
    "Geometric mean of the energy per image over the machines of a kind, with its 95 % interval. "
    "The machine is a random effect, so the interval holds for another machine of the kind too."
)


def kinds_table(found: Sequence[KindMean]) -> Table:
    """List the energy per image of each cell over the machines of one kind."""
    columns = ("kind", "model", "variant", "batch", "energy/image", "machines", "repetitions")
    body = tuple(
        (
            one.kind,
            one.model,
            one.variant,
            str(one.batch_size),
            spread(one.energy_j, "J"),
            str(one.machines),
            str(one.repetitions),
        )
        for one in found
    )
    numeric = (False, False, False, True, True, True, True)
    return Table("kinds", "Energy per image over machines of one kind", columns, body, numeric)
