"""Plays one scenario: faults, then healing, then what must come right again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from center.core.ballot import State
from center.sim.centers import CenterHost
from center.sim.checkers.base import Violation
from center.sim.cluster import Cluster
from center.sim.scenario import Scenario, drawn
from center.sim.stage import Stage
from center.sim.storm import Storm
from center.sim.trace import Trace

__all__ = ["Outcome", "play", "play_seed"]

BOOT_SPREAD_S = 0.3
"""Processes start within this span."""
LED_S = 3.0
"""L1: after healing, one leader, all following it and serving its map, within this span."""
CHANGED_S = 9.0
"""Before that: a change of the list that was under way has come to its end within this span."""
INFORMED_S = 8.0
"""After that: the map names exactly the living servers and every client holds it."""
CALM_S = 0.5
"""Before L2 and L3: what was under way from before the healing has arrived by then."""
RETURN_S = 1.0
"""L2: how long a center that was cut off is watched after its return."""
JOIN_S = 0.05
"""L3: a restarted follower follows within this span: one exchange, no retry (0.1 s)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scenario went.

    Attributes:
        seed: its seed.
        violation: what does not hold; None: everything does.
        led_s: how long after healing the cluster was led; None if it never came to that.
        virtual_s: virtual time played.
    """

    seed: int
    violation: Violation | None
    led_s: float | None
    virtual_s: float


def play_seed(seed: int, trace: Trace | None = None) -> Outcome:
    """Play the scenario of a seed."""
    return play(drawn(seed), trace)


def play(scenario: Scenario, trace: Trace | None = None) -> Outcome:
    """Play a scenario; write what happens to `trace`."""
    stage = Stage(scenario, trace)
    game = _Game(stage)
    violation = None
    try:
        with _uncollected():
            game.play()
    except Violation as found:
        violation = found
    except Exception as exc:  # noqa: BLE001  whatever production code raises is a finding
        violation = Violation("I0", f"{type(exc).__name__}: {exc}")
        violation.__cause__ = exc
    if violation is not None:
        stage.note("VIOLATION", str(violation))
    return Outcome(scenario.seed, violation, game.led_s, stage.now_s)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have no cycles collected meanwhile: a scenario is short, and ends as one."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Game:
    """The phases of one scenario."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._agenda = stage.agenda
        self._cluster = Cluster(stage)
        self.led_s: float | None = None

    def play(self) -> None:
        """Play all of it.

        Raises:
            Violation: something does not hold.
        """
        scenario, stage = self._stage.scenario, self._stage
        storm = Storm(self._cluster)
        self._boot()
        storm.brew()
        self._agenda.run(scenario.safety_s)
        storm.heal()
        began_s = stage.now_s
        if not self._cluster.procedure.idle:
            text = "the list is not changed"
            self._await(lambda: self._cluster.procedure.idle, CHANGED_S, "L1", text)
            began_s = stage.now_s
        self._await(self._cluster.led, LED_S, "L1", "no leader that all follow")
        self.led_s = stage.now_s - began_s
        if scenario.servers + scenario.clients:
            text = "map or clients do not know the living servers"
            self._await(self._cluster.informed, INFORMED_S, "I9", text)
            newest = self._cluster.newest()
            assert newest is not None
            for check in stage.watch.settled:
                check(self._cluster.living(), newest)
        if len(stage.voters.ids) > 2 and scenario.cut_off:
            self._cut_off()
        if len(stage.voters.ids) > 2 and scenario.join:
            self._join()
        for done in stage.watch.ended:
            done()

    def _boot(self) -> None:
        rng, cluster = self._stage.rng, self._cluster
        for center in cluster.centers:
            self._agenda.at(rng.uniform(0.0, BOOT_SPREAD_S), cluster.start, center)
        for end in (*cluster.servers.values(), *cluster.clients.values()):
            self._agenda.at(rng.uniform(0.0, 2 * BOOT_SPREAD_S), end.start)

    def _await(
        self, condition: Callable[[], bool], limit_s: float, invariant: str, text: str
    ) -> None:
        """Let time pass until `condition`."""

        def look() -> None:
            if condition():
                self._agenda.halted = True

        if condition():
            return
        self._stage.changed = look
        came = self._agenda.run(self._stage.now_s + limit_s)
        self._stage.changed = lambda: None
        if not came:
            states = " ".join(_state_of(host) for host in self._cluster.centers.values())
            raise Violation(invariant, f"{text} after {limit_s} s: {states}")

    def _leader(self) -> CenterHost:
        self._await(self._cluster.led, LED_S, "L1", "no leader that all follow")
        leader = self._cluster.leader()
        assert leader is not None
        return leader

    def _follower(self) -> tuple[CenterHost, CenterHost]:
        self._agenda.run(self._stage.now_s + CALM_S)
        leader = self._leader()
        others = [host for host in self._cluster.members() if host is not leader]
        return leader, self._stage.rng.choice(others)

    def _cut_off(self) -> None:
        """L2: a follower's isolation and return change no leader."""
        cluster, agenda = self._cluster, self._agenda
        leader, follower = self._follower()
        epoch = leader.epoch
        pairs = [
            (one, other) for one, other in cluster.network.lines if follower.id in (one, other)
        ]
        self._stage.note("fault", f"center {follower.id} is cut off")
        cluster.cut(pairs)
        agenda.run(self._stage.now_s + self._stage.rng.uniform(0.2, 2.0))
        self._stage.note("fault", f"center {follower.id} is back")
        cluster.mend(pairs)
        agenda.run(self._stage.now_s + RETURN_S)
        if leader.state is not State.LEADING or leader.epoch != epoch:
            text = f"center {leader.id} leads no more after center {follower.id} was cut off"
            raise Violation("L2", text)
        self._await(cluster.led, LED_S, "L2", f"center {follower.id} does not follow again")

    def _join(self) -> None:
        """L3: a restarted follower follows after one exchange."""
        cluster, stage = self._cluster, self._stage
        leader, follower = self._follower()
        epoch = leader.epoch
        cluster.kill(follower.id, lands=False)
        self._agenda.run(stage.now_s + stage.rng.uniform(0.01, 0.3))
        cluster.start(follower.id)
        text = f"center {follower.id} does not follow"
        self._await(lambda: follower.state is State.FOLLOWING, JOIN_S, "L3", text)
        if follower.front.leader != leader.id or leader.epoch != epoch:
            raise Violation("L3", f"center {follower.id} changed the leader by joining")


def _state_of(host: CenterHost) -> str:
    return f"{host.id}={host.state.name}/{host.front.leader}@{host.front.stamp}"
