"""What clusters of ZooKeeper, etcd and centers have in common: nodes, a leader, faults."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from compare.node import Node, ServiceError, free_ports

__all__ = ["Cluster", "wait_until"]

WAIT_S = 60.0
"""Longest wait for what must happen. ZooKeeper needs 12 s to settle on a busy machine."""
LOOK_S = 0.003


def wait_until(holds: Callable[[], object], what: Callable[[], str], within_s: float) -> None:
    """Look every few milliseconds until `holds`.

    Raises:
        ServiceError: it did not within `within_s`; the text is what `what` returns then.
    """
    until_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until_s:
            raise ServiceError(f"not within {within_s:g} s: {what()}")
        time.sleep(LOOK_S)


class Cluster(ABC):
    """Nodes on free ports of loopback, each with its data below `folder`. One thread.

    `with` starts them, waits for their leader, and ends every process.

    Args:
        folder: for data and logs; must exist.
        size: how many nodes.
        ports_each: how many ports a node needs; the last one is its clients'.
    """

    kind: str
    """What it is, for error texts and file names."""

    def __init__(self, folder: Path, size: int, ports_each: int) -> None:
        self.folder = folder
        self.ids = list(range(1, size + 1))
        ports = free_ports(size * ports_each)
        self.ports = {i: ports[(i - 1) * ports_each : i * ports_each] for i in self.ids}
        self.nodes: dict[int, Node] = {}
        for each in self.ids:
            name = f"{self.kind}-{each}"
            words, environment = self.command(each)
            self.nodes[each] = Node(name, words, folder / f"{name}.log", environment)

    # -- what each kind says ------------------------------------------------------------

    @abstractmethod
    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        """Write what the node reads; return its command line and environment."""

    @abstractmethod
    def leader_seen_by(self, node: int) -> int | None:
        """Ask one node; None if it does not answer or serves nobody for want of a leader."""

    # -- questions ----------------------------------------------------------------------

    def address(self, node: int) -> str:
        """Return where clients reach the node."""
        return f"127.0.0.1:{self.ports[node][-1]}"

    def listening(self) -> int:
        """Return how many nodes accept connections of clients. Cheap: no client tries in vain."""
        count = 0
        for each in self.ids:
            with socket.socket() as sock:
                count += sock.connect_ex(("127.0.0.1", self.ports[each][-1])) == 0
        return count

    def running(self) -> list[int]:
        """Return the nodes that can answer."""
        return [each for each in self.ids if self.nodes[each].alive and not self.nodes[each].frozen]

    def hosts(self) -> str:
        """Return the addresses of all nodes, with commas."""
        return ",".join(self.address(each) for each in self.ids)

    def leader(self, within_s: float = WAIT_S) -> int:
        """Wait until all nodes that can answer name one leader among them; returns it.

        Raises:
            ServiceError: they do not in time, or one has ended by itself; the text has their logs.
        """
        running, found = self.running(), [0]

        def settled() -> bool:
            for node in self.nodes.values():
                if node.ended:
                    raise ServiceError(f"{node.name} has ended by itself\n{self.logs()}")
            named = {self.leader_seen_by(each) for each in running}
            found[:] = [each for each in named if each is not None]
            return len(named) == 1 and len(found) == 1 and found[0] in running

        wait_until(settled, lambda: f"one leader of {running}\n{self.logs()}", within_s)
        return found[0]

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(node.log_tail() for node in self.nodes.values())

    # -- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start every node; do not wait until they answer."""
        for node in self.nodes.values():
            node.start()

    def mend(self) -> int:
        """Continue the frozen, start the dead, wait for their leader; returns it.

        Raises:
            ServiceError: see `leader`.
        """
        for node in self.nodes.values():
            if not node.alive:
                node.kill()  # reaps one that died by itself
                node.start()
            elif node.frozen:
                node.thaw()
        return self.leader()

    def close(self) -> None:
        """End every process. Any number of times."""
        for node in self.nodes.values():
            node.stop()

    def __enter__(self) -> Self:
        try:
            self.mend()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
