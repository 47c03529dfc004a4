"""The links between centers: ZeroMQ, on the one thread that made it.

Every center binds a ROUTER and dials each other center with a DEALER of its own. Messages
go out by the DEALER to their receiver and come in by the ROUTER; who sent one stands in the
message, never in a routing id. Nothing is queued for a center that is not connected: stale
votes are worthless, and the node sends again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from center.core.codec import decode, encode
from center.core.events import LinkDown, LinkUp, Message
from center.core.messages import Body
from libevrpc.errors import ConfigError, ProtocolError

__all__ = ["Bus", "BusCounts"]

log = logging.getLogger(__name__)

SEND_QUEUE_MAX = 64
"""Messages that may wait for a connected center that reads slowly; one more is dropped."""
RECEIVE_QUEUE_MAX = 1000
MESSAGE_BYTES_MAX = 8 << 20
"""A longer message closes the connection it came on. A map is at most 4 MiB."""
RECONNECT_MS = 20
RECONNECT_MS_MAX = 200
CONNECT_TIMEOUT_MS = 1000
MESSAGES_PER_TURN_MAX = 256
"""Messages taken in one turn; the rest waits for the next, after the node's clock."""
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
    """What the bus has seen. `junk`: messages that no center of ours sent."""

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

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(self, me: int, bind: str, peers: Mapping[int, str], wakeup_fd: int) -> None:
        self.counts = BusCounts()
        self._me = me
        self._wakeup_fd = wakeup_fd
        self._context = zmq.Context(io_threads=1)
        self._router = self._socket(zmq.ROUTER)
        self._router.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE_MAX)
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
        return sock

    def _dial(self, peer: int, address: str) -> None:
        dealer = self._socket(zmq.DEALER)
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.SNDHWM, SEND_QUEUE_MAX)
        dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
        dealer.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
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
        """Send to one center, or drop: it is not connected, or reads too slowly."""
        try:
            self._dealers[to].send(encode(self._me, incarnation, body), zmq.DONTWAIT)
        except zmq.Again:
            self.counts.dropped += 1
        else:
            self.counts.sent += 1

    def messages(self) -> Iterator[Message]:
        """Take what has come in, within this turn's share; junk is counted and dropped."""
        for _ in range(MESSAGES_PER_TURN_MAX):
            try:
                frames = self._router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            try:
                if len(frames) != 2:
                    raise ProtocolError(f"message of {len(frames)} frames")
                sender, incarnation, body = decode(frames[1])
            except ProtocolError as exc:
                self._note_junk(exc)
                continue
            self.counts.received += 1
            yield Message(sender, incarnation, body)

    def links(self) -> Iterator[LinkUp | LinkDown]:
        """Take what has become of the links."""
        for monitor, peer in self._monitors.items():
            while monitor.poll(0):
                event = recv_monitor_message(monitor)["event"]
                up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                if self._up[peer] is not up:
                    self._up[peer] = up
                    yield LinkUp(peer) if up else LinkDown(peer)

    def _note_junk(self, exc: ProtocolError) -> None:
        self.counts.junk += 1
        if self.counts.junk % WARN_EVERY == 1:
            log.warning("junk on the port for centers count=%d: %s", self.counts.junk, exc)

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
