"""A whole cluster: centers, servers, clients, what connects them, and who watches."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from center.core.ballot import State
from center.core.events import Dial
from center.core.messages import Body
from center.core.quorum import majority
from center.core.record import MapRecord
from center.sim.access import Access
from center.sim.centers import CenterHost
from center.sim.checkers.base import Checker, Watch
from center.sim.checkers.claims import Claims
from center.sim.checkers.clients import Clients
from center.sim.checkers.copies import Copies
from center.sim.checkers.emptiness import Emptiness
from center.sim.checkers.expiry import Expiry
from center.sim.checkers.fence import Fence
from center.sim.checkers.forward import Forward
from center.sim.checkers.history import map_of
from center.sim.checkers.leaders import Leaders
from center.sim.checkers.lineage import Lineage
from center.sim.checkers.minority import Minority
from center.sim.checkers.moves import Moves
from center.sim.checkers.owners import Owners
from center.sim.checkers.sameness import Sameness
from center.sim.checkers.silence import Silence
from center.sim.checkers.witness import Witness
from center.sim.checkers.words import Words
from center.sim.ends import ClientHost, ServerHost
from center.sim.links import Links
from center.sim.network import Network
from center.sim.procedure import Procedure
from center.sim.stage import SERVICE, Stage, client_address_of

__all__ = ["Cluster"]

DRIFT_MARGIN = 1.03
"""Two clocks of one percent each; spans of one center's clock last so much longer at most."""
EXPIRY_MARGIN = 0.97


class Cluster:
    """Everybody on one stage."""

    def __init__(self, stage: Stage) -> None:
        scenario = stage.scenario
        self.stage = stage
        self.network = Network(
            stage.agenda,
            stage.ids,
            scenario.weather,
            Random(f"{scenario.seed} network"),
            self._deliver,
        )
        self.centers = {each: CenterHost(each, stage, self.network) for each in stage.ids}
        self.links = Links(stage, self.centers, self.network, scenario.hints)
        self.access = Access(
            stage.agenda,
            {client_address_of(each): host for each, host in self.centers.items()},
            Random(f"{scenario.seed} access"),
            loss=scenario.loss,
            tail_s=scenario.tail_s,
        )
        self.servers = {
            each: ServerHost(each, stage, self.access, self.centers)
            for each in range(1, scenario.servers + 1)
        }
        self.clients = {
            each: ClientHost(each, stage, self.access) for each in range(1, scenario.clients + 1)
        }
        self._server_at = {server.name: server for server in self.servers.values()}
        for host in self.centers.values():
            host.dial = self._dial
        stage.watch = Watch(self._checkers())
        self.procedure = Procedure(self)

    def _checkers(self) -> list[Checker]:
        stage = self.stage
        scenario, history, timing = stage.scenario, stage.history, stage.timing
        lease_s = timing.lease_s * DRIFT_MARGIN
        witness = Witness()
        checkers: list[Checker] = [
            history,
            witness,
            Leaders(),
            Fence(),
            Words(),
            Copies(history),
            Lineage(history),
            Forward(),
            Clients(history, SERVICE),
            Claims(timing.lease_s, overlap_s=lease_s if scenario.may_overlap else 0.0),
            Minority(history, lease_s=lease_s),
            Expiry(witness, timing.expire_s * EXPIRY_MARGIN),
            Emptiness(witness),
            Silence(witness),
            Owners(),
        ]
        if scenario.slots:
            checkers += [Moves(history), Sameness(stage.plain_planner)]
        return checkers

    def _deliver(self, to: int, sender: int, incarnation: int, body: Body) -> None:
        self.centers[to].deliver(sender, incarnation, body)

    def _dial(self, host: CenterHost, dial: Dial) -> None:
        self._server_at[dial.address].answer_dial(host, dial)

    # Centers --------------------------------------------------------------------------------

    def start(self, center: int) -> None:
        """Start a center's process, if it is down and has a list that it may start with."""
        host = self.centers[center]
        if host.node is None and host.due is not None and host.start():
            self.links.born(center)
            self.watch_reach()

    def kill(self, center: int, *, lands: bool) -> None:
        """Kill a center's process; its disk keeps what was being written if `lands`."""
        host = self.centers[center]
        if host.node is not None:
            self.stage.note(host.name, "dies")
            host.die(lands=lands)
            self.links.died(center)
            self.watch_reach()

    def wipe(self, center: int, *, torn: bool) -> None:
        """Empty or spoil a dead center's disk, unless too few would remember then."""
        host = self.centers[center]
        if not host.disk.forgot and not host.new_cluster and self.spares(center):
            self.empty(center, torn=torn)

    def spares(self, center: int) -> bool:
        """Whether enough remember, of every list that counts, if `center` does not."""
        gone = {*self.procedure.leaving, *self.procedure.ghosts}
        keeping = {
            each
            for each, host in self.centers.items()
            if host.remembers and each != center and each not in gone
        }
        return all(
            len(keeping.intersection(voters.ids)) >= majority(len(voters.ids))
            for voters in (self.stage.voters, *self.procedure.lists)
        )

    def correct(self, center: int) -> bool:
        """Stop a center whose list is not the one it ought to have, and mend that.

        A disk that goes with that list no more is emptied. False: there is nothing to mend.
        """
        host = self.centers[center]
        if host.due is None or host.voters is host.due:
            return False
        self.kill(center, lands=False)
        host.voters = host.due
        if host.disk.record is not None and not host.disk.record.fits(host.due):
            self.empty(center)
        return True

    def empty(self, center: int, *, torn: bool = False) -> None:
        """Empty the disk of a center that is down, or leave a torn record there."""
        host = self.centers[center]
        self.stage.note(host.name, "is torn" if torn else "is wiped")
        host.disk.wipe(torn=torn)
        for check in self.stage.watch.wiped:
            check(center)

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Lose what is sent from the first of each pair to the second, once more."""
        pairs = tuple(pairs)
        for pair in pairs:
            self.network.lines[pair].cuts += 1
        self.links.cut(pairs)
        self.watch_reach()

    def mend(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Take one cut back."""
        pairs = tuple(pairs)
        for pair in pairs:
            self.network.lines[pair].cuts -= 1
        self.links.healed(pairs)
        self.watch_reach()

    def watch_reach(self) -> None:
        """Tell the checkers whom each center can talk with now."""
        centers, lines = self.centers, self.network.lines
        for center, host in centers.items():
            listed = host.listed
            others = [each for each in listed.ids if each != center]
            sends = {each for each in others if host.runs and not lines[center, each].cuts}
            hears = {
                each
                for each in others
                if centers[each].runs
                and centers[each].listed == listed
                and not lines[each, center].cuts
            }
            for check in self.stage.watch.reached:
                check(center, listed, sends, hears, self.stage.now_s)

    # Looking at it --------------------------------------------------------------------------

    def leader(self) -> CenterHost | None:
        """Return the center that leads; None unless there is exactly one."""
        leading = [
            host for host in self.centers.values() if host.state is State.LEADING and host.node
        ]
        return leading[0] if len(leading) == 1 else None

    def led(self) -> bool:
        """Return whether one center leads, all others follow it, and all serve its map."""
        return self.agreed(self.stage.voters.ids) is not None

    def agreed(self, centers: Iterable[int]) -> CenterHost | None:
        """Return the leader among `centers` if all of them follow it and serve its map."""
        leader = self.leader()
        if leader is None:
            return None
        stamp = leader.front.stamp
        hosts = [self.centers[each] for each in centers]
        same = leader in hosts and all(
            host.runs
            and host.front.leader == leader.id
            and host.front.led
            and host.front.stamp == stamp
            and stamp[0] == leader.epoch
            for host in hosts
        )
        return leader if same else None

    def members(self) -> list[CenterHost]:
        """Return the centers of the present list."""
        return [self.centers[each] for each in self.stage.voters.ids]

    def newest(self) -> MapRecord | None:
        """Return the newest committed map."""
        return self.stage.history.newest

    def living(self) -> frozenset[str]:
        """Return the addresses of the servers that run."""
        return frozenset(server.name for server in self.servers.values() if server.alive)

    def informed(self) -> bool:
        """Return whether the map names the living servers and every client holds it."""
        newest = self.newest()
        if newest is None or not self.led():
            return False
        found = map_of(newest.payload)
        named = {entry.address for entry in found.servers}
        return named == self.living() and all(
            client.cache is not None
            and client.cache.map is not None
            and client.cache.map.stamp == newest.stamp
            for client in self.clients.values()
            if client.alive
        )
