"""What a stranger's run directory may hold: each function spoils one thing of a run."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import yaml

TEXTS = (
    "",
    ".",
    "..",
    "../../../x",
    "/etc/passwd",
    "-x",
    "--help",
    "a\x00b",
    "a\nb\n# heading",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe",
    "[bold]x[/bold]",
    "a[/x]b",
    "![p](http://t.example/p.png)",
    "[a](javascript:alert(1))",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a|b",
    "{{ 7 * 7 }}",
    "\\input{/etc/passwd}",
    "evilmod:build",
    "x" * 100_000,
    "\ud800",
    "9" * 400,
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**400,
    200_000_000,
    1e308,
    -1e308,
    5e-324,
    [],
    {},
    [[]],
    [None],
    {"a": {"b": 1}},
    *TEXTS,
)
DEEP = 100_000
Mutation = Callable[[Path, Path, Random], str]


def damage_bytes(run: Path, home: Path, draw: Random) -> str:
    """Change, cut or lengthen a file."""
    file = draw.choice(_files(run))
    data = bytearray(file.read_bytes())
    how = draw.choice(["flip", "cut", "repeat", "empty", "noise"])
    if how == "flip" and data:
        for _ in range(draw.choice([1, 10, 100])):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif how == "cut" and data:
        del data[draw.randrange(len(data)) :]
    elif how == "repeat":
        data *= 2
    elif how == "empty":
        data.clear()
    else:
        data = bytearray(draw.randrange(256) for _ in range(1000))
    file.write_bytes(bytes(data))
    return f"{how} {file.relative_to(run)}"


def lose_file(run: Path, home: Path, draw: Random) -> str:
    """Remove a file."""
    file = draw.choice(_files(run))
    file.unlink()
    return f"lost {file.relative_to(run)}"


def change_study(run: Path, home: Path, draw: Random) -> str:
    """Put a value where none of its kind belongs."""
    path = run / "study.yaml"
    members = _members(path)
    said = _spoil(members, draw)
    path.write_text(_as_yaml(members))
    return f"study.yaml: {said}"


def change_environment(run: Path, home: Path, draw: Random) -> str:
    """Put a value where none of its kind belongs."""
    path = run / "environment.json"
    members = _members(path)
    said = _spoil(members, draw)
    path.write_text(json.dumps(members))
    return f"environment.json: {said}"


def change_journal(run: Path, home: Path, draw: Random) -> str:
    """Put a value where none of its kind belongs, under a checksum that is right."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    number = draw.randrange(len(lines) or 1)
    try:
        members = json.loads(lines[number])
        del members["checksum"]
    except (LookupError, ValueError, RecursionError, TypeError):
        return "journal.jsonl is spoilt already"
    said = _spoil(members, draw)
    lines[number] = with_checksum(members)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"journal.jsonl, line {number}: {said}"


def change_order(run: Path, home: Path, draw: Random) -> str:
    """Drop, repeat or move lines of the journal."""
    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    how = draw.choice(["drop", "repeat", "shuffle", "none"])
    if how == "drop":
        del lines[draw.randrange(len(lines)) :: 2]
    elif how == "repeat":
        lines.append(draw.choice(lines))
    elif how == "shuffle":
        draw.shuffle(lines)
    else:
        lines.clear()
    path.write_bytes(b"".join(lines))
    return f"journal.jsonl: {how}"


def nest(run: Path, home: Path, draw: Random) -> str:
    """Nest brackets deeper than a parser recurses."""
    name = draw.choice(["study.yaml", "environment.json", "journal.jsonl"])
    text = "[" * DEEP + "]" * DEEP
    if name == "study.yaml":
        text = f"schema: 1\nname: {'[' * 3000}{']' * 3000}\n"
    (run / name).write_text(text)
    return f"nested {name}"


def expand_aliases(run: Path, home: Path, draw: Random) -> str:
    """Write a YAML file of a few hundred bytes that stands for a thousand million values."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    study = (run / "study.yaml").read_text()
    where = draw.choice(["name", "models", "settings", "extra"])
    (run / "study.yaml").write_text("\n".join([*rows, study, f"{where}: *a8", ""]))
    return f"aliases in {where}"


def link(run: Path, home: Path, draw: Random) -> str:
    """Put a link to something of the user where a file or folder of the run is, or will be."""
    place = run / draw.choice(
        [
            *(str(path.relative_to(run)) for path in run.rglob("*")),
            ".environment.json",
            ".study.yaml",
            ".lock",
            "report",
            "report/figures",
            "report/tables",
            "report/index.html",
            "report/report.md",
            "report/figures/energy.svg",
            "report/figures/energy_per_image.svg",
            "dataset.nc",
            f".dataset.nc.{os.getpid()}",
            "cache",
            "reference",
            "accuracy",
            "checkpoints",
        ]
    )
    target = draw.choice([home, *home.rglob("*"), home / "new"])
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    kind = draw.choice(["link", "link", "link", "second name", "pipe"])
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "second name" and target.is_file():
        place.hardlink_to(target)
    else:
        place.symlink_to(target)
    return f"{kind} {place.relative_to(run)} -> {target.name}"


def endless(run: Path, home: Path, draw: Random) -> str:
    """Put a device that never ends where a file is."""
    file = draw.choice(_files(run))
    file.unlink()
    file.symlink_to("/dev/zero")
    return f"{file.relative_to(run)} -> /dev/zero"


def spoil_trace(run: Path, home: Path, draw: Random) -> str:
    """Write a trace that is a bomb, holds objects, or is none."""
    traces = sorted((run / "traces").glob("*.npz")) or [run / "traces" / "x.npz"]
    file = draw.choice(traces)
    file.parent.mkdir(exist_ok=True)
    how = draw.choice(["objects", "huge", "text", "flags", "names", "no zip", "shape"])
    if how == "no zip":
        file.write_bytes(b"\x93NUMPY")
    else:
        _write_archive(file, how)
    return f"trace {how}"


def spoil_dataset(run: Path, home: Path, draw: Random) -> str:
    """Compile the dataset, and edit it as nobody should."""
    import h5py
    import numpy as np

    import greenbatch

    try:
        greenbatch.open(run)
        path = run / "dataset.nc"
    except Exception as error:  # spoilt already
        return f"no dataset: {type(error).__name__}"
    how = draw.choice(
        ["scale", "external", "outside", "soft", "lose", "attribute", "vast", "type", "virtual"]
    )
    with h5py.File(path, "r+") as file:
        names = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        numbers = [name for name in names if file[name].dtype.kind == "f" and file[name].size]
        name = draw.choice(numbers or names)
        if how == "scale":
            file[name][...] = file[name][...] / 1000
        elif how == "attribute":
            where = file[name] if draw.random() < 0.3 else file
            key = draw.choice([*where.attrs, "schema", "study", "environment"])
            value = draw.choice(["{", "[]", "many", *TEXTS[2:8], np.float64(1e300), [1, 2, 3]])
            if not (isinstance(value, str) and ("\x00" in value or "\ud800" in value)):
                where.attrs[key] = value
        else:
            shape = file[name].shape
            del file[name]
            secret = str(home / "id_ed25519")
            if how == "external":
                file.create_dataset(name, (16,), "u1", external=[(secret, 0, 16)])
            elif how == "outside":
                file[name] = h5py.ExternalLink(str(home / "dataset.nc"), "/x")
            elif how == "soft":
                file[name] = h5py.SoftLink(f"/{names[0]}")
            elif how == "vast":
                file.create_dataset(name, (1 << 40,), "f8", chunks=(1 << 20,), compression="gzip")
            elif how == "type":
                file.create_dataset(name, data=np.array([b"x"] * 3, dtype="S1"))
            elif how == "virtual":
                layout = h5py.VirtualLayout(shape=shape or (1,), dtype="f8")
                layout[...] = h5py.VirtualSource(str(home / "dataset.nc"), "x", shape or (1,))
                file.create_virtual_dataset(name, layout)
    return f"dataset.nc: {how} {name}"


def plant_code(run: Path, home: Path, draw: Random) -> str:
    """Name a module of the sender as a source of a network, as a meter, or as a compiled cache."""
    path = run / "study.yaml"
    members = _members(path)
    how = draw.choice(["sources", "meters", "backends", "cache"])
    if how == "cache":
        package = run / "cache" / "alexnet" / "package"
        package.mkdir(parents=True)
        (package / "data.so").write_bytes(b"\x7fELF" + bytes(100))
    elif isinstance(members, dict):
        members[how] = {"sources": {"alexnet": "evilmod:build"}}.get(how, ["evilmod:build"])
        path.write_text(_as_yaml(members))
    return f"code in {how}"


MUTATIONS: Mapping[str, Mutation] = {
    function.__name__: function
    for function in (
        damage_bytes,
        lose_file,
        change_study,
        change_environment,
        change_journal,
        change_order,
        spoil_trace,
        spoil_dataset,
        plant_code,
        nest,
        expand_aliases,
        endless,
        link,
    )
}
"""In the order in which they are made: none may follow a link that another has put in its way."""


def with_checksum(members: Mapping[str, Any]) -> bytes:
    """Write a line of a journal as `greenbatch.records.encode` does, whatever its members are."""

    def canonical(what: Mapping[str, Any]) -> bytes:
        return json.dumps(what, sort_keys=True, separators=(",", ":")).encode()

    checksum = hashlib.sha256(canonical(members)).hexdigest()[:16]
    return canonical({**members, "checksum": checksum})


def _files(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file() and not path.is_symlink())


def _members(path: Path) -> Any:
    """Read a description of a run; one that was spoilt before is as if it were empty."""
    try:
        text = path.read_bytes()
        return {} if b"*a8" in text else yaml.safe_load(text) or {}
    except (OSError, yaml.YAMLError, UnicodeError, RecursionError):
        return {}


def _spoil(members: Any, draw: Random) -> str:
    """Replace, remove or add a value somewhere in a tree; return what was done."""
    place = members
    path = []
    while isinstance(place, dict | list):
        keys = sorted(place, key=str) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return "nothing to change"
        key: Any = draw.choice(keys)
        path.append(str(key))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.7:
            place = inner
            continue
        how = draw.choice(["replace", "replace", "replace", "remove", "add", "rename"])
        value = draw.choice(VALUES)
        if how == "remove":
            del place[key]
        elif how == "add" and isinstance(place, dict):
            place[draw.choice(["extra", "__class__", "schema", *TEXTS[3:6]])] = value
        elif how == "rename" and isinstance(place, dict):
            place[str(draw.choice(TEXTS[3:12]))] = place.pop(key)
        else:
            place[key] = value
        return f"{how} {'.'.join(path)} {value!r:.40}"
    return "nothing to change"


def _as_yaml(members: Any) -> str:
    """Write YAML; what YAML cannot write is written as JSON, which is YAML."""
    try:
        return str(yaml.safe_dump(members, allow_unicode=False))
    except (yaml.YAMLError, UnicodeError):
        return json.dumps(members)


def _write_archive(file: Path, how: str) -> None:
    import numpy as np

    stream = io.BytesIO()
    array = np.linspace(0, 1, 10)
    if how == "objects":
        array = np.array([{"a": 1}], dtype=object)
    elif how == "text":
        array = np.array(["a", "b"])
    elif how == "shape":
        array = np.ones((2, 3, 4))
    np.save(stream, array, allow_pickle=True)
    data = stream.getvalue()
    if how == "huge":
        data = data.replace(b"(10,), }            ", b"(1000000000000,), } ")
    names = ["package-0_t_s.npy", "package-0_energy_j.npy", "latency_s.npy"]
    if how == "names":
        names = ["../../x.npy", "/etc/x.npy", "\x1b[31m.npy"]
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    if how == "flags":
        spoilt = bytearray(file.read_bytes())
        at = spoilt.find(b"PK\x01\x02")
        spoilt[at + 8] |= 1  # 'encrypted'
        file.write_bytes(bytes(spoilt))
