"""Listening sockets: bind, accept what waits, hand each connection on."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable

from libevrpc.core.endpoints import Endpoint, format_address
from libevrpc.errors import ConfigError
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.poller import READ
from libevrpc.loop.transport import tune_socket

__all__ = ["Listener", "bind_endpoint", "unbind"]

log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections the kernel keeps for us until they are accepted."""
ACCEPTS_PER_TURN_MAX = 256
"""Connections accepted before other descriptors have their turn."""
PAUSE_S = 0.1
"""How long accepting rests when the process is out of descriptors."""
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
KEEPALIVE_IDLE_S = 60
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MS = 90_000
"""Peers that send no heartbeats are left to TCP: dead within 90 s, idle or not."""


def bind_endpoint(endpoint: Endpoint) -> socket.socket:
    """Return a listening socket.

    Raises:
        ConfigError: the address cannot be listened on; says why.
    """
    if endpoint.path:
        return _bind_unix(endpoint)
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as exc:
        text = f"cannot listen on {endpoint.address}: {endpoint.host}: {exc.strerror}"
        raise ConfigError(text) from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise _refused(endpoint, exc) from None
    return sock


def _bind_unix(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(endpoint.path)
        sock.bind(endpoint.path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise _refused(endpoint, exc) from None
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more; a live one or another file stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # EAGAIN: somebody listens, with as many waiting as can
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def unbind(sock: socket.socket, endpoint: Endpoint) -> None:
    """Stop listening: close what `bind_endpoint` made, and remove its file."""
    sock.close()
    if endpoint.path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(endpoint.path)


def _refused(endpoint: Endpoint, exc: OSError) -> ConfigError:
    hint = ""
    if exc.errno == errno.EADDRINUSE:
        hint = "; another process listens there: choose another port, or 0 for a free one"
        if endpoint.path:
            hint = "; another process or file is there: choose another path"
    elif exc.errno == errno.EADDRNOTAVAIL:
        hint = "; no interface of this machine has that address"
    elif exc.errno == errno.EACCES:
        hint = "; ports below 1024 and foreign folders need more rights"
    return ConfigError(f"cannot listen on {endpoint.address}: {exc.strerror}{hint}")


class Listener:
    """Accepts on one listening socket. Its loop's thread only.

    Args:
        sock: bound and listening; the listener closes it.
        loop: the dispatching loop.
        on_accept: takes each connected, tuned socket with its peer's address, and owns it.
    """

    __slots__ = ("_closed", "_endpoint", "_loop", "_on_accept", "_sock")

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        loop: EventLoop,
        on_accept: Callable[[socket.socket, str], object],
    ) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._loop = loop
        self._on_accept = on_accept
        self._closed = False

    def start(self) -> None:
        """Accept from now on."""
        self._loop.watch(self._sock.fileno(), READ, self)

    def on_readable(self) -> None:
        """Accept what waits, within this turn's share."""
        for _ in range(ACCEPTS_PER_TURN_MAX):
            try:
                sock, peer = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    self._pause(exc)
                    return
                log.info("connection lost before it was accepted: %s", exc.strerror)
                continue
            try:
                self._tune(sock)
            except OSError as exc:  # it was reset meanwhile
                log.info("connection lost before it was served: %s", exc.strerror)
                sock.close()
                continue
            self._on_accept(sock, self._peer_text(peer))

    def on_writable(self) -> None:
        """A listening socket is never writable; an error shows up in accept too."""

    def close(self) -> None:
        """Take what the kernel has accepted for us, then stop listening."""
        if self._closed:
            return
        self.on_readable()  # a client whose connection is dropped cannot know if it was heard
        self._closed = True
        self._loop.unwatch(self._sock.fileno())
        unbind(self._sock, self._endpoint)

    def abandon(self) -> None:
        """Close the descriptor alone: in a forked child, whose parent goes on listening."""
        self._closed = True
        self._sock.close()

    def _pause(self, exc: OSError) -> None:
        log.error("cannot accept: %s; trying again in %g s", exc.strerror, PAUSE_S)
        self._loop.unwatch(self._sock.fileno())
        self._loop.call_at(self._loop.now_s + PAUSE_S, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.start()

    def _tune(self, sock: socket.socket) -> None:
        tune_socket(sock)
        if sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def _peer_text(self, peer: object) -> str:
        if isinstance(peer, tuple) and len(peer) >= 2:
            return format_address(str(peer[0]), int(peer[1]))
        return f"peer of {self._endpoint.address}"
