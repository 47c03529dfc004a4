"""What scenarios are played with: the production nodes under a pump, and a trace to read.

A line of a trace is written after a center has taken an event:

    seconds  center  STATE >leader  vote  round  epoch  map  | what it took, or did

`vote` is whom the center last voted for with the stamp of that one's map, `round` is of that
vote; `epoch` and `map` are what is durable. `<3` is a message of center 3. Pings and their
answers are written down only when they say something new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from center.core.ballot import Ballot, Stamp, State
from center.core.codec import decode, encode
from center.core.events import (
    Action,
    Event,
    LinkDown,
    LinkUp,
    Log,
    MapCommitted,
    Message,
    Persist,
    Persisted,
    PersistFailed,
    RoleChanged,
    Send,
    ServerReport,
)
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Introduction,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Refusal,
    Relay,
    Report,
    Stored,
)
from center.core.node import Node
from center.core.record import MapRecord, Record
from libevrpc.core.clustermap import ClusterMap
from unit_test.center_core.pump import DELAY_S, Host, Pump

DIGEST = "d1gest"
CALM_S = 0.5
"""Long enough for whatever is under way to arrive and be judged."""


class Play(Pump):
    """A cluster whose every step is written down.

    Attributes:
        lines: of the trace.
        mocks: centers without a node: the script speaks for them, and reads what they `heard`.
        tamper: changes what a center sends to another.
        brief: write down only events that change something.
    """

    def __init__(self, count: int = 3, *, brief: bool = False, seed: int = 1) -> None:
        super().__init__(count, seed=seed)
        self.lines: list[str] = []
        self.mocks: set[int] = set()
        self.heard: dict[int, list[Body]] = {each: [] for each in self.voters.ids}
        self.tamper: Callable[[int, int, Body], Body] = lambda sender, to, body: body
        self._began_s = self.now_s
        self.brief = brief
        self._votes: dict[int, Proposal] = {}
        self._effects: list[str] = []
        self._said: dict[tuple[int, int, type], Any] = {}

    # The script -----------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Write what the script does."""
        self.lines.append(f"{self.now_s - self._began_s:8.4f}  -- {text}")

    def remember(self, *ids: int, stamp: Stamp = (3, 5), accepted_epoch: int = 0) -> None:
        """Put a committed map on disks, of `ids` or of all."""
        kept = a_map(*stamp)
        for each in ids or self.voters.ids:
            self.with_record(each, cluster_id="c", map=kept, committed=True)
            self.with_record(each, accepted_epoch=max(accepted_epoch, stamp[0]))

    def start(self, *ids: int, **options: Any) -> None:
        self.note(f"start {', '.join(map(str, ids)) or 'all'}")
        super().start(*ids, **options)

    def kill(self, center: int, *, seen: bool = True) -> None:
        self.note(f"kill {center}{'' if seen else ', unseen'}")
        super().kill(center, seen=seen)

    def freeze(self, center: int, span_s: float) -> None:
        self.note(f"freeze {center} for {span_s} s")
        super().freeze(center, span_s)

    def isolate(self, *ids: int) -> None:
        self.note(f"isolate {', '.join(map(str, ids))}")
        super().isolate(*ids)

    def heal(self) -> None:
        self.note("heal")
        super().heal()

    def register(self, center: int, number: int) -> None:
        """Have server `number` report to a center: news for the map."""
        self.note(f"server {number} reports to {center}")
        self.feed(center, ServerReport(Report(f"10.2.0.{number}:80", ("s.S",))))

    def mock(self, *ids: int) -> None:
        """Have the script speak for `ids`."""
        self.mocks |= set(ids)

    def says(self, sender: int, to: int, body: Body) -> None:
        """A mock says something; it has arrived, and the answer too, when this returns."""
        wire = encode(sender, sender * 10, body)
        self._after(DELAY_S, lambda: self._deliver(to, wire))
        self.run(3 * DELAY_S)

    def vote(self, to: int, stamp: Stamp = (3, 5), **more: Any) -> Proposal:
        """Return a mock's vote for center `to`, LOOKING in round 1 unless said otherwise."""
        ballot = Ballot(stamp[0], stamp[1], 0, to)
        return replace(Proposal(1, ballot, State.LOOKING, 0, 3, stamp, DIGEST, 0), **more)

    def promise(self, mock: int, to: int, epoch: int) -> None:
        """A mock promises itself."""
        incarnation = self.node(to).incarnation
        self.says(mock, to, Acceptance(epoch, incarnation, None, False, (3, 5), DIGEST))

    # What is seen ---------------------------------------------------------------------------

    def heard_of(self, mock: int, kind: type[Any]) -> list[Any]:
        """Return what a mock heard of one kind."""
        return [each for each in self.heard[mock] if isinstance(each, kind)]

    def told(self, center: int) -> Proposal:
        """Return what a center last voted."""
        return self._votes[center]

    def state(self, center: int) -> State:
        return self.states()[center]

    def epoch(self, center: int) -> int:
        """Return the epoch that a center promised, durably."""
        return self.node(center).snapshot(self.now_s).accepted_epoch

    def stamp(self, center: int) -> Stamp:
        """Return the stamp of what a center serves."""
        return self.node(center).snapshot(self.now_s).stamp

    def ever(self, center: int, state: State) -> bool:
        """Whether a center was ever in a state."""
        return any(each.state is state for each in self.hosts[center].roles)

    def reigns(self) -> list[tuple[int, int]]:
        """Return (epoch, leader) of every leadership there was, checked to be one an epoch."""
        found = sorted(
            (each.epoch, host.id)
            for host in self.hosts.values()
            for each in host.roles
            if each.state is State.LEADING
        )
        epochs = [epoch for epoch, _ in found]
        assert len(epochs) == len(set(epochs)), found
        return found

    # The trace ------------------------------------------------------------------------------

    def feed(self, center: int, event: Event) -> None:
        host = self.hosts[center]
        frozen = host.frozen_until_s is not None and self.now_s < host.frozen_until_s
        if host.node is None or frozen:
            super().feed(center, event)
            return
        held, self._effects = self._effects, []
        super().feed(center, event)
        effects, self._effects = self._effects, held
        text = self._words_of(center, event)
        if text and not (self.brief and not effects):
            self._line(center, text)
        for each in effects:
            self._line(center, each)

    def _carry_out(self, host: Host, node: Node, actions: list[Action]) -> None:
        changed = []
        for action in actions:
            match action:
                case Send(to, body):
                    if isinstance(body, Proposal):
                        self._votes[host.id] = body
                    action = replace(action, message=self.tamper(host.id, to, body))
                case Log(_, text):
                    self._effects.append(f"# {text}")
                case MapCommitted(record):
                    self._effects.append(f"serves {_stamp(record.stamp)}")
                case Persist(_, record) if not self.brief:
                    self._effects.append(f"writes epoch {record.accepted_epoch}{_kept(record)}")
                case RoleChanged():
                    self._said.clear()
            changed.append(action)
        super()._carry_out(host, node, changed)

    def _deliver(self, to: int, wire: bytes) -> None:
        if to in self.mocks:
            sender, _, body = decode(wire)
            self.heard[to].append(body)
            text = self._news(to, sender, body)
            if text and not self.brief:
                self.lines.append(f"{self.now_s - self._began_s:8.4f}  {to} (mock)  | {text}")
            return
        super()._deliver(to, wire)

    def _line(self, center: int, text: str) -> None:
        if self.hosts[center].node is None:
            return  # it died of what it wanted to do
        seen = self.node(center).snapshot(self.now_s)
        record = self.hosts[center].record or Record()
        leader = "" if seen.leader is None else f">{seen.leader}"
        vote = self._votes.get(center)
        voted = "-" if vote is None else _voted(vote.ballot)
        self.lines.append(
            f"{self.now_s - self._began_s:8.4f}  {center} {seen.state.name:>9}{leader:<2}"
            f" vote={voted:<7} r={0 if vote is None else vote.round}"
            f" e={record.accepted_epoch} m={_stamp(record.stamp)} | {text}"
        )

    def _words_of(self, center: int, event: Event) -> str:
        match event:
            case Message(sender, _, body):
                return self._news(center, sender, body)
            case LinkDown(peer):
                return f"link to {peer} closed"
            case LinkUp(peer):
                return f"link to {peer} stands"
            case Persisted():
                return "durable"
            case PersistFailed(_, why):
                return f"not written: {why}"
            case _:
                return ""

    def _news(self, center: int, sender: int, body: Body) -> str:
        """Return a message in words; "" for a ping or pong like the last one."""
        if isinstance(body, Ping | Pong):
            told = (body.epoch, body.committed if isinstance(body, Ping) else body.stamp)
            key = (center, sender, type(body))
            if self._said.get(key) == told:
                return ""
            self._said[key] = told
        return f"<{sender} {words(body)}"


def a_map(epoch: int, version: int) -> MapRecord:
    """Return a map without servers."""
    return MapRecord(epoch, version, (0, 0), ClusterMap("c", epoch, version).encode())


def _stamp(stamp: Stamp) -> str:
    return f"({stamp[0]}.{stamp[1]})"


def _voted(ballot: Ballot) -> str:
    return f"{ballot.id}{_stamp((ballot.epoch, ballot.version))}"


def _kept(record: Record) -> str:
    if record.map is None:
        return ""
    return f", map {_stamp(record.stamp)}{', committed' if record.committed else ''}"


def words(body: Body) -> str:
    """Return what a message says, on one short line."""
    match body:
        case Introduction():
            held = "empty" if body.empty else f"map {_stamp(body.stamp)}"
            return f"Introduction: {held}, promised {body.accepted_epoch}, {body.state.name}"
        case Proposal(number, ballot, state):
            return f"Proposal: {state.name}, votes {_voted(ballot)} in round {number}"
        case Confirmation(epoch, established):
            asked = "leads in" if established else "asks for a promise of"
            return f"Confirmation: {asked} epoch {epoch}, map {_stamp(body.stamp)}"
        case Acceptance(epoch):
            sent = "" if body.map is None else ", sends it"
            return f"Acceptance: promises epoch {epoch}, map {_stamp(body.stamp)}{sent}"
        case Refusal(epoch, bound, leader):
            return f"Refusal: of epoch {epoch}, bound to {bound}, follows {leader}"
        case Announcement(leader, epoch, state):
            return f"Announcement: {state.name} under {leader} in epoch {epoch}"
        case Join(bound):
            return f"Join: promised {bound}, map {_stamp(body.stamp)}"
        case Ping(epoch, _, committed):
            return f"Ping: epoch {epoch}, committed {_stamp(committed)}"
        case Pong(epoch, _, stamp) | Stored(epoch, stamp):
            return f"{type(body).__name__}: epoch {epoch}, holds {_stamp(stamp)}"
        case Put(epoch):
            return f"Put: epoch {epoch}, map {_stamp(body.map.stamp)}"
        case Relay():
            return f"Relay: map {_stamp(body.map.stamp)}"
        case _:
            return type(body).__name__
