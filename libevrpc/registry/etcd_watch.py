"""What a client sees of etcd.

A copy of the keys below one prefix, taken at one revision and kept by a
watch from the next one on. A watch that breaks is taken up where it stopped, at another member if
need be; where etcd has compacted what lies between, the copy is taken anew. Silence is checked: a
small question every few seconds finds a member that is frozen or cut off, and changes that the
watch has kept to itself.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import socket

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint
from libevrpc.errors import ProtocolError
from libevrpc.registry.etcd_gateway import EtcdGateway, EtcdStream
from libevrpc.registry.etcd_layouts import EtcdPlan
from libevrpc.registry.etcd_wire import Change, after, found, number, range_of, revision, spelled
from libevrpc.registry.session import RegistryError

__all__ = ["EtcdWatchSession"]

log = logging.getLogger(__name__)

QUIET_S = 5.0
"""A watch that is silent for this long is checked."""
WATCH_S = 1.0
"""A watch that breaks sooner is taken up again only then."""
REREAD_S = 20.0
"""A copy of this age is taken anew when it is asked for."""
ENTRIES_MAX = 100_000
"""Most keys below one prefix."""
OTHERS_MAX = 1000
"""Keys that are looked at for the services they name, where ours has none."""
WARNED_MAX = 1000
"""Unreadable keys that are remembered as told; beyond that they are left out silently."""


class EtcdWatchSession:
    """Who offers one service. See `WatchSession`.

    Args:
        plan: what the target asks for.
        service: ``pkg.Service`` or ``pkg.Service/Method``; etcd knows services alone.
        warned: keys that were told to be unreadable, kept from session to session.
        quiet_s: a watch that is silent for this long is checked; None: QUIET_S.
    """

    def __init__(
        self,
        plan: EtcdPlan,
        service: str,
        warned: set[tuple[bytes, bytes]] | None = None,
        quiet_s: float | None = None,
    ) -> None:
        self._plan = plan
        self._prefix = plan.layout.prefix(service)
        self._gateway = EtcdGateway(plan)
        self._warned = set() if warned is None else warned
        self._quiet_s = QUIET_S if quiet_s is None else quiet_s
        self._stream: EtcdStream | None = None
        self._copy: dict[bytes, Endpoint | None] = {}
        """Every key below the prefix; None: it stands for no server."""
        self._revision = 0
        """All keys were read then."""
        self._seen = 0
        """Revision of the newest change in the copy, or of the copy itself."""
        self._read_s = 0.0
        self._again_at_s = 0.0
        self._check_at_s = 0.0
        self._wakened, self._waker = socket.socketpair()
        self._wakened.setblocking(False)
        self._waker.setblocking(False)

    def open(self) -> None:
        """See `WatchSession.open`."""
        self._read_all()

    def fetch(self) -> tuple[Endpoint, ...]:
        """See `WatchSession.fetch`: the copy, if it is kept and not too old."""
        if self._stream is None or monotonic_s() - self._read_s >= REREAD_S:
            self._read_all()
        return tuple(each for each in self._copy.values() if each is not None)

    def others(self) -> set[str]:
        """See `WatchSession.others`: of the first keys there are."""
        folder = self._plan.layout.folder
        if not folder:
            return set()
        body = range_of(folder, keys_only=True, limit=str(OTHERS_MAX))
        answer = self._gateway.ask("/v3/kv/range", body)
        try:
            keys = [each.key.removeprefix(folder) for each in found(answer)]
        except ProtocolError as exc:
            raise self._gateway.complaint(exc) from None
        names = {key.partition(b"/")[0].decode(errors="replace") for key in keys}
        return {each for each in names if folder + each.encode() + b"/" != self._prefix}

    def doubt(self) -> str:
        """See `WatchSession.doubt`: members that refuse are told of at once, by `open`."""
        return ""

    def wait(self, timeout_s: float) -> bool:
        """See `WatchSession.wait`."""
        until_s = monotonic_s() + timeout_s
        while True:
            now_s = monotonic_s()
            due_s = self._again_at_s if self._stream is None else self._check_at_s
            if now_s >= due_s:
                if self._look_after():
                    return True
                continue
            if now_s >= until_s:
                return False
            woken, told = self._listen(min(until_s, due_s) - now_s)
            if woken:
                self._wakened.recv(4096)
                return False
            if told and self._follow():
                return True

    def close(self) -> None:
        """See `WatchSession.close`."""
        self._hang_up()
        self._gateway.close()
        self._waker.close()
        self._wakened.close()

    def wake(self) -> None:
        """See `WatchSession.wake`. It ends what is being asked, too."""
        self._gateway.interrupt()
        with contextlib.suppress(OSError):  # closed, or full of wakes already
            self._waker.send(b"\0")

    # -- inside -------------------------------------------------------------------------

    def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _listen(self, seconds: float) -> tuple[bool, bool]:
        """Wait; return whether somebody wakes us, and whether etcd tells something."""
        stream = self._stream
        ready = select.poll()
        ready.register(self._wakened, select.POLLIN)
        if stream is not None:
            ready.register(stream, select.POLLIN)
            if stream.ready:
                seconds = 0.0
        heard = [each for each, _ in ready.poll(math.ceil(max(0.0, seconds) * 1000.0))]
        told = stream is not None and (stream.ready or stream.fileno() in heard)
        return self._wakened.fileno() in heard, told

    def _look_after(self) -> bool:
        """Take a broken watch up again, check a silent one; True: the copy may have changed."""
        if self._stream is not None:
            return self._check()
        self._watch()
        log.debug("watch taken up at %s revision=%d", self._gateway.member, self._seen)
        return True

    def _read_all(self) -> None:
        """Take the copy anew, and a watch from there on if there is none."""
        answer = self._gateway.ask("/v3/kv/range", range_of(self._prefix))
        try:
            at, keys = revision(answer), found(answer)
        except ProtocolError as exc:
            self._hang_up()
            raise self._gateway.complaint(exc) from None
        if len(keys) > ENTRIES_MAX:
            raise RegistryError(f"{len(keys)} keys below {self._prefix!r}, at most {ENTRIES_MAX}")
        if at < self._seen:
            self._hang_up()  # a store that was put back in time; its watch is for what never was
        self._copy = {each.key: self._endpoint(each.key, each.value) for each in keys}
        self._revision = self._seen = at
        self._read_s = monotonic_s()
        if self._stream is None:
            self._watch()

    def _watch(self) -> None:
        """Listen to what comes after the copy, or after what was heard last.

        The revision heard last is told again: only a part of it may have come through.
        """
        now_s = monotonic_s()
        self._again_at_s = now_s + WATCH_S  # should it break at once
        self._check_at_s = now_s + self._quiet_s
        start = max(self._seen, self._revision + 1)
        self._stream = self._gateway.watch(
            spelled(self._prefix), spelled(after(self._prefix)), start
        )

    def _follow(self) -> bool:
        """Take what the watch tells; True: the copy has changed."""
        assert self._stream is not None
        self._check_at_s = monotonic_s() + self._quiet_s
        try:
            told = self._stream.take()
        except RegistryError as exc:
            log.debug("%s", exc)
            self._hang_up()
            return False
        changed = False
        for news in told:
            for change in news.changes:
                changed |= self._apply(change)
            if news.compacted:
                log.debug("revisions before %d are compacted; reading all", news.compacted)
                self._hang_up()
                self._read_all()
                return True
            if news.ended:
                log.debug("etcd ends the watch: %s", news.ended)
                self._hang_up()
                break
        return changed

    def _apply(self, change: Change) -> bool:
        """Take one change into the copy; True: it makes a difference."""
        key = change.key
        if change.revision <= self._revision or not key.startswith(self._prefix):
            return False
        self._seen = max(self._seen, change.revision)
        before = self._copy.get(key)
        if change.value is None:
            self._copy.pop(key, None)
            return before is not None
        if len(self._copy) >= ENTRIES_MAX and key not in self._copy:
            raise RegistryError(f"more than {ENTRIES_MAX} keys below {self._prefix!r}")
        self._copy[key] = self._endpoint(key, change.value)
        return self._copy[key] != before

    def _check(self) -> bool:
        """Ask whether the copy is still true; True: it was not.

        A few bytes: how many keys there are, and the first one that is newer than the copy.
        """
        assert self._stream is not None
        body = range_of(
            self._prefix, keys_only=True, limit="1", min_mod_revision=str(self._seen + 1)
        )
        try:
            answer = self._gateway.ask("/v3/kv/range", body)
            at, newer, count = revision(answer), found(answer), number(answer, "count")
        except ProtocolError as exc:
            self._hang_up()
            raise self._gateway.complaint(exc) from None
        except RegistryError:
            self._hang_up()
            raise
        self._check_at_s = monotonic_s() + self._quiet_s
        if self._listen(0.0)[1]:
            return False  # it speaks at last: what it says is looked at first
        if newer or count != len(self._copy) or at < self._seen:
            log.info("etcd %s keeps changes to itself; reading all", self._stream.member)
            self._hang_up()
            self._read_all()
            return True
        if self._gateway.member is not self._stream.member:
            self._hang_up()  # the one that the watch is of does not answer
        return False

    def _endpoint(self, key: bytes, value: bytes) -> Endpoint | None:
        """Return the server that a key stands for; None, with a warning once, if for none."""
        try:
            return self._plan.layout.endpoint(value)
        except RegistryError as exc:
            told = (key, value[:64])
            if told not in self._warned and len(self._warned) < WARNED_MAX:
                self._warned.add(told)
                log.warning("%r is left out: %s", key, exc)
            return None
