"""The edge to ZooKeeper: one session per process and ensemble, and what is asked in it.

All registrars and resolvers of a process whose targets name the same servers, time-out and
credentials share one `SharedSession`: the first opens it, the last closes it. kazoo, which keeps
the session and reconnects, is imported here alone.

A broken connection is no lost session: kazoo comes back within the session's time-out and
everything stands as it did. An expired session is made anew by kazoo, a client that cannot go on
(credentials refused, a request that nobody answers) is replaced by us; both raise `epoch`, after
which whoever had nodes writes them again.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kazoo import exceptions as refusals
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.states import KazooState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from libevrpc.clock import monotonic_s
from libevrpc.credentials import read_secrets
from libevrpc.errors import ConfigError
from libevrpc.registry.session import RegistryError
from libevrpc.registry.zookeeper_layouts import ZooKeeperPlan
from libevrpc.registry.zookeeper_log import QuietLog, reason_of

__all__ = [
    "Found",
    "Listener",
    "SharedSession",
    "acquire_session",
    "credentials_of",
    "release_session",
]

log = logging.getLogger(__name__)

RECONNECT = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_jitter": 0.4, "max_delay": 1.0}
"""How kazoo tries again when no server took it: for ever, at least about once a second."""
GRACE_MAX_S = 3.0
"""A connection that is away for less, as while a leader is elected, is no trouble yet."""
ANSWER_MIN_S = 5.0
"""No request is given up before: the ensemble may have granted a longer session than we asked for,
and kazoo finds out within it that a connection is dead."""
END_WAIT_S = 2.0
"""How long the last user waits for the session's end; it goes on by itself after that."""
PIPELINED_MAX = 256
"""Requests on their way at once."""
READ_TRIES_MAX = 10
"""A node that appears and vanishes between our questions is asked for so often."""

_NOT_AS_WANTED = (refusals.NoNodeError, refusals.NodeExistsError, refusals.BadVersionError)

Listener = Callable[[str | None], object]
"""Told the path of a changed node; None: anything may have changed. On threads of kazoo's: must
not block or raise."""


class Found(NamedTuple):
    """One node as it was read."""

    value: bytes
    owner: int
    """Session that it lives with; 0: it is persistent."""
    version: int
    created: int
    """Transaction that made it."""


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads and sockets: named, never noisy, and let go in a forked child."""

    def __init__(self, hosts: int) -> None:
        super().__init__()
        self.ended = False
        """The thread of the connection has ended: nothing comes back by itself."""
        self.tried = ""
        """Address that was dialled last."""
        self._hosts = hosts
        self._shunned = False
        self._sockets: list[Any] = []

    def start(self) -> None:
        super().start()
        atexit.unregister(self.stop)  # daemons need no joining, and a forked child has them not

    def spawn(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> threading.Thread:
        def run() -> None:
            try:
                func(*args, **kwargs)
            except Exception:
                log.debug("a thread of kazoo's failed", exc_info=True)
            finally:
                self.ended = True

        thread = threading.Thread(target=run, name="libevrpc-zookeeper", daemon=True)
        thread.start()
        return thread

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Dial; but not, where there are others, the server that has just been lost.

        A frozen server would accept and cost a third of the session's time before the next.
        """
        address = args[0] if args else kwargs["address"]
        spelled = f"{address[0]}:{address[1]}"
        if self._hosts > 1 and spelled == self.tried and not self._shunned:
            self._shunned = True
            raise ConnectionAbortedError("lost just now; others first")
        self.tried, self._shunned = spelled, False
        made = super().create_connection(*args, **kwargs)
        self._sockets[2:] = [made]
        return made

    def create_socket_pair(self) -> Any:
        self._sockets[:] = super().create_socket_pair()
        return tuple(self._sockets)

    def abandon(self) -> None:
        """Close our descriptors alone: in a forked child, whose parent goes on with the session."""
        for each in self._sockets:
            each.close()


class SharedSession:
    """One session at one ensemble. Any thread; made by `acquire_session`.

    Its methods block for at most the session's time-out and raise `RegistryError`.

    Args:
        plan: servers, time-out, credentials.

    Raises:
        ConfigError: the file of credentials is missing, open to others or holds something else.
    """

    def __init__(self, plan: ZooKeeperPlan) -> None:
        self._plan = plan
        self._auth = credentials_of(plan)
        self._acl = CREATOR_ALL_ACL + READ_ACL_UNSAFE if self._auth else OPEN_ACL_UNSAFE
        self.grace_s = min(GRACE_MAX_S, plan.expiry_s / 2.0)
        self.epoch = 0
        """Grows with each session that is lost, and with it all nodes written in it."""
        self.connections = 0
        """How many times a server took us."""
        self._epochs = itertools.count(1)
        self._connected = threading.Event()
        self._away_since_s = monotonic_s()
        self._listeners: tuple[Listener, ...] = ()
        self.foreign = False
        """This is a forked child: the session is its parent's."""
        self._begin()

    def _begin(self) -> None:
        hosts = self._plan.hosts
        self._handler = _Handler(hosts.count(",") + 1)
        self._log = QuietLog()
        client = KazooClient(
            hosts=hosts,
            timeout=self._plan.expiry_s,
            handler=self._handler,
            auth_data=self._auth,
            connection_retry=dict(RECONNECT),
            logger=self._log,
        )
        self._client = client
        client.add_listener(lambda state: self._turned(client, state))
        client.start_async()

    # -- who shares it ------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of changes. With the table's lock."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> bool:
        """Do so no more; True: nobody is left. With the table's lock."""
        self._listeners = tuple(each for each in self._listeners if each != listener)
        return not self._listeners

    @property
    def shared(self) -> bool:
        """It has several users."""
        return len(self._listeners) > 1

    def end(self) -> None:
        """Close the session; its nodes vanish with it. Waits for a while only."""
        _ending(self._client).join(END_WAIT_S)

    def abandon(self) -> None:
        """Leave everything to the parent. In a forked child."""
        self.foreign = True
        self._handler.abandon()

    # -- what kazoo tells, on its threads -----------------------------------------------

    def _turned(self, client: Any, state: str) -> None:
        """Take note of a connection that came or went."""
        if client is not self._client:
            return
        if state == KazooState.CONNECTED:
            self.connections += 1
            self._connected.set()
        elif self._connected.is_set():
            self._connected.clear()
            self._away_since_s = monotonic_s()
        if state == KazooState.LOST:
            self.epoch = next(self._epochs)
        self._tell(None)

    def _fired(self, event: Any) -> None:
        """Take a watch's event; without a path it says that the watch is gone."""
        self._tell(event.path)

    def _tell(self, path: str | None) -> None:
        for listener in self._listeners:
            listener(path)

    # -- questions ----------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """A server has us now."""
        return self._connected.is_set()

    def ready(self, timeout_s: float) -> None:
        """Wait until a server has taken us.

        Raises:
            RegistryError: none did in time.
        """
        if self.foreign:
            raise RegistryError("this session of ZooKeeper belongs to the parent process")
        client = self._client
        if self._handler.ended:  # by a server that refused us or sent garbage
            self.renew(client)
        if not self._connected.wait(timeout_s):
            raise self._no_connection()

    def _no_connection(self) -> RegistryError:
        if self._log.last.startswith("AUTH_FAILED"):
            return RegistryError(f"ZooKeeper {self._plan.hosts} refused our credentials")
        why = self._log.last.removeprefix("Connection dropped: ")
        why = why.removeprefix("socket connection error: ")
        if not why or why.startswith("Transition"):
            why = "no answer"
        return RegistryError(
            f"no connection to ZooKeeper {self._plan.hosts}"
            f" (last tried {self._handler.tried or 'none yet'}: {why})"
        )

    def doubt(self) -> str:
        """Return why no server has taken us, as far as is known."""
        return "" if self.connected or not self._log.last else str(self._no_connection())

    def require_presence(self) -> None:
        """Return if we are connected, or were until a moment ago.

        Raises:
            RegistryError: the connection is away for longer than `grace_s`.
        """
        connected = self._connected.is_set()
        if not connected and monotonic_s() - self._away_since_s >= self.grace_s:
            self.ready(0.0)

    @property
    def id(self) -> int:
        """The session's number, 0 where there is none."""
        known = self._client.client_id
        return 0 if known is None else int(known[0] or 0)

    @property
    def newest(self) -> int:
        """The newest transaction that we have heard of."""
        return int(self._client.last_zxid)

    def renew(self, client: Any = None) -> None:
        """Drop the session, if it is still that of `client`, and begin another. Any thread."""
        with _lock:
            old = self._client
            if self.foreign or (client is not None and client is not old):
                return
            self._connected.clear()
            self._away_since_s = monotonic_s()
            self.epoch = next(self._epochs)
            self._begin()
        _ending(old)
        self._tell(None)

    def _ask(self, what: str, begin: Callable[[Any], Any]) -> Any:
        """Begin a request and wait for its answer.

        Raises:
            RegistryError: there is none, or it is a refusal that callers do not expect.
            KazooException: one that they do.
        """
        self.ready(self.grace_s)  # never queued for a connection: it could be sent much later
        return self._answer(what, self._client, begin(self._client))

    def _answer(self, what: str, client: Any, answer: Any) -> Any:
        try:
            return answer.get(timeout=max(ANSWER_MIN_S, self._plan.expiry_s) + self.grace_s)
        except _NOT_AS_WANTED:
            raise
        except KazooTimeoutError:
            self.renew(client)  # else it could still be carried out, at any time
            raise RegistryError(f"no answer from ZooKeeper {self._plan.hosts}: {what}") from None
        except refusals.KazooException as exc:
            raise RegistryError(f"{what}: {reason_of(exc)}") from None

    def sync(self, path: str) -> None:
        """Have our server catch up with its leader."""
        self._ask(f"sync {path}", lambda client: client.sync_async(path))

    def read(self, path: str, *, watch: bool = False) -> Found | None:
        """Return a node; None: there is none. A watch is told also when one appears."""
        told = self._fired if watch else None
        answer = self._if_there(path, watch, lambda c: c.get_async(path, watch=told))
        return None if answer is None else _found(answer)

    def children(self, path: str, *, watch: bool = True) -> list[str]:
        """Return the names below a node; none where there is no such node yet."""
        told = self._fired if watch else None
        answer = self._if_there(path, watch, lambda c: c.get_children_async(path, watch=told))
        return [str(each) for each in answer or ()]

    def _if_there(self, path: str, watch: bool, begin: Callable[[Any], Any]) -> Any:
        """Ask about a node; None: there is none, and its appearance is watched."""
        for _ in range(READ_TRIES_MAX):
            try:
                return self._ask(f"read {path}", begin)
            except refusals.NoNodeError:
                if not watch:
                    return None
            if not self._ask(f"read {path}", lambda c: c.exists_async(path, watch=self._fired)):
                return None
        raise RegistryError(f"read {path}: it appears and vanishes all the time")

    def read_all(
        self, paths: Sequence[str], *, watch: bool = True
    ) -> Iterator[tuple[str, Found | None]]:
        """Yield nodes, and None for those that there are not; their appearance is not watched."""
        told = self._fired if watch else None
        for path, answer in self._ask_all("read", paths, lambda c, p: c.get_async(p, watch=told)):
            yield path, None if answer is None else _found(answer)

    def _ask_all(
        self, verb: str, paths: Sequence[str], begin: Callable[[Any, str], Any]
    ) -> Iterator[tuple[str, Any]]:
        """Ask about many nodes at once; None: the node is not as the request wants it."""
        for first in range(0, len(paths), PIPELINED_MAX):
            some = paths[first : first + PIPELINED_MAX]
            self.ready(self.grace_s)
            client = self._client
            asked = [begin(client, path) for path in some]
            for path, answer in zip(some, asked, strict=True):
                try:
                    yield path, self._answer(f"{verb} {path}", client, answer)
                except _NOT_AS_WANTED:
                    yield path, None

    # -- changes ------------------------------------------------------------------------

    def create_all(self, nodes: Mapping[str, bytes]) -> None:
        """Make ephemeral nodes and what they need above them; those that are there stay."""

        def begin(client: Any, path: str) -> Any:
            return client.create_async(path, nodes[path], self._acl, ephemeral=True)

        # kazoo's makepath never ends where several requests want the same folder
        for folder in {path.rpartition("/")[0]: None for path in nodes if path.count("/") > 1}:
            self._ensure(folder)
        for _ in self._ask_all("create", list(nodes), begin):
            pass

    def _ensure(self, folder: str) -> None:
        self._ask(f"create {folder}", lambda c: c.ensure_path_async(folder, self._acl))

    def delete_all(self, versions: Mapping[str, int]) -> None:
        """Delete nodes; those that are not at their versions any more stay."""
        for _ in self._ask_all(
            "delete", list(versions), lambda c, path: c.delete_async(path, version=versions[path])
        ):
            pass

    def change(self, path: str, value: bytes, version: int) -> bool:
        """Give a node another value; False: it is not at that version any more."""
        try:
            self._ask(f"set {path}", lambda c: c.set_async(path, value, version=version))
        except _NOT_AS_WANTED:
            return False
        return True

    def replace(self, path: str, value: bytes, version: int) -> bool:
        """Put an ephemeral node of ours in the place of another, in one step that all see whole.

        False: the other one is not at that version any more.
        """

        def begin(client: Any) -> Any:
            both = client.transaction()
            both.delete(path, version=version)
            both.create(path, value, acl=self._acl, ephemeral=True)
            return both.commit_async()

        results = self._ask(f"replace {path}", begin)
        refused = [each for each in results if isinstance(each, Exception)]
        for each in refused:
            if isinstance(each, refusals.NoAuthError):
                raise RegistryError(f"replace {path}: {reason_of(each)}")
        return not refused


def _found(answer: Any) -> Found:
    value, stat = answer
    return Found(value or b"", stat.ephemeralOwner, stat.version, stat.czxid)


def credentials_of(plan: ZooKeeperPlan) -> tuple[tuple[str, str], ...]:
    """Return what a session is authenticated with, out of the file that a target names.

    Raises:
        ConfigError: it cannot be read, is open to others, or holds something else.
    """
    if not plan.auth_file:
        return ()
    line = read_secrets(plan.auth_file, "auth_file")[0]
    user, colon, password = line.partition(":")
    if not (user and colon and password):
        raise ConfigError(f"auth_file = {plan.auth_file}: write one line, user:password")
    return (("digest", line),)


def _ending(client: Any) -> threading.Thread:
    """Close a session on a thread of its own: it takes up to the session's time-out."""

    def end() -> None:
        try:
            client.stop()
            client.close()
        except Exception:
            log.debug("closing a session of ZooKeeper failed", exc_info=True)

    thread = threading.Thread(target=end, name="libevrpc-zookeeper-end", daemon=True)
    thread.start()
    return thread


# -- the table of sessions --------------------------------------------------------------

_lock = threading.Lock()
_sessions: dict[tuple[str, float, str], SharedSession] = {}


def acquire_session(plan: ZooKeeperPlan, listener: Listener) -> SharedSession:
    """Return the session of an ensemble, made for its first user; `listener` hears of changes.

    Raises:
        ConfigError: see `SharedSession`.
    """
    key = (plan.hosts, plan.expiry_s, plan.auth_file)
    with _lock:
        session = _sessions.get(key)
        if session is None:
            session = _sessions[key] = SharedSession(plan)
        session.listen(listener)
        return session


def release_session(session: SharedSession, listener: Listener) -> bool:
    """Give a session back; True: that was its last user, so it is closed and its nodes go."""
    with _lock:
        if session.foreign or not session.unlisten(listener):
            return False
        for key in [each for each, held in _sessions.items() if held is session]:
            del _sessions[key]
    session.end()
    return True


def _in_child() -> None:
    """Leave the parent's sessions to it: their threads do not exist here."""
    global _lock
    _lock = threading.Lock()
    for session in _sessions.values():
        session.abandon()
    _sessions.clear()


os.register_at_fork(after_in_child=_in_child)
