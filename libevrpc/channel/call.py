"""One call as its caller's side keeps it while it is on the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from libevrpc.core.prpc import Reply

__all__ = ["CallFailure", "ClientCall"]


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why a call got no reply.

    Attributes:
        errno: number of `libevrpc.errors.Errno`, or a system errno.
        text: one line for a person.
        sent: the request may have reached the server; False: it certainly has not.
    """

    errno: int
    text: str
    sent: bool


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
