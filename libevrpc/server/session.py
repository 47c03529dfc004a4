"""The server's side of one connection: requests in, replies out, its calls and its timers.

Owned by one loop. Other threads do one thing only: `reply`, which takes a call out of `in_flight`;
that is atomic and decides who answers it.
"""

from __future__ import annotations

import logging
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING

from libevrpc.core.conn_timers import FAREWELL_S, ConnectionTimers
from libevrpc.core.hello import GOAWAY_FIELD, IDLE, NOTICE_ID, answer_fields, is_oneway, read_hello
from libevrpc.core.prpc import BadRequest, Broken, Dropped, Event, Request
from libevrpc.core.prpc_encode import encode_error, encode_reply
from libevrpc.core.timers import Timer
from libevrpc.core.wires import GuestRequest, HeldBack, Out, Resets, Say, Settled, WireSwitch
from libevrpc.errors import Errno, RpcError, status_of
from libevrpc.loop.transport import Transport
from libevrpc.server.calls import EXPIRED, ServerCall
from libevrpc.server.endings import DroppedFrames, EndHooks
from libevrpc.server.execute import execute, note_slow, run_direct
from libevrpc.server.guest_calls import GuestSide
from libevrpc.server.in_flight import GONE, InFlight
from libevrpc.server.limits import SessionLimits
from libevrpc.server.methods import Handling, MethodEntry

if TYPE_CHECKING:
    from libevrpc.server.shard import Shard

__all__ = ["Session"]

log = logging.getLogger(__name__)

_NEVER_S = float("inf")
_HELD_BYTES_MAX = 64 * 1024
"""Replies held back to share one send, at most."""
_JOINED_BYTES_MAX = 256 * 1024
"""Bytes of inline handlers' replies that wait for the end of what was read, at most."""
_JOINED_FRAMES_MAX = 16
"""How many replies share one send, at most: the client works on them while we go on, where one
send for all would let each side wait for the other (1.7 times the calls with 64 in flight)."""
_CROWDED = "too many replies wait for the peer to read"
_INTERNAL_BYTES_MAX = 4096
"""Longest request of our own service; its messages hold a number or a name."""


class Session:
    """One accepted connection. Loop thread only, but for `in_flight` and `reply`.

    Attributes:
        in_flight: calls that nobody has answered yet; whoever pops one answers it.
        posted_order, started_order: the last call given to the workers and the last one
            they began; while they differ another reply is near and sends can be shared.
        watched: the loop looks every millisecond whether a reply is held.
        door: where the peer must show a token; None once it has, or where none is wanted.
        greeted: the peer is one of ours and has said hello, or was given its wire's notice.
        end_hooks: what handlers want run when the connection ends.
        guests: the side of it that speaks other wires; None before the first such message.
    """

    __slots__ = (
        "_checker",
        "_decoder",
        "_dropped",
        "_inline_bytes",
        "_inline_frames",
        "_shard",
        "_sweep_at_s",
        "_sweeper",
        "_timers",
        "_transport",
        "door",
        "end_hooks",
        "greeted",
        "guests",
        "in_flight",
        "limits",
        "peer",
        "posted_order",
        "started_order",
        "watched",
    )

    def __init__(self, shard: Shard, transport: Transport, limits: SessionLimits) -> None:
        self.limits = limits
        self.peer = transport.peer
        self.in_flight = InFlight()
        self.posted_order = 0
        self.started_order = 0
        self.watched = False
        self._shard = shard
        self._transport = transport
        self._decoder = WireSwitch(limits.wire, limits.wires)
        self._timers = ConnectionTimers(limits.timers, shard.loop.now_s)
        self._sweep_at_s = _NEVER_S
        self._sweeper: Timer | None = None
        self._checker: Timer | None = None
        self._inline_frames: list[bytes] | None = None
        self._inline_bytes = 0
        self.greeted = False
        self.door = limits.door
        self.guests: GuestSide | None = None
        self._dropped = DroppedFrames(self.peer)
        self.end_hooks = EndHooks()

    def begin(self) -> None:
        """Read from now on."""
        self._transport.start(self)
        self._check_timers()

    # -- requests in --------------------------------------------------------------------

    def on_bytes(self, data: bytes) -> None:
        """Decode and dispatch what arrived."""
        now_s = self._shard.loop.now_s
        timers = self._timers
        timers.last_read_s = now_s
        frames = self._inline_frames = []
        self._inline_bytes = 0
        broken: Broken | None = None
        events = self._decoder.receive_data(data)
        if self.door is not None:
            events = self.door.let_in(self, events, now_s)
        for event in events:
            if type(event) is Request:
                self._admit(event, now_s)
            elif type(event) is Broken:
                broken = event
            else:
                self._other_event(event)
        self._inline_frames = None
        if frames:
            self._send(frames[0] if len(frames) == 1 else b"".join(frames))
        if broken is not None:
            self._break(broken)
        if not self._decoder.partial:
            timers.partial_since_s = None
        elif events or timers.partial_since_s is None:  # else the same message goes on
            timers.partial_since_s = now_s

    def _admit(self, request: Request, now_s: float) -> None:
        shard = self._shard
        self._timers.greeted = True
        if request.user_fields is not None and not self.greeted:
            self._greet(request)
        entry = shard.methods.get(request.service, request.method)
        if entry is None or shard.stopping or len(self.in_flight) >= self.limits.calls_max:
            entry = self.looked_up(request)
            if entry is None:
                return
        shard.admitted += 1
        entry.calls += 1
        if entry.inline and self._run_inline(request, entry, now_s):
            return
        call = self.new_call(request, entry, now_s, self.posted_order + 1)
        self.posted_order += 1
        shard.batch.append(call)

    def looked_up(self, request: Request) -> MethodEntry | None:
        """Return the entry of a call that may run now; None, having refused it, if it may not."""
        shard = self._shard
        entry = shard.methods.find(request.service, request.method)
        if not isinstance(entry, MethodEntry):
            self._turn_down(request, entry.errno, entry.text)
        elif entry.internal and isinstance(request, GuestRequest):
            self._turn_down(request, Errno.NO_SERVICE, f"{entry.service} is for PRPC alone")
        elif entry.internal:
            return entry
        elif shard.stopping and not (isinstance(request, GuestRequest) and request.mute):
            self._turn_down(request, Errno.STOPPING, "server is stopping")
        elif len(self.in_flight) >= self.limits.calls_max:
            text = f"{self.limits.calls_max} calls are in flight on this connection already"
            self._turn_down(request, Errno.LIMIT, text)
        else:
            return entry
        return None

    def new_call(
        self,
        request: Request,
        entry: MethodEntry,
        now_s: float,
        order: int,
        kind: type[ServerCall] = ServerCall,
    ) -> ServerCall:
        """Enter a call, whose deadline counts from now. Loop thread."""
        limit_s = self.limits.call_timeout_max_s
        timeout_ms = request.timeout_ms
        if 0 < timeout_ms < limit_s * 1000.0:
            limit_s = timeout_ms / 1000.0
        deadline_s = now_s + limit_s
        if deadline_s < self._sweep_at_s:
            self._arm_sweep(deadline_s)
        call = kind(self, request, entry, deadline_s, order)
        self.in_flight[call] = None
        return call

    def _run_inline(self, request: Request, entry: MethodEntry, now_s: float) -> bool:
        """Run a call here and now; False if it is one for the workers after all."""
        if request.compress_type:
            if not entry.internal:
                return False  # a few bytes may inflate to as much as the limit allows
            self._refuse_internal(request, "takes no compressed requests")
            return True
        started_s = perf_counter()
        if entry.handling is Handling.REQUEST:
            frame = run_direct(self, entry, request)
            if not is_oneway(request.user_fields):
                self._put(frame)
        elif entry.internal and len(request.payload) > _INTERNAL_BYTES_MAX:
            self._refuse_internal(request, f"takes requests up to {_INTERNAL_BYTES_MAX} bytes")
        else:
            execute(self.new_call(request, entry, now_s, 0))
        took_s = perf_counter() - started_s
        if took_s > self.limits.inline_warn_s:
            note_slow(entry, took_s, now_s)
        return True

    def _refuse_internal(self, request: Request, text: str) -> None:
        self._shard.admitted -= 1
        self._turn_down(request, Errno.BAD_REQUEST, f"{request.service} {text}")

    def _other_event(self, event: Event) -> None:
        match event:
            case GuestRequest() | Say() | HeldBack() | Resets():
                if self.guests is None:
                    self.guests = GuestSide(self, self._shard, self._transport, self._decoder)
                self.guests.take(event)
            case Settled():
                self._transport.end_plainly()
            case Request():  # a signed one
                self._admit(event, self._shard.loop.now_s)
            case BadRequest(correlation_id, errno, text):
                self._timers.greeted = True
                self._send_error(correlation_id, errno, text)
            case Dropped(reason):
                self._dropped.note(reason, self._shard.loop.now_s)
            case _:
                raise AssertionError(f"a server decoder made {event!r}")

    def go_on(self, events: list[Event]) -> None:
        """Dispatch what a wire had held back until it was answered. Loop thread."""
        now_s = self._shard.loop.now_s
        if self.door is not None:
            events = self.door.let_in(self, events, now_s)
        for event in events:
            if type(event) is Request:
                self._admit(event, now_s)
            elif type(event) is Broken:
                self._break(event)
            else:
                self._other_event(event)
        self._timers.last_read_s = now_s  # idleness begins with the reply
        self._timers.partial_since_s = now_s if self._decoder.partial else None

    def heard(self) -> None:
        """Count a message of another wire as the peer's first. Loop thread."""
        self._timers.greeted = True

    def _break(self, broken: Broken) -> None:
        log.warning("closing peer=%s: %s", self.peer, broken.error)
        self._transport.close(str(broken.error))

    def _greet(self, request: Request) -> None:
        """Answer a hello at once: the call it came with may take an hour."""
        if read_hello(request.user_fields) is None:
            return
        self.greeted = True
        self._timers.heartbeats = True
        fields = answer_fields(self.limits.client_timeout_s, stopping=self._shard.stopping)
        self._put(encode_reply(NOTICE_ID, b"", user_fields=fields))

    def cancel(self, correlation_id: int) -> bool:
        """Cancel the calls with that id; False if there is none. Loop thread."""
        found = self.in_flight.take(lambda call: call.request.correlation_id == correlation_id)
        self._cancel(found)
        return bool(found)

    def _cancel(self, calls: list[ServerCall]) -> None:
        self._shard.cancelled += len(calls)
        for call in calls:
            call.cancel()

    # -- replies out --------------------------------------------------------------------

    def reply(self, call: ServerCall, frame: bytes, *, failed: bool = False) -> bool:
        """Answer a call; False if nobody waits for it any more. Any thread."""
        in_flight, thread = self.in_flight, get_ident()
        in_flight.replying[thread] = None  # see `InFlight`: or a stop would not wait for this
        try:
            if in_flight.pop(call, GONE) is GONE:
                return False
            if failed:
                self.note_failure()
            self._write(call, frame)
            return True
        finally:
            del in_flight.replying[thread]

    def _write(self, call: ServerCall, frame: bytes) -> None:
        """Send the reply to a call that was taken out of `in_flight`. Any thread."""
        if is_oneway(call.request.user_fields):
            return
        if call.entry.inline and self._shard.loop.on_loop():
            self._put(frame)
            return
        transport = self._transport
        # Where another call of this connection is about to run, its reply takes this one along.
        # Should it take long, the loop sends what is held within a millisecond. The loop stops
        # looking by clearing `watched` first and sending what is held then; holding first and
        # reading `watched` then, either side sees what the other did.
        if (
            self.watched
            and self.started_order != self.posted_order
            and self.in_flight
            and transport.held < _JOINED_FRAMES_MAX
            and transport.unsent_bytes + len(frame) <= _HELD_BYTES_MAX
            and transport.hold(frame)
        ):
            if not self._still_watched():
                transport.flush()
            return
        if not transport.send(frame) and not transport.closed:
            self._send(encode_error(call.request.correlation_id, Errno.OVERCROWDED, _CROWDED))

    def _still_watched(self) -> bool:
        return self.watched

    def _put(self, frame: bytes) -> None:
        """Send from the loop: with the other frames of this turn's bytes, or at once."""
        frames = self._inline_frames
        if frames is None or not self._shard.loop.on_loop():
            self._send(frame)
            return
        frames.append(frame)
        self._inline_bytes += len(frame)
        if len(frames) >= _JOINED_FRAMES_MAX or self._inline_bytes > _JOINED_BYTES_MAX:
            self._inline_bytes = 0
            self._send(b"".join(frames))
            frames.clear()

    def _send(self, frame: bytes) -> None:
        """Send; a peer that cannot be told even errors any more is cut off. Any thread."""
        if not self._transport.send(frame) and not self._transport.closed:
            self._transport.close(_CROWDED)

    def put(self, out: Out) -> None:
        """Send bytes of another wire. Loop thread."""
        if out.data:
            self._put(out.data)
        if out.reset:
            self.close("no other way to tell an error")
        elif out.close:
            if self._inline_frames:
                self._send(b"".join(self._inline_frames))
                self._inline_frames.clear()
            self._transport.finish("its protocol closes here")

    def note_failure(self) -> None:
        """Count a call that failed. Any thread."""
        self._shard.failures.add()

    def flush_held(self) -> bool:
        """Send held replies; True while more may be held. Loop thread."""
        self.watched = bool(self.in_flight) and self.started_order != self.posted_order
        self._transport.flush()
        return self.watched

    @property
    def may_hold(self) -> bool:
        """True while several calls wait for a worker, so that sends can be shared."""
        return self.posted_order - self.started_order > 1

    def _turn_down(self, request: Request, errno: int, text: str) -> None:
        self._shard.refused += 1
        self._tell(request, errno, text)

    def _tell(self, request: Request, errno: int, text: str) -> None:
        """Answer with an error, if an answer is wanted."""
        if isinstance(request, GuestRequest):
            if self.guests is not None:
                self.guests.write(request, RpcError.from_errno(errno, text))
        elif not is_oneway(request.user_fields):
            self._send_error(request.correlation_id, errno, text)

    def refuse(self, event: Request | BadRequest, errno: int, text: str) -> None:
        """Answer what is not even looked at. Loop thread."""
        if isinstance(event, Request):
            self._turn_down(event, errno, text)
        else:
            self._send_error(event.correlation_id, errno, text)

    def turn_down(self, call: ServerCall, errno: int, text: str) -> None:
        """Answer a call that was admitted but found no room. Loop thread."""
        self.posted_order -= 1  # refused ones are the last of their session
        if self.in_flight.pop(call, GONE) is not GONE:
            self._shard.admitted -= 1
            self._turn_down(call.request, errno, text)

    def _send_error(self, correlation_id: int, errno: int, text: str) -> None:
        fields = {"grpc-status": str(int(status_of(errno)))}
        self._put(encode_error(correlation_id, errno, text, fields))

    # -- time ---------------------------------------------------------------------------

    def _arm_sweep(self, at_s: float) -> None:
        loop = self._shard.loop
        if self._sweeper is not None:
            loop.cancel(self._sweeper)
        self._sweep_at_s = at_s
        self._sweeper = loop.call_at(at_s, self._sweep)

    def _sweep(self) -> None:
        """Answer 1008 to the calls whose deadline has come, and cancel them."""
        now_s = self._shard.loop.now_s
        self._sweep_at_s = _NEVER_S
        for call in self.in_flight.take(lambda call: call.deadline_s <= now_s):
            self._shard.expired += 1
            call.cancel()
            self._tell(call.request, Errno.TIMED_OUT, EXPIRED)
        earliest_s = min((call.deadline_s for call in list(self.in_flight)), default=_NEVER_S)
        if earliest_s < self._sweep_at_s:  # an answer may have let in a call with its own
            self._arm_sweep(earliest_s)

    def _check_timers(self) -> None:
        """Close the connection if it has had its time, else look again later."""
        loop, transport = self._shard.loop, self._transport
        if transport.paused:
            self._timers.not_listening(loop.now_s)
        due_s, why = self._timers.due(self.in_flight.owed(), transport.stalled_since_s)
        if self._timers.may_judge(loop.now_s) and due_s <= loop.now_s:
            if not self._bid_farewell(why):
                self.close(why)
                return
            due_s = loop.now_s + FAREWELL_S  # then it is over, read or not
        self._checker = loop.call_at(self._timers.check_at_s(due_s, loop.now_s), self._check_timers)

    def _bid_farewell(self, why: str) -> bool:
        """Tell a peer that it has had its time; False: it was told, or would not understand.

        An idle peer of ours hangs up itself. Closing first could cut off a request that is on
        its way, which nobody may repeat.
        """
        timers = self._timers
        if self._transport.closed or timers.asked_at_s is not None:
            return False
        log.info("closing peer=%s: %s", self.peer, why)
        self._shard.timed_out += 1
        if why == IDLE and self.say_going_away(IDLE):
            timers.asked_at_s = self._shard.loop.now_s
            return True
        told = self._decoder.farewell()
        self.put(Out(told, close=bool(told)))
        return bool(told)

    # -- the end ------------------------------------------------------------------------

    def say_going_away(self, why: str = "stopping") -> bool:
        """Ask a peer to send its calls elsewhere and to close; False: it has no ears for that."""
        if self._timers.heartbeats:
            self._put(encode_reply(NOTICE_ID, b"", user_fields={GOAWAY_FIELD: why}))
        elif not self.greeted:  # once: our own notice would be garbage to another wire's peer
            self.greeted = self._decoder.give_notice(self._put)
        return self.greeted

    def idle(self, but: ServerCall | None = None) -> bool:
        """Tell whether no call is in flight, or only `but`, and no reply waits."""
        calls = self.in_flight.owed()
        return calls <= (but in self.in_flight) and not self._transport.unsent_bytes

    def close(self, reason: str) -> None:
        """Close the connection. Any thread."""
        if self._decoder.may_read_as_answer:
            self._transport.reset_at_end()
        self._transport.close(reason)

    def abandon(self) -> None:
        """Leave calls and connection to the parent. In a forked child."""
        self.in_flight.clear()
        self._transport.abandon()

    def on_eof(self) -> None:
        """The peer is gone: nobody is left to answer to."""
        self._transport.close("peer closed the connection")

    def on_shut(self, reason: str) -> None:
        """Cancel what is in flight and leave the shard."""
        loop = self._shard.loop
        for timer in filter(None, (self._sweeper, self._checker)):
            loop.cancel(timer)
        self._transport.release()
        # The caller of a oneway call may leave: it waits for nothing.
        self._cancel(self.in_flight.take(lambda call: not is_oneway(call.request.user_fields)))
        self._dropped.tell_rest()
        self._shard.forget(self, reason)
        self.end_hooks.run()
