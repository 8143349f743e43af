"""Writes the tables of kernels in ``exporter/placement/`` anew.

``python tools/kernel_tables.py cuda`` reads the registry of the installed onnxruntime-gpu. It needs
a machine on which the CUDA and TensorRT libraries load: elsewhere ONNX Runtime ends the process.
``python tools/kernel_tables.py tensorrt FILE COMMIT`` reads ``docs/operators.md`` of
https://github.com/onnx/onnx-tensorrt at a commit.
"""

import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "exporter" / "placement"
_NEWEST = (1 << 31) - 1
_LEFT_OUT = ("com.ms.internal.nhwc", "com.microsoft.nchwc")  # made after nodes are assigned
_TYPES = {
    "FP32": "float", "FP16": "float16", "BF16": "bfloat16", "INT32": "int32", "INT64": "int64",
    "INT8": "int8", "INT4": "int4", "UINT8": "uint8", "FP8": "float8e4m3fn", "BOOL": "bool",
}  # fmt: skip


def cuda() -> None:
    """Write which operators, operator sets and types the CUDA provider has kernels for."""
    import onnxruntime as ort
    from onnxruntime.capi import _pybind_state as state

    ort.preload_dlls()
    kernels: dict[str, dict[str, dict[str, list[dict[str, list[str]]]]]] = {}
    for kernel in state.get_all_opkernel_def():
        if kernel.provider != "CUDAExecutionProvider" or kernel.domain in _LEFT_OUT:
            continue
        first, last = kernel.version_range
        versions = str(first) if first == last else f"{first}-{'' if last == _NEWEST else last}"
        types = {
            name: sorted(text.removeprefix("tensor(").removesuffix(")") for text in texts)
            for name, texts in sorted(kernel.type_constraints.items())
        }
        of_operator = kernels.setdefault(kernel.domain, {}).setdefault(kernel.op_name, {})
        of_operator.setdefault(versions, []).append(types)
    for operators in kernels.values():
        for of_operator in operators.values():
            for key, forms in of_operator.items():
                of_operator[key] = _joined(forms)
    if not kernels:
        sys.exit("the installed onnxruntime has no CUDA kernels; wanted onnxruntime-gpu")
    table = {
        "provider": "CUDAExecutionProvider",
        "version": ort.__version__,
        "source": f"the kernel registry of onnxruntime-gpu {ort.__version__} "
        "(get_all_opkernel_def), as docs/OperatorKernels.md of that version lists it",
        "kernels": {domain: dict(sorted(kernels[domain].items())) for domain in sorted(kernels)},
    }
    _write("cuda.json", table)


def tensorrt(file: Path, commit: str) -> None:
    """Write which operators and types TensorRT's ONNX parser takes."""
    text = file.read_text(encoding="utf-8")
    found = re.search(r"TensorRT ([\d.]+) supports", text)
    if found is None:
        sys.exit(f"{file} names no version of TensorRT; wanted docs/operators.md of onnx-tensorrt")
    operators = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) > 2 and cells[1].startswith("Y"):
            types = [_TYPES[name] for name in re.findall(r"\w+", cells[2]) if name in _TYPES]
            operators[cells[0]] = sorted(set(types))
    table = {
        "provider": "TensorrtExecutionProvider",
        "version": found[1],
        "source": f"docs/operators.md of https://github.com/onnx/onnx-tensorrt at {commit}",
        "operators": operators,
    }
    _write("tensorrt.json", table)


def _joined(forms: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    """Join kernels that differ in one constraint alone: one is registered for each type."""
    joined: list[dict[str, list[str]]] = []
    for form in forms:
        for other in joined:
            differ = [key for key in form if form[key] != other.get(key)]
            if form.keys() == other.keys() and len(differ) <= 1:
                for key in differ:
                    other[key] = sorted({*other[key], *form[key]})
                break
        else:
            joined.append({key: list(types) for key, types in form.items()})
    return joined if len(joined) == len(forms) else _joined(joined)


def _write(name: str, table: dict[str, object]) -> None:
    text = json.dumps(table, indent=1, ensure_ascii=False)
    text = re.sub(
        r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{re.sub(chr(10) + ' *', ' ', m[1])}]", text
    )
    (FOLDER / name).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cuda"]:
            cuda()
        case ["tensorrt", file, commit]:
            tensorrt(Path(file), commit)
        case _:
            sys.exit(__doc__)
