"""One running center: the node's thread, its disk, its dials, and the port it serves.

`center-main` owns the node and every ZeroMQ socket. `center-disk` writes what must be
durable, `center-dial-N` try a server's port, `center-polls` answers long-polls; the loops of
an `RpcServer` answer everything else from snapshots. They reach the node by `submit`.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import random
import socket
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from center.bus import Bus
from center.centers_list import CentersList
from center.core.assignment import AssignmentKind
from center.core.events import (
    Action,
    Dial,
    DialOutcome,
    DialResult,
    Event,
    Log,
    LogLevel,
    MapCommitted,
    Persist,
    Persisted,
    PersistFailed,
    RoleChanged,
    Send,
    ServerReport,
    Tick,
)
from center.core.node import Node
from center.core.planning import SlotPlanner
from center.core.record import MapRecord, Voters
from center.core.timing import Timing
from center.front import Front
from center.polls import LongPolls
from center.service import CenterService, status_message
from center.store import Store
from libevrpc import Deferred, RpcServer
from libevrpc.clock import boottime_s
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.endpoints import parse_endpoint
from libevrpc.errors import ConfigError, ProtocolError
from libevrpc.settings import CenterSettings

__all__ = ["Runner", "timing_of"]

log = logging.getLogger(__name__)

INBOX_MAX = 20_000
"""Events that may wait for the node, reports counted once per server; one more is refused."""
EVENTS_PER_TURN_MAX = 2_000
"""Events taken from the inbox before the bus and the clock have their turn."""
DIAL_THREADS = 8
DIAL_TIMEOUT_S = 0.3
"""How long a server's port may take to answer a dial."""
JOIN_S = 5.0
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
        suspect_ratio=min(settings.suspect_percent / 100.0, 0.99),
    )


class Runner:
    """A center in this process. `start` and `stop` from one thread; `front` from any.

    Args:
        center_id: own id, in `centers`.
        centers: the list.
        settings: see config/center.ini.
        data_dir: where the durable state lies.
        new_cluster: vote though the disk is empty.

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
    ) -> None:
        self._id = center_id
        self._me = centers.center(center_id)
        self._list = centers
        self._settings = settings
        self._addresses = {each.id: each.client_address for each in centers.centers}
        self._front = Front(self._addresses)
        self._inbox: deque[Event | Deferred] = deque()
        self._reports: dict[str, ServerReport] = {}
        self._inbox_lock = threading.Lock()
        self._rung = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._disk: queue.SimpleQueue[Persist | None] = queue.SimpleQueue()
        self._store = Store(data_dir, center_id)
        try:
            self._node = self._make_node(new_cluster)
            self._polls = LongPolls(self.front)
            self._server = self._make_server()
        except BaseException:
            self._store.close()
            raise
        self._dials = ThreadPoolExecutor(DIAL_THREADS, thread_name_prefix="center-dial")
        self._bell_read, self._bell_write = os.pipe()
        os.set_blocking(self._bell_read, False)
        os.set_blocking(self._bell_write, False)
        self._main = threading.Thread(target=self._run, name="center-main", daemon=True)
        self._writer = threading.Thread(target=self._write, name="center-disk", daemon=True)

    def _make_node(self, new_cluster: bool) -> Node:
        loaded = self._store.load()
        if loaded.damaged:
            log.warning("stored state is damaged, waiting for a leader: %s", loaded.damaged)
        settings = self._settings
        digest = self._list.digest()
        voters = Voters(tuple(sorted(self._addresses.items())), digest, settings.list_generation)
        kind = AssignmentKind(settings.assignment)
        return Node(
            self._id,
            voters,
            loaded.record,
            boottime_s(),
            chance=random.SystemRandom(),
            planner=lambda: SlotPlanner(kind),
            timing=timing_of(settings),
            damaged=bool(loaded.damaged),
            new_cluster=new_cluster,
        )

    def _make_server(self) -> RpcServer:
        settings = self._settings
        address = self._me.client_address
        if settings.client_bind:
            address = f"{settings.client_bind}:{self._me.client_port}"
        server = RpcServer(
            address,
            threads=settings.threads,
            workers=1,
            security=settings.security,
            registry="",
            drain_s=0.0,
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

    def submit(self, event: Event) -> bool:
        """Hand an event to the node; False if too many wait. Any thread.

        Of several reports of one server only the newest is kept.
        """
        with self._inbox_lock:
            if isinstance(event, ServerReport):
                known = event.report.address in self._reports
                if not known and len(self._reports) >= INBOX_MAX:
                    return False
                self._reports[event.report.address] = event
            elif len(self._inbox) >= INBOX_MAX:
                return False
            else:
                self._inbox.append(event)
            self._ring()
        return True

    def ask_status(self, deferred: Deferred) -> bool:
        """Answer `deferred` with the node's status; False if too many wait. Any thread."""
        with self._inbox_lock:
            if len(self._inbox) >= INBOX_MAX:
                return False
            self._inbox.append(deferred)
            self._ring()
        return True

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            os.write(self._bell_write, b"!")  # one byte at most is in the pipe: never full

    # -- life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread; returns once the port is served.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        self._main.start()
        self._ready.wait()
        if self._failure is not None:
            self._close_rest()
            raise self._failure
        try:
            self._server.start()
        except ConfigError:
            self.stop()
            raise
        self._polls.start()
        self._writer.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until `center-main` has ended; False if it had not in time."""
        self._main.join(timeout_s)
        return not self._main.is_alive()

    def stop(self) -> None:
        """Leave the cluster and end every thread. Any number of times."""
        with self._inbox_lock:
            self._stopping = True
            self._ring()
        self._main.join(JOIN_S)
        self._close_rest()

    def _close_rest(self) -> None:
        if self._writer.ident is not None:
            self._polls.stop()
        self._server.stop(0.0)
        if self._writer.ident is not None:
            self._disk.put(None)
            self._writer.join(JOIN_S)
        self._dials.shutdown(wait=True, cancel_futures=True)
        self._store.close()
        if self._bell_read >= 0:
            os.close(self._bell_read)
            os.close(self._bell_write)
            self._bell_read = -1

    # -- center-main --------------------------------------------------------------------

    def _run(self) -> None:
        peers = {each.id: each.peer_address for each in self._list.centers if each.id != self._id}
        bind = self._me.peer_address
        if self._settings.peer_bind:
            bind = f"{self._settings.peer_bind}:{self._me.peer_port}"
        try:
            bus = Bus(
                self._id,
                bind,
                peers,
                self._bell_read,
                heartbeat_s=self._settings.heartbeat_s,
                patience_s=self._settings.lease_s,
            )
        except ConfigError as exc:
            self._failure = exc
            self._ready.set()
            return
        try:
            self._serve(bus)
        finally:
            bus.close()

    def _serve(self, bus: Bus) -> None:
        node = self._node
        self._do(bus, node.step(Tick(), boottime_s()))
        served = node.served
        if served is not None:
            self._publish_map(served)
        self._ready.set()
        while not self._stopping:
            bus.flush()
            if bus.wait(node.next_deadline_s() - boottime_s()):
                os.read(self._bell_read, 1)
            for link in bus.links():
                self._do(bus, node.step(link, boottime_s()))
            for message in bus.messages():
                self._do(bus, node.step(message, boottime_s()))
            for item in self._take():
                if isinstance(item, Deferred):
                    now_s = boottime_s()
                    item.reply(status_message(node.snapshot(now_s), node.may_claim(now_s)))
                else:
                    self._do(bus, node.step(item, boottime_s()))
            now_s = boottime_s()
            if now_s >= node.next_deadline_s():
                self._do(bus, node.step(Tick(), now_s))

    def _take(self) -> list[Event | Deferred]:
        """Take what waits for the node, within this turn's share."""
        with self._inbox_lock:
            self._rung = False
            items = [
                self._inbox.popleft() for _ in range(min(len(self._inbox), EVENTS_PER_TURN_MAX))
            ]
            addresses = list(self._reports)[: EVENTS_PER_TURN_MAX - len(items)]
            items += [self._reports.pop(each) for each in addresses]
            if self._inbox or self._reports:
                self._ring()
        return items

    def _do(self, bus: Bus, actions: list[Action]) -> None:
        """Carry out what the node asks for, in its order."""
        for action in actions:
            match action:
                case Send(to, message):
                    bus.send(to, self._node.incarnation, message)
                case Persist():
                    self._disk.put(action)
                case Dial(address):
                    self._dials.submit(self._dial, address)
                case MapCommitted(record):
                    self._publish_map(record)
                case RoleChanged(state, leader, epoch):
                    self._front = replace(self._front, state=state, leader=leader)
                    log.info("state=%s leader=%s epoch=%d", state.name, leader, epoch)
                case Log(level, text):
                    log.log(_LEVELS[level], "%s", text)
                case _:
                    assert_never(action)

    def _publish_map(self, record: MapRecord) -> None:
        try:
            decoded = ClusterMap.decode(record.payload)
        except ProtocolError:
            log.exception("committed map cannot be read stamp=%s", record.stamp)
            return
        front = self._front
        self._front = Front(self._addresses, front.state, front.leader, decoded, record)
        self._polls.wake()

    # -- other threads ------------------------------------------------------------------

    def _write(self) -> None:
        """The disk thread: write, then tell the node."""
        while (persist := self._disk.get()) is not None:
            try:
                self._store.write(persist.record)
            except OSError as exc:
                log.error("cannot write the durable state: %s", exc.strerror or exc)
                self.submit(PersistFailed(persist.token, exc.strerror or str(exc)))
            else:
                self.submit(Persisted(persist.token))

    def _dial(self, address: str) -> None:
        """A dial thread: is anybody listening at that address?"""
        self.submit(DialResult(address, dial(address)))


def dial(address: str) -> DialOutcome:
    """Try a server's port once. Blocks for at most DIAL_TIMEOUT_S."""
    endpoint = parse_endpoint(address)
    if endpoint.path:
        family, target = socket.AF_UNIX, endpoint.path
    else:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        target = (endpoint.host, endpoint.port)  # type: ignore[assignment]
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(DIAL_TIMEOUT_S)
        try:
            sock.connect(target)
        except OSError as exc:
            refused = exc.errno in (errno.ECONNREFUSED, errno.ENOENT)
            return DialOutcome.REFUSED if refused else DialOutcome.TIMEOUT
    return DialOutcome.ACCEPTED
