"""Which of timm's architectures are exported and proved: a seeded draw of families.

    python benchmarks/timm_families.py --families 40 --seed 0 --out FOLDER

Of each family (a module of timm) the smallest classifier is taken: of the names that promise a
small network, the one with the fewest parameters, then the smallest input. Each is exported by
`gb export timm:NAME --weights random` in a process of its own, and its artifact is deleted. The
table has one row per network: what was proved, or the reason against it, in the words of the
exporter. The exit code is 1 if any was refused.
"""

import argparse
import contextlib
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_LIMIT_S = 900
_BUILT = 8  # networks of a family of which the smallest is taken
_SMALL = ("test", "atto", "femto", "pico", "nano", "xxs", "xs", "tiny", "ti_", "t_", "b0", "lite0")
_LATER = ("0", "small", "s_", "s$", "1", "m_", "base")
_LARGEST_PARAMETERS = 120_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a network."""

    family: str
    network: str
    parameters: int
    seconds: float
    outcome: str
    proved: bool


def families() -> dict[str, list[str]]:
    """Return the names of timm's networks by the module that defines them."""
    import timm

    found: dict[str, list[str]] = defaultdict(list)
    for module in timm.list_modules():
        found[module].extend(timm.list_models(module=module))
    return {module: names for module, names in sorted(found.items()) if names}


def smallest(names: list[str]) -> tuple[str, int] | None:
    """Return the network with the fewest parameters and their number; ``None``: all are large.

    The networks are built without memory for their weights.
    """
    import timm
    import torch

    sizes = []
    for name in sorted(names, key=_promise)[:_BUILT]:
        with contextlib.suppress(Exception), warnings.catch_warnings():  # some need memory
            warnings.simplefilter("ignore")
            with torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):
                module = timm.create_model(name, pretrained=False)
            side = max(timm.get_pretrained_cfg_value(name, "input_size") or (3, 224, 224))
            sizes.append((sum(p.numel() for p in module.parameters()), side, name))
    sizes = [size for size in sizes if size[0] <= _LARGEST_PARAMETERS]
    return (min(sizes)[2], min(sizes)[0]) if sizes else None


def _promise(name: str) -> tuple[int, int, str]:
    """Sort a name that promises a small network before others."""
    words = (*_SMALL, *_LATER)
    found = [rank for rank, word in enumerate(words) if re.search(rf"(?:^|_|\d){word}", name)]
    return (min(found, default=len(words)), len(name), name)


def export(family: str, network: str, parameters: int, folder: Path) -> Row:
    """Export one network in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "greenbatch.cli", "export", f"timm:{network}"]
    command += ["--weights", "random", "--json", "--out", str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Row(family, network, parameters, _LIMIT_S, f"no result after {_LIMIT_S} s", False)
    finally:
        for path in folder.glob(f"timm_{network}*"):
            path.unlink()
    seconds = time.perf_counter() - began
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
        outcome = f"proved; largest relative error {found['max_rel']:.1e}"
        return Row(family, network, parameters, seconds, outcome, True)
    lines = done.stderr.strip().splitlines()
    reason = next((line for line in reversed(lines) if line.startswith("gb: ")), lines[-1])
    return Row(family, network, parameters, seconds, reason.removeprefix("gb: "), False)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", type=int, default=40, help="Number of families. Default: 40.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of the draw. Default: 0.")
    parser.add_argument("--out", type=Path, help="Folder for the table as JSON lines.")
    options = parser.parse_args()
    known = families()
    drawn = random.Random(options.seed).sample(sorted(known), len(known))
    rows: list[Row] = []
    print("| family | network | parameters | s | outcome |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for family in drawn:
            if len(rows) == options.families:
                break
            if (found := smallest(known[family])) is None:
                continue
            row = export(family, *found, Path(folder))
            rows.append(row)
            print(
                f"| {row.family} | {row.network} | {row.parameters / 1e6:.1f} M | "
                f"{row.seconds:.0f} | {row.outcome} |",
                flush=True,
            )
    proved = sum(row.proved for row in rows)
    print(f"\n{proved} of {len(rows)} proved; {len(known)} families, seed {options.seed}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({name: getattr(row, name) for name in Row.__slots__}) for row in rows]
        (options.out / "timm_families.jsonl").write_text("\n".join(lines) + "\n")
    return int(proved < len(rows))


if __name__ == "__main__":
    sys.exit(main())
