"""From the nodes of a file to a tree: parent before child, whatever the file says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chatcore.conversations.exchange.values import ImportedMessage


@dataclass(frozen=True)
class Node:
    """A node of the file's tree. Without a message it is left out, and its children go to what stands above it."""

    id: str
    parent_id: str | None
    message: ImportedMessage | None


@dataclass(frozen=True)
class Arranged:
    """Messages, parent before child and else in the file's order. `doubled`: those whose id came a second time."""

    messages: tuple[ImportedMessage, ...]
    doubled: int
    _kept: Mapping[str, str | None]

    def nearest(self, node_id: str | None) -> str | None:
        """The message at that node, or the nearest above; without one, the last of all."""
        found = self._kept.get(node_id) if node_id is not None else None
        return found or (self.messages[-1].id if self.messages else None)


def arrange(nodes: Iterable[Node]) -> Arranged:
    """Missing parents make roots, circles are cut. Of two nodes with one id the first has the children; the second
    stays beside it under an id of its own, unless it is the same.
    """
    found, doubled = _unique(nodes)
    kept = _kept(found)
    parents = {node.id: kept.get(node.parent_id or "") for node in found.values() if node.message is not None}
    messages: list[ImportedMessage] = []
    placed: set[str] = set()
    for node_id in parents:
        for here in _unplaced(node_id, parents, placed):
            message, parent_id = found[here].message, parents[here]
            assert message is not None
            messages.append(replace(message, parent_id=parent_id if parent_id in placed else None))
            placed.add(here)
    return Arranged(tuple(messages), doubled, kept)


def _unique(nodes: Iterable[Node]) -> tuple[dict[str, Node], int]:
    found: dict[str, Node] = {}
    times: dict[str, int] = {}
    doubled = 0
    for node in nodes:
        first = found.get(node.id)
        if first is not None:
            doubled += 1
            if first == node or node.message is None:
                continue
            times[node.id] = times.get(node.id, 1) + 1
            other_id = f"{node.id}#{times[node.id]}"
            node = Node(other_id, node.parent_id, replace(node.message, id=other_id))
        found.setdefault(node.id, node)
    return found, doubled


def _kept(nodes: Mapping[str, Node]) -> dict[str, str | None]:
    """For each node the nearest one with a message, itself first."""
    kept: dict[str, str | None] = {}
    for node_id in nodes:
        passed: dict[str, None] = {}
        here: str | None = node_id
        while here is not None and here not in kept and here not in passed:
            node = nodes.get(here)
            if node is None or node.message is not None:
                break
            passed[here] = None
            here = node.parent_id
        if here is None or here in passed or (here not in kept and here not in nodes):
            end = None
        else:
            end = kept.setdefault(here, here)
        kept.update(dict.fromkeys(passed, end))
    return kept


def _unplaced(node_id: str, parents: Mapping[str, str | None], placed: set[str]) -> list[str]:
    """The node and what stands above it and has no place yet, uppermost first."""
    chain: dict[str, None] = {}
    here: str | None = node_id
    while here is not None and here not in placed and here not in chain:
        chain[here] = None
        here = parents[here]
    return list(chain)[::-1]
