"""Retries: whether a failed call is tried again, where the decision is one pure function.

What may be repeated:

* **Never executed** - the request never left this process, or the server answered 2003
  (stopping) without running it. Repeating it costs no server any work.
* **Refused for load** - 2004 from the server, 1011 from our own full send buffer. Not
  executed either, but a sign of overload: after a delay, and out of the budget.
* **Maybe executed** - the connection broke after the request was sent. Only calls that the
  application declared idempotent, out of the budget.

Never repeated: calls past their deadline or cancelled, and whatever the server answered.

Why a rolling restart loses no call: budgets exist because repeated *work* multiplies an
overload. A call that was never executed adds none, so it takes a credit if there is one and
goes on without one if there is not; only `retries_max` and the deadline bound it. When a
server stops, at most every call then on its way to it (1024 per connection, however low the
rate of calls and however empty the budget) gets 2003 or a refused connection; the balancer
sets the server aside at the first of them, each call moves to a server it has not tried, and
with one server of three down at a time the first retry already finds a live one. The credits
these retries take leave less for the other two kinds, which is the right way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from libevrpc.core.backoff import BackoffPolicy, Randomness
from libevrpc.errors import Errno, RpcError, StatusCode

__all__ = ["FailureKind", "GiveUp", "Retry", "RetryBudget", "RetryPolicy", "kind_of"]

BUDGET_WINDOW_S = 10
"""How long a credit lives."""
RETRY_BACKOFF = BackoffPolicy(first_s=0.005, max_s=0.2)
"""Usual delays between tries of one call."""

_TRANSPORT_ERRNOS = frozenset(
    {Errno.FAILED_SOCKET, Errno.EOF, Errno.CLOSED, Errno.TLS, Errno.REJECTED}
)
_SYSTEM_ERRNO_MAX = 133


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, on another server if there is one, after `delay_s` (0: at once)."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Hand the error to the caller; `reason` is for the log."""

    reason: str


class FailureKind(Enum):
    """What a failure says about repeating the call."""

    NEVER_EXECUTED = auto()
    OVERLOAD = auto()
    MAYBE_EXECUTED = auto()
    FINAL = auto()


def kind_of(error: RpcError, sent: bool) -> FailureKind:
    """Sort a failure. Any thread.

    Args:
        error: what the call failed with.
        sent: a byte of the request may have reached the server.
    """
    if error.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED):
        return FailureKind.FINAL
    if not sent:
        if error.errno == Errno.OVERCROWDED:
            return FailureKind.OVERLOAD
        unavailable = error.code == StatusCode.UNAVAILABLE
        return FailureKind.NEVER_EXECUTED if unavailable else FailureKind.FINAL
    if error.errno == Errno.STOPPING:
        return FailureKind.NEVER_EXECUTED
    if error.errno == Errno.LIMIT:
        return FailureKind.OVERLOAD
    if error.errno in _TRANSPORT_ERRNOS or 0 < error.errno <= _SYSTEM_ERRNO_MAX:
        return FailureKind.MAYBE_EXECUTED
    return FailureKind.FINAL


class RetryBudget:
    """Credits for retries: a share of the calls, plus a few per second; they live 10 s.

    Under the client's lock. Memory is constant: one sum per second of the window.
    """

    __slots__ = ("_base", "_second", "_share", "_sums", "_total")

    def __init__(self, share: float = 0.2, per_s: float = 10.0) -> None:
        """Give `share` >= 0 of a credit per call and `per_s` >= 0 credits per second.

        A share of 0 means that nobody wants these retries: then there is never a credit.
        """
        self._share = share
        self._base = per_s * BUDGET_WINDOW_S if share else 0.0
        self._sums = [0.0] * BUDGET_WINDOW_S
        self._total = 0.0
        self._second = 0

    def called(self, now_s: float) -> None:
        """Note a call (not a retry): it earns its share of a credit."""
        self._add(self._share, now_s)

    def try_draw(self, now_s: float) -> bool:
        """Take one credit; False if there is none."""
        self._expire(int(now_s))
        if self._base + self._total < 1.0:
            return False
        self._add(-1.0, now_s)
        return True

    def _add(self, amount: float, now_s: float) -> None:
        second = int(now_s)
        if second > self._second:
            self._expire(second)
        self._sums[self._second % BUDGET_WINDOW_S] += amount
        self._total += amount

    def _expire(self, second: int) -> None:
        passed = second - self._second
        if passed <= 0:
            return
        for step in range(1, min(passed, BUDGET_WINDOW_S) + 1):
            self._sums[(self._second + step) % BUDGET_WINDOW_S] = 0.0
        self._second = second
        # Summed afresh, so that rounding errors do not add up over the years.
        self._total = sum(self._sums)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon calls are tried again. Immutable, any thread.

    Attributes:
        retries_max: tries after the first one.
        backoff: delay before a retry after an overload, and before every second and later
            retry of any kind; the first of the other kinds starts at once.
    """

    retries_max: int = 3
    backoff: BackoffPolicy = RETRY_BACKOFF

    def next_step(
        self,
        error: RpcError,
        *,
        sent: bool,
        idempotent: bool,
        retries: int,
        budget: RetryBudget,
        rng: Randomness,
        now_s: float,
        deadline_s: float,
    ) -> Retry | GiveUp:
        """Decide on a failed try. Under the client's lock, for the budget's sake.

        Args:
            error: what the try failed with.
            sent: a byte of the request may have reached the server.
            idempotent: the application said that executing twice does no harm.
            retries: how many retries this call has had.
            budget: takes a credit for each retry.
            rng: jitter.
            now_s: the present.
            deadline_s: instant by which the call must have ended.
        """
        kind = kind_of(error, sent)
        if kind is FailureKind.FINAL:
            return GiveUp("final")
        if kind is FailureKind.MAYBE_EXECUTED and not idempotent:
            return GiveUp("may have been executed and is not idempotent")
        if retries >= self.retries_max:
            return GiveUp("retries used up")
        delay_s = 0.0
        if retries or kind is FailureKind.OVERLOAD:
            delay_s = self.backoff.delay_s(retries + 1, rng)
        if now_s + delay_s >= deadline_s:
            return GiveUp("no time left before the deadline")
        if not budget.try_draw(now_s) and kind is not FailureKind.NEVER_EXECUTED:
            return GiveUp("retry budget used up")
        return Retry(delay_s)
