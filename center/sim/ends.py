"""Servers and clients of the cluster: the production machines, and processes that may die."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, assert_never

from center.core.events import Dial, DialOutcome, DialResult, ServerConnectionClosed
from center.core.messages import Report
from center.sim.access import Access
from center.sim.centers import CenterHost
from center.sim.spans import PULLS
from center.sim.stage import SERVICE, Stage, addresses_of, client_address_of
from libevrpc.core.mapcache import (
    CacheAction,
    MapAdopted,
    MapCache,
    Note,
    PersistRecord,
    Pull,
)
from libevrpc.core.reporting import (
    AskPlaces,
    GoodbyeDone,
    Registered,
    ReportAction,
    Reporter,
    SendGoodbye,
    SendReport,
    Unregistered,
)

__all__ = ["ClientHost", "ServerHost"]

SECOND_SERVICE = "sum.SumService"
"""What every other server offers besides."""
DIAL_S = 0.001
DIAL_TIMEOUT_S = 0.5
NEVER_S = float("inf")


class _Process:
    """A process with one machine that wants to be ticked; `life` tells its lives apart."""

    def __init__(self, name: str, stage: Stage, access: Access) -> None:
        self.name = name
        self.life = 0
        self.alive = False
        self.record: bytes | None = None
        self.stage = stage
        self.access = access
        self.rng = Random(f"{stage.scenario.seed} {name}")
        self._tick_s = NEVER_S

    def start(self) -> None:
        """Start the process."""
        raise AssertionError("for subclasses")

    def begin(self) -> None:
        self.life += 1
        self.alive = True
        self._tick_s = NEVER_S

    def in_this_life(self, job: Callable[..., object]) -> Callable[..., object]:
        """Return `job` for as long as this process lives."""
        life = self.life

        def guarded(*given: Any) -> None:
            if self.alive and self.life == life:
                job(*given)

        return guarded

    def rearm(self, due_s: float, tick: Callable[[], object]) -> None:
        """Have `tick` called at `due_s` at the latest."""
        if due_s < self._tick_s:
            self._tick_s = due_s
            self.stage.agenda.at(due_s, self._tick, self.life, due_s, tick)

    def _tick(self, life: int, due_s: float, tick: Callable[[], object]) -> None:
        if self.alive and life == self.life and due_s == self._tick_s:
            self._tick_s = NEVER_S
            tick()


class ServerHost(_Process):
    """A server that reports, by a production `Reporter`."""

    def __init__(
        self, number: int, stage: Stage, access: Access, hosts: Mapping[int, CenterHost]
    ) -> None:
        super().__init__(f"10.2.0.{number}:7000", stage, access)
        self.services = (SERVICE, SECOND_SERVICE) if number % 2 == 0 else (SERVICE,)
        self._hosts = hosts
        self._connected: set[int] = set()
        self._reporter: Reporter | None = None
        self._leaves = False

    @property
    def session(self) -> str:
        """Name of the present life."""
        return f"session {self.life}"

    def start(self) -> None:
        """Start the process, with the places it remembers; one that leaves is done with."""
        if self.alive and not self._leaves:
            return
        if self.alive:
            self._end()
        self._leaves = False
        self.begin()
        self.stage.note(self.name, "starts")
        centers = tuple(addresses_of(self.stage.voters).values())
        self._reporter = Reporter(centers, self.rng, None, self.record)
        self._do(self._reporter.start(self.stage.now_s))

    def crash(self) -> None:
        """End the process; its centers see the connections close."""
        if self.alive:
            self.stage.note(self.name, "dies")
            self._end()

    def _end(self) -> None:
        self.alive = False
        closed = ServerConnectionClosed(self.name, self.session)
        for center in sorted(self._connected):
            host = self._hosts[center]
            if host.desk.connected.pop(self.name, None) is not None:
                self.access.see_break(self.name, center, partial(host.feed, closed))
        self._connected.clear()

    def leave(self) -> None:
        """Say goodbye; the process ends when that is done."""
        if self.alive and self._reporter is not None:
            self.stage.note(self.name, "leaves")
            self._leaves = True
            self._do(self._reporter.goodbye(self.stage.now_s))

    def answer_dial(self, host: CenterHost, dial: Dial) -> None:
        """Answer a center that tries this server's port."""
        agenda = self.stage.agenda
        if not self.access.passes(self.name, host.id):
            silent = DialResult(self.name, DialOutcome.TIMEOUT, dial.session)
            agenda.after(DIAL_TIMEOUT_S, host.feed, silent)
            return
        outcome = DialOutcome.ACCEPTED if self.alive else DialOutcome.REFUSED
        agenda.after(DIAL_S, host.feed, DialResult(self.name, outcome, dial.session))

    def _report(self) -> Report:
        load = round(self.rng.random(), 2)
        return Report(self.name, self.services, load, session=self.session)

    def _do(self, actions: list[ReportAction]) -> None:
        for action in actions:
            match action:
                case SendReport(number, center):
                    self._call(number, center, self._serve_report(self._report()))
                case AskPlaces(number, center):
                    self._call(
                        number, center, lambda host, reply: host.desk.places(self.name, reply)
                    )
                case SendGoodbye(number, center):
                    self._call(number, center, self._serve_goodbye(self.session))
                case PersistRecord(record):
                    self.record = record
                case GoodbyeDone(heard):
                    self.stage.note(self.name, f"has left heard={heard}")
                    self._end()
                case Note(text):
                    self.stage.note(self.name, f"# {text}")
                case Registered() | Unregistered():
                    pass  # for a server's log; the trace has the reports themselves
                case _:
                    assert_never(action)
        if self.alive and self._reporter is not None:
            self.rearm(self._reporter.next_deadline_s(), self._on_tick)

    def _on_tick(self) -> None:
        assert self._reporter is not None
        self._do(self._reporter.tick(self.stage.now_s))

    def _call(self, number: int, center: str, serve: Callable[[CenterHost, Any], object]) -> None:
        def answered(answer: Any) -> None:
            assert self._reporter is not None
            self._do(self._reporter.answered(number, answer, self.stage.now_s))

        self.access.call(self.name, center, serve, self.in_this_life(answered))

    def _serve_report(self, report: Report) -> Callable[[CenterHost, Any], object]:
        life = self.life

        def serve(host: CenterHost, reply: Any) -> None:
            if self.alive and self.life == life:
                self._connected.add(host.id)
            lost = self.in_this_life(lambda: self._lost(host))
            host.desk.report(report, lambda: self.access.see_break(self.name, host.id, lost), reply)

        return serve

    def _serve_goodbye(self, session: str) -> Callable[[CenterHost, Any], object]:
        return lambda host, reply: host.desk.goodbye(self.name, session, reply)

    def _lost(self, host: CenterHost) -> None:
        assert self._reporter is not None
        center = client_address_of(host.id)
        self._do(self._reporter.lost(center, self.stage.now_s))


class ClientHost(_Process):
    """A client that holds a map, by a production `MapCache`."""

    def __init__(self, number: int, stage: Stage, access: Access) -> None:
        super().__init__(f"client {number}", stage, access)
        self.cache: MapCache | None = None
        self._shown: tuple[object, object] = (None, None)

    def start(self) -> None:
        """Start the process, with the map it remembers."""
        if self.alive:
            return
        self.begin()
        centers = tuple(addresses_of(self.stage.voters).values())
        self.cache = MapCache(centers, self.rng, PULLS, self.record)
        self.stage.note(self.name, "starts")
        for check in self.stage.watch.restored:
            check(self.name, self.cache.map)
        self._shown = (None, None)
        self._do(self.cache.start(self.stage.now_s))

    def crash(self) -> None:
        """End the process."""
        self.alive = False
        self.stage.note(self.name, "dies")

    def _do(self, actions: list[CacheAction]) -> None:
        assert self.cache is not None
        for action in actions:
            match action:
                case Pull():
                    self._pull(action)
                case PersistRecord(record):
                    self.record = record
                case MapAdopted(adopted):
                    self.stage.note(self.name, f"balances over {adopted.stamp}")
                case Note(text):
                    self.stage.note(self.name, f"# {text}")
                case _:
                    assert_never(action)
        cache = self.cache
        shown = (cache.map, cache.usable)
        if shown[0] is not self._shown[0] or shown[1] is not self._shown[1]:
            self._shown = shown
            for check in self.stage.watch.held:
                check(self.name, cache.map, cache.usable)
            self.stage.changed()
        self.rearm(cache.next_deadline_s(), self._on_tick)

    def _on_tick(self) -> None:
        assert self.cache is not None
        self._do(self.cache.tick(self.stage.now_s))

    def _pull(self, pull: Pull) -> None:
        def answered(answer: Any) -> None:
            assert self.cache is not None
            self._do(self.cache.answered(pull.number, answer, self.stage.now_s))

        def serve(host: CenterHost, reply: Any) -> None:
            host.desk.pull(pull.cluster_id, pull.stamp, pull.wait_s, reply)

        self.access.call(self.name, pull.center, serve, self.in_this_life(answered))
