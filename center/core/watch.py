"""What the operator of a center should hear about: whom it waits for, and who is silent."""

from __future__ import annotations

from center.core.ballot import State
from center.core.events import Action, Log, LogLevel
from center.core.role import Role

__all__ = ["Watch"]

WAITING_LOG_S = 3.0
"""A center that has waited for this long for permission to vote says so."""
WAITING_REPEAT_S = 60.0
"""It says so again after this long, at the earliest."""
SILENT_LOG_S = 10.0
"""A center that has not answered for this long is named, once."""
STRANGER_LOG_S = 60.0
"""How often the same center that is not in the list is named."""
STRANGERS_MAX = 16
"""Most ids that are not in the list named apart; of more nothing is said."""


class Watch:
    """Looks at one `Role` and complains; changes nothing."""

    def __init__(self, role: Role) -> None:
        """Watch `role`."""
        self._role = role
        self._since_s: float | None = None
        self._said_s: float | None = None
        self._silent: dict[int, float] = {}
        self._strangers: dict[int, float] = {}

    def waiting(self) -> str:
        """Return why the center takes no part; empty while it does, or has a leader."""
        role = self._role
        if role.ledger.trouble and role.state not in (State.FOLLOWING, State.LEADING):
            return f"its state cannot be written: {role.ledger.trouble}"
        if role.boot.trusted or role.state is not State.LOOKING:
            return ""
        if role.boot.damaged and len(role.voters.ids) == 1:
            return "state is damaged: start this center with --new-cluster to begin anew"
        if role.boot.damaged:
            return "state is damaged: waiting for a leader among the other centers"
        missing = ", ".join(map(self._named, role.boot.unheard))
        knowing = ", ".join(f"center {each}" for each in role.boot.knowing)
        if knowing:
            text = f"state is empty, that of {knowing} is not: waiting for a leader"
            return f"{text}; not heard: {missing}" if missing else text
        if not missing:  # the disk is about to take what makes it a voter
            return ""
        count = len(role.voters.ids)
        return (
            f"state is empty: {count - len(role.boot.unheard)} of {count} centers heard,"
            f" waiting for {missing}; start all, or this one with --new-cluster if the cluster"
            " is new"
        )

    def _named(self, center: int) -> str:
        return f"center {center} ({self._role.voters.peer_address(center)})"

    def tick(self, now_s: float) -> list[Action]:
        """Say what has lasted for long enough."""
        if self._quiet() and self._role.boot.trusted and not self._role.ledger.trouble:
            return []
        return self._permission(now_s) + self._silence(now_s)

    def _quiet(self) -> bool:
        """Whether everybody answers, and this center waited for nobody when it was last asked."""
        return self._since_s is None and not self._role.peers.awaited

    def stranger(self, center: int, host: str, now_s: float) -> list[Action]:
        """Name a center that speaks though it is not in the list, now and then."""
        said_s = self._strangers.get(center)
        if said_s is None and len(self._strangers) >= STRANGERS_MAX:
            return []
        if said_s is not None and now_s - said_s < STRANGER_LOG_S:
            return []
        self._strangers[center] = now_s
        where = f" at {host}" if host else ""
        text = f"message of center {center}{where}, which is not in the list"
        return [Log(LogLevel.WARNING, text)]

    def _silence(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        for peer, since_s in self._role.peers.awaited.items():
            if self._silent.get(peer) != since_s and now_s >= since_s + SILENT_LOG_S:
                self._silent[peer] = since_s
                address = self._role.voters.peer_address(peer)
                text = f"center {peer} at {address} does not answer"
                actions.append(Log(LogLevel.WARNING, text))
        return actions

    def _permission(self, now_s: float) -> list[Action]:
        text = self.waiting()
        if not text:
            self._since_s = None
            return []
        if self._since_s is None:
            self._since_s = now_s
        if now_s < self._permission_s():
            return []
        self._said_s = now_s
        return [Log(LogLevel.WARNING, text)]

    def deadline_s(self) -> float:
        """Return when there will be something to say, if nothing changes."""
        if self._quiet():
            return float("inf")
        due_s = self._permission_s()
        for peer, since_s in self._role.peers.awaited.items():
            if self._silent.get(peer) != since_s:
                due_s = min(due_s, since_s + SILENT_LOG_S)
        return due_s

    def _permission_s(self) -> float:
        if self._since_s is None:
            return float("inf")
        due_s = self._since_s + WAITING_LOG_S
        return due_s if self._said_s is None else max(due_s, self._said_s + WAITING_REPEAT_S)
