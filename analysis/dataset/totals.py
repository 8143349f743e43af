"""Net energy, and sums over the domains that count: a sum that lacks a part is missing."""

from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.counted import sum_counted
from greenbatch.analysis.dataset.variables import SOURCES
from greenbatch.records.provenance import Provenance, combine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.variables import AnyArray, Arrays

_ESTIMATED = SOURCES.index("estimated")
_KINDS = tuple(Provenance)


def add_totals(arrays: "Arrays", counted: "NDArray[np.bool_]") -> None:
    """Fill the variables that follow from others.

    The net energy of a domain is its energy less idle power x duration; it is missing where
    idle power is, or where one of the two is estimated and the other measured. A sum over
    domains is missing when one counting domain is: half a machine is not a smaller machine.
    The metering errors of the domains are added, not squared: one clock reads them all. The
    calibration of a sensor is off alike in the window and at idle: of net energy, the difference
    of the two is in doubt.

    Args:
        arrays: The dataset's arrays, changed in place; ``domain`` is the last axis.
        counted: Whether each domain adds to the total of a repetition, in the shape of
            ``energy``.
    """
    import numpy as np

    duration_s = arrays["duration"]
    images = np.where(arrays["images"] > 0, arrays["images"], np.nan)
    estimated = arrays["energy_source"] == _ESTIMATED
    like = estimated == (arrays["idle_power_source"] == _ESTIMATED)
    net_j = arrays["energy"] - arrays["idle_power"] * duration_s[..., np.newaxis]
    arrays["energy_net"][...] = np.where(like, net_j, np.nan)
    idle_j = arrays["idle_power_uncertainty"] * duration_s[..., np.newaxis]
    idle_common_j = arrays["idle_power_common"] * duration_s[..., np.newaxis]
    own_j = arrays["energy_uncertainty"] - arrays["energy_common"] + idle_j - idle_common_j
    doubt_j = own_j + np.abs(arrays["energy_common"] - idle_common_j)
    arrays["energy_net_uncertainty"][...] = np.where(like, doubt_j, np.nan)

    for name, part in (
        ("energy_per_image", "energy"),
        ("energy_per_image_uncertainty", "energy_uncertainty"),
        ("energy_per_image_net", "energy_net"),
        ("energy_per_image_net_uncertainty", "energy_net_uncertainty"),
    ):
        arrays[name][...] = sum_counted(arrays[part], counted) / images

    if "busy" in arrays:  # of servers
        # The rest of the energy is of running batches, what they draw above idle and below alike.
        waiting_s = (1 - arrays["busy"]) * duration_s
        waiting_j = np.where(like, arrays["idle_power"] * waiting_s[..., np.newaxis], np.nan)
        arrays["energy_per_request_waiting"][...] = sum_counted(waiting_j, counted) / images

    known = np.isfinite(arrays["energy_per_image"])
    codes = provenance_codes(known, arrays["energy_source"], counted)
    arrays["energy_per_image_source"][...] = codes


def provenance_codes(
    known: "AnyArray", sources: "AnyArray", counted: "NDArray[np.bool_]"
) -> "AnyArray":
    """Say what sums rest on, as positions in ``PROVENANCES``.

    Args:
        known: Whether the sum is known, shape (...).
        sources: Positions in ``SOURCES`` of its parts, shape (..., parts).
        counted: Whether each part is in the sum, in the same shape.
    """
    import numpy as np

    estimated = sources == _ESTIMATED
    found = (Provenance.MISSING, Provenance.ESTIMATED, Provenance.MIXED)
    return np.select(
        [~known, (estimated | ~counted).all(axis=-1), (estimated & counted).any(axis=-1)],
        [_KINDS.index(kind) for kind in found],
        _KINDS.index(Provenance.MEASURED),
    )


def provenances_of(codes: "NDArray[np.integer]") -> list[Provenance]:
    """List what energies rest on, each kind once.

    Args:
        codes: Positions in ``PROVENANCES``, of any shape.
    """
    import numpy as np

    return [_KINDS[code] for code in np.unique(codes).tolist()]


def provenance_of(codes: "NDArray[np.integer]") -> Provenance:
    """Say what energies rest on together; ``codes`` as for `provenances_of`."""
    return combine(provenances_of(codes))
