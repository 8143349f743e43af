"""How long the netCDF libraries take for a dataset of ours: many small variables, few values.

Writes and reads the dataset of a run with xarray's two engines in turn, and prints medians and the
ratio of them. h5netcdf is not among the packages that greenbatch needs: install it first.

    python benchmarks/dataset_files.py RUN [--rounds 7]
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Literal

import xarray as xr

from greenbatch.analysis import compile_dataset

Engine = Literal["netcdf4", "h5netcdf"]
ENGINES: tuple[Engine, Engine] = ("netcdf4", "h5netcdf")


def main() -> None:
    """Write and read in turn, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    dataset = compile_dataset(options.run)
    seconds: dict[tuple[str, Engine], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for engine in ENGINES:
                path = Path(folder) / f"{engine}.nc"
                start = time.perf_counter()
                dataset.to_netcdf(path, engine=engine)
                written = time.perf_counter()
                read = xr.load_dataset(path, engine=engine)
                seconds["write", engine].append(written - start)
                seconds["read", engine].append(time.perf_counter() - written)
                assert read.identical(dataset), f"{engine} gives another dataset back"
    for act in ("write", "read"):
        fast, slow = (statistics.median(seconds[act, engine]) for engine in ENGINES)
        print(f"{act}: netcdf4 {fast:.2f} s, h5netcdf {slow:.2f} s, ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main()
