"""The operator who changes the centers list, step by step as docs/election.md has it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from center.core.record import Voters
from center.sim.faults import ListChange
from center.sim.spans import LEARN_S
from center.sim.stage import named, voters_of

if TYPE_CHECKING:
    from center.sim.cluster import Cluster

__all__ = ["Procedure", "allowed"]

PACE_S = 0.05
"""An operator looks at the centers this often."""
GONE_S = 0.5
"""What a stopped center has said is not under way any more after this span."""


def allowed(old: Collection[int], new: Collection[int]) -> bool:
    """Whether enough stay: more than half of either list, or one of one that grows to three."""
    stay = len(set(old) & set(new))
    enough = 2 * stay > len(old) and (2 * stay > len(new) or (len(old) == 1 and len(new) == 3))
    return enough and set(old) != set(new)


class Procedure:
    """Changes the list, one change after the other. What is begun is brought to its end.

    Attributes:
        lists: those that count besides the present one: the new one while it comes.
        leaving: who is stopped for good by the change under way.
        ghosts: who has left, and came back with the old list and folder.
        done: how many changes came to their end.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.lists: tuple[Voters, ...] = ()
        self.leaving: list[int] = []
        self.done = 0
        self._cluster = cluster
        self._stage = cluster.stage
        self._agenda = cluster.stage.agenda
        self._waiting: list[ListChange] = []
        self.ghosts: set[int] = set()
        self._ceased = False
        self._past: list[tuple[float, Voters]] = []

    @property
    def idle(self) -> bool:
        """Whether no change is under way."""
        return not self.lists

    def change(self, fault: ListChange) -> None:
        """Change the list when the changes before this one are done."""
        self._waiting.append(fault)
        self._next()

    def cease(self) -> None:
        """Begin nothing any more, and stop for good who came back from an older list."""
        self._ceased = True
        self._waiting.clear()
        for center in self.ghosts:
            self._stop(center)
        self.ghosts.clear()

    def _next(self) -> None:
        """Begin with the next change once every center follows one leader and has its map."""
        if self.lists or not self._waiting:
            return
        fault, old = self._waiting[0], self._stage.voters
        if not self._cluster.led() or self._unlearnt(fault.members):
            self._agenda.after(PACE_S, self._next)
            return
        del self._waiting[0]
        if not allowed(old.ids, fault.members):
            self._stage.note("operator", f"keeps the list: too few of {named(old)} would stay")
            self._next()
            return
        new = voters_of(fault.members, old.generation + 1)
        self._stage.note("operator", f"changes the list {named(old)} to {named(new)}")
        self.lists = (new,)
        self.leaving = [each for each in old.ids if each not in new.ids]
        self._stop_leavers(fault, new, self.leaving)

    def _unlearnt(self, members: Collection[int]) -> bool:
        """Whether somebody may still know a list only of which nobody would be left."""
        since_s = self._stage.now_s - LEARN_S
        return any(
            ended_s > since_s and not set(past.ids) & set(members) for ended_s, past in self._past
        )

    def _await(
        self,
        condition: Callable[[Voters], bool],
        then: Callable[[ListChange, Voters], object],
        fault: ListChange,
        new: Voters,
    ) -> None:
        """Look until `condition` holds, then go on."""
        if condition(new):
            then(fault, new)
        else:
            self._agenda.after(PACE_S, self._await, condition, then, fault, new)

    def _staying(self, new: Voters) -> list[int]:
        return [each for each in self._stage.voters.ids if each in new.ids]

    # The steps ------------------------------------------------------------------------------

    def _stop_leavers(self, fault: ListChange, new: Voters, rest: list[int]) -> None:
        """Stop those that leave, one after the other, for good."""
        if rest:
            self._agenda.after(fault.down_s, self._stop, rest[0])
            self._agenda.after(fault.down_s, self._stop_leavers, fault, new, rest[1:])
            return
        # What the last of them acknowledged may make a map count that few of the others have.
        rest_s = GONE_S if self.leaving else 0.0
        self._agenda.after(rest_s, self._await, self._agreed, self._write, fault, new)

    def _agreed(self, new: Voters) -> bool:
        """See whether those that stay have one leader, one of them, and the same map."""
        return self._cluster.agreed(self._staying(new)) is not None

    def _write(self, fault: ListChange, new: Voters) -> None:
        """Write the new list to those that stay, then restart them one after the other."""
        staying = self._staying(new)
        for center in staying:
            self._cluster.centers[center].give(new)
        self._roll(fault, new, staying)

    def _roll(self, fault: ListChange, new: Voters, rest: list[int]) -> None:
        if not rest:
            self._welcome(fault, new)
            return
        center = rest[0]
        host = self._cluster.centers[center]
        if host.listed is not new:
            self._cluster.kill(center, lands=False)
            self._agenda.after(fault.down_s, self._cluster.start, center)

        def listens(new: Voters) -> bool:
            return host.node is not None and host.listed is new

        self._await(listens, lambda fault, new: self._roll(fault, new, rest[1:]), fault, new)

    def _welcome(self, fault: ListChange, new: Voters) -> None:
        """Start those that come, with empty folders, unless that is forgotten."""
        old = self._stage.voters.ids
        coming = [each for each in new.ids if each not in old]
        first = self._told_new(old, coming)
        if fault.apart_s and not self._ceased:
            self._divide({*coming, self._staying(new)[0]}, fault.apart_s)
        for center in coming:
            self.ghosts.discard(center)
            self._cluster.kill(center, lands=False)
            host = self._cluster.centers[center]
            if host.disk.record is not None and not fault.forgets:
                self._cluster.empty(center)
            host.give(new)
            host.new_cluster = center in first
            self._cluster.start(center)
            if fault.forgets:
                self._agenda.after(fault.down_s, self._empty_refused, center, new)
        self._await(self._settled, self._finish, fault, new)

    def _divide(self, here: Collection[int], span_s: float) -> None:
        """Keep some centers from the others for a while."""
        there = [each for each in self._cluster.centers if each not in here]
        pairs = [pair for one in here for other in there for pair in ((one, other), (other, one))]

        def mend() -> None:
            if not self._ceased:
                self._cluster.mend(pairs)

        self._cluster.cut(pairs)
        self._agenda.after(span_s, mend)

    def _empty_refused(self, center: int, new: Voters) -> None:
        """Empty the folder of an earlier list, as the center said that refused to start with it."""
        host = self._cluster.centers[center]
        if host.node is None and host.disk.record is not None and not host.disk.record.fits(new):
            self._cluster.empty(center)
            self._cluster.start(center)

    def _told_new(self, old: Collection[int], coming: list[int]) -> list[int]:
        """Return who is told that the cluster is new: one alone cannot outvote two."""
        return coming[:1] if len(old) == 1 else []

    def _settled(self, new: Voters) -> bool:
        """See whether all of the new list have one leader."""
        leader = self._cluster.agreed(new.ids)
        return leader is not None and leader.listed is new

    def _finish(self, fault: ListChange, new: Voters) -> None:
        """The new list is the list from now on."""
        left, self.leaving = self.leaving, []
        for center in new.ids:
            self._cluster.centers[center].new_cluster = False
        self._past.append((self._stage.now_s, self._stage.voters))
        self._stage.voters = new
        self.lists = ()
        self.done += 1
        self._stage.note("operator", f"is done: the list is {named(new)}")
        if fault.back_s:
            for center in left:
                self._agenda.after(fault.back_s, self._come_back, center)
        self._next()
        self._stage.changed()

    # Who has left ---------------------------------------------------------------------------

    def _stop(self, center: int) -> None:
        host = self._cluster.centers[center]
        self._stage.note(host.name, "is stopped for good")
        self._cluster.kill(center, lands=False)
        host.due = host.before = None

    def _come_back(self, center: int) -> None:
        """Start a center that has left, with its old list and disk: nobody should mind.

        Nor if the same centers are about to be the list again.
        """
        host = self._cluster.centers[center]
        if host.due is not None or center in self._stage.voters.ids:
            return
        self.ghosts.add(center)
        host.due = host.voters
        self._cluster.start(center)
