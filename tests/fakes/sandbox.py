"""Runs the command on what a stranger sent, under limits, and tells what it touched elsewhere.

The commands are forked from a process that has imported what they need, so that hundreds of them
are a matter of minutes.
"""

import hashlib
import multiprocessing
import os
import resource
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 12 << 30  # of addresses, of which libraries alone take several GB
CPU_S = 60
LARGEST_FILE_BYTES = 200_000_000
_FORKS = multiprocessing.get_context("forkserver")
_PRELOADED = (
    "greenbatch.cli.application",
    "greenbatch.workflows.inference",
    "greenbatch.analysis.report.build",
    "greenbatch.analysis.training.report.build",
    "matplotlib.backends.backend_svg",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "statsmodels.api",
    "scipy.stats",
    "xarray",
    "netCDF4",
    "pandas",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did.

    Attributes:
        arguments: Its command line.
        code: Its exit code, or the negative number of the signal that ended it.
        stdout, stderr: What it printed.
    """

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class House:
    """A home with precious files, beside the folder that the stranger's run lies in.

    Attributes:
        root: Of everything.
        home: The decoy; nothing in it may change.
        inbox: Holds the run, and Python modules named like packages that are imported.
    """

    root: Path
    home: Path
    inbox: Path

    @property
    def ran(self) -> Path:
        """The file that a planted module writes when it is imported."""
        return self.root / "PWNED"

    def gb(self, *arguments: object, timeout_s: float = 180.0) -> Outcome:
        """Run the command in the inbox."""
        words = tuple(map(str, arguments))
        streams = self.root / "streams"
        streams.mkdir(exist_ok=True)
        environment = {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_RUNTIME_DIR": str(self.root / "runtime"),
            "TMPDIR": str(self.root / "temporary"),
        }
        for name in ("cache", "state", "runtime", "temporary"):
            (self.root / name).mkdir(exist_ok=True, mode=0o700)
        process = _FORKS.Process(
            target=_gb, args=(words, str(self.inbox), str(streams), environment)
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = {name: (streams / name).read_text(errors="replace") for name in ("out", "err")}
        assert process.exitcode is not None
        return Outcome(words, process.exitcode, said["out"], said["err"])

    def snapshot(self) -> dict[str, tuple[str, int, int, str]]:
        """Return type, mode, time of the last change and contents of each entry of the home."""
        return {str(path.relative_to(self.home)): _facts(path) for path in _walk(self.home)}


@contextmanager
def house() -> Iterator[House]:
    """Build a home and an inbox in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="greenbatch-house-") as name:
        root = Path(name)
        home, inbox = root / "home", root / "inbox"
        for folder in (home / "thesis", home / "figures", inbox):
            folder.mkdir(parents=True)
        for file, text in _PRECIOUS.items():
            (home / file).write_text(text)
        found = House(root, home, inbox)
        for module in ("onnxruntime", "psutil", "numpy", "random", "typer", "yaml", "evilmod"):
            (inbox / f"{module}.py").write_text(f"open({str(found.ran)!r}, 'w').write('ran')\n")
        yield found


def forks() -> None:
    """Import what commands need once, in the process that they are forked from."""
    _FORKS.set_forkserver_preload(list(_PRELOADED))


_PRECIOUS = {
    ".bashrc": "export EDITOR=ed\n",
    ".netrc": "machine example.org login me password secret-of-the-decoy\n",
    "id_ed25519": "secret-of-the-decoy without a line's end",
    "journal.jsonl": '{"precious": "secret-of-the-decoy"}\n',
    "index.html": "<p>my page</p>\n",
    "results.csv": "a,b\n1,2\n",
    "photo.jpg": "not really\n",
    "dataset.nc": "precious\n",
    "thesis/chapter1.tex": "\\chapter{Precious}\n",
    "figures/energy_per_image.svg": "<svg/>\n",
}


def _gb(
    words: tuple[str, ...], folder: str, streams: str, environment: Mapping[str, str]
) -> None:  # runs in the forked process
    os.environ.update(environment)
    os.environ.pop("CI", None)
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(f"{streams}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as at a start
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    from greenbatch.cli import main

    main(list(words))


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from sorted(folder.rglob("*"))


def _facts(path: Path) -> tuple[str, int, int, str]:
    found = path.lstat()
    kind = stat.filemode(found.st_mode)
    contents = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return kind, found.st_mtime_ns, found.st_size, contents
