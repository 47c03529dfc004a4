"""The `etcd://` registry: what the engine's two threads do with a lease and with a watch.

Options of a target ``etcd://h:p,h:p[/pkg.Service]?...``: ``layout``, ``root`` and ``transport``
(see `etcd_layouts.py`), ``expiry`` (seconds that a dead process's keys stay), ``auth_file`` (a file
with ``user:password``).

**Who has a key.** The lease that it hangs on. A server that starts while the keys of its
predecessor are still there writes them anew under its own lease, so the old one's end takes
nothing away; what the predecessor offered and the new one does not is deleted. Whoever leaves
revokes his lease, which deletes what still hangs on it and nothing else.
"""

from __future__ import annotations

import logging
from typing import Any

from libevrpc.clock import monotonic_s
from libevrpc.core.targets import Target
from libevrpc.errors import ProtocolError
from libevrpc.registry.announcer import SessionRegistrar
from libevrpc.registry.base import Announcement
from libevrpc.registry.etcd_gateway import (
    NOT_FOUND,
    EtcdGateway,
    RefusedError,
    credentials_of,
)
from libevrpc.registry.etcd_layouts import EtcdPlan, plan_of
from libevrpc.registry.etcd_watch import EtcdWatchSession
from libevrpc.registry.etcd_wire import KeyValue, number, replaced, spelled
from libevrpc.registry.session import Nap, RegistryError, SessionLost
from libevrpc.registry.state import state_folder
from libevrpc.registry.watcher import SessionResolver
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["EtcdAnnounceSession", "EtcdWatchSession", "registrar", "resolver"]

log = logging.getLogger(__name__)

OPERATIONS_MAX = 100
"""Keys written in one transaction; etcd itself takes 128 unless it is told otherwise."""
BEAT_MAX_S = 10.0
"""However long the lease: it is kept alive this often, so that its loss is noticed."""
LOOK_MAX_S = 30.0
"""However long the lease: what hangs on it is looked at this often."""
SPENT_MAX = 8
"""Earlier leases of ours that are ended by hand; those before them end by themselves, unkept."""
TRANSACTION_BYTES_MAX = 512 << 10
"""Values of one transaction; etcd takes 1.5 MiB, and base64 makes four bytes of three."""


class EtcdAnnounceSession:
    """One server's lease and keys. See `AnnounceSession`.

    Args:
        plan: what the target asks for.
    """

    def __init__(self, plan: EtcdPlan) -> None:
        self._plan = plan
        self._gateway = EtcdGateway(plan)
        self._nap = Nap()
        self._hasty = True
        """A wake ends what is being asked: we begin, or leave."""
        self._lease = 0
        self._spent: list[int] = []
        """Earlier leases of ours, to be ended once nothing of ours hangs on them."""
        self._ttl_s = 0.0
        self._ends_s = 0.0
        """When the lease ends unless it is kept alive."""
        self._beat_at_s = 0.0
        self._look_at_s = 0.0
        self._said: dict[bytes, bytes] = {}
        """Keys that may hang on our lease, and their values."""

    def open(self) -> None:
        """See `AnnounceSession.open`. A wake ends it: a server that stops waits for nobody."""
        self._lease = self._granted()
        self._hasty = False

    def put(self, announcement: Announcement) -> None:
        """See `AnnounceSession.put`."""
        self._require_lease()
        wanted = self._plan.layout.keys(announcement)
        fresh = {key: value for key, value in wanted.items() if self._said.get(key) != value}
        before: dict[bytes, KeyValue] = {}
        try:
            for part in _parts(fresh):
                self._said.update(dict.fromkeys(part, b""))  # they may be there, unanswered
                before.update(self._write(part))
                self._said.update(part)
        except RefusedError as exc:
            raise self._lost_if_not_found(exc) from None
        for key in [each for each in self._said if each not in wanted]:
            self._delete(key, self._lease)
            del self._said[key]
        self._tidy(before, wanted)

    def beat(self, wait_s: float) -> None:
        """See `AnnounceSession.beat`: the lease is kept alive three times in its life or more."""
        self._require_lease()
        if self._nap.wait(min(wait_s, self._beat_at_s - monotonic_s())):
            return
        asked_s = monotonic_s()
        if asked_s < self._beat_at_s:
            return
        try:
            answer = self._gateway.ask("/v3/lease/keepalive", {"ID": str(self._lease)})
            ttl_s = number(answer, "TTL")
        except ProtocolError as exc:
            raise self._gateway.complaint(exc) from None
        except RegistryError as exc:
            if monotonic_s() >= self._ends_s:
                raise SessionLost(f"{exc}; the lease has ended meanwhile") from None
            raise
        if ttl_s <= 0:
            raise SessionLost("the lease has ended, or somebody revoked it")
        self._alive(asked_s, ttl_s)
        try:
            if self._gateway.astray or self._spent:
                self._change_lease()
            if asked_s >= self._look_at_s:
                self._look_later(asked_s)
                self._heal()
        except RefusedError as exc:
            log.debug("cannot look after our keys: %s", exc)

    def standing_by(self) -> str:
        """See `AnnounceSession.standing_by`: any number of servers share a service here."""
        return ""

    def remove(self) -> None:
        """See `AnnounceSession.remove`. A wake ends it."""
        self._hasty = True
        self._end_spent()
        if self._lease:
            self._revoke(self._lease)
        self._lease = 0
        self._said.clear()

    def close(self) -> None:
        """See `AnnounceSession.close`. A lease that nothing hangs on is given back."""
        try:
            if not self._said:
                self.remove()
        except RegistryError as exc:
            log.debug("a lease is left to end by itself: %s", exc)
        self._gateway.close()

    def wake(self) -> None:
        """See `AnnounceSession.wake`."""
        self._nap.wake()
        if self._hasty:
            self._gateway.interrupt()

    # -- inside -------------------------------------------------------------------------

    def _granted(self) -> int:
        """Return a new lease, which is alive from now on."""
        asked_s = monotonic_s()
        answer = self._gateway.ask("/v3/lease/grant", {"TTL": str(self._plan.expiry_s)})
        try:
            lease, ttl_s = number(answer, "ID"), number(answer, "TTL")
        except ProtocolError as exc:
            raise self._gateway.complaint(exc) from None
        if not lease or ttl_s <= 0:
            raise RegistryError(f"etcd {self._gateway.member}: granted no lease")
        self._alive(asked_s, ttl_s)
        self._look_later(asked_s)
        return lease

    def _change_lease(self) -> None:
        """Hang our keys on a new lease, and end the one before.

        A member that was frozen may carry out a transaction that we have given up and asked
        another one for: what we changed since would be as it was. It names the lease of then,
        so it is refused once that has ended. Keys that another server has taken stay its own.
        """
        if self._gateway.astray:
            lease = self._granted()
            self._spent = [*self._spent[1 - SPENT_MAX :], self._lease]
            self._lease, self._gateway.astray = lease, False
        for lease in self._spent:
            for part in _parts({key: value for key, value in self._said.items() if value}):
                moves = [
                    {"compare": [_hanging_on(lease, key)], "success": [self._putting(key, value)]}
                    for key, value in part.items()
                ]
                operations = [{"request_txn": each} for each in moves]
                self._gateway.ask("/v3/kv/txn", {"success": operations})
        self._end_spent()

    def _end_spent(self) -> None:
        while self._spent:
            self._revoke(self._spent[-1])
            self._spent.pop()

    def _revoke(self, lease: int) -> None:
        """End a lease with all that hangs on it; it may have ended already."""
        try:
            self._gateway.ask("/v3/lease/revoke", {"ID": str(lease)})
        except RefusedError as exc:
            if exc.code != NOT_FOUND:
                raise

    def _require_lease(self) -> None:
        if not self._lease:
            raise SessionLost("the lease was given back")

    def _alive(self, asked_s: float, ttl_s: int) -> None:
        """Note that the lease lives for `ttl_s` more."""
        self._ttl_s = float(ttl_s)
        self._ends_s = asked_s + self._ttl_s
        self._beat_at_s = asked_s + min(self._ttl_s / 3.0, BEAT_MAX_S)

    def _look_later(self, now_s: float) -> None:
        self._look_at_s = now_s + min(self._ttl_s, LOOK_MAX_S)

    def _lost_if_not_found(self, exc: RefusedError) -> RegistryError:
        return SessionLost(f"{exc}") if exc.code == NOT_FOUND else exc

    def _putting(self, key: bytes, value: bytes) -> dict[str, Any]:
        return {
            "request_put": {
                "key": spelled(key),
                "value": spelled(value),
                "lease": str(self._lease),
                "prev_kv": True,
            }
        }

    def _write(self, values: dict[bytes, bytes]) -> dict[bytes, KeyValue]:
        """Write keys; return those that were there before, as they were."""
        operations = [self._putting(key, value) for key, value in values.items()]
        answer = self._gateway.ask("/v3/kv/txn", {"success": operations})
        try:
            return {each.key: each for each in replaced(answer)}
        except ProtocolError as exc:
            raise self._gateway.complaint(exc) from None

    def _delete(self, key: bytes, lease: int) -> None:
        """Delete a key if it still hangs on that lease, else it has become somebody else's."""
        deleting = {"request_delete_range": {"key": spelled(key)}}
        body = {"compare": [_hanging_on(lease, key)], "success": [deleting]}
        self._gateway.ask("/v3/kv/txn", body)

    def _tidy(self, before: dict[bytes, KeyValue], wanted: dict[bytes, bytes]) -> None:
        """Delete what a process before us offered at our address and we do not.

        A record names all services of its server, so the keys that we have overwritten tell
        which others there are; their own lease would end them a little later.
        """
        left: dict[bytes, int] = {}
        for each in before.values():
            if each.lease not in (0, self._lease):  # without a lease: made by hand
                beside = self._plan.layout.beside(each.value)
                if each.key in beside:  # else it is of another address
                    left.update(dict.fromkeys(beside, each.lease))
        for key in left.keys() - wanted.keys():
            log.info("deleting what an earlier process left: %r", key)
            self._delete(key, left[key])

    def _heal(self) -> None:
        """Write keys anew that somebody has deleted by hand; another server's are left alone."""
        answer = self._gateway.ask("/v3/lease/timetolive", {"ID": str(self._lease), "keys": True})
        hanging = answer.get("keys", [])
        if not isinstance(hanging, list):
            raise RegistryError(f"etcd {self._gateway.member}: answers no list of keys")
        for key, value in self._said.items():
            if value and spelled(key) not in hanging:  # b"": it is being written
                condition = {
                    "key": spelled(key),
                    "result": "EQUAL",
                    "target": "CREATE",
                    "create_revision": "0",
                }
                body = {"compare": [condition], "success": [self._putting(key, value)]}
                if self._gateway.ask("/v3/kv/txn", body).get("succeeded"):
                    log.info("announced anew what somebody has deleted: %r", key)


def _hanging_on(lease: int, key: bytes) -> dict[str, str]:
    """Return the condition that a key hangs on a lease."""
    return {"key": spelled(key), "result": "EQUAL", "target": "LEASE", "lease": str(lease)}


def _parts(fresh: dict[bytes, bytes]) -> list[dict[bytes, bytes]]:
    """Cut what is to be written into pieces that etcd takes at once."""
    parts: list[dict[bytes, bytes]] = []
    room_bytes = 0
    for key, value in fresh.items():
        size_bytes = len(key) + len(value)
        if not parts or len(parts[-1]) >= OPERATIONS_MAX or size_bytes > room_bytes:
            parts.append({})
            room_bytes = TRANSACTION_BYTES_MAX
        parts[-1][key] = value
        room_bytes -= size_bytes
    return parts


def registrar(target: Target, settings: ServerSettings) -> SessionRegistrar:
    """Return what announces a server. See `open_registrar`.

    Raises:
        ConfigError: the target's options, or the file that it names.
    """
    plan = plan_of(target)
    credentials_of(plan)
    return SessionRegistrar(target.text, lambda: EtcdAnnounceSession(plan))


def resolver(target: Target, service: str, settings: ClientSettings) -> SessionResolver:
    """Return what finds the servers of a service. See `open_resolver`.

    Raises:
        ConfigError: the target's options, or the file that it names.
    """
    plan = plan_of(target)
    credentials_of(plan)
    warned: set[tuple[bytes, bytes]] = set()
    return SessionResolver(
        target.text,
        service,
        lambda: EtcdWatchSession(plan, service, warned),
        state_folder(settings.state_dir),
    )
