"""One center against peers that say what they like."""

from __future__ import annotations

from typing import Any

import pytest

from center.core.ballot import Ballot, State
from center.core.events import (
    LinkDown,
    MapCommitted,
    Persisted,
    PersistFailed,
    ServerGoodbye,
    Tick,
)
from center.core.messages import (
    Acceptance,
    Body,
    Confirmation,
    Forward,
    Inquiry,
    Introduction,
    Join,
    Ping,
    Proposal,
    Put,
    Refusal,
    Relay,
    Report,
    Stored,
)
from unit_test.center_core.bench import (
    DIGEST,
    RECORD,
    Bench,
    confirmation,
    map_record,
    said,
)

# Promises


def test_a_promise_is_spoken_of_only_when_it_is_durable() -> None:
    bench = Bench(disk=False)
    assert said(bench.hear(3, confirmation(4)), Acceptance) == []
    (write,) = bench.writes
    assert write.record.accepted_epoch == 4
    answer = said(bench.feed(Persisted(write.token)), Acceptance, to=3)
    assert [each.epoch for each in answer] == [4]


def test_a_failed_write_promises_nothing_and_the_next_question_tries_again() -> None:
    bench = Bench(disk=False)
    bench.hear(3, confirmation(4))
    bench.feed(PersistFailed(bench.writes[0].token, "no space"))
    assert bench.node.snapshot(0.0).accepted_epoch == 3
    assert said(bench.hear(2, Inquiry(0, DIGEST, 0)), Introduction)[0].accepted_epoch == 3
    bench.hear(3, confirmation(4))
    assert len(bench.writes) == 2


def test_answers_of_the_disk_to_other_questions_are_ignored() -> None:
    bench = Bench(disk=False)
    assert bench.feed(Persisted(7)) == []
    assert bench.feed(PersistFailed(7, "?")) == []
    bench.hear(3, confirmation(4))
    assert said(bench.feed(Persisted(99)), Acceptance) == []
    bench.feed(PersistFailed(99, "?"))
    assert said(bench.feed(Persisted(bench.writes[0].token)), Acceptance) != []


def test_one_epoch_is_promised_to_one_process_only() -> None:
    bench = Bench()
    bench.follows(4)
    bench.feed(LinkDown(3))
    refused = said(bench.hear(2, confirmation(4)), Refusal, to=2)
    assert [each.accepted_epoch for each in refused] == [4]
    assert said(bench.hear(3, confirmation(4), incarnation=31), Refusal, to=3)
    assert said(bench.hear(3, confirmation(4)), Acceptance, to=3)


def test_a_smaller_epoch_is_refused() -> None:
    bench = Bench()
    assert said(bench.hear(3, confirmation(2)), Refusal, to=3)[0].accepted_epoch == 3


def test_a_repeated_question_is_answered_again_without_a_write() -> None:
    bench = Bench()
    bench.follows()
    writes = len(bench.writes)
    assert said(bench.hear(3, confirmation(4)), Acceptance)
    assert len(bench.writes) == writes


def test_a_question_repeated_while_the_disk_works_asks_for_no_second_write() -> None:
    bench = Bench(disk=False)
    for _ in range(3):
        bench.hear(3, confirmation(4))
    assert len(bench.writes) == 1


def test_a_map_newer_than_the_candidates_goes_with_the_promise() -> None:
    bench = Bench()
    (answer,) = said(bench.hear(3, confirmation(4, stamp=(3, 4))), Acceptance)
    assert (answer.map, answer.committed) == (RECORD.map, True)


def test_a_promise_overtaken_by_a_larger_one_is_not_spoken_of() -> None:
    bench = Bench(disk=False)
    bench.hear(3, confirmation(4))
    bench.hear(2, confirmation(5))
    first = bench.feed(Persisted(bench.writes[0].token))
    assert said(first, Acceptance) == []
    second = bench.feed(Persisted(bench.writes[1].token))
    assert [each.epoch for each in said(second, Acceptance, to=2)] == [5]


def test_a_promise_is_not_spoken_of_to_a_leader_that_was_left_meanwhile() -> None:
    bench = Bench(disk=False)
    bench.hear(3, confirmation(4))
    bench.feed(LinkDown(3))
    assert said(bench.feed(Persisted(bench.writes[0].token)), Acceptance) == []


def test_a_promise_to_a_leader_is_not_spoken_of_when_the_own_candidacy_passed_it() -> None:
    bench = Bench(disk=False)
    bench.hear(3, confirmation(4, established=True))
    bench.feed(LinkDown(3))
    bench.hear(3, confirmation(4, established=True), incarnation=31)
    bench.hear(2, Ping(9, 1, (0, 0)))
    assert said(bench.feed(Persisted(bench.writes[0].token)), Acceptance) == []


# Candidate


def test_a_candidate_asks_for_more_than_any_voter_is_bound_to() -> None:
    bench = Bench()
    ballot = Ballot(3, 5, 0, 1)
    bench.hear(2, Proposal(1, ballot, State.LOOKING, 0, 8, (0, 0), DIGEST, 0))
    actions = bench.hear(3, Proposal(1, ballot, State.LOOKING, 0, 3, (0, 0), DIGEST, 0))
    assert {each.epoch for each in said(actions, Confirmation)} == {9}


def test_a_ballot_for_a_center_that_is_gone_is_dropped_at_once() -> None:
    bench = Bench()
    ballot = Ballot(3, 5, 99, 3)
    bench.hear(2, Proposal(1, ballot, State.LOOKING, 0, 3, (0, 0), DIGEST, 0))
    votes = said(bench.feed(LinkDown(3)), Proposal, to=2)
    assert [(each.round, each.ballot.id) for each in votes] == [(2, 1)]


def test_a_candidate_leads_only_with_its_own_promise_durable() -> None:
    bench = Bench(disk=False)
    epoch = bench.stands()
    for peer in (2, 3):
        bench.hear(peer, bench.acceptance(epoch))
    assert bench.state is State.OBSERVING
    bench.feed(Persisted(bench.writes[0].token))
    assert bench.state is State.LEADING


@pytest.mark.parametrize("change", [{"to_incarnation": 5}, {"epoch": 99}, {"digest": "other"}])
def test_promises_to_another_process_epoch_or_list_do_not_count(change: dict[str, Any]) -> None:
    bench = Bench()
    epoch = bench.stands()
    bench.hear(2, bench.acceptance(epoch, **change))
    assert bench.state is State.OBSERVING


def test_the_newest_map_among_the_promises_is_adopted() -> None:
    bench = Bench()
    epoch = bench.stands()
    newer = map_record(3, 9)
    actions = bench.hear(2, bench.acceptance(epoch, map=newer, stamp=newer.stamp))
    (put,) = said(actions, Put, to=2)
    assert (put.map.stamp, put.map.parent) == ((epoch, 10), (3, 9))


def test_a_map_relayed_to_a_candidate_is_adopted_though_nobody_sends_it_again() -> None:
    bench = Bench()
    epoch = bench.stands()
    newer = map_record(3, 9)
    bench.hear(2, Relay("c", newer))
    (asked, *_) = said(bench.later(0.1), Confirmation)
    assert asked.stamp == newer.stamp
    actions = bench.hear(2, bench.acceptance(epoch, stamp=newer.stamp))
    (put,) = said(actions, Put, to=2)
    assert (put.map.stamp, put.map.parent) == ((epoch, 10), (3, 9))


def test_a_refusal_by_a_larger_promise_raises_the_epoch_and_not_for_ever() -> None:
    bench = Bench(disk=False)
    epoch = bench.stands()
    asked = [epoch]
    for _ in range(3):
        actions = bench.hear(2, Refusal(asked[-1], asked[-1] + 5, None))
        asked.append(said(actions, Confirmation)[0].epoch)
    assert asked == [4, 10, 16, 22]
    bench.hear(2, Refusal(asked[-1], 50, None))
    assert bench.state is State.LOOKING
    for write in bench.writes:
        bench.feed(Persisted(write.token))
    assert bench.state is State.LOOKING


def test_a_candidate_that_a_quorum_refused_looks_again() -> None:
    bench = Bench()
    epoch = bench.stands()
    bench.hear(2, Refusal(epoch, 3, 3))
    assert bench.state is State.OBSERVING
    bench.hear(3, Refusal(epoch, 3, 3))
    assert bench.state is State.LOOKING


def test_a_refusal_after_the_promise_of_the_same_center_is_stale() -> None:
    bench = Bench(disk=False)
    epoch = bench.stands()
    bench.hear(2, bench.acceptance(epoch))
    for peer in (2, 3):
        bench.hear(peer, Refusal(epoch, 3, 3))
    assert bench.state is State.OBSERVING


def test_refusals_of_earlier_tries_are_ignored() -> None:
    bench = Bench()
    epoch = bench.stands()
    for peer in (2, 3):
        bench.hear(peer, Refusal(epoch - 1, 3, 3))
    assert bench.state is State.OBSERVING


def test_a_candidate_without_answers_looks_again() -> None:
    bench = Bench()
    bench.stands()
    bench.later(2.1)
    assert bench.state is State.LOOKING


def test_a_late_step_stretches_the_handshake_too() -> None:
    bench = Bench()
    bench.stands()
    bench.now_s += 2.5
    bench.feed(Tick())
    assert bench.state is State.OBSERVING


def test_a_candidate_yields_to_a_larger_epoch_and_joins_an_established_leader() -> None:
    bench = Bench()
    bench.stands()
    assert said(bench.hear(3, confirmation(9)), Acceptance, to=3)
    bench = Bench()
    bench.stands()
    assert said(bench.hear(3, Ping(9, 1, (0, 0))), Join, to=3)
    assert bench.state is State.OBSERVING


# Leader


def test_a_leader_counts_only_what_belongs_to_its_epoch() -> None:
    bench = Bench()
    epoch = bench.leads()
    stamp = (epoch, 6)
    assert bench.hear(2, Stored(epoch - 1, stamp)) == []
    committed = bench.hear(2, Stored(epoch, stamp))
    assert any(isinstance(each, MapCommitted) for each in committed)
    assert [each.committed for each in said(committed, Ping, to=3)] == [stamp]


def test_a_late_promise_makes_a_follower_and_brings_it_the_map() -> None:
    bench = Bench()
    epoch = bench.leads()
    assert said(bench.hear(3, bench.acceptance(epoch)), Put, to=3)


def test_a_center_that_asks_to_join_is_taken_in() -> None:
    bench = Bench()
    epoch = bench.leads()
    (taken,) = said(bench.hear(3, Join(0, (0, 0), DIGEST)), Confirmation, to=3)
    assert (taken.epoch, taken.established) == (epoch, True)


@pytest.mark.parametrize(
    "body", [Join(99, (0, 0), DIGEST), Refusal(4, 99, None), Ping(99, 1, (0, 0))]
)
def test_a_larger_promise_ends_a_reign_at_once(body: Body) -> None:
    bench = Bench()
    bench.leads()
    bench.hear(3, body)
    assert bench.state is not State.LEADING
    assert not bench.node.may_claim(bench.now_s)


def test_a_center_with_another_list_is_not_taken_in() -> None:
    bench = Bench()
    bench.leads()
    assert said(bench.hear(3, Join(99, (0, 0), "other")), Confirmation) == []
    assert bench.state is State.LEADING


def test_a_leader_confirms_an_established_one_of_a_larger_epoch() -> None:
    bench = Bench()
    bench.leads()
    assert said(bench.hear(3, confirmation(9, established=True)), Acceptance, to=3)
    assert bench.state is State.FOLLOWING


def test_a_write_that_ends_after_the_reign_commits_nothing() -> None:
    bench = Bench(disk=False)
    epoch = bench.stands()
    bench.hear(2, bench.acceptance(epoch))
    bench.feed(Persisted(bench.writes[0].token))
    bench.hear(2, Stored(epoch, (epoch, 6)))
    bench.hear(3, Refusal(epoch, 99, None))
    done = bench.feed(Persisted(bench.writes[1].token))
    assert not any(isinstance(each, MapCommitted) for each in done)


def test_reports_forwarded_to_a_center_that_does_not_lead_are_dropped() -> None:
    bench = Bench()
    assert bench.hear(2, Forward((Report("10.0.0.1:80", ()),))) == []


def test_only_a_leader_takes_in_others() -> None:
    assert said(Bench().hear(3, Join(0, (0, 0), DIGEST)), Confirmation) == []


def test_a_departure_of_an_unknown_server_is_no_news() -> None:
    bench = Bench()
    epoch = bench.leads()
    bench.hear(2, Stored(epoch, (epoch, 6)))
    bench.feed(ServerGoodbye("10.0.0.9:80"))
    assert said(bench.later(0.09), Put) == []
