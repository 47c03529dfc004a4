"""A line in the log for each request and each reply of a client: `log_calls`.

Calls that log are of classes of their own, so that those that do not pay nothing for it. The lines
go to the logger `libevrpc.calls.client`: INFO, and WARNING for what failed. All tries of a call and
its end have the same number.
"""

from __future__ import annotations

import itertools
import logging
from time import monotonic

from libevrpc.channel.call import ClientCall
from libevrpc.channel.channel import Channel
from libevrpc.client.invocation import Hold, Invocation, Outcome
from libevrpc.client.oneway import OnewayInvocation
from libevrpc.client.started import FutureInvocation
from libevrpc.core.oneline import one_line
from libevrpc.core.prpc import Reply
from libevrpc.core.retry import Retry
from libevrpc.errors import RpcError

__all__ = ["LoggedCall", "LoggedFuture", "LoggedOneway"]

log = logging.getLogger("libevrpc.calls.client")

_numbers = itertools.count(1)


class _Logged(Invocation):
    """What the three kinds of call have in common: a number, and the lines."""

    _number = 0

    @property
    def _name(self) -> str:
        """The call's number, where it goes, and its method."""
        if not self._number:
            self._number = next(_numbers)
        peer = "-" if self._endpoint is None else self._endpoint.address
        return f"call={self._number} peer={peer} method={self._spec.label}"

    def _took_ms(self) -> float:
        return (monotonic() - self._started_s) * 1000.0

    def _next_channel(self) -> Channel | None:
        channel = super()._next_channel()
        if channel is not None:
            bytes_sent = len(self._payload)
            if self._controller is not None:
                bytes_sent += len(self._controller.attachment)
            log.info("request %s bytes=%d try=%d", self._name, bytes_sent, self._retries + 1)
        return channel

    def _judge(self, call: ClientCall) -> Outcome:
        outcome = super()._judge(call)
        if isinstance(outcome, Reply):
            size = len(outcome.payload) + len(outcome.attachment)
            log.info("reply %s ms=%.3f OK bytes=%d", self._name, self._took_ms(), size)
        return outcome

    def _after_error(
        self, error: RpcError, sent: bool, now_s: float, broken: bool
    ) -> RpcError | Retry | Hold:
        outcome = super()._after_error(error, sent, now_s, broken)
        if not isinstance(outcome, RpcError):  # else `_fail` has written of it
            log.warning(
                "failed %s ms=%.3f %s; once more", self._name, self._took_ms(), one_line(str(error))
            )
        return outcome

    def _fail(self, error: RpcError) -> RpcError:
        log.warning("reply %s ms=%.3f %s", self._name, self._took_ms(), one_line(str(error)))
        return super()._fail(error)


class LoggedCall(_Logged):
    """See `Invocation`."""


class LoggedFuture(_Logged, FutureInvocation):
    """See `FutureInvocation`."""


class LoggedOneway(_Logged, OnewayInvocation):
    """See `OnewayInvocation`."""

    def _sent(self) -> None:
        super()._sent()
        log.info("sent %s ms=%.3f", self._name, self._took_ms())
