"""The processes that compute on a GPU, as NVML lists them."""

from greenbatch.runners.metering.processes import Processes
from greenbatch.runners.metering.sources.nvml_library import Handle, ask, explain

_QUERIES = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
"""In the order in which they are tried: drivers before 510 know only the second."""
_MPS_QUERIES = (
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v2",
)
_MPS_SERVER = "nvidia-cuda-mps-server"


def processes_of(handle: Handle) -> Processes:
    """List the processes on a device, those that share it by MPS included.

    The server of MPS computes for its clients, which are listed beside it, and is left out.

    Returns:
        Their numbers; where NVML cannot list them, the reason.
    """
    listed = _computing(handle)
    clients = _mps_clients(handle)
    servers = {pid for pid in listed.pids if clients and _MPS_SERVER in _process_name(pid)}
    pids = tuple(sorted(({*listed.pids} | clients) - servers))
    return Processes(pids=() if listed.reason else pids, reason=listed.reason)


def _computing(handle: Handle) -> Processes:
    import pynvml

    reason = "cannot list the processes: the Python package nvidia-ml-py is too old"
    for query in _QUERIES:
        try:
            found = getattr(pynvml, query)(handle)
        except AttributeError:
            continue
        except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLLibraryMismatchError) as error:
            reason = (
                f"cannot list the processes: {str(error).rstrip('.')}; update the NVIDIA driver to "
                "450 or newer"
            )
        except pynvml.NVMLError as error:
            return Processes(reason=f"cannot list the processes: {explain(error)}")
        else:
            return Processes(pids=tuple(sorted(int(process.pid) for process in found)))
    return Processes(reason=reason)


def _mps_clients(handle: Handle) -> set[int]:
    """Return the clients of MPS: none where the driver or the package knows no such list."""
    import pynvml

    for name in _MPS_QUERIES:
        query = getattr(pynvml, name, None)
        found = ask(query, handle) if query else None
        if found is not None:
            return {int(process.pid) for process in found}
    return set()


def _process_name(pid: int) -> str:
    import pynvml

    name = ask(pynvml.nvmlSystemGetProcessName, pid)
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
