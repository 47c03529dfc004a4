"""One center as a pure machine: an event and the time in, actions out."""

from __future__ import annotations

from collections.abc import Callable

from center.core.events import Action, Chance, Event, NodeStatus, Planner
from center.core.record import MapRecord, Record, Voters
from center.core.timing import Timing

__all__ = ["Node"]


class Node:
    """One center of the cluster, without sockets, threads, clocks or disks.

    The owner feeds every event to `step` and carries out the actions it returns, in their
    order. A `Persist` may take as long as the disk likes: the node neither waits for it nor
    says anything that depends on it before `Persisted` comes back.

    Not thread-safe: one owner. What `snapshot` returns is immutable and may go anywhere.
    """

    def __init__(
        self,
        me: int,
        voters: Voters,
        record: Record | None,
        now_s: float,
        *,
        chance: Chance,
        planner: Callable[[], Planner],
        timing: Timing | None = None,
        damaged: bool = False,
        new_cluster: bool = False,
    ) -> None:
        """Make a node; nothing happens before its first `step` (feed it a `Tick`).

        Args:
            me: own id, one of `voters`.
            voters: the configured list.
            record: what the store holds; None on an empty disk.
            now_s: the clock that every `step` goes on with; monotonic, counting suspension.
            chance: source of jitter, of the incarnation and of a new cluster's id.
            planner: makes the planner of one leadership.
            timing: spans; None: the defaults.
            damaged: the store found a record that it cannot read: never vote before an
                established leader's map is stored here.
            new_cluster: vote though the disk is empty (the operator says that the cluster
                is new).

        Raises:
            ValueError: `me` is not in the list.
        """

    @property
    def incarnation(self) -> int:
        """A number drawn anew by each start, sent with every message."""

    def step(self, event: Event, now_s: float) -> list[Action]:
        """Take one event at `now_s` and return what to do, in order. Never raises."""

    def next_deadline_s(self) -> float:
        """Return when to feed the next `Tick`, at the latest; may lie in the past."""

    def may_claim(self, now_s: float) -> bool:
        """Return whether the node may answer as leader at `now_s`: it leads, lease unexpired."""

    @property
    def served(self) -> MapRecord | None:
        """The newest map known to be committed: what servers and clients may be told."""

    def snapshot(self, now_s: float) -> NodeStatus:
        """Return the node's status at `now_s`."""
