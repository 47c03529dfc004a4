"""First boot: when a center that remembers nothing may be believed.

A wiped disk has forgotten promises. Such a center neither votes nor promises until it knows
that there is nothing to have forgotten, or has caught up with those who remember.
"""

from __future__ import annotations

from center.core.messages import Introduction
from center.core.quorum import majority
from center.core.record import Record

__all__ = ["Boot"]


class Boot:
    """Whether this center may vote, from what the others said since it started."""

    def __init__(self, others: tuple[int, ...], *, trusted: bool, damaged: bool) -> None:
        """Begin; `trusted` is a center with a record, or one told that the cluster is new."""
        self._others = others
        self.damaged = damaged
        self._heard: dict[int, Introduction] = {}
        self.trusted = trusted or (not others and not damaged)

    @classmethod
    def from_disk(
        cls, others: tuple[int, ...], record: Record | None, *, damaged: bool, new_cluster: bool
    ) -> Boot:
        """Begin with what the store holds.

        A record that says nothing was written to try a disk: it is as good as none, and where
        it says that something was forgotten, it stands over what could not be read.
        """
        something = record is not None and record.says_something
        forgot = record is not None and record.forgot
        return cls(
            others,
            trusted=new_cluster or (something and not forgot),
            damaged=damaged or (forgot and not something),
        )

    def hear(self, sender: int, introduction: Introduction) -> bool:
        """Take in who another center is; True: all others are empty, `floor` is to be promised.

        The caller has checked that the introduction answers this incarnation and comes with
        the same list.
        """
        self._heard[sender] = introduction
        if self.trusted or self.damaged:
            return False
        return all(other in self._heard and self._heard[other].empty for other in self._others)

    @property
    def unheard(self) -> tuple[int, ...]:
        """The centers that have not said yet what they remember."""
        return tuple(each for each in self._others if each not in self._heard)

    @property
    def knowing(self) -> tuple[int, ...]:
        """The centers that said that they remember something."""
        return tuple(each for each, said in self._heard.items() if not said.empty)

    @property
    def floor(self) -> int:
        """The largest epoch that another center is bound to.

        Where nobody has a map, no map was committed with this center's help. A promise that
        it has forgotten counts only for a candidate who is bound to the same epoch: once
        this one is promised again, nothing is forgotten.
        """
        return max((each.accepted_epoch for each in self._heard.values()), default=0)

    def trust(self) -> None:
        """Vote like everybody else: `floor`, or an established leader's map, is durable here."""
        self.trusted = True

    def may_join(self, epoch: int) -> bool:
        """Return whether a promise to the established leader of `epoch` forgets nothing.

        Any quorum that this center helped to make before it forgot shares a member with a
        quorum of the others; that one remembers the largest epoch.
        """
        if self.trusted:
            return True
        needed = min(majority(len(self._others) + 1), len(self._others))
        return len(self._heard) >= needed and self.floor <= epoch
