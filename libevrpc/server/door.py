"""The door of a server with a token: who may talk to it, decided before anything is looked up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from libevrpc.core.prpc import BadRequest, Event, Request, SignedRequest
from libevrpc.core.wires import GuestRequest
from libevrpc.credentials import Tokens
from libevrpc.errors import Errno

if TYPE_CHECKING:
    from libevrpc.server.session import Session

__all__ = ["MISSING", "WRONG", "Door"]

log = logging.getLogger(__name__)

MISSING = (
    "no token was shown, and calls are taken only with one: set token_file, in [client] for who"
    " calls, in [server] for a server that reports, --token-file for the libevrpc program"
)
MISSING_FROM_GUEST = (
    "no token was shown, and calls are taken only with one: HTTP shows it as Authorization:"
    " Bearer; mprpc and TinyRPC have no place for one"
)
WRONG = "the token that was shown is not one of this server's: token_file names another one"
_WARN_EVERY_S = 10.0


class Door:
    """One per server. Loop threads: but for the time of the last warning it is immutable.

    A connection stays open when it is refused, so that each of its calls learns why; nothing
    counts as its first message, so `handshake_timeout_s` ends it.
    """

    __slots__ = ("_tokens", "_warn_again_s")

    def __init__(self, tokens: Tokens) -> None:
        """Open for whoever shows one of `tokens`."""
        self._tokens = tokens
        self._warn_again_s = 0.0

    def knows(self, token: bytes) -> bool:
        """Tell whether `token` is one of ours. Any thread."""
        return bool(token) and self._tokens.accept(token)

    def let_in(self, session: Session, events: Sequence[Event], now_s: float) -> list[Event]:
        """Refuse what comes before a token of ours; returns what may go on."""
        rest: list[Event] = []
        for place, event in enumerate(events):
            if isinstance(event, SignedRequest):
                if self._tokens.accept(event.authentication_data):
                    session.door = None
                    return [*rest, *events[place:]]
                self._refuse(session, event, WRONG, now_s)
            elif isinstance(event, GuestRequest):
                self._look_at_guest(session, event, now_s)
                rest.append(event)
            elif isinstance(event, Request | BadRequest):
                self._refuse(session, event, MISSING, now_s)
            else:
                rest.append(event)
        return rest

    def _look_at_guest(self, session: Session, request: GuestRequest, now_s: float) -> None:
        """Bar a request of another wire that shows no token of ours; each shows its own.

        It is refused in its turn, behind what its wire says before it.
        """
        if not request.token:
            request.barred = MISSING_FROM_GUEST
        elif not self.knows(request.token):
            request.barred = WRONG
        if request.barred:
            self._warn(session, request.barred, now_s)

    def _refuse(
        self, session: Session, event: Request | BadRequest, text: str, now_s: float
    ) -> None:
        session.refuse(event, Errno.UNAUTHENTICATED, text)
        self._warn(session, text, now_s)

    def _warn(self, session: Session, text: str, now_s: float) -> None:
        if now_s >= self._warn_again_s:  # now and then one line, for all peers
            self._warn_again_s = now_s + _WARN_EVERY_S
            log.warning("refused peer=%s: %s", session.peer, text)
