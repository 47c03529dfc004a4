"""One connected socket: bytes in on its loop, bytes out from any thread.

The socket belongs to one loop, with one named exception: the send lock, under which any
thread may write. A worker thus answers without a hop through the loop.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import deque
from typing import Protocol

from libevrpc.core.timers import Timer
from libevrpc.loop import pace
from libevrpc.loop.eventloop import EventLoop
from libevrpc.loop.poller import READ, WRITE

__all__ = ["Transport", "TransportOwner", "reset_at_end", "tune_socket"]

_JOIN_BYTES_MAX = 256 * 1024
"""Queued pieces are joined up to this much for one send."""
_NO_RESET = bytes(8)
_RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)
"""SO_LINGER, two C integers: on, for no time. Closing then resets the connection."""
LINGER_S = 2.0
"""How long a finished connection waits for its peer to hang up."""


class TransportOwner(Protocol):
    """Who understands the bytes. All methods run on the loop thread."""

    def on_bytes(self, data: bytes) -> None:
        """Take what arrived (never empty)."""

    def on_eof(self) -> None:
        """The peer will send no more, or the socket broke: close the transport."""

    def on_shut(self, reason: str) -> None:
        """Nothing moves any more; called once. Call `Transport.release` when nobody reads."""


def tune_socket(sock: socket.socket) -> None:
    """Make a connected socket non-blocking and undelayed. Any thread."""
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset_at_end(sock: socket.socket) -> None:
    """Let the connections that a listening socket accepts end by a reset, until told otherwise."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Transport:
    """A non-blocking connected socket on a loop.

    Args:
        sock: connected, tuned by `tune_socket`; the transport closes it.
        loop: its loop for life.
        unsent_bytes_max: most bytes that may wait for a slow reader; `send` answers
            False above it and takes nothing.
        unsent_pause_bytes: reading stops while more than this waits, so that a peer that
            does not read cannot make us work for it.
    """

    __slots__ = (
        "_chunk_bytes",
        "_closed",
        "_cork",
        "_corked",
        "_ended",
        "_finishing",
        "_owner",
        "_paused",
        "_progress_s",
        "_reading",
        "_resets",
        "_send_lock",
        "_sock",
        "_unsent",
        "_unsent_bytes_max",
        "_unsent_pause_bytes",
        "_wanted",
        "bytes_in",
        "bytes_out",
        "loop",
        "peer",
        "unsent_bytes",
    )

    def __init__(
        self,
        sock: socket.socket,
        loop: EventLoop,
        *,
        peer: str,
        unsent_bytes_max: int,
        unsent_pause_bytes: int,
    ) -> None:
        self.loop = loop
        self.peer = peer
        self.unsent_bytes = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._sock = sock
        self._owner: TransportOwner | None = None
        self._send_lock = threading.Lock()
        self._unsent: deque[memoryview | bytes] = deque()
        self._unsent_bytes_max = unsent_bytes_max
        self._unsent_pause_bytes = unsent_pause_bytes
        self._chunk_bytes = pace.READ_CHUNK_BYTES
        self._closed = False  # nothing is taken any more; what waits may still be sent
        self._ended = False  # nothing moves any more
        self._finishing: _Lingerer | None = None
        self._cork: list[bytes] = []
        self._corked = False
        self._reading = False
        self._resets = False
        self._paused = False
        self._progress_s = 0.0
        self._wanted = 0

    # -- any thread ---------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """True once nothing more is taken to be sent. Any thread."""
        return self._closed

    @property
    def stalled_since_s(self) -> float | None:
        """When the peer last took any of the bytes that the kernel has no room for; None
        while there are none (monotonic). What is only held back waits for us, not for the
        peer, and does not count. Any thread.
        """
        return self._progress_s if self._unsent else None

    def send(self, data: bytes) -> bool:
        """Send all of `data`, now or when the peer reads. Any thread; never blocks.

        Returns False, having taken nothing, when the transport is closed or too much is
        unsent already (tell them apart by `closed`).
        """
        with self._send_lock:
            if self._closed:
                return False
            if self._corked or self._unsent or self._cork:
                if self.unsent_bytes + len(data) > self._unsent_bytes_max:
                    return False
                if self._corked:
                    self._keep(data)
                    return True
                if self._cork:
                    self._keep(data)
                    return self._send_kept()
            return self._send(data)

    def hold(self, data: bytes) -> bool:
        """Keep `data` for the next `send` or `flush`, which takes it along. Any thread.

        False, having taken nothing, when the transport is closed.
        """
        with self._send_lock:
            if self._closed:
                return False
            self._keep(data)
            return True

    @property
    def held(self) -> int:
        """How many pieces are held back. Any thread."""
        return len(self._cork)

    def flush(self) -> None:
        """Send what was held back. Any thread."""
        if self._cork:
            with self._send_lock:
                if self._cork and not self._corked:
                    self._send_kept()

    def fileno(self) -> int:
        """Return the descriptor, for the holder of the reader baton to wait on."""
        return self._sock.fileno()

    def cork(self) -> None:
        """Hold back what is sent until `uncork`: many small sends become one. Loop thread only."""
        with self._send_lock:
            self._corked = True

    def uncork(self) -> None:
        """Send what was held back. Loop thread only."""
        with self._send_lock:
            self._corked = False
            if self._cork:
                self._send_kept()

    def close(self, reason: str) -> None:
        """Shut the connection: unsent bytes are dropped, the owner is told once. Any thread."""
        with self._send_lock:
            if not self._ended:
                self._shut(reason)

    def release(self) -> None:
        """Close the descriptor, once no thread reads from it any more. After `on_shut`."""
        self._sock.close()

    def abandon(self) -> None:
        """Close the descriptor alone: in a forked child, whose parent goes on with it."""
        self._send_lock = threading.Lock()  # its holder may be in the parent
        self._closed = self._ended = True
        self._unsent.clear()
        self._cork.clear()
        self._sock.close()

    # -- loop thread --------------------------------------------------------------------

    def start(self, owner: TransportOwner, *, reading: bool = True) -> None:
        """Serve `owner` from now on. Loop thread only, once."""
        self._owner = owner
        self._set_reading(reading)

    @property
    def paused(self) -> bool:
        """True while nothing is read because too much is unsent. Loop thread only."""
        return self._paused

    def resume_reading(self) -> None:
        """Let the loop read for the owner. Loop thread only."""
        self._set_reading(True)

    def pause_reading(self) -> None:
        """Leave reading to whoever calls `receive`. Loop thread only."""
        self._set_reading(False)

    def reset_at_end(self) -> None:
        """Let the peer's reads fail if the connection ends otherwise than by `finish`.

        Also where this process is killed. Only for a transport that the loop alone reads from.
        Any thread.
        """
        with self._send_lock:
            if not self._ended:
                self._resets = True
                reset_at_end(self._sock)

    def end_plainly(self) -> None:
        """Let the peer read the end of the stream, as is usual. Loop thread only."""
        with self._send_lock:
            if not self._ended:
                self._resets = False
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)

    def finish(self, reason: str) -> None:
        """Take nothing more to send, send what waits, then close. Loop thread only.

        The peer reads the end of the stream behind the last byte. What it still sends is
        thrown away; it has `LINGER_S` to hang up before the connection is shut. To close at
        once would reset a connection that has unread bytes, and the peer could lose what it
        has not read yet.
        """
        self.loop.assert_on_loop()
        with self._send_lock:
            if self._closed:
                return
            self._corked = False
            if self._cork:
                self._send_kept()
            if self._ended:  # it broke
                return
            self._closed = True
            assert self._owner is not None
            self._owner = self._finishing = _Lingerer(self, self._owner, reason)
            self._reading = True
            if not self._unsent:
                self._end_sending()
            self._rewatch()

    def receive(self) -> bytes | None:
        """Take what has arrived: b"" at the end of the stream or when it broke, None: nothing yet.

        For the one thread that reads: the loop, or the holder of the reader baton.
        """
        chunk_bytes = self._chunk_bytes
        try:
            data = self._sock.recv(chunk_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            self.close(f"read failed: {exc.strerror or exc}")
            return b""
        received = len(data)
        self.bytes_in += received
        if received == chunk_bytes:
            self._chunk_bytes = min(chunk_bytes * 2, pace.READ_CHUNK_BYTES_MAX)
        return data

    def on_readable(self) -> None:
        """Read what is there, within this turn's share. Loop thread only (called by the loop)."""
        owner = self._owner
        assert owner is not None
        left_s = pace.SHARE_S
        for _ in range(pace.READS_PER_TURN_MAX):
            chunk_bytes = self._chunk_bytes
            data = self.receive()
            if data is None:
                return
            if not data:
                owner.on_eof()
                return
            if len(data) < pace.PACED_BYTES:
                owner.on_bytes(data)
            else:
                spent_s = pace.timed(owner.on_bytes, data)
                left_s -= spent_s
                if left_s < 0:
                    if spent_s > pace.SHARE_S:
                        self._chunk_bytes = pace.fewer_bytes(len(data), spent_s)
                    return
            if len(data) < chunk_bytes or self._closed or not self._wanted & READ:
                return

    def on_writable(self) -> None:
        """Send what waits. Loop thread only (called by the loop)."""
        with self._send_lock:
            if self._ended:
                return
            while self._unsent:
                piece = self._next_piece()
                sent = self._try_send(piece)
                if sent < 0:
                    return
                if sent:
                    self._progress_s = self.loop.now_s
                    self.unsent_bytes -= sent
                if sent < len(piece):
                    self._unsent.appendleft(memoryview(piece)[sent:])
                    break
            if self._finishing is not None and not self._unsent:
                self._end_sending()
            self._rewatch()

    # -- inside -------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        self._cork.append(data)
        self.unsent_bytes += len(data)

    def _send_kept(self) -> bool:
        """Send the pieces that were kept, as one. Under the send lock."""
        data = self._cork[0] if len(self._cork) == 1 else b"".join(self._cork)
        self._cork.clear()
        self.unsent_bytes -= len(data)
        return self._send(data)

    def _send(self, data: bytes) -> bool:
        """Send at once and queue the rest. Under the send lock."""
        if self._unsent:
            self._queue(data)
            return True
        sent = self._try_send(data)
        if sent == len(data):
            return True
        if sent < 0:
            return False
        self._queue(memoryview(data)[sent:])
        return True

    def _try_send(self, data: bytes | memoryview) -> int:
        """Return the bytes taken by the kernel, -1 when the connection is broken."""
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self._shut(f"write failed: {exc.strerror or exc}")
            return -1
        self.bytes_out += sent
        return sent

    def _queue(self, data: bytes | memoryview) -> None:
        if not self._unsent:
            self._progress_s = time.monotonic()  # before anybody can see that something waits
            self.loop.post(self._watch_writes)
        elif self.unsent_bytes <= self._unsent_pause_bytes < self.unsent_bytes + len(data):
            self.loop.post(self._watch_writes)  # reading must pause
        self._unsent.append(data)
        self.unsent_bytes += len(data)

    def _next_piece(self) -> bytes | memoryview:
        piece = self._unsent.popleft()
        if not self._unsent or len(piece) >= _JOIN_BYTES_MAX:
            return piece
        pieces: list[bytes | memoryview] = [piece]
        size = len(piece)
        while self._unsent and size + len(self._unsent[0]) <= _JOIN_BYTES_MAX:
            piece = self._unsent.popleft()
            size += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _watch_writes(self) -> None:
        with self._send_lock:
            if not self._ended:
                self._rewatch()

    def _end_sending(self) -> None:
        """Let the peer read the end of the stream. Loop thread, under the send lock, once."""
        assert self._finishing is not None
        if self._resets:
            self._resets = False
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
        with contextlib.suppress(OSError):  # the peer has reset it: reading will tell
            self._sock.shutdown(socket.SHUT_WR)
        self._finishing.wait()

    def _set_reading(self, reading: bool) -> None:
        self.loop.assert_on_loop()
        with self._send_lock:
            self._reading = reading or self._finishing is not None
            if not self._ended:
                self._rewatch()

    def _rewatch(self) -> None:
        """Bring the interest of the loop in line. Loop thread, under the send lock."""
        if self.unsent_bytes > self._unsent_pause_bytes:
            self._paused = True
        elif self.unsent_bytes <= self._unsent_pause_bytes // 2:
            self._paused = False
        wanted = READ if self._reading and not self._paused else 0
        if self._unsent:
            wanted |= WRITE
        if wanted == self._wanted:
            return
        fd = self._sock.fileno()
        if not self._wanted:
            self.loop.watch(fd, wanted, self)
        elif not wanted:
            self.loop.unwatch(fd)  # a registration for nothing would still report hang-ups
        else:
            self.loop.rewatch(fd, wanted)
        self._wanted = wanted

    def _shut(self, reason: str) -> None:
        """Refuse further sends, drop what waits, wake the reader. Under the send lock."""
        self._closed = self._ended = True
        self._unsent.clear()
        self._cork.clear()
        self.unsent_bytes = 0
        # a plain close would leave a thread that polls this descriptor asleep; a connection
        # that the peer has reset cannot be shut down any more, and need not be
        if not self._resets:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        if not self.loop.post(lambda: self._leave(reason)):
            self._sock.close()  # the loop is gone, and with it every reader

    def _leave(self, reason: str) -> None:
        if self._wanted:
            self.loop.unwatch(self._sock.fileno())
            self._wanted = 0
        if self._owner is None:
            self._sock.close()
        else:
            self._owner.on_shut(reason)


class _Lingerer:
    """Stands in for the owner of a connection that is being finished. Loop thread only."""

    __slots__ = ("_owner", "_reason", "_timer", "_transport")

    def __init__(self, transport: Transport, owner: TransportOwner, reason: str) -> None:
        self._transport = transport
        self._owner = owner
        self._reason = reason
        self._timer: Timer | None = None

    def wait(self) -> None:
        """Give the peer its time to hang up: all has been sent."""
        loop = self._transport.loop
        self._timer = loop.call_at(loop.now_s + LINGER_S, self.on_eof)

    def on_bytes(self, data: bytes) -> None:
        """Nobody reads this any more."""

    def on_eof(self) -> None:
        """The peer has hung up, or has had its time."""
        self._transport.close(self._reason)

    def on_shut(self, reason: str) -> None:
        if self._timer is not None:
            self._transport.loop.cancel(self._timer)
        self._owner.on_shut(reason)
