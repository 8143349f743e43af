"""How an exported program takes its inputs and returns its outputs, in containers of Python alone.

A tree names the classes that hold a program's inputs and outputs, and torch imports what it names.
So a program is called with its tensors side by side, and returns tuples, lists and dicts instead of
other classes: of a dataclass, a named tuple or a ``ModelOutput`` a dict with the same names.
"""

import json
import re
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value of a JSON document that was not checked yet."""

_PLAIN = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})
_NAME = re.compile(r"(?!.*__\w+__)[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_LEAF: dict[str, Json] = {"type": None, "context": None, "children_spec": []}
_VERSION = 1


def is_plain_tree(text: str) -> bool:
    """Say whether a tree is made of tuples, lists and dicts with plain names alone."""
    try:
        version, root = json.loads(text)
        return version == _VERSION and _is_plain(root)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_plain(node: Json) -> bool:
    names = _context(node)
    named = names is None or (isinstance(names, list) and all(map(_is_name, names)))
    return node["type"] in _PLAIN and named and all(map(_is_plain, node["children_spec"]))


def plain_call(program: dict[str, Json]) -> None:
    """Let a program take its inputs one by one, and return plain containers; in place.

    What is no tree is left as it is, and is refused with the program's other texts.
    """
    module = program["graph_module"]
    try:
        fields = module.get("treespec_namedtuple_fields") or {}
        arguments = _arguments(module)
        for entry in module["module_call_graph"]:
            if entry["fqn"]:
                entry["signature"] = None  # of a part: needed only to take the program apart
                continue
            signature = entry["signature"]
            if is_plain_tree(signature["in_spec"]) and arguments:
                leaves = [dict(_LEAF) for _ in arguments]
                positional = _tree("builtins.tuple", "null", leaves)
                call = [positional, _tree("builtins.dict", "[]", [])]
                signature["in_spec"] = json.dumps([_VERSION, _tree("builtins.tuple", "null", call)])
                signature["forward_arg_names"] = arguments
            version, root = json.loads(signature["out_spec"])
            signature["out_spec"] = json.dumps([version, _plain_tree(root, fields)])
        module["treespec_namedtuple_fields"] = {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return


def _arguments(module: dict[str, Json]) -> list[str]:
    """Return the names of a program's inputs; empty: one of them is no tensor."""
    users = [
        spec["user_input"]["arg"].get("as_tensor", {}).get("name")
        for spec in module["signature"]["input_specs"]
        if "user_input" in spec
    ]
    return users if all(users) else []


def _plain_tree(node: Json, fields: dict[str, Json]) -> dict[str, Json]:
    """Return a tree whose classes are Python's own."""
    children = [_plain_tree(child, fields) for child in node["children_spec"]]
    if node["type"] in _PLAIN:
        return _tree(node["type"], node["context"], children)
    names = _context(node)
    if isinstance(names, str):
        names = fields.get(names, {}).get("field_names")  # a named tuple's class
    if isinstance(names, list) and names and isinstance(names[0], list):
        names = names[0]  # a dataclass: fields with a value, then those that are None
    if isinstance(names, list) and len(names) == len(children) and all(map(_is_name, names)):
        return _tree("builtins.dict", json.dumps(names), children)
    return _tree("builtins.list", "null", children)


def _tree(kind: str | None, context: Json, children: list[dict[str, Json]]) -> dict[str, Json]:
    return {"type": kind, "context": context, "children_spec": children}


def _context(node: Json) -> Json:
    """Return what a node says beside its class: the keys of a dict."""
    context = node["context"]
    try:
        return json.loads(context) if isinstance(context, str) else context
    except ValueError:
        return context


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
