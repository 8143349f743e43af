"""The meters as the cells of a backend count them."""

from collections.abc import Iterable

from greenbatch.privacy import masked
from greenbatch.records import Status
from greenbatch.runners import backends
from greenbatch.runners.child.handle import ChildFailed
from greenbatch.runners.metering import Metering
from greenbatch.runners.metering.counting import CellMetering, for_device


def metering_of(metering: Metering, backend: str) -> CellMetering:
    """Return the meters as a cell of ``backend`` counts them.

    Raises:
        UnknownNameError: There is no such backend.
    """
    spec = backends.find(backend)
    return for_device(metering, spec.device, spec.vendor)


def check_device(cell: CellMetering, reported: str | None) -> dict[str, str]:
    """Compare the GPU that a process computed on with the one that is metered.

    Returns:
        What the settings record of it: its UUID but for the end, or that none was reported.

    Raises:
        ChildFailed: It is another one.
    """
    if fault := cell.mismatch(reported):
        raise ChildFailed(Status.ERROR, fault)
    if reported:
        return {"gpu_uuid": masked(reported)}
    return {"gpu_uuid": "not reported by the process"} if cell.uuid else {}


def counted_domains(metering: Metering, names: Iterable[str]) -> frozenset[str]:
    """Name the domains that count in a cell of at least one of these backends."""
    return frozenset(
        domain.name
        for name in names
        for domain in metering_of(metering, name).metering.domains
        if domain.counts
    )
