"""Build the distribution, and try it where nothing else is installed: 'make release-check'.

The wheel is installed in a fresh environment twice: alone, and with the extra ``bench``. The first
must read runs, meter, and name what is missing; the second must measure. Prints a line for each
check, and exits 1 if one failed. ``--sets light`` leaves the second out, which downloads 6 GB.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs/examples/five-models-four-runtimes-2-cores"
SETS = ("light", "bench")
MOST_MB = {"light": 450}
"""Size of an environment on disk, without compiled modules."""


@dataclass(frozen=True)
class Check:
    """A command, the exit code that it must have, and what it must print.

    Attributes:
        words: The command after ``gb``.
        code: The exit code.
        printed: A text in its output or its errors.
    """

    words: tuple[str, ...]
    code: int = 0
    printed: str = ""


CHECKS = {
    "light": (
        Check(("--version",), printed="greenbatch "),
        Check(("report", "run"), printed="report: run/report/index.html"),
        Check(("compare", "run", "run"), 2, "the same run"),
        Check(("recommend", "run", "--rate", "2", "--p99", "5s", "--model", "alexnet")),
        Check(("merge", "run", "--out", "merged.nc"), printed="dataset: merged.nc"),
        Check(("meter", "--", "true"), printed="J"),
        Check(("bench", "alexnet", "--provider", "cpu"), 3, "run: pip install 'greenbatch[bench]'"),
    ),
    "bench": (
        Check(("--version",), printed="greenbatch "),
        Check(
            (
                *("bench", "shufflenet_v2_x0_5", "--provider", "cpu", "--batch-sizes", "1,2"),
                *("--profile", "quick", "--repetitions", "1", "--weights", "random"),
                *("--out", "fresh"),
            ),
            printed="report: fresh/report/index.html",
        ),
        Check(("report", "fresh"), printed="report: fresh/report/index.html"),
    ),
}


def build(folder: Path) -> Iterator[tuple[str, bool]]:
    """Build an sdist and from it the wheel, and check their metadata; yield each step's verdict."""
    shutil.rmtree(folder, ignore_errors=True)
    yield "build", _run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)])
    files = sorted(map(str, folder.iterdir()))
    yield "twine check", _run([sys.executable, "-m", "twine", "check", "--strict", *files])


def try_set(name: str, wheel: Path, folder: Path) -> Iterator[tuple[str, bool]]:
    """Install the wheel with an extra in a fresh environment, and run its checks."""
    environment = folder / name
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    wanted = str(wheel) if name == "light" else f"greenbatch[{name}] @ {wheel.as_uri()}"
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python", str(python)] if uv else None
    began_s = time.perf_counter()
    done = _run(
        [
            *(installer or [str(python), "-m", "pip", "install", "--no-compile"]),
            *("--quiet", "--constraint", str(ROOT / "constraints.txt"), wanted),
        ]
    )
    took_s, size_mb = time.perf_counter() - began_s, _size_mb(environment)
    fits = size_mb <= MOST_MB.get(name, size_mb)
    yield f"{name}: installed in {took_s:.0f} s, {size_mb:.0f} MB", done and fits
    if not done:
        return
    work = folder / f"{name}-work"
    shutil.copytree(EXAMPLE, work / "run")
    for check in CHECKS[name]:
        began_s = time.perf_counter()
        ran = subprocess.run(
            [str(environment / "bin/gb"), *check.words],
            capture_output=True,
            text=True,
            check=False,
            cwd=work,
            env={n: v for n, v in os.environ.items() if n != "PYTHONPATH"},
        )
        good = ran.returncode == check.code and check.printed in ran.stdout + ran.stderr
        took_s = time.perf_counter() - began_s
        yield f"{name}: gb {' '.join(check.words)} ({took_s:.1f} s, exit {ran.returncode})", good
        if not good:
            print(ran.stdout, ran.stderr, sep="\n", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Run every check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help="light, bench or both (default)")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the result")
    given = parser.parse_args(arguments)
    failed = 0
    for line, good in build(given.dist):
        failed += _verdict(line, good)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sets.split(",") if not failed else []:
            (wheel,) = given.dist.glob("*.whl")
            for line, good in try_set(name, wheel, Path(folder)):
                failed += _verdict(line, good)
    return int(failed > 0)


def _verdict(line: str, good: bool) -> bool:
    print(f"{'ok' if good else 'FAILED':<8}{line}", flush=True)
    return not good


def _run(command: Sequence[str]) -> bool:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        print(ran.stdout, ran.stderr, sep="\n", file=sys.stderr)
    return ran.returncode == 0


def _size_mb(folder: Path) -> float:
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc") / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
