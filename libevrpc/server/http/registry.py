"""TinyRPC's registry as pages of a server: who announces itself is listed until it falls silent.

TinyRPC and gee-rpc peers use headers alone. Servers and clients of ours say more in bodies: a
record with services, weight, tags and limit; a question that waits for news; a goodbye.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from libevrpc.clock import monotonic_s
from libevrpc.core.beats import KEPT_MAGIC, BeatTable
from libevrpc.core.http import HttpReply, HttpRequest
from libevrpc.core.httpregistry import (
    DIALECTS,
    EXPIRY_HEADER,
    VERSION_HEADER,
    WAIT_HEADER,
    WORD_HEADER,
    Dialect,
    Words,
    check_record,
    span_of,
    write_list,
)
from libevrpc.errors import ConfigError, Errno, RpcError, UsageError
from libevrpc.registry.state import StateFile
from libevrpc.server.pages import MethodPage

if TYPE_CHECKING:
    from libevrpc.server.calls import Deferred, ServerController
    from libevrpc.server.server import RpcServer

__all__ = ["SERVICE", "HttpRegistry"]

log = logging.getLogger(__name__)

SERVICE: Final = "libevrpc.HttpRegistry"
"""The service that answers the pages; for HTTP alone."""
EXPIRY_S: Final = 300.0
SERVERS_MAX: Final = 10_000
WAIT_MAX_S: Final = 30.0
"""Longest wait for news."""
WAITERS_MAX: Final = 10_000
"""Most questions that wait, over all connections; one more is answered at once, with the list."""
GATHER_S: Final = 0.05
"""News that come this soon after others are told together."""
LOOK_S: Final = 0.25
"""How often the thread looks whether the server stops, while anybody waits."""


class HttpRegistry:
    """A registry on the port of a server, at the paths of both dialects.

    One thread, `libevrpc-registry`, drops who expires and answers who waits for news. Close it
    after the server. All methods: any thread.

    Args:
        server: answers the pages; it may serve other things beside them.
        expiry_s: a server silent for longer is dropped; 0: never.
        state_file: keeps the servers over a restart; None: nothing is kept.
        servers_max: most servers; one more is refused with 429.

    Raises:
        UsageError: the server speaks no HTTP.
        ConfigError: a figure is out of range, or the file is another program's.
    """

    def __init__(
        self,
        server: RpcServer,
        *,
        expiry_s: float = EXPIRY_S,
        state_file: str | Path | None = None,
        servers_max: int = SERVERS_MAX,
    ) -> None:
        if not 0.0 <= expiry_s <= 7 * 86400.0:
            raise ConfigError(f"expiry = {expiry_s:g}: 0 (never) or up to 604800 seconds")
        if not 1 <= servers_max <= 1_000_000:
            raise ConfigError(f"servers_max = {servers_max}: 1 to 1000000")
        if server.pages.stopping is None:
            raise UsageError(
                "the registry needs HTTP on its server: pip install 'libevrpc[http]', and"
                " wires = all or http"
            )
        self._stopping = server.pages.stopping
        self._lock = threading.Lock()  # every loop of the server answers for the registry
        self._table = BeatTable(expiry_s, servers_max)
        self._words = Words(servers_max)
        self._life = secrets.token_hex(4)  # versions of another life mean nothing
        self._file = None if state_file is None else _File(Path(state_file).absolute())
        if self._file is not None:
            self._take_kept(self._file)
        self._kept = self._table.version
        self._told = self._table.version
        self._told_s = -math.inf
        self._shown = (-1, "", b"")  # of a version: the header and the body
        self._waiters: list[_Waiter] = []
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="libevrpc-registry", daemon=True)
        server.add_object(_Desk(self), SERVICE, inline=True)
        for dialect in DIALECTS.values():
            page = MethodPage(SERVICE, "answer", _arguments, _as_it_is)
            server.pages.add(dialect.path, {"GET": page, "POST": page, "DELETE": page})
        self._thread.start()

    def close(self) -> None:
        """Answer who waits, write what is to be kept, end the thread. Any number of times."""
        self._closed = True
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)
        if self._file is not None:
            self._file.flush(5.0)

    def __enter__(self) -> HttpRegistry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def addresses(self) -> list[str]:
        """The servers listed now, as they spell themselves, sorted."""
        with self._lock:
            self._purge()
            return [each.address for each in self._table.beats()]

    # -- requests, on loop threads ------------------------------------------------------

    def answer(self, request: object, controller: ServerController) -> HttpReply | None:
        """Answer a request; None: later.

        Raises:
            RpcError: it is wrong, or the registry is full.
        """
        if not isinstance(request, HttpRequest):
            raise RpcError.from_errno(Errno.BAD_REQUEST, f"{SERVICE} is answered over HTTP alone")
        dialect = next(each for each in DIALECTS.values() if each.path == request.head.path)
        if request.head.method in ("GET", "HEAD"):
            return self._list(dialect, request, controller)
        address = request.head.headers.get(dialect.server_header.lower(), "")
        if not address:
            return HttpReply(500)  # as the originals do
        if request.head.method == "DELETE":
            return self._leave(address, request)
        return self._beat(address, request)

    def _beat(self, address: str, request: HttpRequest) -> HttpReply:
        headers = request.head.headers
        ours = headers.get("content-type") == "application/json"
        record = check_record(request.body) if ours else ""
        asked_s = span_of(headers.get(EXPIRY_HEADER.lower()))
        with self._lock:
            self._purge()
            if self._words.late(address, headers.get(WORD_HEADER.lower(), "")):
                return HttpReply.text(409, "a later word of this server was heard before")
            version, due_s = self._table.version, self._table.due_s
            span_s = self._table.beat(address, record, asked_s, monotonic_s())
            news = self._table.version != version
            wake = news or self._table.due_s < due_s
        if news:
            log.info("announced address=%s", address)
        if wake:
            self._wake.set()
        return HttpReply(200, b"", ((EXPIRY_HEADER, f"{span_s:g}"),))

    def _leave(self, address: str, request: HttpRequest) -> HttpReply:
        with self._lock:
            self._words.late(address, request.head.headers.get(WORD_HEADER.lower(), ""))
            known = self._table.leave(address)
        if not known:
            return HttpReply(404)
        log.info("left address=%s", address)
        self._wake.set()
        return HttpReply(200)

    def _list(
        self, dialect: Dialect, request: HttpRequest, controller: ServerController
    ) -> HttpReply | None:
        headers = request.head.headers
        wait_s = span_of(headers.get(WAIT_HEADER.lower()))
        wait_s = min(wait_s, WAIT_MAX_S, controller.time_remaining_s() / 2)
        with self._lock:
            self._purge()
            known = headers.get(VERSION_HEADER.lower()) == self._version()
            room = len(self._waiters) < WAITERS_MAX and not self._closed and not self._stopping()
            full = "application/json" in headers.get("accept", "")
            if not (wait_s and known and room and not request.body):  # no body is kept for so long
                return self._reply(dialect, full)
            waiter = _Waiter(monotonic_s() + wait_s, controller.defer(), dialect, full)
            self._waiters.append(waiter)
        controller.on_cancel(waiter.leave)
        self._wake.set()
        return None

    # -- under the lock -----------------------------------------------------------------

    def _version(self) -> str:
        return f"{self._life}-{self._table.version}"

    def _reply(self, dialect: Dialect, full: bool) -> HttpReply:
        """Return the list as this peer reads it; `full`: with the servers' records."""
        version, listed, body = self._shown
        if version != self._table.version:
            beats = self._table.beats()
            listed = ",".join(each.address for each in beats)
            body = write_list((each.address, each.record) for each in beats)
            self._shown = (self._table.version, listed, body)
        headers = ((dialect.servers_header, listed), (VERSION_HEADER, self._version()))
        if not full:
            return HttpReply(200, b"", headers)
        return HttpReply(200, body, (*headers, ("Content-Type", "application/json")))

    def _purge(self) -> None:
        for address in self._table.purge(monotonic_s()):
            log.info("expired address=%s", address)

    # -- on the thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            wait_s = self._turn()
            self._wake.wait(None if math.isinf(wait_s) else wait_s)
            self._wake.clear()
        self._turn()

    def _turn(self) -> float:
        """Drop who expired, keep what is new, tell who waits; returns when to look again."""
        replies: list[tuple[Deferred, HttpReply]] = []
        kept = None
        with self._lock:
            self._purge()
            now_s = monotonic_s()
            if self._kept != self._table.version and self._file is not None:
                self._kept, kept = self._table.version, self._table.kept()
            news = self._told != self._table.version
            gather_s = self._told_s + GATHER_S - now_s if news else 0.0
            ending = self._closed or self._stopping()
            if news and gather_s <= 0.0:
                self._told, self._told_s = self._table.version, now_s
            everybody = ending or (news and gather_s <= 0.0)
            staying = []
            for waiter in self._waiters:
                if everybody or waiter.until_s <= now_s:
                    replies.append((waiter.deferred, self._reply(waiter.dialect, waiter.full)))
                elif not waiter.gone:
                    staying.append(waiter)
            self._waiters = staying
            wait_s = min(self._table.due_s - now_s, LOOK_S if staying else math.inf)
        for deferred, reply in replies:
            deferred.reply(reply)
        if kept is not None and self._file is not None:
            self._file.write_soon(kept)
        return max(0.0, min(wait_s, gather_s) if gather_s > 0.0 else wait_s)

    def _take_kept(self, file: _File) -> None:
        kept = file.read()
        if not kept:
            return
        if not kept.startswith(KEPT_MAGIC[: len(kept)]):
            raise ConfigError(f"{file.path}: no registry wrote it; name another state file")
        try:
            count = self._table.take(kept, monotonic_s())
        except ConfigError as exc:
            log.warning("%s: %s; beginning with nobody", file.path, exc)
            return
        log.info("%s: %d servers were there before; they may stay if they beat", file.path, count)


@dataclass(slots=True)
class _Waiter:
    """A question that waits for news."""

    until_s: float
    deferred: Deferred
    dialect: Dialect
    full: bool
    gone: bool = False

    def leave(self) -> None:
        """Nobody waits for the answer any more. Loop thread."""
        self.gone = True


class _Desk:
    """What the server offers: one method, for the pages alone."""

    def __init__(self, registry: HttpRegistry) -> None:
        self._registry = registry

    def answer(self, request: Any, controller: ServerController) -> HttpReply | None:
        return self._registry.answer(request, controller)


class _File(StateFile):
    """The file with the servers, under the name that the user gave it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, "registry", str(path))
        self._path = self.path = path


def _arguments(request: HttpRequest) -> list[Any]:
    return [request]


def _as_it_is(request: HttpRequest, result: HttpReply) -> HttpReply:
    return result
