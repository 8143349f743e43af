"""What the meter makes of an NVML library: the driver's, or a simulated one in its place.

NVIDIA has a simulated NVML of its own, in github.com/NVIDIA/k8s-test-infra (pkg/gpu/mocknvml; it
needs Go):

    make -C pkg/gpu/mocknvml NO_PADDING=1
    LD_LIBRARY_PATH=pkg/gpu/mocknvml MOCK_NVML_CONFIG=... python benchmarks/nvml_library.py
"""

import time

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering import MeterOptions, Recorder
from greenbatch.runners.metering.sources.nvml import NvmlMeter

WINDOW_S = 2.0


def main() -> None:
    """Print what is found of each device, and the figure of a window."""
    try:
        meter = NvmlMeter.open(MeterOptions())
    except MeterUnavailable as error:
        print(error)
        return
    with meter, Recorder([meter]) as recorder:
        start_s = recorder.begin()
        time.sleep(WINDOW_S)
        end_s = recorder.end()
        recorder.list_processes()
        figures = recorder.energy(start_s, end_s)
        conditions = {each.device: each for each in recorder.conditions(start_s, end_s)}
    for domain, figure in zip(meter.domains, figures, strict=True):
        print(f"{domain.name}: {domain.device}")
        print(f"  ticks every {domain.tick_s} s, power was refreshed every {domain.refresh_s} s")
        print(f"  {domain.sensor}")
        print(f"  {figure}")
        print(f"  {conditions.get(domain.name)}")


if __name__ == "__main__":
    main()
