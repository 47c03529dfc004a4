"""A follower, and a center without a leader, against peers that say what they like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from center.core.ballot import Ballot, State
from center.core.events import (
    LinkDown,
    Log,
    Message,
    Persisted,
    ServerReport,
)
from center.core.messages import (
    Acceptance,
    Body,
    Fetch,
    Forward,
    Inquiry,
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
from unit_test.center_core.bench import (
    DIGEST,
    KEPT,
    RECORD,
    Bench,
    confirmation,
    introduction,
    map_record,
    said,
)
from unit_test.center_core.pump import Pump

# Follower


def test_a_follower_answers_pings_at_once_and_serves_what_is_committed() -> None:
    bench = Bench()
    bench.follows()
    new = map_record(4, 6)
    assert said(bench.hear(3, Put(4, "c", new)), Stored, to=3) == [Stored(4, (4, 6))]
    assert bench.node.served == RECORD.map
    actions = bench.hear(3, Ping(4, 1, (4, 6)))
    assert said(actions, Pong, to=3) == [Pong(4, 1, (4, 6))]
    assert bench.node.served == new


def test_a_map_that_becomes_durable_after_its_commit_is_served_then() -> None:
    bench = Bench()
    bench.follows()
    bench.disk = False
    new = map_record(4, 6)
    bench.hear(3, Put(4, "c", new))
    bench.hear(3, Ping(4, 1, (4, 6)))
    assert bench.node.served == RECORD.map
    bench.feed(Persisted(bench.writes[-1].token))
    assert bench.node.served == new


def test_a_map_that_is_stored_already_is_acknowledged_again() -> None:
    bench = Bench()
    bench.follows()
    put = Put(4, "c", map_record(4, 6))
    bench.hear(3, put)
    writes = len(bench.writes)
    assert said(bench.hear(3, put), Stored) == [Stored(4, (4, 6))]
    assert len(bench.writes) == writes


def test_a_map_that_is_on_its_way_to_the_disk_is_not_acknowledged_early() -> None:
    bench = Bench()
    bench.follows()
    bench.disk = False
    put = Put(4, "c", map_record(4, 6))
    assert said(bench.hear(3, put), Stored) == []
    assert said(bench.hear(3, put), Stored) == []


def test_a_copy_is_not_acknowledged_after_a_later_promise() -> None:
    bench = Bench()
    bench.follows()
    bench.disk = False
    bench.hear(3, Put(4, "c", map_record(4, 6)))
    bench.feed(LinkDown(3))
    bench.hear(2, confirmation(5))
    stored = bench.feed(Persisted(bench.writes[-1].token))
    assert said(stored, Stored) == []
    assert said(bench.feed(Persisted(bench.writes[-1].token)), Acceptance, to=2) != []


@pytest.mark.parametrize(
    ("sender", "put"),
    [
        (2, Put(4, "c", map_record(4, 6))),
        (3, Put(3, "c", map_record(3, 6))),
        (3, Put(4, "c", map_record(3, 6))),
        (3, Put(3, "c", map_record(4, 6))),
        (3, Put(4, "other", map_record(4, 6))),
    ],
)
def test_maps_of_others_other_epochs_and_other_clusters_are_not_stored(
    sender: int, put: Put
) -> None:
    bench = Bench()
    bench.follows()
    writes = len(bench.writes)
    assert said(bench.hear(sender, put), Stored) == []
    assert len(bench.writes) == writes


def test_pings_of_a_deposed_leader_tell_it_so() -> None:
    bench = Bench()
    bench.follows(9)
    assert said(bench.hear(2, Ping(4, 1, (0, 0))), Refusal, to=2) == [Refusal(4, 9, 3)]


def test_late_pings_of_a_leader_whose_process_is_gone_are_not_followed() -> None:
    bench = Bench()
    bench.follows()
    bench.feed(LinkDown(3))
    bench.now_s += 0.001
    assert said(bench.hear(3, Ping(4, 2, (0, 0))), Join) == []
    assert bench.state is State.LOOKING


def test_pings_keep_a_center_patient_while_its_promise_is_on_its_way() -> None:
    bench = Bench(disk=False)
    bench.hear(3, confirmation(4))
    for sequence in range(12):
        bench.later(0.1)
        bench.hear(3, Ping(4, sequence, (0, 0)))
    assert bench.state is State.OBSERVING


def test_a_follower_whose_leader_looks_again_looks_too() -> None:
    bench = Bench()
    bench.follows()
    stale = Proposal(1, Ballot(3, 5, 0, 3), State.LOOKING, 0, 3, (0, 0), DIGEST, 0)
    assert said(bench.hear(3, stale), Proposal, to=3)[0].ballot.id == 3
    assert bench.state is State.FOLLOWING
    bench.hear(3, replace(stale, accepted_epoch=4))
    assert bench.state is not State.FOLLOWING


def test_answers_of_leaders_to_a_center_that_does_not_look_need_no_answer() -> None:
    bench = Bench()
    bench.follows()
    vote = Proposal(1, Ballot(3, 5, 0, 3), State.FOLLOWING, 4, 4, (0, 0), DIGEST, 0)
    assert bench.hear(2, vote) == []


def test_a_follower_of_a_dead_leader_listens_to_the_next_candidate() -> None:
    bench = Bench()
    bench.follows()
    assert said(bench.hear(2, confirmation(5)), Refusal, to=2) == [Refusal(5, 4, 3)]


def test_a_center_without_a_vote_promises_to_no_candidate() -> None:
    bench = Bench(None)
    assert said(bench.hear(3, confirmation(4, cluster_id="")), Acceptance) == []


def looking(ballot: Ballot, round_: int = 1) -> Proposal:
    return Proposal(round_, ballot, State.LOOKING, 0, 3, (3, 5), DIGEST, 0)


def test_a_leader_that_was_not_elected_here_is_named_without_a_map() -> None:
    joining, following = Bench(), Bench()
    joining.hear(3, Ping(4, 1, (4, 9)))
    assert joining.state is State.OBSERVING
    following.follows()
    for bench in (joining, following):
        (vote,) = said(bench.hear(2, looking(Ballot(3, 4, 0, 2))), Proposal, to=2)
        assert vote.ballot == Ballot(0, 0, 0, 3), "the own map is not the leader's"


def test_a_vote_for_a_center_that_falls_silent_ends_with_its_round() -> None:
    pump, votes = Pump(5), list[tuple[int, int]]()

    def note(sender: int, to: int, body: Body) -> bool:
        if isinstance(body, Proposal) and to == 3:
            votes.append((body.round, body.ballot.id))
        return True

    pump.lose = note
    pump.with_record(1, accepted_epoch=3, map=KEPT)
    pump.start(1)
    spoken = Message(3, 30, looking(Ballot(4, 9, 0, 3)))
    for _ in range(5):
        pump.feed(1, spoken)
        pump.run(1.9)
    assert set(votes) == {(1, 1), (1, 3)}
    votes.clear()
    pump.run(6.0)  # it is gone, and no link closes
    assert set(votes) <= {(1, 3), (2, 1)}
    assert votes[-1] == (2, 1)


# Beside the leader


def test_a_committed_map_is_handed_on_only_where_it_is_newer() -> None:
    bench = Bench()
    assert said(bench.hear(2, Fetch((3, 4))), Relay, to=2) == [Relay("c", KEPT)]
    assert bench.hear(2, Fetch((3, 5))) == []
    assert Bench(None).hear(2, Fetch((0, 0))) == []


def test_a_relayed_map_is_stored_before_it_is_served() -> None:
    bench = Bench(disk=False)
    new = map_record(4, 6)
    bench.hear(2, Relay("c", new))
    bench.hear(2, Relay("c", new))
    assert bench.node.served == RECORD.map
    (write,) = bench.writes
    assert (write.record.map, write.record.committed, write.record.accepted_epoch) == (new, True, 3)
    bench.feed(Persisted(write.token))
    assert bench.node.served == new


def test_a_relayed_map_that_is_stored_already_is_known_committed_by_it() -> None:
    bench = Bench(replace(RECORD, committed=False))
    assert bench.node.served is None
    bench.hear(2, Relay("c", KEPT))
    assert bench.node.served == RECORD.map
    assert bench.writes[-1].record.committed


def test_a_map_older_than_the_durable_one_is_never_served_after_a_restart() -> None:
    bench = Bench(replace(RECORD, committed=False))
    bench.hear(2, Relay("c", map_record(3, 4)))
    assert bench.node.served is None


def test_maps_relayed_from_another_cluster_or_to_a_follower_are_ignored() -> None:
    bench = Bench()
    assert bench.hear(2, Relay("other", map_record(4, 6))) == []
    bench.follows()
    assert bench.hear(2, Relay("c", map_record(4, 6))) == []


# Introductions


def test_introductions_meant_for_an_earlier_process_or_another_list_do_not_count() -> None:
    bench = Bench(None)
    bench.hear(2, introduction(bench, to_incarnation=7))
    bench.hear(2, introduction(bench, digest="other"))
    bench.hear(3, introduction(bench))
    assert not bench.node.snapshot(0.0).votes
    bench.hear(2, introduction(bench))
    assert bench.node.snapshot(0.0).votes


def test_one_center_with_a_memory_makes_an_empty_one_wait() -> None:
    bench = Bench(None)
    bench.hear(2, introduction(bench, empty=False))
    bench.hear(3, introduction(bench))
    assert not bench.node.snapshot(0.0).votes


def test_an_empty_center_does_not_vote_in_others_elections() -> None:
    bench = Bench(None)
    vote = Proposal(4, Ballot(3, 5, 0, 3), State.LOOKING, 0, 3, (0, 0), DIGEST, 0)
    assert said(bench.hear(3, vote), Proposal) == []


def test_another_list_is_complained_of_now_and_then() -> None:
    bench = Bench()
    vote = Proposal(1, Ballot(3, 5, 0, 3), State.LOOKING, 0, 3, (0, 0), "other", 0)
    first = bench.hear(3, vote)
    again = bench.hear(3, confirmation(9, digest="other"))
    bench.now_s += 61
    later = bench.hear(3, vote)
    assert [sum(isinstance(each, Log) for each in each) for each in (first, again)] == [1, 0]
    assert any(isinstance(each, Log) and "another centers list" in each.text for each in later)


def test_a_candidate_of_another_cluster_gets_no_promise() -> None:
    bench = Bench()
    assert said(bench.hear(3, confirmation(9, cluster_id="other")), Acceptance) == []


def test_an_established_leader_that_cannot_be_joined_is_asked_about_with_the_others() -> None:
    bench = Bench(None)
    asked = confirmation(4, established=True, cluster_id="c")
    assert said(bench.hear(3, asked), Inquiry, to=2)
    bench.hear(3, introduction(bench, empty=False, accepted_epoch=4, leader=3))
    bench.hear(2, introduction(bench, empty=False, accepted_epoch=9))
    assert said(bench.hear(3, asked), Acceptance) == []
    assert said(bench.hear(3, replace(asked, epoch=9)), Acceptance)


def test_reports_of_a_follower_wait_at_most_a_flush() -> None:
    bench = Bench()
    bench.follows()
    report = Report("10.0.0.1:80", ("s.S",))
    assert said(bench.feed(ServerReport(report)), Forward, to=3)
    bench.hear(3, Ping(4, 1, (0, 0)))
    assert said(bench.feed(ServerReport(replace(report, load=0.2))), Forward) == []
    assert len(said(bench.later(0.11), Forward, to=3)) == 1
