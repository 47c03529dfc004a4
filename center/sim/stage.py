"""What everybody in a scenario shares: time, chance, checkers, and the written trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from center.centers_list import CenterLine, CentersList
from center.core.events import Planner
from center.core.planning import SlotPlanner
from center.core.record import Voters
from center.core.timing import Timing
from center.sim.agenda import Agenda
from center.sim.checkers.base import Plan, Watch
from center.sim.checkers.history import History
from center.sim.planners import Given, PlainPlanner, WatchedPlanner
from center.sim.scenario import Scenario
from center.sim.trace import Trace

__all__ = ["SERVICE", "Stage", "addresses_of", "client_address_of", "named", "voters_of"]

SERVICE = "echo.EchoService"
"""What every server offers and every client wants."""

PEER_PORT = 8898
CLIENT_PORT = 8899
USUAL = Timing()


def client_address_of(center: int) -> str:
    """Return where servers and clients find a center."""
    return f"10.1.0.{center}:{CLIENT_PORT}"


def voters_of(centers: Iterable[int], generation: int = 1) -> Voters:
    """Return the centers list of `centers`, with the digest that it has in production."""
    lines = tuple(
        CenterLine(each, f"10.1.0.{each}", PEER_PORT, CLIENT_PORT, line)
        for line, each in enumerate(sorted(centers), start=1)
    )
    digest = CentersList("centers_list", lines).digest(generation)
    return Voters(tuple((each.id, each.peer_address) for each in lines), digest, generation)


def named(voters: Voters) -> str:
    """Return a list as the trace has it."""
    return f"{' '.join(map(str, voters.ids))}, generation {voters.generation}"


def addresses_of(voters: Voters) -> dict[int, str]:
    """Return where servers and clients find the centers of a list."""
    return {each: client_address_of(each) for each in voters.ids}


class Stage:
    """One scenario's surroundings.

    Attributes:
        scenario: what is played.
        agenda: the time.
        rng: chance of everything that has no source of its own.
        timing: the centers' spans; where they differ, those of the longest lease.
        voters: the centers list; a change of it is here once it is done.
        ids: of every center that is ever in it.
        history: the facts.
        watch: the checkers; silent until the cluster sets them.
        trace: what is written down; None: nothing.
        leading: the centers that say they lead, and whether each has its lease.
        changed: called when a center's role or map has changed.
    """

    def __init__(self, scenario: Scenario, trace: Trace | None = None) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        self.rng = Random(f"{scenario.seed} stage")
        self.timing = _timing_of(max(scenario.leases_s, default=USUAL.lease_s))
        self.voters = voters_of(range(1, scenario.centers + 1))
        self.ids = scenario.ids
        self.history = History()
        self.watch = Watch(())
        self.trace = trace
        self.leading: dict[int, Callable[[], bool]] = {}
        self.changed: Callable[[], object] = lambda: None
        self._reigns = 0

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self.agenda.now_s

    def timing_of(self, center: int) -> Timing:
        """Return the spans of one center."""
        leases_s = self.scenario.leases_s
        return _timing_of(leases_s[(center - 1) % len(leases_s)]) if leases_s else self.timing

    def note(self, who: str, text: str) -> None:
        """Write a line of the trace."""
        if self.trace is not None:
            self.trace.note(self.agenda.now_s, who, text)

    def plain_planner(self) -> Planner:
        """Return a planner of this scenario's kind."""
        return SlotPlanner() if self.scenario.slots else PlainPlanner()

    def planner(self) -> Planner:
        """Return the planner of one leadership."""
        if not self.scenario.slots:
            return PlainPlanner()
        self._reigns += 1
        reign = self._reigns
        return WatchedPlanner(SlotPlanner(), lambda given, plan: self._planned(reign, given, plan))

    def _planned(self, reign: int, given: Given, plan: Plan) -> None:
        for check in self.watch.planned:
            check(reign, given, plan)


def _timing_of(lease_s: float) -> Timing:
    """Return the usual spans but for the lease, and the patience that goes with it."""
    return Timing(lease_s=lease_s, patience_s=USUAL.patience_s * (lease_s / USUAL.lease_s))
