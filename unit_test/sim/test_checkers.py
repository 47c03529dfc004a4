"""Each checker fires on a violation made by hand, and holds its peace otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from center.core.ballot import Ballot, State
from center.core.messages import (
    Acceptance,
    Announcement,
    Body,
    Confirmation,
    Join,
    Ping,
    Pong,
    Proposal,
    Put,
    Refusal,
    Relay,
    Stored,
)
from center.core.record import MapRecord, Record
from center.sim.checkers.base import Checker, Draft, Violation, Watch
from center.sim.checkers.claims import Claims
from center.sim.checkers.clients import Clients
from center.sim.checkers.copies import Copies
from center.sim.checkers.emptiness import Emptiness
from center.sim.checkers.expiry import Expiry
from center.sim.checkers.fence import Fence
from center.sim.checkers.forward import Forward
from center.sim.checkers.history import History
from center.sim.checkers.leaders import Leaders
from center.sim.checkers.lineage import Lineage
from center.sim.checkers.minority import Minority
from center.sim.checkers.owners import Owners
from center.sim.checkers.silence import Silence
from center.sim.checkers.witness import Witness
from center.sim.checkers.words import Words
from center.sim.stage import voters_of
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

SERVICE = "echo.EchoService"
NONE = (0, 0)
THREE = voters_of((1, 2, 3))


def made(
    stamp: tuple[int, int],
    *addresses: str,
    parent: tuple[int, int] = NONE,
    slots: int = 4,
    owners: bytes = b"",
    services: tuple[str, ...] = (SERVICE,),
) -> MapRecord:
    """Make a map over some servers, all of whose slots are the first one's."""
    servers = tuple(ServerEntry(each, (SERVICE,)) for each in addresses)
    tables: tuple[ServiceTable, ...] = ()
    if servers:
        members = tuple(range(len(servers)))
        tables = (ServiceTable(services, members, owners or bytes(2 * slots)),)
    held = ClusterMap("id", *stamp, servers, tables, (1, 2, 3))
    return MapRecord(*stamp, parent, held.encode())


def decoded(record: MapRecord) -> ClusterMap:
    return ClusterMap.decode(record.payload)


def history(*records: MapRecord) -> History:
    known = History()
    for record in records:
        known.is_new(record)
    return known


def drafted(previous: MapRecord, planned: MapRecord, *, claims: bool = True) -> Draft:
    return Draft(decoded(previous), decoded(planned), claims)


def violated(invariant: str, event: Callable[[], object]) -> str:
    with pytest.raises(Violation) as caught:
        event()
    assert caught.value.invariant == invariant
    return caught.value.text


def test_two_leaders_in_one_epoch() -> None:
    checker = Leaders()
    checker.led(1, 11, 5, THREE, 0.0)
    checker.led(2, 22, 6, THREE, 0.0)
    assert "as another process" in violated("I1", lambda: checker.led(2, 22, 5, THREE, 1.0))
    assert "again" in violated("I1", lambda: checker.led(1, 11, 5, THREE, 1.0))


def test_an_older_list_in_a_later_epoch() -> None:
    five = voters_of(range(1, 6), 2)
    checker = Fence()
    checker.led(1, 11, 5, THREE, 0.0)
    checker.led(2, 22, 7, five, 0.0)
    checker.led(1, 11, 6, THREE, 0.0)  # told late of a promise from before
    again = voters_of(THREE.ids, 3)
    checker.led(3, 33, 9, again, 0.0)  # the same centers later are another list
    assert "has list 1" in violated("I12", lambda: checker.led(1, 11, 10, THREE, 0.0))
    fresh = Fence()
    fresh.led(2, 22, 7, five, 0.0)
    violated("I12", lambda: fresh.led(1, 11, 8, THREE, 0.0))


def test_copies_count_where_the_makers_list_has_them() -> None:
    record = made((1, 1), "a:1")
    known = history(record)
    checker = Copies(known)
    checker.led(4, 44, 1, voters_of((3, 4, 5), 1), 0.0)
    for center in (1, 2, 3):
        for watching in (known, checker):
            watching.wrote(center, Record("id", 1, record))
    violated("I2", lambda: checker.committed(3, record, 0.0))
    known.wrote(4, Record("id", 1, record))
    checker.committed(3, record, 0.0)


def test_commit_without_a_quorum_of_copies() -> None:
    record = made((1, 1), "a:1")
    known = history(record)
    checker = Copies(known)
    checker.led(1, 11, 1, THREE, 0.0)
    for watching in (known, checker):
        watching.wrote(1, Record("id", 1, record))
    assert "durable at [1] only" in violated("I2", lambda: checker.committed(1, record, 0.0))
    known.wrote(2, Record("id", 1, record))
    known.wrote(2, Record("id", 2))
    checker.committed(1, record, 0.0)
    checker.wiped(1)
    assert "not on its disk" in violated("I2", lambda: checker.committed(1, record, 0.0))


def test_words_that_no_disk_bears_out() -> None:
    kept = made((4, 9), "a:1")
    checker = Words()
    checker.wrote(1, Record("id", 5, kept, True, THREE.digest, THREE.generation))
    own, other = Ballot(4, 9, 100, 1), Ballot(7, 12, 100, 2)
    looking = Proposal(3, own, State.LOOKING, 0, 8, (4, 9), THREE.digest, THREE.generation)
    checker.wrote(2, Record("id", 5, made((7, 12), "a:1"), True, THREE.digest, THREE.generation))
    borne_out = (
        looking,
        replace(looking, ballot=Ballot(0, 0, 0, 2)),
        replace(looking, state=State.FOLLOWING, epoch=5),
        Announcement(1, 6, State.OBSERVING),
        Announcement(2, 5, State.FOLLOWING),
        Confirmation(6, False, (4, 9), "id", THREE.digest),
        Confirmation(5, True, (5, 10), "id", THREE.digest),
        Acceptance(5, 22, kept, True, (4, 9), THREE.digest),
        Refusal(6, 8, None),
        Join(8, (4, 9), THREE.digest),
        Ping(5, 1, (4, 9)),
        Pong(5, 1, (4, 9)),
        Put(5, "id", made((5, 10), "a:1", parent=(4, 9))),
        Stored(5, (4, 9)),
        Relay("id", kept),
    )
    for body in borne_out:
        checker.said(1, THREE, body)
    invented: tuple[Body, ...] = (
        replace(looking, ballot=Ballot(4, 10, 100, 1)),
        replace(looking, committed=(4, 10)),
        replace(looking, state=State.LEADING, epoch=6),
        Announcement(1, 6, State.LEADING),
        Confirmation(6, False, (4, 10), "id", THREE.digest),
        Confirmation(6, True, (4, 9), "id", THREE.digest),
        Acceptance(6, 22, None, False, (4, 9), THREE.digest),
        Acceptance(5, 22, kept, True, (4, 10), THREE.digest),
        Join(5, (5, 1), THREE.digest),
        Ping(6, 1, (4, 9)),
        Ping(5, 1, (4, 10)),
        Pong(5, 1, (4, 10)),
        Put(6, "id", kept),
        Stored(5, (5, 1)),
        Relay("id", made((5, 1), "a:1")),
    )
    for body in invented:
        text = violated("I13", lambda body=body: checker.said(1, THREE, body))
        assert type(body).__name__ in text
    passed_on = replace(looking, ballot=other)
    assert "never cast" in violated("I13", lambda: checker.said(1, THREE, passed_on))
    checker.said(2, THREE, passed_on)
    checker.said(1, THREE, passed_on)
    five = voters_of(range(1, 6), 2)
    text = violated("I13", lambda: checker.said(1, five, Pong(5, 1, (4, 9))))
    assert "by a list that is not on its disk" in text
    checker.wiped(1)
    violated("I13", lambda: checker.said(1, THREE, Relay("id", kept)))


def test_two_maps_of_one_stamp() -> None:
    record = made((1, 1), "a:1")
    known = history(record)
    assert not known.is_new(record)
    violated("I3", lambda: known.is_new(made((1, 1), "b:1")))
    known.enter_commit(record)
    assert known.newest is record
    assert known.parent_of(record) is None


def test_committed_maps_off_the_line() -> None:
    first, second = made((1, 1), "a:1"), made((1, 2), "a:1", parent=(1, 1))
    stray, orphan = made((2, 2), "a:1", parent=(1, 1)), made((3, 9), "a:1", parent=(3, 8))
    checker = Lineage(history(first, second, stray, orphan))
    checker.committed(1, second, 0.0)
    checker.committed(1, second, 0.0)
    checker.committed(2, first, 0.0)
    assert "not from (1, 2)" in violated("I3", lambda: checker.committed(1, stray, 0.0))
    assert "nobody made" in violated("I3", lambda: checker.committed(1, orphan, 0.0))
    side = made((1, 0), "a:1")
    assert "beside the line" in violated("I3", lambda: checker.committed(1, side, 0.0))


def test_whoever_goes_back() -> None:
    older, newer = made((1, 1), "a:1"), made((1, 2), "a:1", parent=(1, 1))
    checker = Forward()
    checker.committed(1, newer, 0.0)
    violated("I4", lambda: checker.committed(1, older, 0.0))
    violated("I4", lambda: checker.started(1, (1, 1)))
    checker.started(1, NONE)
    checker.wrote(1, Record("id", 5, newer))
    assert "promised 4 after 5" in violated("I4", lambda: checker.wrote(1, Record("id", 4, newer)))
    assert "stores (1, 1)" in violated("I4", lambda: checker.wrote(1, Record("id", 5, older)))
    checker.wiped(1)
    checker.committed(1, older, 0.0)
    checker.restored("c", decoded(newer))
    violated("I4", lambda: checker.held("c", decoded(older), None))
    checker.restored("c", None)
    checker.held("c", decoded(older), None)


def test_client_with_a_map_of_its_own() -> None:
    record = made((1, 1), "a:1")
    known = history(record)
    checker = Clients(known, SERVICE)
    part = decoded(record).part(SERVICE)
    assert "never committed" in violated("I5", lambda: checker.held("c", part, None))
    known.enter_commit(record)
    checker.held("c", part, part)
    other = decoded(made((1, 1), "b:1")).part(SERVICE)
    assert "another map" in violated("I5", lambda: checker.held("c", None, other))


def test_claim_outside_the_lease() -> None:
    checker = Claims(0.3, overlap_s=0.0)
    checker.led(1, 11, 1, THREE, 0.0)
    checker.led(1, 11, 2, THREE, 0.0)
    violated("I6", lambda: checker.claimed(1, 1, 0.0, 0.0))
    checker.pinged(1, 1, 7, 0.0)
    checker.ponged(1, 2, 1, 7)
    checker.ponged(1, 3, 1, 99)
    checker.claimed(1, 1, 0.2, 0.2)
    violated("I6", lambda: checker.claimed(1, 1, 0.4, 0.4))
    checker.asked(1, 2, 2, 1.0, 1.0)
    checker.promised(1, 2, 2)
    checker.claimed(1, 2, 1.1, 1.1)
    violated("I6", lambda: checker.disputed((1, 2), 2.0))
    checker.started(1, NONE)
    checker.ponged(1, 2, 1, 7)
    lenient = Claims(0.3, overlap_s=0.1)
    lenient.disputed((1, 2), 2.0)
    violated("I6", lambda: lenient.disputed((1, 2), 2.2))
    lenient.disputed((1, 2), 9.0)


def test_minority_that_does_something() -> None:
    record = made((1, 1), "a:1")
    known = history(record)
    checker = Minority(known, lease_s=0.3)
    checker.reached(1, THREE, {2, 3}, {2}, 0.0)
    checker.asked(1, 1, 2, 0.0, 0.5)
    checker.made(1, record, 1.0)
    checker.reached(1, THREE, {2, 3}, set(), 2.0)
    checker.led(1, 11, 1, THREE, 9.0)
    checker.claimed(1, 1, 0.0, 2.2)
    checker.committed(1, record, 9.0)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 2.4))
    checker.asked(1, 2, 2, 0.0, 2.1)
    violated("I7", lambda: checker.led(1, 11, 2, THREE, 2.2))
    later = made((1, 2), "a:1", parent=(1, 1))
    checker.made(1, later, 2.1)
    violated("I7", lambda: checker.committed(1, later, 2.2))
    known.enter_commit(later)
    checker.committed(1, later, 2.2)
    checker.reached(1, THREE, set(), {3}, 3.0)  # who hears at last answers what got through
    checker.claimed(1, 1, 0.0, 3.2)
    checker.led(1, 11, 2, THREE, 9.0)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 3.4))
    checker.started(1, NONE)  # another process has asked nobody
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 3.2))
    checker.reached(1, THREE, {2, 3}, {2, 3}, 4.0)
    checker.claimed(1, 1, 0.0, 9.0)


def test_contacts_of_a_quorum_need_no_moment_in_common() -> None:
    # center 1 of four needs two others, and has never reached two at once
    four = voters_of(range(1, 5))
    checker = Minority(history(), lease_s=0.3)
    checker.reached(1, four, {2}, {2}, 0.0)
    checker.reached(1, four, {3}, {3}, 1.0)
    checker.claimed(1, 1, 0.0, 1.2)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 1.4))  # too long without center 2
    checker.reached(1, four, set(), set(), 1.4)
    checker.reached(1, four, {2}, {2}, 1.5)
    checker.claimed(1, 1, 0.0, 1.6)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 1.8))  # too long without center 3


def test_a_contact_counts_from_what_was_sent() -> None:
    checker = Minority(history(), lease_s=0.3)
    checker.reached(1, THREE, {2}, set(), 0.0)
    checker.reached(1, THREE, set(), set(), 1.0)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 1.1))  # heard, and not answered
    checker.reached(1, THREE, set(), {2}, 1.1)
    checker.claimed(1, 1, 0.0, 1.2)
    checker.reached(1, THREE, {2}, set(), 1.2)
    violated("I7", lambda: checker.claimed(1, 1, 0.0, 1.4))  # what is sent now is not answered


def test_expiry_without_silence() -> None:
    first, second = made((1, 1), "a:1", "b:1"), made((1, 2), "a:1", parent=(1, 1))
    drop, witness = drafted(first, second), Witness()

    def fresh() -> Expiry:
        return Expiry(witness, 3.0)

    fresh().drafted(1, drafted(made((1, 0)), first), 0.0)
    witness.reported("b:1", "s1", 1, 8.0)
    assert "heard 1.00 s before" in violated("I7", lambda: fresh().drafted(1, drop, 9.0))
    fresh().drafted(1, drop, 12.0)
    # what arrives after the plan says nothing about it, and all about the next one
    checker = fresh()
    checker.drafted(1, drop, 12.0)
    witness.reported("b:1", "s1", 1, 12.1)
    third = drafted(second, made((1, 3), "a:1", parent=(1, 2)))
    assert "not in (1, 3)" in violated("I7", lambda: checker.drafted(1, third, 12.2))
    witness.departed("b:1", "s0", goodbye=True)  # of an earlier life of it
    violated("I7", lambda: checker.drafted(1, third, 12.2))
    witness.departed("b:1", "s1", goodbye=False)
    checker.drafted(1, third, 12.2)


def test_expiry_without_a_lease() -> None:
    first, second = made((1, 1), "a:1", "b:1"), made((1, 2), "a:1", parent=(1, 1))
    start, drop = drafted(made((1, 0)), first), drafted(first, second, claims=False)
    witness = Witness()
    witness.reported("b:1", "s1", 1, 1.0)
    for claimed_s, allowed in ((None, False), (3.9, False), (4.1, True)):
        checker = Expiry(witness, 3.0)
        if claimed_s is not None:
            checker.claimed(1, 1, 0.0, claimed_s)
        if allowed:
            checker.drafted(1, drop, 5.0)
        else:
            text = violated("I7", lambda checker=checker: checker.drafted(1, drop, 5.0))
            assert "without a lease" in text
    adopted = Expiry(Witness(), 3.0)  # nobody of this reign has heard the server
    adopted.claimed(1, 1, 0.0, 1.0)
    adopted.drafted(1, start, 2.0)
    adopted.drafted(1, drop, 5.0)
    violated("I7", lambda: adopted.drafted(2, drop, 5.0))
    without = Expiry(Witness(), 3.0)
    without.claimed(1, 1, 0.0, 1.0)
    without.drafted(1, drafted(made((1, 0)), first, claims=False), 2.0)
    violated("I7", lambda: without.drafted(1, drop, 5.0))


def test_empty_over_full() -> None:
    full, empty = made((1, 1), "a:1"), made((1, 2), parent=(1, 1))
    witness = Witness()
    checker, drop = Emptiness(witness), drafted(full, empty)
    checker.drafted(1, drafted(empty, full), 0.0)
    violated("I8", lambda: checker.drafted(1, drop, 0.0))
    witness.departed("a:1", "s1", goodbye=False)
    violated("I8", lambda: checker.drafted(1, drop, 0.0))
    witness.reported("a:1", "s2", 1, 0.0)
    witness.departed("a:1", "s1", goodbye=True)
    violated("I8", lambda: checker.drafted(1, drop, 0.0))
    witness.departed("a:1", "s2", goodbye=True)
    checker.drafted(1, drop, 0.0)
    checker.drafted(1, drafted(empty, made((1, 3), parent=(1, 2))), 0.0)
    two = drafted(made((2, 3), "b:1", "c:1"), made((2, 4), parent=(2, 3)))
    witness.departed("b:1", "s1", goodbye=False)
    violated("I8", lambda: checker.drafted(1, two, 0.0))
    for watching in (witness, checker):  # comes while a map is planned, and is the last to leave
        watching.reported("d:1", "s1", 2, 0.0)
    witness.departed("d:1", "s1", goodbye=True)
    checker.drafted(1, two, 0.0)
    violated("I8", lambda: checker.drafted(1, two, 0.0))  # before this one it had left already
    witness.departed("c:1", "s1", goodbye=True)
    checker.drafted(1, two, 0.0)
    checker.held("c", decoded(full), decoded(full))
    violated("I8", lambda: checker.held("c", decoded(empty), None))
    checker.restored("c", None)
    checker.held("c", decoded(empty), None)


def test_most_servers_dropped_for_one_silence() -> None:
    full = made((1, 1), "a:1", "b:1", "c:1", "d:1")
    one, many = made((1, 2), "b:1", "c:1", "d:1", parent=(1, 1)), made((1, 3), "d:1", parent=(1, 1))
    witness = Witness()
    checker, drop = Silence(witness), drafted(full, many)
    for at, address in enumerate(("a:1", "b:1", "c:1")):
        witness.reported(address, "s", 1, 1.0 + at / 10)
    checker.drafted(1, drafted(full, one), 4.5)
    assert "silent together" in violated("I8", lambda: checker.drafted(1, drop, 4.5))
    witness.reported("a:1", "s", 1, 3.0)  # silent later than the others: another event
    checker.drafted(1, drop, 6.5)
    witness.reported("a:1", "s", 0, 1.0)  # told to an earlier leader
    checker.drafted(1, drop, 6.5)
    witness.reported("a:1", "s", 1, 1.0)
    violated("I8", lambda: checker.drafted(1, drop, 6.5))
    witness.departed("a:1", "s", goodbye=False)
    checker.drafted(1, drop, 6.5)


def test_slots_without_owners() -> None:
    checker = Owners()
    checker.made(1, made((1, 1)), 0.0)
    good = made((1, 1), "a:1", "b:1")
    checker.made(1, good, 0.0)
    other = made((1, 1), "a:1", services=("other.Service",))
    assert "no table" in violated("I9", lambda: checker.made(1, other, 0.0))
    checker.settled(frozenset({"a:1", "b:1"}), good)
    checker.settled(frozenset(), good)
    assert "settled on" in violated("I9", lambda: checker.settled(frozenset({"a:1"}), good))


def test_watch_calls_only_who_listens() -> None:
    leaders = Leaders()
    watch = Watch((leaders, Checker()))
    assert len(watch.led) == 1
    assert watch.wiped == ()
    assert len(Violation("I1", "x").__reduce__()) == 2


def test_checkers_ignore_what_does_not_concern_them() -> None:
    plain = Checker()
    record = made((1, 1), "a:1")
    plain.started(1, NONE)
    plain.wrote(1, Record())
    plain.wiped(1)
    plain.led(1, 1, 1, THREE, 0.0)
    plain.made(1, record, 0.0)
    plain.committed(1, record, 0.0)
    plain.ended()
