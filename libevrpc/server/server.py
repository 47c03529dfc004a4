"""`RpcServer`: the composition root of a server."""

from __future__ import annotations

import ipaddress
import logging
import os
import resource
import socket
import sys
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from libevrpc.core.endpoints import Endpoint, format_address, parse_endpoint
from libevrpc.core.wires import Wire
from libevrpc.credentials import read_tokens
from libevrpc.errors import ConfigError, UsageError
from libevrpc.loop.eventloop import EventLoop, on_any_loop
from libevrpc.loop.listener import bind_endpoint, unbind
from libevrpc.server.dispatch import Dispatcher
from libevrpc.server.door import Door
from libevrpc.server.execute import running_call
from libevrpc.server.guests import GuestContext, open_wires, prepare_listener
from libevrpc.server.internal import Offer, internal_entries, signatures_of
from libevrpc.server.limits import session_limits, wire_limits
from libevrpc.server.methods import MethodTable, object_entries, service_entries
from libevrpc.server.pages import Pages
from libevrpc.server.presence import Presence
from libevrpc.server.shard import Shard
from libevrpc.server.signals import StopSignals
from libevrpc.server.statistics import ServerStatistics
from libevrpc.server.workers import WorkerPool
from libevrpc.settings import ServerSettings, adjusted, load_settings

__all__ = ["RpcServer"]

log = logging.getLogger(__name__)

_SPARE_DESCRIPTORS = 64
"""Descriptors kept for files, pipes and the program itself."""
_INTERPRETER_SWITCH_S = 0.005
"""CPython's default switch interval, which we lower; another value is somebody's choice."""
_JOIN_S = 5.0
"""How long a stop waits for a thread that should end at once."""
_LEAVE_S = 1.0
"""How long a drained server waits for its peers to hang up first."""

_servers: weakref.WeakSet[RpcServer] = weakref.WeakSet()


def _in_child() -> None:
    """Keep no port and no connection of the parent's alive in a forked child."""
    for server in list(_servers):
        server.after_fork()


os.register_at_fork(after_in_child=_in_child)


class RpcServer:
    """Serves protobuf services and plain objects.

    A dispatch thread accepts, `threads` loop threads own the connections, up to `workers`
    threads run the handlers. Build it, add services, then `start` and `stop`, or `run`.
    Services may also be added and removed while it serves. All methods: any thread.

    Args:
        listen: addresses: ``host:port``, ``[v6]:port``, ``unix:///path``; port 0 is any
            free one. Default 127.0.0.1:9998.
        threads: loop threads, 1..64 (2).
        workers: most worker threads, 1..4096 (32).
        client_timeout_s: a client of ours that is silent for longer is gone (30).
        registry: target to announce the services at, such as ``center://host:8899``; several
            with blanks between, or as a list.
        advertise: address that clients dial, where it is not the one listened on.
        processes: 1; for more, start several servers with a port each.
        config: an ini file; see config/server.ini for every key.
        settings: further keys of `ServerSettings` by name.

    Arguments win over ``LIBEVRPC_SERVER_*`` in the environment, those over the file.

    Raises:
        ConfigError: a setting is wrong; the text names it and what would be right.
    """

    def __init__(
        self,
        listen: str | Sequence[str] | None = None,
        *,
        threads: int | None = None,
        workers: int | None = None,
        client_timeout_s: float | None = None,
        registry: str | Sequence[str] | None = None,
        advertise: str | None = None,
        processes: int | None = None,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        given = {
            "listen": listen,
            "threads": threads,
            "workers": workers,
            "client_timeout_s": client_timeout_s,
            "registry": registry if registry is None else _spelled(registry),
            "advertise": advertise,
            "processes": processes,
            **settings,
        }
        self.settings = load_settings(ServerSettings, config=config, arguments=given)
        self._endpoints = [parse_endpoint(each, listening=True) for each in self.settings.listen]
        tokens = read_tokens(self.settings.token_file)
        self._door = None if tokens is None else Door(tokens)
        _check_security(self._endpoints, self.settings.security, guarded=tokens is not None)
        self._offers: dict[str, Offer] = {}
        self._methods = MethodTable(internal_entries(lambda: self._offers))
        self._change_lock = threading.Lock()  # services are added and removed one at a time
        self._pool = WorkerPool(self.settings.workers, self.settings.queue_max)
        self._shards: tuple[Shard, ...] = ()
        self._dispatcher: Dispatcher | None = None
        self._presence: Presence | None = None
        self._addresses: tuple[str, ...] = ()
        self._hurry = threading.Event()
        self._stopping = False
        self._stopped = threading.Event()
        self._pages = Pages()
        self._wires: dict[str, Wire] = {}
        open_wires(self.settings.wires, self._guest_context(), self._wires)

    def _guest_context(self) -> GuestContext:
        """Return what wires beside PRPC may know of this server."""
        door = self._door
        return GuestContext(
            limits=wire_limits(self.settings),
            methods=lambda: self._methods,
            offers=lambda: self._offers,
            statistics=self.statistics,
            stopping=lambda: self._stopping,
            token_fits=lambda token: door is None or door.knows(token),
            wires=self._wires,
            pages=self._pages,
        )

    # -- services -----------------------------------------------------------------------

    def add_service(
        self,
        implementation: object,
        descriptor: ServiceDescriptor | None = None,
        *,
        inline: bool | Iterable[str] = False,
    ) -> None:
        """Serve a protobuf service; also while running.

        Args:
            implementation: an object with a method, or a mapping with a function, for each
                method of the service, named as in the .proto or in snake_case. Handlers
                take ``(request)`` or ``(request, controller)``.
            descriptor: which service; may be left out where `implementation` is of a class
                made by `libevrpc.service_base`.
            inline: True for all methods, or the names of those, to run on the loop thread
                without a thread switch. They must not block. Compressed requests are
                inflated and run by the workers all the same.

        Raises:
            UsageError: no descriptor, a method without handler, or served already.
        """
        if descriptor is None:
            descriptor = getattr(implementation, "DESCRIPTOR", None)
        if not isinstance(descriptor, ServiceDescriptor):
            raise UsageError(
                "add_service needs the service's descriptor, such as"
                ' echo_pb2.DESCRIPTOR.services_by_name["EchoService"]'
            )
        entries = service_entries(descriptor, implementation, inline=inline)
        with self._change_lock:
            self._publish(self._methods.with_entries(entries))
            self._offers = {**self._offers, descriptor.full_name: descriptor}
            self._announce()

    def add_object(
        self, target: object, name: str | None = None, *, inline: bool | Iterable[str] = False
    ) -> None:
        """Serve the public methods of a plain object, without any IDL; also while running.

        Args:
            target: its public methods are served; one with a parameter ``controller`` gets
                the controller there.
            name: service name; the class's name if left out.
            inline: as in `add_service`.

        Raises:
            UsageError: no public method, or the name is served already.
        """
        service = type(target).__name__ if name is None else name
        entries = object_entries(target, service, inline=inline)
        with self._change_lock:
            self._publish(self._methods.with_entries(entries))
            self._offers = {**self._offers, service: (service, signatures_of(target, entries))}
            self._announce()

    def remove_service(self, name: str) -> None:
        """Stop serving a service; its calls in flight are finished.

        Raises:
            UsageError: it is not served.
        """
        with self._change_lock:
            if name not in self._offers:
                known = ", ".join(self._offers) or "none"
                raise UsageError(f"service {name!r} is not served; services: {known}")
            self._publish(self._methods.without(name))
            self._offers = {key: value for key, value in self._offers.items() if key != name}
            self._announce()

    def _publish(self, methods: MethodTable) -> None:
        self._methods = methods
        for shard in self._shards:
            shard.methods = methods  # one store: a loop sees the old table or the new one

    def announce(
        self,
        *,
        weight: float | None = None,
        tags: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """Tell the registry something else about this server; also while running.

        Args:
            weight: share of the load beside other servers, 0.01..65; None: as before.
            tags: words told with the server; None: as before.
            limit: most calls that one client may have in flight here, 0: any number; None: as
                before.

        Raises:
            ConfigError: a value is out of its range.
        """
        with self._change_lock:
            given = {"weight": weight, "tags": tags, "limit": limit}
            self.settings = adjusted(self.settings, given)
            self._announce()

    def _announce(self) -> None:
        """Under the lock: what is announced last is what holds."""
        if self._presence is not None:
            self._presence.update(self._offers, self.settings)

    @property
    def pages(self) -> Pages:
        """What the server answers over HTTP beside calls; pages may be added at any time."""
        return self._pages

    # -- life ---------------------------------------------------------------------------

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses listened on, ports filled in; empty before `start`."""
        return self._addresses

    @property
    def address(self) -> str:
        """The first of them.

        Raises:
            UsageError: the server has not started.
        """
        if not self._addresses:
            raise UsageError("the server has no address before start()")
        return self._addresses[0]

    def start(self) -> None:
        """Listen and serve; returns once connections are accepted. Once.

        Raises:
            ConfigError: an address cannot be listened on or must not be advertised.
            UsageError: started before.
        """
        if self._shards or self._stopped.is_set():
            raise UsageError("start() is for a server that was never started")
        sockets = self._bind()
        _servers.add(self)
        limits = session_limits(self.settings, self._door, tuple(self._wires.values()))
        shards = []
        for number in range(self.settings.threads):
            shards.append(
                Shard(
                    EventLoop(f"libevrpc-loop-{number}"),
                    self._pool,
                    self._methods,
                    limits,
                    unsent_bytes_max=self.settings.unsent_bytes_max,
                    unsent_pause_bytes=self.settings.unsent_pause_bytes,
                )
            )
        self._shards = tuple(shards)
        if self.settings.switch_interval_s and sys.getswitchinterval() == _INTERPRETER_SWITCH_S:
            sys.setswitchinterval(self.settings.switch_interval_s)
        for shard in shards:
            shard.loop.start()
        self._dispatcher = Dispatcher(sockets, shards, _connections_max(self.settings))
        self._dispatcher.start()
        if self._presence is not None:
            with self._change_lock:
                self._presence.start(self._offers, self.settings)
        log.info("listening on %s", " ".join(self._addresses))

    def after_fork(self) -> None:
        """Count as stopped in a forked child: the server stays with its parent.

        Called in the child by the fork itself.
        """
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.abandon()
        for shard in self._shards:
            shard.abandon()
        self._pool.abandon()
        self._presence = None
        self._change_lock = threading.Lock()  # the holders of all locks may be in the parent
        self._hurry = threading.Event()
        self._stopped = threading.Event()
        self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the server has stopped; False if it had not within `timeout_s`."""
        return self._stopped.wait(timeout_s)

    def stop(self, drain_s: float | None = None) -> None:
        """Withdraw, refuse new calls, finish what runs, close. Any number of times.

        A handler may call it: its own call is not waited for, and its caller finds the
        connection closed.

        Args:
            drain_s: how long running calls may take; the setting if None. Those still
                running then are cancelled.

        Raises:
            UsageError: called on a loop thread, which would have to wait for itself.
        """
        if on_any_loop():
            raise UsageError("stop() waits for the loops: call it on another thread")
        with self._change_lock:
            dispatcher, self._dispatcher = self._dispatcher, None
            under_way, self._stopping = self._stopping, True
        if dispatcher is not None:
            try:
                self._stop(dispatcher, self.settings.drain_s if drain_s is None else drain_s)
            finally:
                self._stopped.set()
        elif under_way:  # by another thread
            self._stopped.wait()
        else:
            self._stopped.set()

    def _stop(self, dispatcher: Dispatcher, drain_s: float) -> None:
        if self._presence is not None:
            self._presence.withdraw()
        dispatcher.stop(_JOIN_S)
        own = running_call()  # which ends after this
        drained = [shard.drain(own) for shard in self._shards]
        until = _Deadline(drain_s)
        for event in drained:
            until.wait_any(event, self._hurry)
        linger = _Deadline(min(_LEAVE_S, until.left_s()))
        for shard in self._shards:
            linger.wait_any(shard.leave(), self._hurry)
        for shard in self._shards:
            shard.finish(_JOIN_S)
        self._pool.stop(0.0 if self._hurry.is_set() else _JOIN_S)
        log.info("stopped")

    def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, then drain and stop. Main thread only.

        A second signal stops at once. Handlers of the two signals are put back at the end.
        """
        with StopSignals(self._hurry.set) as signals:
            if not self._shards:
                self.start()
            signals.wait()
            log.info("stopping")
            self.stop()

    def __enter__(self) -> RpcServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- looking inside -----------------------------------------------------------------

    def statistics(self) -> ServerStatistics:
        """Return an immutable snapshot of the counters."""
        shards = self._shards
        dispatcher = self._dispatcher
        per_loop = tuple(len(shard.sessions) for shard in shards)
        return ServerStatistics(
            connections=sum(per_loop),
            accepted=sum(shard.accepted for shard in shards),
            overflowed=dispatcher.overflowed if dispatcher is not None else 0,
            timed_out=sum(shard.timed_out for shard in shards),
            in_flight=sum(
                len(session.in_flight) for shard in shards for session in list(shard.sessions)
            ),
            waiting=self._pool.backlog,
            calls=sum(shard.admitted for shard in shards),
            failed=sum(shard.failures.total() for shard in shards),
            refused=sum(shard.refused for shard in shards),
            expired=sum(shard.expired for shard in shards),
            cancelled=sum(shard.cancelled for shard in shards),
            connections_per_loop=per_loop,
            worker_threads=self._pool.threads,
            worker_busy_s=self._pool.busy_s,
        )

    # -- inside -------------------------------------------------------------------------

    def _bind(self) -> list[tuple[socket.socket, Endpoint]]:
        sockets: list[tuple[socket.socket, Endpoint]] = []
        try:
            for endpoint in self._endpoints:
                sockets.append((bind_endpoint(endpoint), endpoint))
                prepare_listener(sockets[-1][0], self._wires)
            self._addresses = tuple(_bound_address(*each) for each in sockets)
            if self.settings.registry:
                self._presence = Presence(self.settings, self._addresses[0], self.statistics)
        except BaseException:
            for each in sockets:
                unbind(*each)
            raise
        return sockets


class _Deadline:
    """A span that several waits share."""

    def __init__(self, seconds: float) -> None:
        from libevrpc.clock import monotonic_s

        self._now = monotonic_s
        self._until_s = monotonic_s() + seconds

    def left_s(self) -> float:
        return max(0.0, self._until_s - self._now())

    def wait_any(self, event: threading.Event, hurry: threading.Event) -> None:
        """Wait for `event` while there is time and no hurry."""
        while not event.is_set() and not hurry.is_set() and self.left_s():
            event.wait(min(self.left_s(), 0.1))


def _spelled(registry: str | Sequence[str]) -> str:
    return registry if isinstance(registry, str) else " ".join(registry)


def _bound_address(sock: socket.socket, endpoint: Endpoint) -> str:
    if endpoint.path:
        return endpoint.address
    return format_address(endpoint.host, sock.getsockname()[1])


def _connections_max(settings: ServerSettings) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return settings.connections_max
    return max(1, min(settings.connections_max, soft - _SPARE_DESCRIPTORS))


def _check_security(endpoints: Sequence[Endpoint], security: str, *, guarded: bool) -> None:
    """Refuse to listen beyond this machine without a token, unless the configuration says so."""
    for endpoint in endpoints:
        if guarded or security == "none" or endpoint.path or is_loopback(endpoint.host):
            continue
        raise ConfigError(
            f"listen = {endpoint.address}: reachable from other machines without protection;"
            " listen on 127.0.0.1, set token_file, or write security = none"
        )


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
