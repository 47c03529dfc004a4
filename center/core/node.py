"""One center as a pure machine: an event and the time in, actions out.

The seed's nine steps, as they are here: a center asks who is there (`Inquiry`), proposes
(`Proposal`) and counts (`election`). The winner asks for promises to a new epoch
(`Confirmation`); everybody answers durably (`Acceptance`) and says whom it follows
(`Announcement`). With a quorum of promises the winner leads (`reign`), until its lease ends
or a larger epoch shows up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from center.core.ballot import State
from center.core.boot import Boot
from center.core.codec import TEXT_CHARS_MAX
from center.core.events import (
    Action,
    CenterStatus,
    Chance,
    Dial,
    DialOutcome,
    DialResult,
    Event,
    LinkDown,
    LinkUp,
    Log,
    LogLevel,
    Message,
    NodeStatus,
    Persisted,
    PersistFailed,
    Planned,
    Planner,
    Send,
    ServerConnectionClosed,
    ServerGoodbye,
    ServerReport,
    Tick,
)
from center.core.inbox import Inbox
from center.core.ledger import Ledger
from center.core.members import SERVERS_MAX, ages_of, flaw_of
from center.core.messages import Departure, Report
from center.core.record import MapRecord, Record, Voters
from center.core.role import Role
from center.core.talk import Talk
from center.core.timing import Timing
from center.core.watch import Watch
from libevrpc.core.clustermap import ClusterMap

__all__ = ["Node"]

LAG_MIN_S = 0.02
"""A step that comes later than this is late: time-outs are stretched by the lag."""
NAP_MIN_S = 0.001
"""`next_deadline_s` is at least this far off, so that no owner spins."""
DIALS_MAX = 1024
"""Most dials under way; beyond it a closed connection is left to ordinary expiry."""
INCARNATION_BITS = 62


class Node:
    """One center of the cluster, without sockets, threads, clocks or disks.

    The owner feeds every event to `step` and carries out the actions it returns, in their
    order. A `Persist` may take as long as the disk likes: the node neither waits for it nor
    says anything that depends on it before `Persisted` comes back.

    Not thread-safe: one owner. What `snapshot` and `served` return is immutable and may go
    anywhere.
    """

    def __init__(
        self,
        me: int,
        voters: Voters,
        record: Record | None,
        now_s: float,
        *,
        chance: Chance,
        planner: Callable[[], Planner],
        timing: Timing | None = None,
        damaged: bool = False,
        new_cluster: bool = False,
    ) -> None:
        """Make a node; nothing happens before its first `step` (feed it a `Tick`).

        Args:
            me: own id, one of `voters`.
            voters: the configured list.
            record: what the store holds; None on an empty disk.
            now_s: the clock that every `step` goes on with; monotonic, counting suspension.
            chance: source of jitter, of the incarnation and of a new cluster's id.
            planner: makes the planner of one leadership.
            timing: spans; None: the defaults.
            damaged: the store found a record that it cannot read: never vote before an
                established leader's map is stored here.
            new_cluster: vote though the disk is empty (the operator says that the cluster
                is new).

        Raises:
            ValueError: `me` is not in the list.
        """
        if me not in voters.ids:
            raise ValueError(f"center {me} is not in the list")
        self._me = me
        self._timing = timing or Timing()
        self._began_s = now_s
        self._incarnation = chance.getrandbits(INCARNATION_BITS)
        self._ledger = Ledger(record, voters.digest, voters.generation)
        others = tuple(each for each in voters.ids if each != me)
        self._boot = Boot.from_disk(others, record, damaged=damaged, new_cluster=new_cluster)
        self._role = Role(
            me,
            voters,
            self._ledger,
            self._boot,
            self._timing,
            chance,
            planner,
            self._incarnation,
            now_s,
        )
        self._talk = Talk(self._role)
        self._watch = Watch(self._role)
        self._inbox = Inbox()
        self._dialled: set[tuple[str, str]] = set()
        self._address = dict(voters.members)[me]
        self._started = False
        self._now_s = self._deadline_s = now_s

    @property
    def incarnation(self) -> int:
        """A number drawn anew by each start, sent with every message."""
        return self._incarnation

    @property
    def served(self) -> MapRecord | None:
        """The newest map known to be committed: what servers and clients may be told."""
        return self._role.served.record

    def next_deadline_s(self) -> float:
        """Return when to feed the next `Tick`, at the latest."""
        return self._deadline_s

    def may_claim(self, now_s: float) -> bool:
        """Return whether the node may answer as leader at `now_s`: it leads, lease unexpired."""
        reign = self._role.reign
        return reign is not None and now_s < reign.lease.until_s(now_s)

    def step(self, event: Event, now_s: float) -> list[Action]:
        """Take one event at `now_s` and return what to do, in order.

        Whatever peers and servers say, it does not raise. Time never goes back: an earlier
        `now_s` counts as the last one.
        """
        role = self._role
        now_s = max(now_s, self._now_s)
        self._now_s = now_s
        actions: list[Action] = []
        if not self._started:
            actions += self._start(now_s)
        elif now_s - self._deadline_s > LAG_MIN_S:
            role.stretch(now_s - self._deadline_s)
        if role.reign is not None and role.reign.lease.lost(now_s):
            actions += role.look(now_s, "lease ran out")
        actions += self._take(event, now_s)
        actions += role.tick(now_s)
        actions += role.settle(now_s)
        actions += self._hand_over(now_s)
        actions += self._watch.tick(now_s)
        self._deadline_s = self._next_deadline_s(now_s)
        return self._admit_dials(actions)

    def _start(self, now_s: float) -> list[Action]:
        self._started = True
        role = self._role
        asking = role.to_all(role.inquiry(now_s)) if self._boot.trusted else []
        return asking + role.look(now_s, "started")

    def _next_deadline_s(self, now_s: float) -> float:
        due_s = min(
            self._role.deadline_s(), self._watch.deadline_s(), now_s + self._timing.heartbeat_s
        )
        if self._inbox.due_s is not None and self._role.state is State.FOLLOWING:
            due_s = min(due_s, self._inbox.due_s)
        return max(due_s, now_s + NAP_MIN_S)

    def _take(self, event: Event, now_s: float) -> list[Action]:
        role = self._role
        match event:
            case Message(from_id, incarnation, body, host):
                if from_id not in role.peers:
                    return self._watch.stranger(from_id, host, now_s)
                return self._talk.hear(from_id, incarnation, body, now_s, host)
            case LinkUp(peer):
                return self._on_link_up(peer, now_s)
            case LinkDown(peer):
                return self._on_link_down(peer, now_s)
            case Tick():
                return []
            case Persisted(token):
                return self._ledger.on_persisted(token, now_s)
            case PersistFailed(token, text):
                return self._ledger.on_failed(token, text, now_s)
            case Planned(token, made):
                return [] if role.reign is None else role.reign.planned(token, made, now_s)
            case ServerReport(report):
                return self._on_report(report, now_s)
            case ServerGoodbye(address, session):
                if max(len(address), len(session)) > TEXT_CHARS_MAX:
                    return []  # no server's: the leader could not even read it
                return self._depart(Departure(address, session, goodbye=True), now_s)
            case ServerConnectionClosed(address, session):
                return [Dial(address, session)]
            case DialResult(address, outcome, session):
                self._dialled.discard((address, session))
                if outcome is DialOutcome.REFUSED:
                    return self._depart(Departure(address, session), now_s)
                return []
            case _:
                assert_never(event)

    # Links ----------------------------------------------------------------------------------

    def _on_link_up(self, peer: int, now_s: float) -> list[Action]:
        role = self._role
        if peer not in role.peers:
            return []
        role.peers.link_up(peer)
        actions: list[Action] = [Send(peer, role.inquiry(now_s))]
        if role.state is State.LOOKING and self._boot.trusted:
            actions.append(Send(peer, role.proposal()))
        return actions

    def _on_link_down(self, peer: int, now_s: float) -> list[Action]:
        role = self._role
        if peer not in role.peers:
            return []
        role.peers.link_down(peer, now_s)
        if role.leader == peer and not role.outlasted:
            return role.look(now_s, f"link to center {peer} closed")
        if role.state is State.LOOKING and role.election.ballot.id == peer:
            return role.look(now_s, f"candidate {peer} is gone")
        return []

    # Servers --------------------------------------------------------------------------------

    def _on_report(self, report: Report, now_s: float) -> list[Action]:
        reign = self._role.reign
        if reign is not None:
            return reign.report(report, now_s)
        flaw = flaw_of(report)
        if flaw:
            return [Log(LogLevel.WARNING, f"report dropped: {flaw}")]
        if not self._inbox.report(report, now_s):
            text = f"report dropped: {SERVERS_MAX} servers wait for a leader"
            return [Log(LogLevel.WARNING, text)]
        return []

    def _depart(self, departure: Departure, now_s: float) -> list[Action]:
        if self._role.reign is not None:
            self._role.reign.depart(departure, now_s)
        else:
            self._inbox.depart(departure, now_s)
        return []

    def _hand_over(self, now_s: float) -> list[Action]:
        """Bring what servers told this center to the leader, who may be this center itself."""
        role = self._role
        due_s = self._inbox.due_s
        if due_s is None:
            return []
        actions: list[Action] = []
        if role.reign is not None:
            for forward in self._inbox.flush():
                actions += role.reign.forwarded(forward, now_s)
        elif role.state is State.FOLLOWING and role.leader is not None and now_s >= due_s:
            for forward in self._inbox.flush():
                actions.append(Send(role.leader, forward))
        return actions

    def _admit_dials(self, actions: list[Action]) -> list[Action]:
        """Leave out dials that are under way already, or too many."""
        admitted: list[Action] = []
        for action in actions:
            if isinstance(action, Dial):
                dialled = (action.address, action.session)
                if dialled in self._dialled or len(self._dialled) >= DIALS_MAX:
                    continue
                self._dialled.add(dialled)
            admitted.append(action)
        return admitted

    # Status ---------------------------------------------------------------------------------

    def snapshot(self, now_s: float, held: ClusterMap | None = None) -> NodeStatus:
        """Return the node's status at `now_s`.

        Args:
            now_s: see `step`.
            held: the served map, if the owner has read it: it is not read again then.
        """
        role = self._role
        own = CenterStatus(self._me, self._address, role.state, role.leader, 0.0)
        stamp = role.served.stamp
        return NodeStatus(
            self._me,
            role.state,
            role.leader,
            role.epoch,
            self._ledger.durable.accepted_epoch,
            stamp[1],
            stamp,
            now_s - self._began_s,
            self._ledger.durable.cluster_id,
            self._boot.trusted,
            role.peers.statuses(own, now_s),
            role.served.entries(self._ages_s(now_s, held), now_s, held),
            self._watch.waiting(),
        )

    def _ages_s(self, now_s: float, held: ClusterMap | None) -> dict[str, float]:
        role = self._role
        if role.reign is not None:
            return role.reign.members.ages_s(now_s)
        if role.state is not State.FOLLOWING or not role.followed.pinged:
            return {}
        addresses = (entry.address for entry in role.served.entries({}, now_s, held))
        return ages_of(role.followed.silent, addresses)
