"""Planted bugs: each takes one check or one write away from the production code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from center.core.boot import Boot
from center.core.leadership import Candidacy, Lease
from center.core.ledger import Ledger
from center.core.publication import Publication
from center.core.quorum import Outcome

__all__ = ["MUTATIONS"]

Plant = Callable[[pytest.MonkeyPatch], None]


def promise_is_not_written(patch: pytest.MonkeyPatch) -> None:
    """Say yes to an epoch before it is durable, and forget it with the process."""

    def accept(self: Ledger, epoch: int, then: Any, *, forgot: bool = False) -> list[Any]:
        self.durable = replace(self.durable, accepted_epoch=max(epoch, self.durable.accepted_epoch))
        return list(then(0.0))

    patch.setattr(Ledger, "accept", accept)


def map_is_not_written(patch: pytest.MonkeyPatch) -> None:
    """Acknowledge a map that is only in memory."""

    def store(self: Ledger, cluster_id: str, new: Any, committed: bool, then: Any) -> list[Any]:
        self.durable = replace(
            self.durable, cluster_id=cluster_id, map=new, committed=committed, forgot=False
        )
        return list(then(0.0))

    patch.setattr(Ledger, "store", store)


def leader_commits_alone(patch: pytest.MonkeyPatch) -> None:
    """Call a map committed as soon as the leader itself has it."""
    real = Publication.__init__

    def init(self: Publication, me: int, epoch: int, voters: int, adopted: Any) -> None:
        real(self, me, epoch, 1, adopted)

    patch.setattr(Publication, "__init__", init)


def candidate_leads_alone(patch: pytest.MonkeyPatch) -> None:
    """Lead on one's own promise, without the epoch handshake's quorum."""

    def outcome(self: Candidacy) -> Outcome:
        return Outcome.WON if self.accepted else Outcome.PENDING

    patch.setattr(Candidacy, "outcome", outcome)


def lease_never_ends(patch: pytest.MonkeyPatch) -> None:
    """Go on leading without a quorum's answers."""
    patch.setattr(Lease, "lost", lambda self, now_s: False)
    patch.setattr(Lease, "until_s", lambda self, now_s: now_s + 1.0)


def wiped_center_votes(patch: pytest.MonkeyPatch) -> None:
    """Let a center that has lost its disk vote at once."""
    real = Boot.__init__

    def init(self: Boot, others: Any, *, trusted: bool, damaged: bool) -> None:
        real(self, others, trusted=True, damaged=False)

    patch.setattr(Boot, "__init__", init)


MUTATIONS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        promise_is_not_written,
        map_is_not_written,
        leader_commits_alone,
        candidate_leads_alone,
        lease_never_ends,
        wiped_center_votes,
    )
}
