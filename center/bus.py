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

With a `KeyRing` every connection is encrypted and both ends prove who they are (CURVE): the
dialler's end takes only the listed key of the center it dials, the listener's end only keys of
other listed centers, and a message counts only if its sender is the owner of the key it came
with. ZeroMQ asks whose a key is on an in-process socket (ZAP), which this thread answers.
"""

from __future__ import annotations

import errno
import itertools
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import zmq
from zmq.utils import z85

from center.core import codec
from center.core.events import LinkDown, LinkUp, Message
from center.core.messages import Body
from center.intake import BATCH_MAX, Intake, Route
from center.trust import ZAP_DOMAIN, Complaints, Doorman, KeyRing
from libevrpc.clock import monotonic_s
from libevrpc.errors import ConfigError, ProtocolError

__all__ = ["Bus", "BusCounts", "host_of", "public_key"]

log = logging.getLogger(__name__)

QUEUE_MAX = 2
"""Batches that may wait to be sent on a connection."""
RECEIVED_MAX = 10_000
"""Batches of one connection that may wait to be taken. Ample: a full queue is where strangers
who speak ZeroMQ could abort us (see above)."""
MESSAGE_BYTES_MAX = codec.MESSAGE_BYTES_MAX
"""A longer message closes the connection it came on."""
RECONNECT_MS = 20
CONNECT_TIMEOUT_MS = 1000
HANDSHAKE_TIMEOUT_MS = 1000
"""Who has not shaken hands by then is hung up on, at both ends."""
IDLE_S = 2
"""A connection on which nothing was said for this long is tried by TCP, every second."""
IDLE_TRIES = 3
"""So many tries in vain end it."""
TURN_S = 0.02
"""For so long messages are taken in one turn; the rest waits for the next, after the node."""
WARN_EVERY = 1000
"""Junk is logged at the first message and at every so many."""
REDIAL_S = 0.5
"""How soon a center is dialled anew that did not want us, or whom we did not want."""
HANG_UPS_MAX = 3
"""So many times in a row hung up on in the middle of a handshake, the key must be wrong."""
DOOR_EVENTS_PER_TURN_MAX = 64
"""Handshakes looked after in one turn on the listening socket."""
ZAP_ADDRESS = "inproc://zeromq.zap.01"
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CLOSED
    | _FAILED
)
_HANG_UP = (errno.EPIPE, errno.ECONNRESET)
_WRONG_MECHANISM = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_WRONG_SERVER_KEY = zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC


@dataclass(slots=True)
class BusCounts:
    """What the bus has seen, in messages. `junk`: such that no center of ours sent."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    junk: int = 0


@dataclass(slots=True)
class _Link:
    """The connection that we dial to one center.

    Attributes:
        keys: its public keys, those in front to be tried first; empty: none are used.
        dealer, monitor: None while it waits to be dialled anew.
        up: None before anything is known.
        redial_s: when to dial anew; None: ZeroMQ does that itself.
        hang_ups: how often in a row it ended in the middle of the handshake.
        trouble: what was last logged of it; "" for nothing.
    """

    peer: int
    address: str
    keys: tuple[bytes, ...]
    dealer: zmq.Socket[bytes] | None = None
    monitor: zmq.Socket[bytes] | None = None
    up: bool | None = None
    redial_s: float | None = None
    hang_ups: int = 0
    trouble: str = ""


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
        ring: the keys; None: plain connections.

    Raises:
        ConfigError: the address cannot be listened on, or ZeroMQ was built without CURVE.
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
        ring: KeyRing | None = None,
    ) -> None:
        self.counts = BusCounts()
        self._patience_ms = max(1, round((patience_s + heartbeat_s) * 1000.0))
        self._me = me
        self._wakeup_fd = wakeup_fd
        self._ring = ring
        self._complaints = Complaints()
        self._links: dict[int, _Link] = {}
        self._watches = itertools.count()
        self._batches: dict[int, list[bytes]] = {}
        self._poller = zmq.Poller()
        self._context = zmq.Context(io_threads=1)
        self._zap: zmq.Socket[bytes] | None = None
        self._router = self._socket(zmq.ROUTER)
        self._intake = Intake(self._next_route, self._next_part, self._note_junk)
        self._door = self._watch(self._router, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
        try:
            self._listen(bind)
        except zmq.ZMQError as exc:
            self.close()
            raise ConfigError(
                f"cannot listen on {bind} for centers: {exc.strerror};"
                " see peer_port in the centers list and peer_bind"
            ) from None
        except ConfigError:
            self.close()
            raise
        for sock in (self._router, self._door, wakeup_fd):
            self._poller.register(sock, zmq.POLLIN)
        for peer, address in peers.items():
            keys = () if ring is None else ring.peers[peer]
            self._links[peer] = link = _Link(peer, address, keys)
            self._dial(link)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(kind)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.IPV6, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE_IDLE, IDLE_S)
        sock.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
        sock.setsockopt(zmq.TCP_KEEPALIVE_CNT, IDLE_TRIES)
        return sock

    def _watch(self, sock: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
        """Return where ZeroMQ tells of events of `sock`; without a bound.

        With one, ZeroMQ's thread waits for room, holding a lock that `disable_monitor` wants: a
        center that strangers flood while it is busy could never end.
        """
        # a new name each time: that of a closed socket is still taken for a moment
        address = f"inproc://watched-{next(self._watches)}"
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)
        try:
            sock.monitor(address, events)
        except zmq.ZMQError:
            monitor.close(0)
            raise
        monitor.connect(address)
        return monitor

    def _listen(self, bind: str) -> None:
        router, ring = self._router, self._ring
        router.setsockopt(zmq.RCVHWM, RECEIVED_MAX)
        router.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        router.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
        if ring is not None:
            if not zmq.has("curve"):
                raise ConfigError("this ZeroMQ was built without CURVE: no keys can be used")
            self._doorman = Doorman(ring.peers)
            self._zap = self._socket(zmq.REP)
            self._zap.bind(ZAP_ADDRESS)
            self._poller.register(self._zap, zmq.POLLIN)
            router.setsockopt(zmq.CURVE_SERVER, 1)
            router.setsockopt(zmq.CURVE_SECRETKEY, ring.secret)
            router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
            router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody answers: nobody comes in
        router.bind(f"tcp://{bind}")

    def _dial(self, link: _Link) -> None:
        link.dealer = dealer = self._socket(zmq.DEALER)
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.SNDHWM, QUEUE_MAX)
        dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        dealer.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
        dealer.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
        dealer.setsockopt(zmq.TCP_MAXRT, self._patience_ms)
        if self._ring is not None:
            dealer.setsockopt(zmq.CURVE_SERVERKEY, link.keys[0])
            dealer.setsockopt(zmq.CURVE_PUBLICKEY, self._ring.public)
            dealer.setsockopt(zmq.CURVE_SECRETKEY, self._ring.secret)
        link.monitor = self._watch(dealer, _WATCHED)
        link.redial_s = None
        dealer.connect(f"tcp://{link.address}")
        self._poller.register(link.monitor, zmq.POLLIN)

    def _hang_up(self, link: _Link) -> None:
        dealer, monitor = link.dealer, link.monitor
        link.dealer = link.monitor = None
        if dealer is not None and monitor is not None:
            dealer.disable_monitor()
        for sock in filter(None, (dealer, monitor)):
            if sock in self._poller:
                self._poller.unregister(sock)
            sock.close(0)

    def _dial_again(self, link: _Link) -> None:
        """Dial anew; later, if no file can be opened now."""
        self._hang_up(link)
        try:
            self._dial(link)
        except zmq.ZMQError as exc:
            self._hang_up(link)
            link.redial_s = monotonic_s() + REDIAL_S
            self._note_trouble(link, f"cannot be dialled: {exc.strerror}")

    def wait(self, timeout_s: float) -> bool:
        """Wait for a message, a link event or the wake-up; True if the wake-up is due."""
        redials_s = [link.redial_s for link in self._links.values() if link.redial_s is not None]
        if redials_s:
            timeout_s = min(timeout_s, min(redials_s) - monotonic_s())
        if self._intake.pending:
            timeout_s = 0.0
        ready = dict(self._poller.poll(max(0, int(timeout_s * 1000.0 + 0.999))))
        if self._zap in ready:
            self._answer_the_door()
        if self._door in ready:
            self._watch_the_door()
        if redials_s:
            now_s = monotonic_s()
            for link in self._links.values():
                if link.redial_s is not None and now_s >= link.redial_s:
                    self._dial_again(link)
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
            link = self._links[to]
            dealer = link.dealer
            if dealer is None:
                self.counts.dropped += len(batch)
                del self._batches[to]
                continue
            full = False
            try:
                dealer.send_multipart(batch, zmq.DONTWAIT)
            except zmq.Again:
                full = link.up is True
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
        for (host, owner), data in self._intake.take(TURN_S):
            try:
                sender, incarnation, body = codec.decode(data)
            except ProtocolError as exc:
                self._note_junk(str(exc))
                self._intake.drop()
                continue
            if self._ring is not None and owner != str(sender):
                self.counts.junk += 1
                self._complain(host, f"center {owner}'s key was used to speak for {sender}")
                self._intake.drop()
                continue
            self.counts.received += 1
            yield Message(sender, incarnation, body, host)

    def _next_route(self) -> Route | None:
        try:
            frame = self._router.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        return Route(host_of(frame), _told(frame, "User-Id"))

    def _next_part(self) -> tuple[bytes, bool]:
        return self._router.recv(zmq.DONTWAIT), bool(self._router.getsockopt(zmq.RCVMORE))

    def links(self) -> Iterator[LinkUp | LinkDown]:
        """Take what has become of the links."""
        for link in self._links.values():
            while link.monitor is not None and link.monitor.poll(0):
                event, value = _event_of(link.monitor)
                up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                if up:
                    self._note_success(link)
                elif event & _FAILED:
                    self._note_failure(link, event, value)
                if link.up is not up:
                    link.up = up
                    yield LinkUp(link.peer) if up else LinkDown(link.peer)

    def _note_success(self, link: _Link) -> None:
        link.hang_ups = 0
        if link.trouble:
            log.info("center %d at %s: connected now", link.peer, link.address)
            link.trouble = ""

    def _note_failure(self, link: _Link, event: int, value: int) -> None:
        """Dial anew where ZeroMQ would not, or with the other key; log what is new."""
        keyed = self._ring is not None
        if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            if not keyed or value not in _HANG_UP:
                return  # it ended or is frozen: ZeroMQ dials again
            link.hang_ups += 1
            self._hang_up(link)
            link.keys = (*link.keys[1:], link.keys[0])
            others = link.hang_ups < len(link.keys)
            link.redial_s = monotonic_s() + (0.0 if others else REDIAL_S)
            if others or link.hang_ups < HANG_UPS_MAX or link.trouble:
                return  # what it said before it once hung up says more
            trouble = "hangs up: it does not have the key that our centers list has for it"
        else:
            link.redial_s = monotonic_s() + REDIAL_S
            trouble = self._trouble_of(event, value)
        self._note_trouble(link, trouble)

    def _note_trouble(self, link: _Link, trouble: str) -> None:
        if trouble != link.trouble:
            link.trouble = trouble
            log.warning("center %d at %s: %s", link.peer, link.address, trouble)

    def _trouble_of(self, event: int, value: int) -> str:
        """Return why a handshake of ours was broken off for good."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and self._ring is not None:
            return f"refuses our key {self._ring.public.hex()}: its centers list lacks it"
        if value != _WRONG_MECHANISM:
            return f"what listens there is no center (ZeroMQ says {value:#x})"
        if self._ring is None:
            return "wants keys, and our centers list has none"
        return "speaks without keys: its centers list has none"

    # -- the listening end --------------------------------------------------------------

    def _answer_the_door(self) -> None:
        """Tell ZeroMQ whose keys those of connecting centers are."""
        assert self._zap is not None
        for _ in range(DOOR_EVENTS_PER_TURN_MAX):
            try:
                question = self._zap.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            reply, host, why = self._doorman.answer(question)
            self._zap.send_multipart(reply)
            if why:
                self._complain(host, f"refused: {why}")

    def _watch_the_door(self) -> None:
        """Log whose handshake fails before there is a key to ask about; ZeroMQ knows no host."""
        for _ in range(DOOR_EVENTS_PER_TURN_MAX):
            if not self._door.poll(0):
                return
            _, value = _event_of(self._door)
            if value == _WRONG_SERVER_KEY:
                why = f"takes center {self._me} for the owner of another key"
            elif value != _WRONG_MECHANISM:
                why = f"is no center (ZeroMQ says {value:#x})"
            elif self._ring is None:
                why = "uses keys, and our centers list has none"
            else:
                why = "speaks without keys: its centers list has none"
            self._complain("", f"refused: who dials {why}")

    def _complain(self, host: str, text: str) -> None:
        count = self._complaints.due(host, text, monotonic_s())
        if count:
            place = f" from {host}" if host else ""
            log.warning("port for centers: connection%s: %s (count %d)", place, text, count)

    def _note_junk(self, why: str) -> None:
        self.counts.junk += 1
        if self.counts.junk % WARN_EVERY == 1:
            log.warning("junk on the port for centers count=%d: %s", self.counts.junk, why)

    def close(self) -> None:
        """Close every socket; the other centers hear of it at once."""
        for link in self._links.values():
            self._hang_up(link)
        self._router.disable_monitor()
        self._router.close(0)
        self._door.close(0)
        if self._zap is not None:
            self._zap.close(0)
        self._context.term()


def host_of(frame: zmq.Frame) -> str:
    """Return the address of the host that a frame came from; empty if ZeroMQ cannot tell."""
    return _told(frame, "Peer-Address").removeprefix("::ffff:")


def public_key(secret: bytes) -> bytes:
    """Return the public key of a secret one; 32 bytes each."""
    return z85.decode(zmq.curve_public(z85.encode(secret)))


def _told(frame: zmq.Frame, about: str) -> str:
    """Return what ZeroMQ tells of the connection that a frame came on; empty for nothing."""
    try:
        return str(frame.get(about))
    except zmq.ZMQError:
        return ""


def _event_of(monitor: zmq.Socket[bytes]) -> tuple[int, int]:
    """Take one event: 16 bits of event in the host's order, 32 bits of value, then an address."""
    data = monitor.recv_multipart()[0]
    return int.from_bytes(data[:2], sys.byteorder), int.from_bytes(data[2:6], sys.byteorder)
