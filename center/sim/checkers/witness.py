"""What leaders could know of the servers: who reported when, and whose end was proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from center.sim.checkers.base import Checker

__all__ = ["Heard", "Witness"]

NEVER_S = float("-inf")


@dataclass(frozen=True, slots=True)
class Heard:
    """The last report of a server that reached a leader.

    Attributes:
        at_s: when; minus infinity for none.
        epoch: of that leader.
        session: the life of the server that reported.
    """

    at_s: float = NEVER_S
    epoch: int = 0
    session: str = ""


class Witness(Checker):
    """The facts that others judge by; stands before them.

    Whoever judges a map asks at the moment of its `draft`: what comes later is no excuse for
    it, and no accusation either.
    """

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}
        self._ended: dict[str, dict[str, bool]] = {}

    def reported(self, address: str, session: str, epoch: int, now_s: float) -> None:
        """Note that a leader heard of the server."""
        self._heard[address] = Heard(now_s, epoch, session)

    def departed(self, address: str, session: str, goodbye: bool) -> None:
        """Note a proof of the end of one life of the server."""
        ended = self._ended.setdefault(address, {})
        ended[session] = ended.get(session, False) or goodbye

    def heard(self, address: str) -> Heard:
        """Return the last report of the server."""
        return self._heard.get(address, Heard())

    def reports(self) -> Iterable[tuple[str, Heard]]:
        """Return the last report of every server that ever reported."""
        return self._heard.items()

    def gone(self, address: str, epoch: int) -> bool:
        """Whether the leader of `epoch` may know that the server has ended."""
        return bool(self._proofs(address, epoch))

    def left(self, address: str, epoch: int) -> bool:
        """Whether the leader of `epoch` may know that the server said goodbye."""
        return any(self._proofs(address, epoch))

    def _proofs(self, address: str, epoch: int) -> list[bool]:
        """Return the proofs that count in `epoch`: was it a goodbye?

        A leader that the server itself reported to knows which life of it is the present one.
        """
        ended = self._ended.get(address, {})
        last = self.heard(address)
        if last.epoch != epoch:
            return list(ended.values())
        return [goodbye for session, goodbye in ended.items() if session == last.session]
