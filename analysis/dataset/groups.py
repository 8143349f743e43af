"""The two groups of a dataset: cells of the closed loop, and servers.

They lie in one file beside each other: the variables of the servers have the names of the closed
loop's with ``server_`` before them, and the dimension ``traffic`` instead of ``batch_size``. So
plain xarray, narrowing and merging take both along.
"""

from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.variables import LOOP, SERVED, SERVER

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.dataset.variables import AnyArray


def loop_of(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return the closed loop alone."""
    return dataset[[name for name in dataset.data_vars if not _of_servers(name)]]


def servers_of(dataset: "xr.Dataset") -> "xr.Dataset | None":
    """Return the servers alone, under the names that the closed loop's variables have.

    Returns:
        Variables along ``model``, ``variant``, ``traffic`` and ``repetition``; ``None`` where
        there are no servers.
    """
    names = {
        name: str(name).removeprefix(SERVER) for name in dataset.data_vars if _of_servers(name)
    }
    if not names:
        return None
    apart = [name for name in dataset.data_vars if dataset[name].dims == ("model", "variant")]
    return dataset[[*names, *(name for name in apart if name not in names)]].rename(names)


def groups_of(dataset: "xr.Dataset") -> "list[xr.Dataset]":
    """List the groups of a dataset that have variables of cells; one that is of servers is one."""
    servers = servers_of(dataset)
    return [loop_of(dataset), *([servers] if servers is not None else [])]


def values_of(dataset: "xr.Dataset", name: str) -> "AnyArray":
    """Return all values of a variable, of both groups, as one dimension; none where it is not."""
    import numpy as np

    found = [group[name].values.reshape(-1) for group in groups_of(dataset) if name in group]
    return np.concatenate(found) if found else np.empty(0)


def is_of_servers(dataset: "xr.Dataset") -> bool:
    """Whether this group is of servers."""
    return "traffic" in dataset["status"].coords


def dims_of_cells(dataset: "xr.Dataset") -> tuple[str, str, str]:
    """List the dimensions of a group's cells."""
    return SERVED if is_of_servers(dataset) else LOOP


def _of_servers(name: object) -> bool:
    return str(name).startswith(SERVER)
