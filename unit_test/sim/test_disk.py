"""The disk of a simulated center: what its process believes, and what the next one finds."""

from __future__ import annotations

from random import Random

import pytest

from center.core.events import Persist, Persisted, PersistFailed
from center.core.record import Record
from center.sim.agenda import Agenda
from center.sim.disk import Disk, DiskSpeed
from center.sim.faults import Aim, Crash, DiskTrouble, StepCrash
from center.sim.play import play
from center.sim.scenario import Scenario, drawn
from center.sim.trace import Trace

pytestmark = pytest.mark.sim

OLD, NEW = Record("c", 1), Record("c", 2)


class Writer:
    """A process with a disk; notes what it hears, and what the checkers do."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.heard: list[Persisted | PersistFailed] = []
        self.told: list[Record] = []
        self.disk = Disk(self.agenda, DiskSpeed(), Random(1), self.told.append)

    def write(self, record: Record) -> type[Persisted | PersistFailed]:
        self.disk.write(Persist(len(self.heard), record), self.heard.append)
        self.agenda.run(self.agenda.now_s + 1.0)
        return type(self.heard[-1])


@pytest.fixture
def writer() -> Writer:
    made = Writer()
    assert made.write(OLD) is Persisted
    return made


def test_a_write_that_fails_is_not_there(writer: Writer) -> None:
    writer.disk.fails = True
    assert writer.write(NEW) is PersistFailed
    writer.disk.lose_process(lands=False)
    assert (writer.disk.record, writer.told) == (OLD, [OLD])


def test_a_write_that_fails_may_be_there_all_the_same(writer: Writer) -> None:
    writer.disk.fails = writer.disk.lands = True
    assert writer.write(NEW) is PersistFailed
    assert writer.told == [OLD], "nobody knows yet"
    writer.disk.lose_process(lands=False)
    assert (writer.disk.record, writer.told) == (NEW, [OLD, NEW])


def test_what_is_written_over_it_is_what_is_found(writer: Writer) -> None:
    writer.disk.fails = writer.disk.lands = True
    writer.write(NEW)
    writer.disk.fails = False
    assert writer.write(OLD) is Persisted
    writer.disk.lose_process(lands=False)
    assert (writer.disk.record, writer.told) == (OLD, [OLD, OLD])


def test_a_torn_record_is_none_until_there_is_a_whole_one(writer: Writer) -> None:
    writer.disk.wipe(torn=True)
    assert (writer.disk.record, writer.disk.torn, writer.disk.forgot) == (None, True, True)
    writer.write(NEW)
    assert (writer.disk.record, writer.disk.torn) == (NEW, False)


def test_a_center_with_a_torn_record_comes_back() -> None:
    torn = Crash(1.0, Aim(2), 0.5, wipe=True, torn=True)
    trace = Trace()
    outcome = play(Scenario(1, 3, servers=1, safety_s=3.0, faults=(torn,)), trace)
    assert outcome.violation is None
    lines = [line.split(None, 1)[1] for line in trace.lines]
    said = [line.split(None, 2)[2] for line in lines if line.startswith("center 2 ")]
    after = said[said.index("is torn") + 1 :]
    assert after[0] == "starts with None"
    introduction = next(each for each in after if "> 1 Introduction(" in each)
    assert " empty=False " in introduction, "it knows that there was something"
    assert any(each.startswith("# following leader=1 ") for each in after)


def test_some_seeds_have_disks_that_are_torn_or_keep_what_they_refuse() -> None:
    faults = [each for seed in range(300) for each in drawn(seed).faults]
    wiped = [each.torn for each in faults if isinstance(each, Crash | StepCrash) and each.wipe]
    failing = [each.lands for each in faults if isinstance(each, DiskTrouble) and each.fails]
    assert set(wiped) == set(failing) == {False, True}
    assert not any(
        each.torn for each in faults if isinstance(each, Crash | StepCrash) and not each.wipe
    )
