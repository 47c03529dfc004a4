"""A call that nobody waits for: sent here and now, or by the background loop once there is a
connection.
"""

from __future__ import annotations

import logging

from libevrpc.channel.call import ClientCall, OnewayCall
from libevrpc.channel.channel import Channel
from libevrpc.channel.wire import ClientConnection
from libevrpc.client.invocation import Invocation
from libevrpc.client.started import FutureInvocation
from libevrpc.core.hello import ONEWAY_FIELD
from libevrpc.errors import EvrpcError, RpcError

__all__ = ["OnewayInvocation"]

log = logging.getLogger(__name__)

_FIELDS = {ONEWAY_FIELD: "1"}


class OnewayInvocation(FutureInvocation):
    """A one-way call. While it is unsent it moves from server to server like any other."""

    _handed_over = False

    __init__ = Invocation.__init__
    """It holds no future: nobody has it. What is wrong from the start is raised."""

    def send(self) -> None:
        """Send where there is a connection, else leave it to the loop. The caller's thread, once.

        Raises:
            RpcError: it could not be sent, after retries; or no server is known.
        """
        while True:
            channel = self._next_channel()
            if channel is None:
                self._await(self._router.known)
                continue
            connection = channel.connection()
            if not connection.open:
                self._handed_over = True
                self._start(connection)
                return
            frame = self._frame(connection, connection.next_id(), _FIELDS)
            failure = connection.send_oneway(frame)
            if failure is None:
                self._sent()
                return
            outcome = self._after_failure(failure, self._try_s)
            if isinstance(outcome, RpcError):
                raise outcome
            self._rest(outcome)

    def _start(self, connection: ClientConnection) -> None:
        call = OnewayCall(connection.next_id(), self._deadline_s, self._on_done)
        connection.start_oneway(call, self._frame(connection, call.correlation_id, _FIELDS))

    # -- where there was no connection yet: loop thread ---------------------------------

    def _begin_try(self, channel: Channel) -> None:
        try:
            self._start(channel.connection())
        except RpcError as exc:
            self._end_badly(exc)

    def _on_done(self, call: ClientCall) -> None:
        failure = call.failure
        if failure is None:
            self._sent()
        else:
            self._conclude(lambda: self._after_failure(failure, self._try_s))

    def _sent(self) -> None:
        assert self._endpoint is not None
        self._router.succeeded(self._endpoint, self._try_s, 0.0)

    def _end_badly(self, error: EvrpcError) -> None:
        """End unsent: where the caller has gone on, that is counted and logged."""
        self._done = True
        lost = self._router.lose() if self._handed_over else 0
        if lost:
            text = error.text if isinstance(error, RpcError) else str(error)
            log.warning("one-way calls lost count=%d last=%s: %s", lost, self._spec.label, text)
