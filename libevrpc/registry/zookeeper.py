"""The `zk://` registry: what the engine's two threads do in a session of ZooKeeper.

Options of a target ``zk://h:p,h:p[/pkg.Service]?...``: ``layout`` and ``root`` (see
`zookeeper_layouts.py`), ``expiry`` (seconds that a dead process's nodes stay), ``auth_file`` (a
file with ``user:password``; nodes that we make can then be read by all, changed by its holders).

**Who may have a node.** A node that is there before us is replaced, in one step, only if it says
that it is ours: same address, an older session than our announcement, so what a process before us
left when it was killed. Anybody else's is left alone: we stand by, watching it, and take its place
when it goes. In mprpc's layout that is the ordinary case of a second provider.

**What a client finds.** A resolver of ``pkg.Service`` gets every server of it; in mprpc's layout,
one of ``pkg.Service/Method`` gets the provider of that method, who may be another for each.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from urllib.parse import unquote

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.oneline import one_line
from libevrpc.core.targets import Target
from libevrpc.core.watching import ENDPOINTS_MAX
from libevrpc.registry.announcer import SessionRegistrar
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import Nap, RegistryError
from libevrpc.registry.state import state_folder
from libevrpc.registry.watcher import SessionResolver
from libevrpc.registry.zookeeper_layouts import plan_of
from libevrpc.registry.zookeeper_link import (
    Found,
    SharedSession,
    acquire_session,
    credentials_of,
    release_session,
)
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["ZooKeeperAnnounceSession", "ZooKeeperWatchSession", "registrar", "resolver"]

log = logging.getLogger(__name__)

WRITE_TRIES_MAX = 5
"""A node that changes between look and write is looked at so often in one go."""
SESSIONS_KEPT_MAX = 16
"""Earlier sessions of ours whose nodes are known to be our own."""
NAMED_MAX = 3
"""Nodes of others that are named in one line."""
WARNED_MAX = 1000
"""Unreadable nodes that are remembered as told; beyond that they are left out silently."""


class ZooKeeperAnnounceSession:
    """One server's nodes. See `AnnounceSession`.

    Args:
        target: ``zk://``.
    """

    def __init__(self, target: Target) -> None:
        self._plan = plan_of(target)
        self._layout = self._plan.layout
        self._shared: SharedSession | None = None
        self._nap = Nap()
        self._wanted: dict[str, bytes] = {}
        self._held: dict[str, bytes] = {}
        """Nodes that may be ours now, and what we wrote last."""
        self._waiting: dict[str, bytes] = {}
        """Nodes of others whose place we would take."""
        self._touched: dict[str, None] = {}
        """Nodes to look at again: filled by any thread, emptied by ours."""
        self._all_touched = False
        self._woken = False
        self._epoch = 0
        self._before = 0
        """Nodes made by this transaction or before it are older than our announcement."""
        self._own: list[int] = []
        """Sessions that were ours."""

    def open(self) -> None:
        """See `AnnounceSession.open`. A wake ends it: a server that stops waits for nobody."""
        self._shared = acquire_session(self._plan, self._heard)
        _connect(self._shared, self._nap, lambda: self._woken)
        self._shared.sync("/")
        self._before = self._shared.newest

    def put(self, announcement: Announcement) -> None:
        """See `AnnounceSession.put`."""
        self._wanted = self._layout.nodes(announcement)
        for path in [each for each in self._waiting if each not in self._wanted]:
            del self._waiting[path]
        self._give_up([each for each in self._held if each not in self._wanted])
        self._look_at_all()

    def beat(self, wait_s: float) -> None:
        """See `AnnounceSession.beat`. ZooKeeper's client pings by itself; we mind our nodes."""
        shared = self._session()
        self._nap.wait(wait_s if shared.connected else min(wait_s, shared.grace_s))
        shared.require_presence()
        if not shared.connected:
            return  # for a moment; when it is back all nodes are looked at
        if self._all_touched or shared.epoch != self._epoch:
            if shared.epoch != self._epoch:
                log.info("session of ZooKeeper was lost; announcing again")
            self._look_at_all()
        while self._touched:
            path, _ = self._touched.popitem()  # in one step: others put in meanwhile
            try:
                self._claim(path)
            except RegistryError:
                self._touched[path] = None
                raise

    def standing_by(self) -> str:
        """See `AnnounceSession.standing_by`."""
        found = [
            f"{path} is {one_line(value[:64].decode('latin'))}"
            for path, value in self._waiting.items()
        ]
        if not found:
            return ""
        more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        told = ", ".join(found[:NAMED_MAX]) + more
        return f"{len(found)} of {len(self._wanted)} nodes are of others: {told}"

    def remove(self) -> None:
        """See `AnnounceSession.remove`."""
        self._wanted = {}
        self._waiting.clear()
        self._give_up(list(self._held))

    def close(self) -> None:
        """See `AnnounceSession.close`.

        A session that others go on with would keep our nodes: they are deleted, and where that
        cannot be, all make a new session.
        """
        shared = self._shared
        if shared is None:
            return
        try:
            if self._held and shared.shared:
                self.remove()  # as its user: who leaves meanwhile must not end it below us
        except RegistryError as exc:
            log.debug("nodes are left to a dropped session: %s", exc)
            shared.renew()
        finally:
            self._shared = None
            release_session(shared, self._heard)

    def wake(self) -> None:
        """See `AnnounceSession.wake`."""
        self._woken = True
        self._nap.wake()

    # -- inside -------------------------------------------------------------------------

    def _heard(self, path: str | None) -> None:
        """Hear of a change; on a thread of kazoo's."""
        if path is None:
            self._all_touched = True
        elif path in self._wanted:
            self._touched[path] = None
        else:
            return
        self._nap.wake()

    def _session(self) -> SharedSession:
        assert self._shared is not None
        return self._shared

    def _look_at_all(self) -> None:
        """See to every node, and watch it; those that are as they should be cost two questions."""
        shared = self._session()
        self._epoch = shared.epoch
        self._all_touched = False
        self._touched.clear()
        wanted = self._wanted
        known = {**self._held, **self._waiting}
        fresh = {path: value for path, value in wanted.items() if path not in known}
        try:
            self._held.update(fresh)  # also if an answer is lost
            shared.create_all(fresh)
            nodes = dict(shared.read_all(list(wanted)))
            self._note_session(shared.id)
            for path, found in nodes.items():
                right = found is not None and found.owner == shared.id
                if not right or found is None or found.value != wanted[path]:
                    self._claim(path)
                else:
                    self._waiting.pop(path, None)
        except RegistryError:
            self._all_touched = True
            raise

    def _claim(self, path: str) -> None:
        """Make a node ours, with the value that it should have, unless it is another's."""
        shared, value = self._session(), self._wanted.get(path)
        if value is None:
            return
        for _ in range(WRITE_TRIES_MAX):
            found = shared.read(path, watch=True)
            self._note_session(shared.id)
            if found is not None and not self._is_ours(found, value):
                self._stand_by(path, found)
                return
            self._held[path] = value  # also if the answer to what follows is lost
            if found is None:
                shared.create_all({path: value})
            elif found.owner != shared.id:
                log.info("replacing what an earlier session of ours left: %s", path)
                shared.replace(path, value, found.version)
            elif found.value != value:
                shared.change(path, value, found.version)
            else:
                self._waiting.pop(path, None)
                return
        raise RegistryError(f"{path} is changed by somebody else all the time")

    def _note_session(self, number: int) -> None:
        if number and number not in self._own:
            self._own.append(number)
            del self._own[:-SESSIONS_KEPT_MAX]

    def _is_ours(self, found: Found, value: bytes) -> bool:
        """Tell whether a node is this server's, or was before it was killed and came back."""
        if not found.owner:
            return False  # made by hand, to stay
        if found.owner not in self._own and found.created > self._before:
            return False  # of somebody who lives
        return self._layout.is_ours(found.value, value)

    def _stand_by(self, path: str, found: Found) -> None:
        self._held.pop(path, None)
        self._waiting[path] = found.value

    def _give_up(self, paths: list[str]) -> None:
        """Delete nodes as far as they are ours."""
        shared, left = self._session(), paths
        for _ in range(WRITE_TRIES_MAX):
            nodes = list(shared.read_all(left, watch=False))
            self._note_session(shared.id)
            ours = {
                path: found.version
                for path, found in nodes
                if found is not None
                and found.owner in self._own
                and self._layout.is_ours(found.value, self._held[path])
            }
            for path in left:
                if path not in ours:
                    self._held.pop(path, None)
            if not ours:
                return
            shared.delete_all(ours)
            left = list(ours)
        raise RegistryError(f"{left[0]} is changed by somebody else all the time")


class ZooKeeperWatchSession:
    """Who offers one service. See `WatchSession`.

    Only what has changed is read again: a node whose watch has not fired is as it was.

    Args:
        target: ``zk://``.
        service: ``pkg.Service`` or ``pkg.Service/Method``.
    """

    def __init__(self, target: Target, service: str) -> None:
        self._plan = plan_of(target)
        self._service = service
        self._shared: SharedSession | None = None
        self._nap = Nap()
        self._changed = True
        self._woken = False
        self._synced = -1
        self._folder = ""
        self._armed: dict[str, None] = {}
        """Nodes whose watch has not fired; kazoo's threads take out, ours puts in."""
        self._values: dict[str, bytes] = {}
        self._warned: set[str] = set()

    def open(self) -> None:
        """See `WatchSession.open`. A wake ends it: a client that is closed waits for nobody."""
        self._shared = acquire_session(self._plan, self._heard)
        _connect(self._shared, self._nap, lambda: self._woken)

    def fetch(self) -> tuple[Endpoint, ...]:
        """See `WatchSession.fetch`."""
        shared = self._shared
        assert shared is not None
        self._changed = False
        place = self._plan.layout.place(self._service)
        shared.ready(shared.grace_s)
        if self._synced != shared.connections:  # a server that has just taken us may lag behind
            synced = shared.connections
            shared.sync(place.folder)
            self._synced = synced
        if place.child:
            paths = [f"{place.folder}/{place.child}"]
            self._read_one(shared, paths[0])
        else:
            self._folder = place.folder
            names = sorted(shared.children(place.folder))[: ENDPOINTS_MAX + 1]
            paths = [f"{place.folder}/{name}" for name in names]
            self._read_changed(shared, paths)
        found = (self._endpoint(path) for path in paths)
        return tuple(each for each in found if each is not None)

    def others(self) -> set[str]:
        """See `WatchSession.others`; in mprpc's layout the service's other methods, if any."""
        shared = self._shared
        assert shared is not None
        layout = self._plan.layout
        service, _, method = self._service.partition("/")
        if method and layout.place(self._service).child:
            found = shared.children(layout.place(service).folder, watch=False)
            methods = {f"{service}/{unquote(each)}" for each in found}
            if methods:
                return methods - {self._service}
        folder = layout.place(service).folder.rpartition("/")
        names = shared.children(folder[0] or "/", watch=False)
        return {unquote(each) for each in names if each not in (folder[2], "zookeeper")}

    def doubt(self) -> str:
        """See `WatchSession.doubt`."""
        shared = self._shared
        return "" if shared is None else shared.doubt()

    def wait(self, timeout_s: float) -> bool:
        """See `WatchSession.wait`."""
        if not self._changed:
            self._nap.wait(timeout_s)
        self._woken = False
        return self._changed

    def close(self) -> None:
        """See `WatchSession.close`."""
        shared, self._shared = self._shared, None
        if shared is not None:
            release_session(shared, self._heard)

    def wake(self) -> None:
        """See `WatchSession.wake`."""
        self._woken = True
        self._nap.wake()

    # -- inside -------------------------------------------------------------------------

    def _heard(self, path: str | None) -> None:
        """Hear of a change; on a thread of kazoo's."""
        if path is None:
            self._armed.clear()
        elif path in self._armed:
            self._armed.pop(path, None)
        elif path != self._folder:
            return
        self._changed = True
        self._nap.wake()

    def _read_one(self, shared: SharedSession, path: str) -> None:
        self._armed[path] = None  # before the question: its watch may fire before its answer
        self._keep(path, shared.read(path, watch=True))

    def _read_changed(self, shared: SharedSession, paths: list[str]) -> None:
        """Read what is new or has changed, forget what is gone."""
        there = set(paths)
        for path in [each for each in self._values if each not in there]:
            self._forget(path)
        fresh = [path for path in paths if path not in self._armed or path not in self._values]
        self._armed.update(dict.fromkeys(fresh))
        unread = set(fresh)
        try:
            for path, node in shared.read_all(fresh):
                self._keep(path, node)
                unread.discard(path)
        finally:
            for path in unread:
                self._forget(path)

    def _keep(self, path: str, node: Found | None) -> None:
        if node is None:
            self._values.pop(path, None)
        else:
            self._values[path] = node.value

    def _forget(self, path: str) -> None:
        self._values.pop(path, None)
        self._armed.pop(path, None)

    def _endpoint(self, path: str) -> Endpoint | None:
        """Return the server that a node names; None, with a warning once, if it names none."""
        value = self._values.get(path)
        if value is None:
            return None
        try:
            return self._plan.layout.endpoint(value)
        except RegistryError as exc:
            if path not in self._warned and len(self._warned) < WARNED_MAX:
                self._warned.add(path)
                log.warning("%s is left out: %s", path, exc)
            return None


def _connect(shared: SharedSession, nap: Nap, given_up: Callable[[], bool]) -> None:
    """Wait until a server has taken us; `nap` is woken by what comes and goes.

    Raises:
        RegistryError: none did in time, or before it was given up.
    """
    with contextlib.suppress(RegistryError):
        shared.ready(0.0)  # one that has ended begins anew
    until_s = monotonic_s() + shared.grace_s
    while not shared.connected and not given_up() and until_s > monotonic_s():
        nap.wait(until_s - monotonic_s())
    shared.ready(0.0)


def registrar(target: Target, settings: ServerSettings) -> SessionRegistrar:
    """Return what announces a server. See `open_registrar`.

    Raises:
        ConfigError: the target's options, or the file that it names.
    """
    credentials_of(plan_of(target))
    return SessionRegistrar(target.text, lambda: ZooKeeperAnnounceSession(target))


def resolver(target: Target, service: str, settings: ClientSettings) -> SessionResolver:
    """Return what finds the servers of a service. See `open_resolver`.

    Raises:
        ConfigError: the target's options, or the file that it names.
    """
    credentials_of(plan_of(target))
    return SessionResolver(
        target.text,
        service,
        lambda: ZooKeeperWatchSession(target, service),
        state_folder(settings.state_dir),
    )
