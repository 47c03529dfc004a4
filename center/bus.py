"""The links between centers: ZeroMQ, on the one thread that made it.

Every center binds a ROUTER and dials each other center with a DEALER of its own. Messages
go out by the DEALER to their receiver and come in by the ROUTER; who sent one stands in the
message, never in a routing id. What one turn says to a center leaves as one batch, so that a
short queue holds whole thoughts. Nothing is queued for a center that is not connected: stale
votes are worthless, and the node sends again.

A center whose process ended is noticed by its closed connection within milliseconds, one
that is cut off by what TCP waits for in vain; a frozen one is noticed by the node alone. There
are no ZeroMQ heartbeats: if a connection is reset while the queue of its messages is full, the
next heartbeat that libzmq 4.3.5 sends or reads on it aborts the whole process.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import zmq

from center.core import codec
from center.core.events import LinkDown, LinkUp, Message
from center.core.messages import Body
from libevrpc.errors import ConfigError, ProtocolError

__all__ = ["Bus", "BusCounts", "host_of"]

log = logging.getLogger(__name__)

QUEUE_MAX = 2
"""Batches that may wait to be sent on a connection."""
RECEIVED_MAX = 10_000
"""Batches of one connection that may wait to be taken. Ample: a full queue is where strangers
who speak ZeroMQ could abort us (see above)."""
BATCH_MAX = 64
"""Messages of one batch: what waits for a full queue grows to this, then the oldest goes."""
MESSAGE_BYTES_MAX = codec.MESSAGE_BYTES_MAX
"""A longer message closes the connection it came on."""
RECONNECT_MS = 20
CONNECT_TIMEOUT_MS = 1000
HANDSHAKE_TIMEOUT_MS = 1000
IDLE_S = 2
"""A connection on which nothing was said for this long is tried by TCP, every second."""
IDLE_TRIES = 3
"""So many tries in vain end it."""
BATCHES_PER_TURN_MAX = 64
"""Batches taken in one turn; the rest waits for the next, after the node's clock."""
WARN_EVERY = 1000
"""Junk is logged at the first message and at every so many."""
_WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CLOSED
)


@dataclass(slots=True)
class BusCounts:
    """What the bus has seen, in messages. `junk`: such that no center of ours sent."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    junk: int = 0


class Bus:
    """Sockets of one center. Made, used and closed on one thread.

    Args:
        me: own id.
        bind: host:port to listen on, an IPv6 host in brackets.
        peers: id -> host:port of the other centers.
        wakeup_fd: a descriptor to wait on too.
        heartbeat_s: how often the leader and a follower speak to each other.
        patience_s: the connection to a center that acknowledges nothing for this long and a
            heartbeat is down; a leader's lease must have ended by then.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(
        self,
        me: int,
        bind: str,
        peers: Mapping[int, str],
        wakeup_fd: int,
        *,
        heartbeat_s: float,
        patience_s: float,
    ) -> None:
        self.counts = BusCounts()
        self._patience_ms = max(1, round((patience_s + heartbeat_s) * 1000.0))
        self._me = me
        self._wakeup_fd = wakeup_fd
        self._context = zmq.Context(io_threads=1)
        self._router = self._socket(zmq.ROUTER)
        self._router.setsockopt(zmq.RCVHWM, RECEIVED_MAX)
        self._router.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        try:
            self._router.bind(f"tcp://{bind}")
        except zmq.ZMQError as exc:
            self.close_context()
            raise ConfigError(
                f"cannot listen on {bind} for centers: {exc.strerror};"
                " see peer_port in the centers list and peer_bind"
            ) from None
        self._dealers: dict[int, zmq.Socket[bytes]] = {}
        self._batches: dict[int, list[bytes]] = {}
        self._monitors: dict[zmq.Socket[bytes], int] = {}
        self._up: dict[int, bool | None] = {}
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(wakeup_fd, zmq.POLLIN)
        for peer, address in peers.items():
            self._dial(peer, address)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(kind)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.IPV6, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE_IDLE, IDLE_S)
        sock.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE_CNT, IDLE_TRIES)
        return sock

    def _dial(self, peer: int, address: str) -> None:
        dealer = self._socket(zmq.DEALER)
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.SNDHWM, QUEUE_MAX)
        dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        dealer.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
        dealer.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
        dealer.setsockopt(zmq.TCP_MAXRT, self._patience_ms)
        monitor = dealer.get_monitor_socket(_WATCHED)
        dealer.connect(f"tcp://{address}")
        self._dealers[peer] = dealer
        self._monitors[monitor] = peer
        self._up[peer] = None
        self._poller.register(monitor, zmq.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a message, a link event or the wake-up; True if the wake-up is due."""
        ready = dict(self._poller.poll(max(0, int(timeout_s * 1000.0 + 0.999))))
        return self._wakeup_fd in ready

    def send(self, to: int, incarnation: int, body: Body) -> None:
        """Say something to one center with the next `flush`."""
        batch = self._batches.setdefault(to, [])
        if len(batch) >= BATCH_MAX:
            del batch[0]
            self.counts.dropped += 1
        batch.append(codec.encode(self._me, incarnation, body))

    def flush(self) -> None:
        """Send what was said; keep it for a full queue, drop it for a center that is away."""
        for to, batch in list(self._batches.items()):
            dealer = self._dealers[to]
            full = False
            try:
                dealer.send_multipart(batch, zmq.DONTWAIT)
            except zmq.Again:
                full = self._up[to] is True
                self.counts.dropped += 0 if full else len(batch)
            else:
                self.counts.sent += len(batch)
            if not full:
                del self._batches[to]
            if full != (dealer in self._poller):
                if full:
                    self._poller.register(dealer, zmq.POLLOUT)
                else:
                    self._poller.unregister(dealer)

    def messages(self) -> Iterator[Message]:
        """Take what has come in, within this turn's share; junk is counted and dropped."""
        for _ in range(BATCHES_PER_TURN_MAX):
            try:
                route = self._router.recv(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return
            host = host_of(route)
            frames = self._router.recv_multipart(zmq.DONTWAIT)
            if not 0 < len(frames) <= BATCH_MAX:
                self._note_junk(f"batch of {len(frames)} messages")
                continue
            for frame in frames:
                try:
                    sender, incarnation, body = codec.decode(frame)
                except ProtocolError as exc:
                    self._note_junk(str(exc))
                    break
                self.counts.received += 1
                yield Message(sender, incarnation, body, host)

    def links(self) -> Iterator[LinkUp | LinkDown]:
        """Take what has become of the links."""
        for monitor, peer in self._monitors.items():
            while monitor.poll(0):
                # ZeroMQ: 16 bits of event in the host's order, 32 bits of value, then an address.
                event = int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
                up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                if self._up[peer] is not up:
                    self._up[peer] = up
                    yield LinkUp(peer) if up else LinkDown(peer)

    def _note_junk(self, why: str) -> None:
        self.counts.junk += 1
        if self.counts.junk % WARN_EVERY == 1:
            log.warning("junk on the port for centers count=%d: %s", self.counts.junk, why)

    def close(self) -> None:
        """Close every socket; the other centers hear of it at once."""
        for dealer in self._dealers.values():
            dealer.disable_monitor()
            dealer.close(0)
        for monitor in self._monitors:
            monitor.close(0)
        self.close_context()

    def close_context(self) -> None:
        """Close what is left when there are no dealers yet."""
        self._router.close(0)
        self._context.term()


def host_of(frame: zmq.Frame) -> str:
    """Return the address of the host that a frame came from; empty if ZeroMQ cannot tell."""
    try:
        host = str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
    return host.removeprefix("::ffff:")
