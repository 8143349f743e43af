"""The processes that compute on a GPU, as NVML lists them."""

from greenbatch.runners.metering.processes import Processes
from greenbatch.runners.metering.sources.nvml_library import Handle, explain

_QUERIES = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
"""In the order in which they are tried: drivers before 510 know only the second."""


def processes_of(handle: Handle) -> Processes:
    """List the processes on a device; where NVML cannot, the reason."""
    import pynvml

    reason = "cannot list the processes: the Python package nvidia-ml-py is too old"
    for query in _QUERIES:
        try:
            found = getattr(pynvml, query)(handle)
        except AttributeError:
            continue
        except pynvml.NVMLError_FunctionNotFound as error:
            reason = (
                f"cannot list the processes: {str(error).rstrip('.')}; update the NVIDIA driver to "
                "450 or newer"
            )
        except pynvml.NVMLError as error:
            return Processes(reason=f"cannot list the processes: {explain(error)}")
        else:
            return Processes(pids=tuple(sorted(int(process.pid) for process in found)))
    return Processes(reason=reason)
