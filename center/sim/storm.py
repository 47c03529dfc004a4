"""Acts out the faults of a scenario, and heals everything when it is over."""

from __future__ import annotations

from typing import assert_never

from center.core.record import Voters
from center.sim.cluster import Cluster
from center.sim.disk import DiskSpeed
from center.sim.faults import (
    Aim,
    ClientCrash,
    Crash,
    Cut,
    DiskTrouble,
    Fault,
    Flap,
    Isolation,
    ListChange,
    Mute,
    OldList,
    OtherList,
    Pause,
    ServerCrash,
    ServerLeave,
    StepCrash,
)
from center.sim.scenario import QUICK_S, Hints
from center.sim.stage import voters_of

__all__ = ["Storm"]


class Storm:
    """Faults over one cluster; once healed it does nothing any more."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._agenda = cluster.stage.agenda
        self._over = False

    def brew(self) -> None:
        """Enter every fault at its time."""
        for fault in self._cluster.stage.scenario.faults:
            self._agenda.at(fault.at_s, self._strike, fault)

    def _strike(self, fault: Fault) -> None:
        if self._over:
            return
        self._cluster.stage.note("fault", str(fault))
        match fault:
            case Crash():
                self._crash(self._aimed(fault.aim), fault)
            case StepCrash():
                self._doom(fault)
            case Pause(_, aim, span_s):
                self._pause(self._aimed(aim), span_s)
            case Cut(_, span_s, pairs):
                self._cut(pairs, span_s)
            case Isolation():
                self._isolate(fault)
            case Flap(_, span_s, one, other):
                self._cluster.links.flap(one, other, span_s)
            case DiskTrouble():
                self._trouble(fault)
            case OtherList():
                self._mislead(fault)
            case ListChange():
                self._cluster.procedure.change(fault)
            case OldList():
                self._set_back(fault)
            case ServerCrash(_, server, down_s):
                self._cluster.servers[server].crash()
                self._agenda.after(down_s, self._cluster.servers[server].start)
            case ServerLeave(_, server, away_s):
                self._cluster.servers[server].leave()
                self._agenda.after(away_s, self._cluster.servers[server].start)
            case Mute():
                self._cluster.access.mute(fault.ends, fault.centers, 1)
                self._agenda.after(fault.span_s, self._unmute, fault)
            case ClientCrash(_, client, down_s):
                self._cluster.clients[client].crash()
                self._agenda.after(down_s, self._cluster.clients[client].start)
            case _:
                assert_never(fault)

    def _aimed(self, aim: Aim) -> int:
        if aim.leader:
            leading = self._cluster.stage.leading
            return next(iter(leading), aim.center)
        return aim.center

    def _crash(self, center: int, fault: Crash | StepCrash) -> None:
        if self._over:
            return
        self._cluster.kill(center, lands=fault.lands)
        if fault.wipe:
            self._cluster.wipe(center, torn=fault.torn)
        self._agenda.after(fault.down_s, self._start, center)

    def _start(self, center: int) -> None:
        self._cluster.start(center)

    def _doom(self, fault: StepCrash) -> None:
        center = self._aimed(fault.aim)
        host = self._cluster.centers[center]
        if host.node is not None:
            host.doomed.append((fault, lambda fault: self._crash(center, fault)))

    def _pause(self, center: int, span_s: float) -> None:
        host = self._cluster.centers[center]
        if host.runs:
            host.pause()
            self._cluster.watch_reach()
            self._agenda.after(span_s, self._resume, center, host.node)

    def _resume(self, center: int, node: object) -> None:
        host = self._cluster.centers[center]
        if host.paused and host.node is node:
            self._cluster.stage.note(host.name, "goes on")
            host.resume()
            self._cluster.watch_reach()

    def _cut(self, pairs: tuple[tuple[int, int], ...], span_s: float) -> None:
        self._cluster.cut(pairs)
        self._agenda.after(span_s, self._mend, pairs)

    def _mend(self, pairs: tuple[tuple[int, int], ...]) -> None:
        if not self._over:
            self._cluster.mend(pairs)

    def _isolate(self, fault: Isolation) -> None:
        center = self._aimed(fault.aim)
        others = [each for each in self._cluster.centers if each != center]
        outward = tuple((center, each) for each in others) if fault.outward else ()
        inward = tuple((each, center) for each in others) if fault.inward else ()
        self._cut((*outward, *inward), fault.span_s)

    def _trouble(self, fault: DiskTrouble) -> None:
        disk = self._cluster.centers[self._aimed(fault.aim)].disk
        disk.delay_s = fault.delay_s
        disk.fails, disk.lands = fault.fails, fault.lands

        def end() -> None:
            disk.delay_s, disk.fails = 0.0, False

        self._agenda.after(fault.span_s, end)

    def _mislead(self, fault: OtherList) -> None:
        if not self._cluster.spares(fault.center):
            return
        slip = voters_of(fault.members, self._cluster.stage.voters.generation + 1)
        self._restart(fault.center, slip, fault.down_s)
        self._agenda.after(fault.span_s, self._put_right, fault.center, fault.down_s)

    def _set_back(self, fault: OldList) -> None:
        for center in fault.centers:
            before = self._cluster.centers[center].before
            if before is not None:
                self._restart(center, before, fault.down_s)
                self._agenda.after(fault.span_s, self._put_right, center, fault.down_s)

    def _restart(self, center: int, voters: Voters, down_s: float) -> None:
        """Start a center anew with a list."""
        self._cluster.kill(center, lands=False)
        self._cluster.centers[center].voters = voters
        self._agenda.after(down_s, self._start, center)

    def _put_right(self, center: int, down_s: float) -> None:
        """Start a center anew with the list that it ought to have."""
        if not self._over and self._cluster.correct(center):
            self._agenda.after(down_s, self._start, center)

    def _unmute(self, fault: Mute) -> None:
        if not self._over:
            self._cluster.access.mute(fault.ends, fault.centers, -1)

    def heal(self) -> None:
        """End every fault, and start whatever is down."""
        self._over = True
        cluster = self._cluster
        cluster.procedure.cease()
        cluster.stage.note("fault", "everything is healed")
        pairs = [pair for pair, line in cluster.network.lines.items() if line.cuts]
        cluster.network.calm_down()
        cluster.access.calm_down()
        cluster.links.hints = Hints()
        for center, host in cluster.centers.items():
            cluster.correct(center)
            host.doomed.clear()
            host.disk.delay_s, host.disk.fails = 0.0, False
            host.disk.speed = DiskSpeed()
            if host.paused:
                host.resume()
        cluster.links.healed(pairs)
        for center, host in cluster.centers.items():
            self._agenda.at(host.died_s + self._rest_s(), cluster.start, center)
        for end in (*cluster.servers.values(), *cluster.clients.values()):
            end.start()
        cluster.watch_reach()

    def _rest_s(self) -> float:
        """Return how long a center stays down at least."""
        return 0.0 if self._cluster.stage.scenario.may_overlap else QUICK_S
