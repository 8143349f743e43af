"""Net energy, and sums over the domains that count: a sum that lacks a part is missing."""

from typing import TYPE_CHECKING, Any

from greenbatch.analysis.dataset.variables import PROVENANCES, SOURCES

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray[Any, Any]]

_MISSING, _ESTIMATED = SOURCES.index("missing"), SOURCES.index("estimated")


def add_totals(arrays: "Arrays", counts: "np.ndarray[Any, Any]") -> None:
    """Fill the variables that follow from others.

    The net energy of a domain is its energy less idle power x duration; it is missing where
    idle power is, or where one of the two is estimated and the other measured. A sum over
    domains is missing when one counting domain is: half a machine is not a smaller machine.
    The metering errors of the domains are added, not squared: one clock reads them all.

    Args:
        arrays: The dataset's arrays, changed in place; ``domain`` is the last axis.
        counts: Whether each domain adds to the total, shape (domain,).
    """
    import numpy as np

    duration_s = arrays["duration"]
    images = np.where(arrays["images"] > 0, arrays["images"], np.nan)
    estimated = arrays["energy_source"] == _ESTIMATED
    like = estimated == (arrays["idle_power_source"] == _ESTIMATED)
    net_j = arrays["energy"] - arrays["idle_power"] * duration_s[..., np.newaxis]
    arrays["energy_net"][...] = np.where(like, net_j, np.nan)
    idle_j = arrays["idle_power_uncertainty"] * duration_s[..., np.newaxis]
    doubt_j = arrays["energy_uncertainty"] + idle_j
    arrays["energy_net_uncertainty"][...] = np.where(like, doubt_j, np.nan)

    def total(name: str) -> Any:
        if not counts.any():  # an empty sum would be a silent zero
            return np.full(duration_s.shape, np.nan)
        return arrays[name][..., counts].sum(axis=-1)

    arrays["energy_per_image"][...] = total("energy") / images
    arrays["energy_per_image_uncertainty"][...] = total("energy_uncertainty") / images
    arrays["energy_per_image_net"][...] = total("energy_net") / images
    arrays["energy_per_image_net_uncertainty"][...] = total("energy_net_uncertainty") / images

    # The rest of the energy is of running batches, what they draw above idle and below alike.
    waiting_s = (1 - arrays["busy"]) * duration_s
    waiting_j = np.where(like, arrays["idle_power"] * waiting_s[..., np.newaxis], np.nan)
    if counts.any():
        arrays["energy_per_request_waiting"][...] = waiting_j[..., counts].sum(axis=-1) / images

    known = np.isfinite(arrays["energy_per_image"])
    sources = arrays["energy_source"][..., counts]
    arrays["energy_per_image_source"][...] = provenance_codes(known, sources)


def provenance_codes(
    known: "np.ndarray[Any, Any]", sources: "np.ndarray[Any, Any]"
) -> "np.ndarray[Any, Any]":
    """Say what sums rest on, as positions in ``PROVENANCES``.

    Args:
        known: Whether the sum is known, shape (...).
        sources: Positions in ``SOURCES`` of its parts, shape (..., parts).
    """
    import numpy as np

    estimated = sources == _ESTIMATED
    return np.select(
        [~known, estimated.all(axis=-1), estimated.any(axis=-1)],
        [PROVENANCES.index(name) for name in ("missing", "estimated", "mixed")],
        PROVENANCES.index("measured"),
    )


def provenance(arrays: "Arrays") -> str:
    """Say what the energies per image of the whole run rest on, one of ``PROVENANCES``."""
    found = {PROVENANCES[code] for code in arrays["energy_per_image_source"].flat} - {"missing"}
    if not found:
        return "missing"
    return found.pop() if len(found) == 1 else "mixed"
