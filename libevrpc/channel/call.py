"""One call as its caller's side keeps it while it is on the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from libevrpc.core.prpc import Reply
from libevrpc.errors import Errno

__all__ = ["CallFailure", "CallStage", "ClientCall", "OnewayCall", "refusal"]


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why a call got no reply.

    Attributes:
        errno: number of `libevrpc.errors.Errno`, or a system errno.
        text: one line for a person.
        sent: the request may have reached the server; False: it certainly has not.
        stale: only the connection was at its end, for want of calls: a new one will do.
    """

    errno: int
    text: str
    sent: bool
    stale: bool = False


class CallStage(Enum):
    """Where the thread of a caller is."""

    BUSY = "busy"
    LEADS = "asleep with the baton"
    FOLLOWS = "asleep at its gate"
    LEFT = "done with the connection"
    TORN = "taken away by an exception"


class ClientCall:
    """One request in flight. Owned by its connection until `done`.

    Attributes:
        correlation_id: unique on its connection.
        deadline_s: monotonic instant at which the caller gives up.
        reply: the server's answer, once `done` without `failure`.
        failure: why there is none.
        done: set last, after reply or failure.
        on_done: for a future: called once with this call, on the loop thread.
        gate: for a follower: locked until it is done or promoted to reader.
        promoted: the follower now holds the reader baton.
        stage: where its thread is, for the case that it is interrupted.
    """

    __slots__ = (
        "correlation_id",
        "deadline_s",
        "done",
        "failure",
        "gate",
        "on_done",
        "promoted",
        "reply",
        "stage",
    )

    def __init__(
        self,
        correlation_id: int,
        deadline_s: float,
        on_done: Callable[[ClientCall], object] | None = None,
    ) -> None:
        self.correlation_id = correlation_id
        self.deadline_s = deadline_s
        self.on_done = on_done
        self.reply: Reply | None = None
        self.failure: CallFailure | None = None
        self.done = False
        self.gate: threading.Lock | None = None
        self.promoted = False
        self.stage = CallStage.BUSY


class OnewayCall(ClientCall):
    """A request that nobody waits for: `done`, without a reply, as soon as it is sent."""

    __slots__ = ()


def refusal(
    peer: str, down: CallFailure | None, *, going_away: bool, broken: bool, stale: bool = False
) -> CallFailure:
    """Return why a connection to `peer` took no request: none was sent."""
    if down is not None:
        return CallFailure(down.errno, down.text, sent=False, stale=stale)
    if going_away:
        text = f"{peer} takes no more calls"
        return CallFailure(Errno.STOPPING, text, sent=False, stale=stale)
    if broken:
        return CallFailure(Errno.FAILED_SOCKET, f"{peer} broke off", sent=False)
    text = f"too much is waiting to be sent to {peer}"
    return CallFailure(Errno.OVERCROWDED, text, sent=False)
