"""A simulated powercap tree: zones below a folder that stands for ``/sys``; counters in files.

tree = Powercap(tmp_path)
tree.add("intel-rapl:0", "package-0")
with tree.running({"intel-rapl:0": PowerCurve(50.0)}):      # counts until the end
    ...                                                     # GB_SYSFS=tmp_path
"""

import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

from tests.fakes.powercap_curve import PowerCurve

RANGE_UJ = 262_143_328_850  # as an Intel server states it
_SIZE = 24  # bytes of a counter's file

Layout: TypeAlias = Literal["plain", "kernel", "flat", "nested"]


class Powercap:
    """Writes and moves the zones below ``sysfs``/class/powercap.

    Args:
        sysfs: The folder that stands for ``/sys``.
        layout: ``kernel``: the zones lie inside each other below devices/virtual, and a flat link
            leads to each; ``flat``: only the flat places; ``nested``: inside each other and their
            control type; ``plain``: inside each other.
    """

    def __init__(self, sysfs: Path, layout: Layout = "plain") -> None:
        self.sysfs = sysfs
        self.layout = layout
        self.root = sysfs / "class" / "powercap"
        self.root.mkdir(parents=True)

    def environment(self) -> dict[str, str]:
        """Return the variable that makes a process see this tree."""
        return {"GB_SYSFS": str(self.sysfs)}

    def add(
        self, zone: str, name: str, energy_uj: int = 0, range_uj: int | None = RANGE_UJ
    ) -> Path:
        """Add a zone, nested as the kernel does: ``intel-rapl:0:1`` lies in ``intel-rapl:0``."""
        path = self.path(zone)
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        if range_uj is not None:
            (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        if self.layout == "kernel":
            for name, target in ((zone.partition(":")[0], path.parent), (zone, path)):
                if not (self.root / name).exists():
                    (self.root / name).symlink_to(target)
        self.set(zone, energy_uj)
        return path

    def path(self, zone: str) -> Path:
        """Return the zone's directory."""
        if self.layout == "flat":
            return self.root / zone
        kind, *numbers = zone.split(":")
        parts = [":".join([kind, *numbers[: n + 1]]) for n in range(len(numbers))]
        if self.layout == "kernel":
            return self.sysfs.joinpath("devices", "virtual", "powercap", kind, *parts)
        return self.root.joinpath(*([kind] if self.layout == "nested" else []), *parts)

    def set(self, zone: str, energy_uj: int) -> None:
        """Set a zone's counter, at once and whole; an open file shows it."""
        write_counter(self.path(zone) / "energy_uj", energy_uj)

    def remove(self, zone: str) -> None:
        """Take a zone's counter away; an open file has nothing any more."""
        file = self.path(zone) / "energy_uj"
        os.truncate(file, 0)
        file.unlink()

    @contextmanager
    def running(
        self,
        curves: dict[str, PowerCurve],
        tick_s: float = 0.005,
        mirrors: dict[str, str] | None = None,
    ) -> Iterator[None]:
        """Let counters run from a process of their own, wrapping at their range.

        Args:
            curves: The power of each zone that runs.
            tick_s: How often the counters are updated.
            mirrors: Zones that show the counter of another one, by their names.
        """
        files = {}
        for zone, curve in curves.items():
            path = self.path(zone)
            stated = path / "max_energy_range_uj"
            range_uj = int(stated.read_text()) if stated.exists() else 0
            files[path / "energy_uj"] = (curve, range_uj)
        same = {
            self.path(zone) / "energy_uj": self.path(other) / "energy_uj"
            for zone, other in (mirrors or {}).items()
        }
        with counting(files, tick_s, same):
            yield


@contextmanager
def counting(
    files: dict[Path, tuple[PowerCurve, int]],
    tick_s: float = 0.005,
    mirrors: dict[Path, Path] | None = None,
) -> Iterator[None]:
    """Let counters in files run from a process of their own, from what they hold.

    Args:
        files: For each its power, and where it wraps, in µJ; 0: nowhere.
        tick_s: How often they are updated.
        mirrors: Files that hold what another one holds, by their paths.
    """
    shown = {
        file: [str(one) for one, of in (mirrors or {}).items() if of == file] for file in files
    }
    jobs = [
        [[str(file), *shown[file]], asdict(curve), range_uj, int(file.read_text())]
        for file, (curve, range_uj) in files.items()
    ]
    writer = subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(jobs), str(tick_s)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "running\n"
        yield
    finally:
        writer.kill()
        writer.wait()
        for pipe in (writer.stdin, writer.stdout):
            if pipe:
                pipe.close()


@contextmanager
def readable_by_others() -> Iterator[Path]:
    """Give a folder that a user without rights can reach, for `as_nobody`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's right to read everything for a while; nothing to do for another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def write_counter(file: Path, energy_uj: int) -> None:
    """Store a count in a counter's file, at once and whole; make the file where there is none."""
    with _mapped(file) as page:
        page[:] = _text(energy_uj)


def _run(jobs: list[tuple[list[Path], PowerCurve, int, int]], tick_s: float) -> None:
    """Write the counters every ``tick_s``, until killed or the parent is gone.

    A value must be seen the moment it is true, and a file system may hold a write or a rename
    back for tens of ms: so it is stored through a mapping, in a file of fixed size.
    """
    pages = [[_mapped(path) for path in paths] for paths, *_ in jobs]
    parent, start_s, ticks = os.getppid(), time.perf_counter(), 0
    while os.getppid() == parent:
        for alike, (_, curve, range_uj, start_uj) in zip(pages, jobs, strict=True):
            energy_uj = start_uj + int(curve.energy_j(start_s, time.perf_counter()) * 1e6)
            for page in alike:
                page[:] = _text(energy_uj % range_uj if range_uj else energy_uj)
        if not ticks:
            print("running", flush=True)
        ticks += 1
        time.sleep(max(0.0, start_s + ticks * tick_s - time.perf_counter()))


def _text(energy_uj: int) -> bytes:
    return f"{energy_uj}\n".ljust(_SIZE).encode()


def _mapped(path: Path) -> mmap.mmap:
    if not path.exists() or path.stat().st_size != _SIZE:
        path.write_bytes(_text(int(path.read_text() if path.exists() else 0)))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _SIZE)


if __name__ == "__main__":
    _run(
        [
            ([Path(path) for path in paths], PowerCurve(**curve), range_uj, start_uj)
            for paths, curve, range_uj, start_uj in json.loads(sys.argv[1])
        ],
        float(sys.argv[2]),
    )
