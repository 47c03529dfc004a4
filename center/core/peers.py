"""The other centers as this one sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from center.core.ballot import State
from center.core.events import CenterStatus
from center.core.record import Voters

__all__ = ["Peers"]


@dataclass(slots=True)
class _Peer:
    address: str
    state: State | None = None
    leader: int | None = None
    epoch: int = 0
    heard_s: float | None = None
    incarnation: int | None = None
    down_s: float | None = None


class Peers:
    """What was heard of whom, and whose process is gone.

    `down` holds the peers whose link closed and has not come back. A message lifts it only
    if it cannot have been under way when the link closed: from a new incarnation, or later
    than `echo_s` after the close.
    """

    def __init__(self, me: int, voters: Voters, echo_s: float) -> None:
        """Begin with peers of whom nothing is known."""
        self._peers = {peer: _Peer(address) for peer, address in voters.members if peer != me}
        self._echo_s = echo_s
        self.down: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        return iter(self._peers)

    def __contains__(self, peer: int) -> bool:
        return peer in self._peers

    def hear(self, peer: int, incarnation: int, now_s: float) -> None:
        """Note a message of `peer`."""
        known = self._peers[peer]
        reborn = known.incarnation not in (None, incarnation)
        if reborn or (known.down_s is not None and now_s - known.down_s > self._echo_s):
            self.link_up(peer)
        known.heard_s, known.incarnation = now_s, incarnation

    def link_up(self, peer: int) -> None:
        """The link to `peer` stands."""
        self._peers[peer].down_s = None
        self.down.discard(peer)

    def link_down(self, peer: int, now_s: float) -> None:
        """The link to `peer` closed or was refused."""
        self._peers[peer].down_s = now_s
        self.down.add(peer)

    def note(self, peer: int, state: State, leader: int | None, epoch: int) -> None:
        """Record whom `peer` follows (the seed's step 8)."""
        known = self._peers[peer]
        known.state, known.leader, known.epoch = state, leader, epoch

    def informed(self) -> list[int]:
        """Return the peers that said they follow or lead and are not down, ascending."""
        return [
            peer
            for peer, known in self._peers.items()
            if known.state in (State.FOLLOWING, State.LEADING) and peer not in self.down
        ]

    def statuses(self, own: CenterStatus, now_s: float) -> tuple[CenterStatus, ...]:
        """Return all centers, `own` among them, by id."""
        others = (
            CenterStatus(
                peer,
                known.address,
                None if peer in self.down else known.state,
                None if peer in self.down else known.leader,
                None if known.heard_s is None else now_s - known.heard_s,
            )
            for peer, known in self._peers.items()
        )
        return tuple(sorted((own, *others), key=lambda each: each.id))
