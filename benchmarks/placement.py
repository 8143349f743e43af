"""Which nodes CUDA and TensorRT would leave to the CPU, over many networks.

``python benchmarks/placement.py --all --timm vit --timm swin --out placement.jsonl`` exports each
network in a process of its own, checks its graph, and appends a line; what is in the file already
is not exported again. ``--table`` prints the file as a table of families. Nothing is proved here:
`gb export` proves what it exports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from greenbatch.models import ModelSpec

_COLUMNS = (("cuda", "computing"), ("cuda", "shape"), ("tensorrt", "computing"))
_IN_A_PROCESS = 10  # networks: importing torch takes longer than exporting a small one


def main() -> None:
    """Read the options, and go through the networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help="names as 'gb export' takes them")
    parser.add_argument("--all", action="store_true", help="all networks of 'gb models'")
    parser.add_argument("--timm", action="append", default=[], help="a family of timm, e.g. vit")
    parser.add_argument("--most", type=float, default=700e6, help="parameters of the largest")
    parser.add_argument("--out", type=Path, default=Path("placement.jsonl"))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        for name in options.networks:
            print(json.dumps(_tried(name, options.most)), flush=True)
        return
    lines = _lines(options.out)
    if options.table:
        print(_table(lines.values()))
        return
    names = _names(options.networks, options.all, options.timm)
    left = [name for name in names if name not in lines]
    for first in range(0, len(left), _IN_A_PROCESS):
        _run(left[first : first + _IN_A_PROCESS], options.most, options.out)


def _names(networks: Iterable[str], every: bool, families: Iterable[str]) -> list[str]:
    from greenbatch.models import registry

    names = list(networks)
    if every:
        names.extend(sorted(registry.names(), key=lambda n: registry.find(n).parameters))
    for family in families:
        import timm

        names.extend(f"timm:{name}" for name in timm.list_models(f"{family}*"))
    return names


def _lines(path: Path) -> dict[str, dict[str, object]]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["network"]: line for line in lines}


def _run(names: list[str], most: float, out: Path) -> None:
    """Look at some networks in a process of their own; what ends it is of the one it was at."""
    command = [sys.executable, __file__, "--here", "--most", str(most), *names]
    seen = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for text in child.stdout:
            seen += 1
            _append(out, text)
    if child.returncode and seen < len(names):
        _append(out, json.dumps({"network": names[seen], "error": f"exit {child.returncode}"}))
        if rest := names[seen + 1 :]:
            _run(rest, most, out)


def _append(out: Path, text: str) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(text.strip() + "\n")
    print(text.strip()[:200], flush=True)


def _tried(name: str, most: float) -> dict[str, object]:
    began = time.perf_counter()
    try:
        line = _look(name, most)
    except Exception as error:  # of any library: the others are looked at all the same
        line = {"network": name, "error": f"{type(error).__name__}: {error}"[:300]}
    return line | {"seconds": round(time.perf_counter() - began, 1)}


def _look(name: str, most: float) -> dict[str, object]:
    from greenbatch.exporter.placement.check import check_placement
    from greenbatch.exporter.torch_to_onnx import write_graph

    module, spec = _build(name)
    parameters = sum(p.numel() for p in module.parameters())
    line: dict[str, object] = {"network": name, "parameters": parameters}
    if parameters > most:
        return line | {"error": f"not exported: more than {most:.3g} parameters"}
    with tempfile.TemporaryDirectory() as folder:
        graph = write_graph(module, spec, Path(folder) / "network.onnx")
        for left in check_placement(Path(folder) / "network.onnx"):
            line[left.provider] = {
                "nodes": left.nodes,
                "computing": list(left.computing),
                "shape": list(left.shape),
            }
    return line | {"nodes": graph.nodes}


def _build(name: str) -> "tuple[nn.Module, ModelSpec]":
    """Build a network with the weights that its code draws: only its graph is looked at."""
    from greenbatch.models import ModelSpec, find
    from greenbatch.models.build import build
    from greenbatch.models.sources.load_timm import load_timm
    from greenbatch.models.weights.load import Weights

    if not name.startswith("timm:"):
        return build(find(name)).eval(), find(name)
    module, taken, _ = load_timm(name.removeprefix("timm:"), Weights.parse("random"))
    return module.eval(), ModelSpec(name=name, family="timm", parameters=0, input=taken)


def _of(line: Mapping[str, object], provider: str) -> Mapping[str, list[str]]:
    found = line[provider]
    assert isinstance(found, dict)
    return found


def _table(lines: Iterable[Mapping[str, object]]) -> str:
    families: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for line in lines:
        name = str(line["network"])
        family = "torchvision"
        if name.startswith("timm:"):
            family = "timm " + name.removeprefix("timm:").split("_")[0]
        families[family].append(line)
    rows = ["| family | networks | not exported | CUDA: computing | CUDA: shape | TensorRT |"]
    rows.append("|---|---|---|---|---|---|")
    for family, found in families.items():
        good = [line for line in found if "error" not in line]
        counts = [
            sum(len(_of(line, provider)[kind]) for line in good) for provider, kind in _COLUMNS
        ]
        cells = [family, len(good), len(found) - len(good), *counts]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
