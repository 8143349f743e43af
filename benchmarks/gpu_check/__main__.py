"""The command: ``python -m benchmarks.gpu_check [--out FOLDER] [--seconds 600]``."""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

OLDEST = (3, 11)
_ENDING_S = 20.0


def main() -> int:
    """Check, and return the exit code."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"{sys.executable} is Python {found}, wanted 3.11 or newer; name one by PYTHON=PATH")
        return 3
    from benchmarks.gpu_check import children

    sys.path.insert(0, str(children.ROOT / "src"))
    options = _parse()
    return check(options.out, options.seconds, tuple(options.model or ()))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make gpu-check",
        description="Check greenbatch on this machine's GPU, and write a folder with one page.",
        epilog="Exit 0: all that could run is ok. Exit 1: something failed. Exit 3: nothing could "
        "run on a GPU.",
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="the folder")
    parser.add_argument("--seconds", type=float, default=600.0, help="at most, in all")
    parser.add_argument("--model", action="append", help="default: the five study models")
    return parser.parse_args()


def check(folder: Path, seconds: float, models: tuple[str, ...] = ()) -> int:
    """Take all steps, and return the exit code.

    Args:
        folder: For the page and all that belongs to it; of an earlier check it is replaced.
        seconds: How long it may take in all.
        models: The names of those to measure; empty: the five study models.
    """
    from benchmarks.gpu_check import page, steps
    from benchmarks.gpu_check.lines import exit_code

    if fault := _make(folder):
        print(fault)
        return 2
    shown = 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the page is written

    def seen(taken: list[steps.Taken]) -> None:
        nonlocal shown
        lines = page.all_lines(taken)
        for line in lines[shown:]:
            print(f"{line.verdict!s:8} {line.what}{f': {line.reason}' * bool(line.reason)}")
        sys.stdout.flush()
        shown = len(lines)
        page.write(folder, taken, complete=False)

    with tempfile.TemporaryDirectory(prefix="scratch-", dir=folder) as scratch:
        names = models or steps.study_models()
        state = steps.Check(folder.resolve(), Path(scratch).resolve(), names)
        taken = steps.take(steps.standard(), state, seconds - _ENDING_S, seen)
    page.mask(folder)
    page.write(folder, taken, complete=True)
    lines = page.all_lines(taken)
    print(f"{page.counted(lines)}; the page is {folder / page.PAGE}")
    return exit_code(lines)


def _make(folder: Path) -> str | None:
    """Make the folder empty; return why it cannot be, one sentence."""
    from benchmarks.gpu_check import page

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / page.DATA).is_file():
            return f"{folder} holds something else than a check; move it, or name another by OUT="
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot make the folder {folder}: {error.strerror}; name another by OUT="
    return None


if __name__ == "__main__":
    sys.exit(main())
