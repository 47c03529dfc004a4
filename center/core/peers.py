"""The other centers as this one sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from center.core.ballot import State
from center.core.events import CenterStatus
from center.core.record import Voters

__all__ = ["Peers"]

RETURNS_MIN = 4
"""An earlier process that speaks again this often lives beside the later one."""
RETURNS_S = 10.0
"""No longer after one return the next must come: over months, late messages make many."""

ANOTHER_LIST = "another centers list"
"""The trouble of a center whose list has not our digest."""


@dataclass(slots=True)
class _Peer:
    address: str
    state: State | None = None
    leader: int | None = None
    epoch: int = 0
    heard_s: float | None = None
    incarnation: int | None = None
    down_s: float | None = None
    host: str = ""
    former: int | None = None
    returns: int = 0
    returned_s: float = -math.inf
    strange: bool = False


class Peers:
    """What was heard of whom, and whose process is gone.

    `down` holds the peers whose link closed and has not come back. A message lifts it only
    if it cannot have been under way when the link closed: from a new incarnation, or later
    than `echo_s` after the close. `awaited` has the peers that do not answer, and since when: the
    start, or a closed link.
    """

    def __init__(self, me: int, voters: Voters, echo_s: float, now_s: float) -> None:
        """Begin with peers of whom nothing is known."""
        self._peers = {peer: _Peer(address) for peer, address in voters.members if peer != me}
        self.awaited = dict.fromkeys(self._peers, now_s)
        self._echo_s = echo_s
        self.down: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        return iter(self._peers)

    def __contains__(self, peer: int) -> bool:
        return peer in self._peers

    def hear(self, peer: int, incarnation: int, now_s: float, host: str) -> None:
        """Note a message of `peer`, which came from `host`."""
        known = self._peers[peer]
        reborn = known.incarnation not in (None, incarnation)
        if reborn or (known.down_s is not None and now_s - known.down_s > self._echo_s):
            self.link_up(peer)
        if reborn:
            if incarnation == known.former:
                known.returns = 1 + known.returns * _recent(known.returned_s, now_s)
                known.returned_s = now_s
            known.former = known.incarnation
        known.heard_s, known.incarnation, known.host = now_s, incarnation, host
        if peer not in self.down:
            self.awaited.pop(peer, None)

    def heard(self, peer: int, since_s: float) -> bool:
        """Return whether anything came from `peer` since then."""
        heard_s = self._peers[peer].heard_s
        return heard_s is not None and heard_s >= since_s

    def host(self, peer: int) -> str:
        """Return where the last message of `peer` came from; empty if that is not known."""
        return self._peers[peer].host

    def doubled(self, peer: int, now_s: float) -> bool:
        """Return whether two living processes speak as `peer`: an old one keeps coming back.

        A message that was late makes an old process come back too, but not again and again.
        """
        known = self._peers[peer]
        return known.returns >= RETURNS_MIN and _recent(known.returned_s, now_s)

    def tell_list(self, peer: int, *, same: bool) -> None:
        """Note whether `peer` has our centers list."""
        self._peers[peer].strange = not same

    def link_up(self, peer: int) -> None:
        """The link to `peer` stands."""
        self._peers[peer].down_s = None
        self.down.discard(peer)

    def link_down(self, peer: int, now_s: float) -> None:
        """The link to `peer` closed or was refused."""
        known = self._peers[peer]
        known.down_s = now_s
        self.awaited.setdefault(peer, now_s)
        self.down.add(peer)

    def note(self, peer: int, state: State, leader: int | None, epoch: int) -> None:
        """Record whom `peer` follows (the seed's step 8)."""
        known = self._peers[peer]
        known.state, known.leader, known.epoch = state, leader, epoch

    def informed(self, since_s: float) -> list[int]:
        """Return the peers that said they follow or lead and were heard since then, ascending."""
        return [
            peer
            for peer, known in self._peers.items()
            if known.state in (State.FOLLOWING, State.LEADING) and self.heard(peer, since_s)
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
                ANOTHER_LIST if known.strange else "",
            )
            for peer, known in self._peers.items()
        )
        return tuple(sorted((own, *others), key=lambda each: each.id))


def _recent(returned_s: float, now_s: float) -> bool:
    return now_s - returned_s <= RETURNS_S
