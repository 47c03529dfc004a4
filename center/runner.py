"""One running center: its parts, and the thread of its node.

`center-main` owns the node and every ZeroMQ socket. `center-disk` writes what must be
durable, `center-plan` makes the maps, `center-read` decodes large ones, `center-dial-N` try a
server's port, `center-polls` answers long-polls; the loops of an `RpcServer` answer everything
else from snapshots. They reach the node by its mailbox.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import assert_never

from center.bus import Bus, public_key
from center.centers_list import CentersList
from center.core.assignment import AssignmentKind, WeightPolicy
from center.core.ballot import State
from center.core.events import (
    Action,
    Dial,
    Event,
    Log,
    LogLevel,
    MapCommitted,
    NodeStatus,
    Persist,
    Plan,
    Planned,
    PlannedMap,
    RoleChanged,
    Send,
    Tick,
)
from center.core.node import Node
from center.core.planning import SlotPlanner
from center.core.record import MapRecord, Record, Voters
from center.core.timing import Timing
from center.dials import Dials
from center.front import Front
from center.jobs import JobThread, plan_map, read_map, write_record
from center.mailbox import Item, Mailbox, Question, ReadMap
from center.polls import LongPolls
from center.service import CenterService, status_message
from center.store import Store
from center.trust import open_key_ring
from libevrpc import Deferred, RpcServer
from libevrpc.clock import boottime_s
from libevrpc.core.endpoints import format_address
from libevrpc.errors import ConfigError
from libevrpc.gen.center_pb2 import StatusResponse
from libevrpc.settings import CenterSettings

__all__ = ["Runner", "timing_of"]

log = logging.getLogger(__name__)

JOIN_S = 5.0
TURN_S = 0.02
"""For so long items of servers and operators are taken before the other centers have their turn."""
STATUS_S = 0.1
"""All who ask for the status within this span are told the same one."""
STATUS_SHARE = 0.1
"""The span is longer where a status of ten thousand servers would take more of the node's time."""
READ_AT_ONCE_BYTES_MAX = 32 << 10
"""Larger maps are read by another thread: one of ten thousand servers takes a tenth of a second."""
BODY_BYTES_MAX = 8 << 20
"""Longest message on the client port; a map is at most half of it."""
HELD_WARN_S = 0.25
"""A handler that holds its loop for longer is named in the log. Ours take microseconds: less than
this tells of a busy machine, and of nothing that its reader could mend."""
REQUEST_BYTES_MAX = 1 << 20
"""Longest request after decompression."""
_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def timing_of(settings: CenterSettings) -> Timing:
    """Return the node's spans as the settings have them.

    Raises:
        ConfigError: two contradict each other.
    """
    return Timing(
        heartbeat_s=settings.heartbeat_s,
        lease_s=settings.lease_s,
        patience_s=settings.patience_s,
        finalize_s=max(settings.finalize_wait_s, 0.001),
        retry_max_s=settings.vote_retry_max_s,
        batch_s=max(settings.publish_batch_s, 0.001),
        round_s=settings.report_s,
        expire_s=settings.expiry_s,
        suspect_s=settings.suspect_max_s,
        suspect_ratio=settings.suspect_percent / 100.0,
    )


class Runner:
    """A center in this process. `start` and `stop` from one thread; the rest from any.

    Args:
        center_id: own id, in `centers`.
        centers: the list.
        settings: see config/center.ini.
        data_dir: where the durable state lies.
        new_cluster: vote though the disk is empty.
        on_end: told once, on the node's thread, that it ends, whatever the reason.

    Raises:
        ConfigError: wrong id, folder or address.
    """

    def __init__(
        self,
        center_id: int,
        centers: CentersList,
        settings: CenterSettings,
        data_dir: Path,
        *,
        new_cluster: bool = False,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        self._id = center_id
        self._me = centers.center(center_id)
        self._list = centers
        self._settings = settings
        self._ring = open_key_ring(centers, center_id, settings.key_file, public_key)
        self._addresses = {each.id: each.client_address for each in centers.centers}
        self._front = Front(self._addresses)
        self._status: NodeStatus | None = None
        self._status_until_s = 0.0
        self._told: tuple[NodeStatus, bool, StatusResponse] | None = None
        self._stopping = False
        self._closed = False
        self._failure: BaseException | None = None
        self._bound = threading.Event()
        self._going = threading.Event()
        self._on_end = on_end
        self._store = Store(data_dir, center_id)
        try:
            self._node = self._make_node(data_dir, new_cluster)
            self._polls = LongPolls(self.front)
            self._server = self._make_server()
        except BaseException:
            self._store.close()
            raise
        self._mailbox = Mailbox()
        # Whoever writes gives the folder free: a write may hang for longer than a stop waits.
        self._disk = JobThread("center-disk", self._mailbox.put, self._store.close)
        self._plans = JobThread("center-plan", self._mailbox.put)
        self._reads = JobThread("center-read", self._mailbox.put)
        self._reading = False
        self._unread: MapRecord | None = None  # the newest that came while another is read
        self._made = PlannedMap(None)  # the newest of our own: it need not be read
        self._dials = Dials(self._mailbox.put)
        self._main = threading.Thread(target=self._run, name="center-main", daemon=True)

    def _make_node(self, data_dir: Path, new_cluster: bool) -> Node:
        loaded = self._store.load()
        if loaded.damaged:
            log.warning("stored state is damaged, it is not used: %s", loaded.damaged)
        settings = self._settings
        voters = Voters(
            tuple(sorted(self._addresses.items())),
            self._list.digest(settings.list_generation),
            settings.list_generation,
            tuple((each.id, each.peer_address) for each in self._list.centers),
        )
        if loaded.record is not None:
            _refuse_foreign(loaded.record, voters, data_dir)
        kind = AssignmentKind(settings.assignment)
        weights = WeightPolicy(slow_start_s=settings.slow_start_s)
        return Node(
            self._id,
            voters,
            loaded.record,
            boottime_s(),
            chance=random.SystemRandom(),
            planner=lambda: SlotPlanner(kind, weights=weights),
            timing=timing_of(settings),
            damaged=bool(loaded.damaged),
            new_cluster=new_cluster,
        )

    def _make_server(self) -> RpcServer:
        settings = self._settings
        server = RpcServer(
            format_address(settings.client_bind or self._me.host, self._me.client_port),
            threads=settings.threads,
            workers=1,
            security=settings.security,
            token_file=settings.token_file,
            registry="",
            wires=(),  # whoever asks a center speaks PRPC
            drain_s=0.0,
            body_bytes_max=BODY_BYTES_MAX,
            inflated_bytes_max=REQUEST_BYTES_MAX,
            inline_warn_s=HELD_WARN_S,
        )
        server.add_service(CenterService(self.front, self._polls, self), inline=True)
        return server

    # -- any thread ---------------------------------------------------------------------

    def front(self) -> Front:
        """Return what is served now."""
        return self._front

    @property
    def address(self) -> str:
        """Address of the client port, once started."""
        return self._server.address

    @property
    def failed(self) -> bool:
        """Whether the node's thread ended by an error of ours; the log has the traceback."""
        return self._failure is not None

    def submit(self, event: Event) -> bool:
        """Hand an event of a server to the node; False if too many wait."""
        return self._mailbox.offer(event)

    def reported(self, address: str, peer: str) -> None:
        """Note that the connection from `peer` reported `address`."""
        self._dials.reported(address, peer)

    def ask_status(self, deferred: Deferred) -> bool:
        """Answer `deferred` with the node's status; False if too many wait."""

        def answer(status: NodeStatus, leads: bool) -> None:
            self._polls.post(lambda: deferred.reply(self._told_of(status, leads)))

        return self._mailbox.offer(Question(answer))

    def _told_of(self, status: NodeStatus, leads: bool) -> StatusResponse:
        """Return the message of a status, made once for all who ask. On the polls' thread."""
        told = self._told
        if told is None or told[0] is not status or told[1] is not leads:
            held = self._front.map
            live = () if held is None or status.leader is None else held.centers
            told = self._told = (status, leads, status_message(status, leads, live))
        return told[2]

    def ask(self, answer: Callable[[NodeStatus, bool], object]) -> bool:
        """Tell `answer` the status and whether it may claim to lead, on the node's thread."""
        return self._mailbox.offer(Question(answer))

    # -- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread; returns once the port is served. Once.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        self._main.start()
        self._bound.wait()
        try:
            if self._failure is not None:
                raise self._failure
            self._server.start()
        except BaseException:
            self.stop()
            raise
        self._polls.start()
        self._disk.start()
        self._plans.start()
        self._reads.start()
        self._going.set()

    def stop(self) -> None:
        """Leave the cluster and end every thread. Any number of times."""
        if self._closed:
            return
        self._closed = True
        self._stopping = True
        self._mailbox.ring()
        started = self._going.is_set()
        self._going.set()
        if self._main.ident is not None:
            self._main.join(JOIN_S)  # its links close now: the others elect at once
        if started:
            self._polls.stop()
        self._server.stop(0.0)
        ended = not self._main.is_alive()
        if started:
            ended &= self._plans.stop()
            ended &= self._reads.stop()
            if not self._disk.stop():
                log.warning("a write hangs; the data folder is in use until it ends")
                ended = False
        else:
            self._store.close()
        self._dials.close()
        if ended:  # else somebody may still ring its bell, and it closes with the last of them
            self._mailbox.close()

    # -- center-main --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._open_and_serve()
        except ConfigError as exc:
            self._failure = exc
        except Exception as exc:
            log.exception("the center's node failed; nothing is served any more")
            self._failure = exc
        finally:
            self._bound.set()
            self._hang_up()
            if self._on_end is not None:
                self._on_end()

    def _hang_up(self) -> None:
        """Leave servers and clients to other centers: behind the port nobody is left."""
        self._front = replace(self._front, state=State.LOOKING, leader=None)
        if self._going.is_set() and not self._stopping:
            self._polls.wake()
            self._server.stop(0.0)

    def _open_and_serve(self) -> None:
        settings = self._settings
        bus = Bus(
            self._id,
            format_address(settings.peer_bind or self._me.host, self._me.peer_port),
            {each.id: each.peer_address for each in self._list.centers if each.id != self._id},
            self._mailbox.fileno(),
            heartbeat_s=settings.heartbeat_s,
            patience_s=settings.lease_s,
            ring=self._ring,
        )
        try:
            self._bound.set()
            self._going.wait()
            if not self._stopping:  # the client port could be listened on too
                self._serve(bus)
        finally:
            bus.close()

    def _serve(self, bus: Bus) -> None:
        node, mailbox = self._node, self._mailbox
        rest: deque[Item] = deque()
        if node.served is not None:
            self._publish(node.served)
        self._do(bus, node.step(Tick(), boottime_s()))
        while not self._stopping:
            bus.flush()
            if bus.wait(0.0 if rest else node.next_deadline_s() - boottime_s()) and not rest:
                mailbox.quiet()
            for link in bus.links():
                self._do(bus, node.step(link, boottime_s()))
            for message in bus.messages():
                self._do(bus, node.step(message, boottime_s()))
            if not rest:
                rest.extend(mailbox.take())
            self._take(bus, rest)
            now_s = boottime_s()
            if now_s >= node.next_deadline_s():
                self._do(bus, node.step(Tick(), now_s))
                if self._status is not None and now_s >= self._status_until_s:
                    self._status = self._told = None  # of ten thousand servers: megabytes

    def _take(self, bus: Bus, rest: deque[Item]) -> None:
        """Take items for no longer than a turn may last, and one at least."""
        node = self._node
        now_s = boottime_s()
        until_s = now_s + TURN_S
        while rest:
            item = rest.popleft()
            if isinstance(item, Question):
                item.answer(self._snapshot(now_s), node.may_claim(now_s))
            elif isinstance(item, ReadMap):
                self._take_read(item)
            else:
                if isinstance(item, Planned) and item.made.map is not None:
                    self._made = item.made
                self._do(bus, node.step(item, now_s))
            now_s = boottime_s()
            if now_s >= until_s:
                return

    def _snapshot(self, now_s: float) -> NodeStatus:
        """Return the node's status; one of ten thousand servers takes a tenth of a second."""
        if self._status is None or now_s >= self._status_until_s:
            self._status = self._node.snapshot(now_s, self._front.map)
            cost_s = boottime_s() - now_s
            self._status_until_s = now_s + max(STATUS_S, cost_s / STATUS_SHARE)
        return self._status

    def _do(self, bus: Bus, actions: list[Action]) -> None:
        """Carry out what the node asks for, in its order."""
        for action in actions:
            match action:
                case Send(to, message):
                    bus.send(to, self._node.incarnation, message)
                case Persist():
                    self._disk.put(partial(write_record, self._store, action))
                case Plan():
                    self._plans.put(partial(plan_map, action))
                case Dial(address, session):
                    self._dials.dial(address, session)
                case MapCommitted(record):
                    self._publish(record)
                case RoleChanged(state, leader, _):
                    self._front = replace(self._front, state=state, leader=leader)
                    self._status = None  # or it would claim to lead in an epoch that is over
                    self._polls.wake()
                case Log(level, text):
                    log.log(_LEVELS[level], "%s", text)
                case _:
                    assert_never(action)

    def _publish(self, record: MapRecord) -> None:
        """Serve a committed map: one that was not made here is read, by another thread if large."""
        made = self._made
        if self._reading:
            self._unread = record
        elif made.map is not None and record.payload is made.payload:
            self._serve_map(ReadMap(record, made.map))
        elif len(record.payload) <= READ_AT_ONCE_BYTES_MAX:
            self._serve_map(read_map(record))
        else:
            self._reading = True
            self._reads.put(partial(read_map, record))

    def _take_read(self, read: ReadMap) -> None:
        self._serve_map(read)
        self._reading = False
        unread, self._unread = self._unread, None
        if unread is not None:
            self._publish(unread)

    def _serve_map(self, read: ReadMap) -> None:
        if read.map is not None:
            front = self._front
            self._front = Front(self._addresses, front.state, front.leader, read.map, read.record)
            self._polls.wake()


def _refuse_foreign(record: Record, voters: Voters, folder: Path) -> None:
    """Refuse the state of another cluster.

    Raises:
        ConfigError: it was written under another centers list, and nobody said that the
            list has changed; or the list has changed more than once since.
    """
    if record.fits(voters):
        return
    known = record.list_generation
    if voters.generation > known + 1:
        raise ConfigError(
            f"data folder {folder} is of list_generation {known}, this list of"
            f" {voters.generation}: a center that missed a change of the list, or comes back,"
            f" starts with an empty folder; if this is the next change, list_generation ="
            f" {known + 1}"
        )
    raise ConfigError(
        f"data folder {folder} belongs to another centers list; set data_dir, or, if the"
        f" list was changed on purpose, list_generation = {known + 1}"
    )
