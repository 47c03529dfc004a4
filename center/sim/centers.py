"""One machine of the cluster: a disk that survives, and a process that may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, assert_never

from center.core.ballot import NO_STAMP, State
from center.core.events import (
    Action,
    Dial,
    DialOutcome,
    DialResult,
    Event,
    Log,
    MapCommitted,
    Message,
    Persist,
    Persisted,
    PersistFailed,
    Plan,
    PlanJob,
    Planned,
    RoleChanged,
    Send,
    ServerGoodbye,
    ServerReport,
    Tick,
)
from center.core.messages import (
    Acceptance,
    Body,
    Confirmation,
    Forward,
    Ping,
    Pong,
    Put,
    Report,
    Stored,
)
from center.core.node import Node
from center.core.record import MapRecord, Record, Voters
from center.core.reign import MapJob
from center.front import Front
from center.sim.checkers.base import Draft
from center.sim.checkers.history import map_of
from center.sim.desk import Desk
from center.sim.disk import Disk
from center.sim.faults import Moment, StepCrash
from center.sim.network import Network
from center.sim.stage import Stage, addresses_of, named
from center.sim.trace import brief

__all__ = ["CenterHost"]

NEVER_S = float("inf")
ROUNDING_S = 1e-9
"""A tick comes this much after its deadline, so that rounding makes none come too early."""


class CenterHost:
    """Feeds one production `Node` and carries out what it asks for.

    Attributes:
        id: of the center.
        disk: survives.
        node: None while the process is down.
        state: of the node, as it last said.
        front: what servers and clients are told from.
        desk: who answers them.
        doomed: crashes that wait for a protocol step.
        epoch: of its last leadership.
        died_s: when its process ended last.
        dial: told to try a server's port.
        due: the list that the operator gave it last; None: it is not to run.
        voters: the list that the next process starts with: `due`, unless somebody slipped.
        listed: the list of the present process, or the last one.
        before: the list that it had before `due`; None: none.
        new_cluster: the next process is told that the cluster is new.
    """

    def __init__(self, center: int, stage: Stage, network: Network) -> None:
        scenario = stage.scenario
        self.id = center
        self.name = f"center {center}"
        self.node: Node | None = None
        self.state = State.LOOKING
        self.voters = self.listed = stage.voters
        self.due: Voters | None = stage.voters if center in stage.voters.ids else None
        self.before: Voters | None = None
        self.new_cluster = False
        self.front = Front(addresses_of(self.voters))
        self.desk = Desk(self, stage)
        self.doomed: list[tuple[StepCrash, Callable[[StepCrash], object]]] = []
        self.dial: Callable[[CenterHost, Dial], object] = lambda host, dial: None
        self._stage = stage
        self._network = network
        self._rng = Random(f"{scenario.seed} center {center}")
        self._plan_rng = Random(f"{scenario.seed} planning {center}")
        self._rate, self._offset_s = scenario.clocks[center - 1]
        self.disk = Disk(stage.agenda, scenario.disk, self._rng, self._wrote)
        self._inbox: list[tuple[Callable[..., object], tuple[Any, ...]]] | None = None
        self._tick_s = NEVER_S
        self.epoch = 0
        self.died_s = -NEVER_S

    # The process ----------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """The process stands still."""
        return self._inbox is not None

    @property
    def runs(self) -> bool:
        """The process lives and moves."""
        return self.node is not None and self._inbox is None

    @property
    def remembers(self) -> bool:
        """It is to run, and its disk holds what it said under the list that it is to have.

        Not while it has another list by a slip: what it writes under that one goes with none
        of the others, and is emptied when the slip is mended.
        """
        record, due = self.disk.record, self.due
        fit = due is not None and record is not None and record.fits(due)
        return fit and self.voters is due and not self.disk.forgot

    def local_s(self) -> float:
        """Return the center's own clock."""
        return self._stage.agenda.now_s * self._rate + self._offset_s

    def give(self, voters: Voters) -> None:
        """Write another list into the center's files; the next process has it."""
        self.before, self.due, self.voters = self.due, voters, voters

    def start(self) -> bool:
        """Start the process from what its disk holds; False: it refuses, its list is outdated."""
        stage = self._stage
        record = self.disk.record
        if record is not None and not record.fits(self.voters):
            stage.note(self.name, f"refuses to start with the list {named(self.voters)}")
            return False
        self.listed = self.voters
        node = self.node = Node(
            self.id,
            self.voters,
            self.disk.record,
            self.local_s(),
            chance=Random(self._rng.getrandbits(64)),
            planner=stage.planner,
            timing=stage.timing_of(self.id),
            new_cluster=self.new_cluster,
            damaged=self.disk.torn,
        )
        self.state = State.LOOKING
        self.front = Front(addresses_of(self.listed))
        self._inbox = None
        self._tick_s = NEVER_S
        stage.note(self.name, f"starts with {brief(self.disk.record)}")
        served = node.served
        for check in stage.watch.started:
            check(self.id, NO_STAMP if served is None else served.stamp)
        if served is not None:
            self._publish(served)
        self.feed(Tick())
        return True

    def die(self, *, lands: bool) -> None:
        """End the process; what is being written then is on the disk if `lands`."""
        self.node = None
        self.died_s = self._stage.now_s
        self._inbox = None
        self.doomed.clear()
        self._stage.leading.pop(self.id, None)
        self.desk.close()
        self.disk.lose_process(lands)

    def pause(self) -> None:
        """Stop the process; what arrives waits."""
        if self.runs:
            self._inbox = []

    def resume(self) -> None:
        """Let it go on with what has arrived."""
        waiting, self._inbox = self._inbox, None
        node = self.node
        for job, given in waiting or ():
            job(*given)
        if node is not None and node is self.node:
            self._step(node, Tick())

    def run_when_awake(self, job: Callable[..., object], *given: Any) -> None:
        """Run a job of the process now, or when it goes on; not if it is dead."""
        if self._inbox is not None:
            self._inbox.append((job, given))
        elif self.node is not None:
            job(*given)

    # Events ---------------------------------------------------------------------------------

    def deliver(self, sender: int, incarnation: int, body: Body) -> None:
        """Take a message of another center."""
        if self._stage.trace is not None and self.node is not None:
            self._stage.note(self.name, f"< {sender} {brief(body)}")
        self.feed(Message(sender, incarnation, body))

    def feed(self, event: Event) -> None:
        """Give the node an event, now or when the process goes on."""
        node = self.node
        if node is None:
            return
        if self._inbox is not None:
            self._inbox.append((self._step_same, (node, event)))
            return
        self._step(node, event)

    def _step_same(self, node: Node, event: Event) -> None:
        if node is self.node:
            self._step(node, event)

    def _step(self, node: Node, event: Event) -> None:
        self._note_heard(event)
        actions = node.step(event, self.local_s())
        if self.doomed and actions:
            fault = self._doom_of(Moment.STEP)
            if fault is None and any(isinstance(each, Persist) for each in actions):
                fault = self._doom_of(Moment.PERSIST)
            if fault is not None:
                self._do(node, actions[: round(fault[0].keep * len(actions))])
                fault[1](fault[0])
                return
        self._do(node, actions)
        if self.state is State.LEADING:
            self._claim()
        self._rearm(node)

    def _doom_of(self, moment: Moment) -> tuple[StepCrash, Callable[[StepCrash], object]] | None:
        """Count a step; return the crash that follows it, if any."""
        for index, (fault, crash) in enumerate(self.doomed):
            if fault.moment is moment:
                if fault.nth <= 1:
                    return fault, crash
                self.doomed[index] = (replace(fault, nth=fault.nth - 1), crash)
        return None

    def _note_heard(self, event: Event) -> None:
        """Tell the checkers what a center learns by `event`."""
        stage = self._stage
        match event:
            case Message(sender, _, body):
                if isinstance(body, Pong):
                    for check in stage.watch.ponged:
                        check(self.id, sender, body.epoch, body.sequence)
                elif isinstance(body, Acceptance):
                    for check in stage.watch.promised:
                        check(self.id, sender, body.epoch)
                elif isinstance(body, Forward) and self.state is State.LEADING:
                    for report in body.reports:
                        self._note_report(report)
            case Tick():
                pass
            case ServerReport(report) if self.state is State.LEADING:
                self._note_report(report)
            case ServerGoodbye(address, session):
                self._note_departure(address, session, goodbye=True)
            case DialResult(address, DialOutcome.REFUSED, session):
                self._note_departure(address, session, goodbye=False)
            case _:
                pass

    def _note_report(self, report: Report) -> None:
        for check in self._stage.watch.reported:
            check(report.address, report.session, self.epoch, self._stage.now_s)

    def _note_departure(self, address: str, session: str, *, goodbye: bool) -> None:
        for check in self._stage.watch.departed:
            check(address, session, goodbye)

    # Time -----------------------------------------------------------------------------------

    def _rearm(self, node: Node) -> None:
        due_s = (node.next_deadline_s() - self._offset_s) / self._rate + ROUNDING_S
        if due_s < self._tick_s:
            self._tick_s = due_s
            self._stage.agenda.at(due_s, self._tick, node, due_s)

    def _tick(self, node: Node, due_s: float) -> None:
        if node is not self.node or due_s != self._tick_s:
            return
        self._tick_s = NEVER_S
        if self._inbox is not None:
            return
        if self.local_s() >= node.next_deadline_s():
            self._step(node, Tick())
        else:
            self._rearm(node)

    # Actions --------------------------------------------------------------------------------

    def _do(self, node: Node, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(to, message):
                    self._send(node, to, message)
                case Persist(_, record):
                    self._persist(node, action, record)
                case Plan(token, job):
                    self._plan(node, token, job)
                case MapCommitted(record):
                    self._commit(record)
                case RoleChanged(state, leader, epoch):
                    self._turn(node, state, leader, epoch)
                case Dial():
                    self.dial(self, action)
                case Log(_, text):
                    self._stage.note(self.name, f"# {text}")
                case _:
                    assert_never(action)

    def _send(self, node: Node, to: int, message: Body) -> None:
        stage = self._stage
        for said in stage.watch.said:
            said(self.id, self.listed, message)
        if isinstance(message, Ping):
            for check in stage.watch.pinged:
                check(self.id, message.epoch, message.sequence, self.local_s())
        elif isinstance(message, Confirmation):
            for check in stage.watch.asked:
                check(self.id, message.epoch, to, self.local_s(), stage.now_s)
        elif isinstance(message, Stored | Pong):
            for check in stage.watch.acknowledged:
                check(self.id, message.epoch)
        elif isinstance(message, Put):
            self._see(message.map)
        arrives = self._network.send(self.id, to, node.incarnation, message)
        if stage.trace is not None:
            stage.note(self.name, f"> {to} {brief(message)}{'' if arrives else ' LOST'}")

    def _persist(self, node: Node, persist: Persist, record: Record) -> None:
        if record.map is not None:
            self._see(record.map)
        if self._stage.trace is not None:
            self._stage.note(self.name, f"writes {persist.token}: {brief(record)}")
        self.disk.write(persist, lambda event: self._written(node, event))

    def _plan(self, node: Node, token: tuple[int, int], job: PlanJob) -> None:
        """Plan now and tell it later, when much may have changed."""
        stage = self._stage
        made = job.run()
        if made.map is not None and isinstance(job, MapJob):
            draft = Draft(job.previous, made.map, node.may_claim(self.local_s()))
            for check in stage.watch.drafted:
                check(self.id, draft, stage.now_s)
        event = Planned(token, made)
        took_s = stage.scenario.planning_s * self._plan_rng.random()
        stage.agenda.at(stage.now_s + took_s, self.run_when_awake, self._step_same, node, event)

    def _see(self, record: MapRecord) -> None:
        """Tell the checkers of a new map, which its maker writes and sends in one step."""
        stage = self._stage
        if stage.history.is_new(record):
            for check in stage.watch.made:
                check(self.id, record, stage.now_s)

    def _wrote(self, record: Record) -> None:
        for check in self._stage.watch.wrote:
            check(self.id, record)

    def _written(self, node: Node, event: Persisted | PersistFailed) -> None:
        if self._stage.trace is not None:
            self._stage.note(self.name, brief(event))
        if node is not self.node:
            return
        if self.doomed and self._inbox is None:
            fault = self._doom_of(Moment.DURABLE)
            if fault is not None:
                fault[1](fault[0])
                return
        self.feed(event)

    def _commit(self, record: MapRecord) -> None:
        stage = self._stage
        stage.note(self.name, f"serves {record.stamp}")
        for check in stage.watch.committed:
            check(self.id, record, stage.now_s)
        stage.history.enter_commit(record)
        self._publish(record)
        stage.changed()

    def _publish(self, record: MapRecord) -> None:
        front = self.front
        found = map_of(record.payload)
        self.front = Front(front.addresses, front.state, front.leader, found, record)
        self.desk.look()

    def _turn(self, node: Node, state: State, leader: int | None, epoch: int) -> None:
        stage = self._stage
        self.state = state
        self.front = replace(self.front, state=state, leader=leader)
        stage.note(self.name, f"is {state.name} leader={leader} epoch={epoch}")
        if state is State.LEADING:
            self.epoch = epoch
            stage.leading[self.id] = self.claims
            for check in stage.watch.led:
                check(self.id, node.incarnation, epoch, self.listed, stage.now_s)
        else:
            stage.leading.pop(self.id, None)
        self.desk.look()
        stage.changed()

    def claims(self) -> bool:
        """Return whether the node would answer as leader now."""
        return self.node is not None and self.node.may_claim(self.local_s())

    def _claim(self) -> None:
        """Have the checkers judge a claim."""
        if not self.claims():
            return
        stage = self._stage
        for check in stage.watch.claimed:
            check(self.id, self.epoch, self.local_s(), stage.now_s)
        if len(stage.leading) > 1:
            claimants = tuple(each for each, claims in stage.leading.items() if claims())
            if len(claimants) > 1:
                for check in stage.watch.disputed:
                    check(claimants, stage.now_s)
