"""Bugs of coming right again."""

from __future__ import annotations

from typing import Any

from center.core.ballot import State
from center.core.election import Election
from center.core.events import Action
from center.core.talk import Talk
from center.sim.mutations.planting import planted

__all__: list[str] = []


@planted("a ballot is sent once only", Election, "retry_due")
def ballots_not_repeated(before: Any) -> Any:
    return lambda self, now_s: False


@planted("nobody joins a leader that others follow", Election, "established")
def established_leader_unseen(before: Any) -> Any:
    return lambda self: None


@planted("a leader gives up for whoever is looking", Talk, "_on_proposal")
def leader_yields_to_the_looking(before: Any) -> Any:
    def _on_proposal(self: Talk, sender: int, vote: Any, now_s: float) -> list[Action]:
        role = self._role
        if role.state is State.LEADING and vote.state is State.LOOKING:
            return role.look(now_s, f"center {sender} looks for a leader")
        actions: list[Action] = before(self, sender, vote, now_s)
        return actions

    return _on_proposal


@planted("centers with another list count like the others", Talk, "_strange")
def other_lists_count(before: Any) -> Any:
    return lambda self, sender, digest, now_s: None
