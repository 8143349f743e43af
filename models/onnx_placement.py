"""Where a session of ONNX Runtime runs each node, by its own record of the assignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

RECORD = "session.record_ep_graph_assignment_info"
"""The session's option that makes it keep the record; ``1`` sets it."""

_CPU = "CPUExecutionProvider"
_NAMED = 3  # nodes that a sentence names; all are counted


class Node(Protocol):
    """A node of a graph, as the record has it."""

    name: str
    op_type: str
    domain: str


class Subgraph(Protocol):
    """Nodes that one execution provider runs."""

    ep_name: str

    def get_nodes(self) -> Sequence[Node]:
        """Return them."""


class Recording(Protocol):
    """A session that keeps the record."""

    def get_provider_graph_assignment_info(self) -> Sequence[Subgraph]:
        """Return which nodes each provider runs."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the nodes of a session run, after the basic graph optimisations.

    Attributes:
        nodes: How many compute by execution provider.
        elsewhere: Those that compute on another provider than the requested one, by provider, as
            ``Conv 'name'``.
        shape_nodes: Those that compute sizes alone and were left to the CPU: see
            `greenbatch.models.shape_nodes`. They are not in ``nodes``.
    """

    nodes: Mapping[str, int]
    elsewhere: Mapping[str, Sequence[str]]
    shape_nodes: Sequence[str] = ()

    @property
    def total(self) -> int:
        """All nodes."""
        return sum(self.nodes.values()) + len(self.shape_nodes)

    def fault(self) -> str:
        """Name what runs elsewhere as a part of a sentence; empty: nothing."""
        return "; ".join(
            f"{len(nodes)} of {self.total} to {provider}: {name_some(nodes)}"
            for provider, nodes in self.elsewhere.items()
        )


def read_placement(session: Recording, provider: str, network: str | bytes | Path) -> Placement:
    """Read a session's record.

    Args:
        session: Made with `RECORD`.
        provider: ONNX Runtime's name of the requested execution provider.
        network: The file, or a serialised network: it is read only if nodes are on the CPU.
    """
    parts = [
        (part.ep_name, list(part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
    ]
    on_cpu = provider != _CPU and any(name == _CPU for name, _ in parts)
    sizes = _shape_nodes(network) if on_cpu else set()
    nodes: dict[str, int] = {}
    elsewhere: dict[str, list[str]] = {}
    apart: list[str] = []
    for name, found in parts:
        for node in found:
            if on_cpu and name == _CPU and not node.domain and (node.op_type, node.name) in sizes:
                apart.append(_called(node))
                continue
            nodes[name] = nodes.get(name, 0) + 1
            if name != provider:
                elsewhere.setdefault(name, []).append(_called(node))
    return Placement(nodes, elsewhere, tuple(apart))


def name_some(nodes: Sequence[str], most: int = _NAMED) -> str:
    """Name the first nodes, and count the others.

    >>> name_some(["Relu 'a'", "Relu 'b'", "Det 'c'", "Det 'd'"])
    "Relu 'a', Relu 'b', Det 'c' and 1 more"
    """
    more = len(nodes) - most
    return ", ".join(nodes[:most]) + (f" and {more} more" if more > 0 else "")


def _called(node: Node) -> str:
    domain = f"{node.domain}." if node.domain else ""
    return f"{domain}{node.op_type} {node.name!r}" if node.name else f"{domain}{node.op_type}"


def _shape_nodes(network: str | bytes | Path) -> set[tuple[str, str]]:
    from greenbatch.models.onnx_graph import load_graph
    from greenbatch.models.shape_nodes import find_shape_nodes

    return find_shape_nodes(load_graph(network))
