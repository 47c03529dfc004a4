"""Elections, one machine at a time: the scenarios that broke FastLeaderElection before."""

from __future__ import annotations

import random

import pytest

from center.core.ballot import Ballot, State
from center.core.election import Election, Turn
from center.core.messages import Proposal
from center.core.timing import Timing

TIMING = Timing()


def ballot(center: int, epoch: int = 1, version: int = 1, uptime_ms: int = 0) -> Ballot:
    return Ballot(epoch, version, uptime_ms, center)


def vote(
    leader: int | Ballot, *, round: int = 1, state: State = State.LOOKING, epoch: int = 0
) -> Proposal:
    chosen = leader if isinstance(leader, Ballot) else ballot(leader)
    return Proposal(round, chosen, state, epoch, epoch, (0, 0), "d", 0)


def election(me: int, count: int = 3, *, rounds: int = 1) -> Election:
    made = Election(me, tuple(range(1, count + 1)), TIMING, random.Random(0))
    for _ in range(rounds):
        made.begin(ballot(me), 0.0)
    return made


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (ballot(1, epoch=2), ballot(2, epoch=1, version=9, uptime_ms=9)),
        (ballot(1, version=2), ballot(2, version=1, uptime_ms=9)),
        (ballot(1, uptime_ms=2), ballot(2, uptime_ms=1)),
        (ballot(2), ballot(1)),
    ],
)
def test_ballots_go_by_epoch_version_uptime_and_id(better: Ballot, worse: Ballot) -> None:
    assert better > worse
    assert not worse > better


def test_a_better_ballot_is_taken_over_and_spread() -> None:
    mine = election(1)
    assert mine.take(3, vote(3), ()) is Turn.SPREAD
    assert mine.ballot == ballot(3)


def test_a_worse_ballot_is_answered_and_the_same_one_is_not() -> None:
    mine = election(2)
    assert mine.take(1, vote(1), ()) is Turn.ANSWER
    assert mine.take(3, vote(2), ()) is Turn.NOTHING


def test_a_later_round_is_joined_and_earlier_votes_are_forgotten() -> None:
    mine = election(2)
    mine.take(1, vote(2), ())
    assert mine.take(3, vote(1, round=5), ()) is Turn.SPREAD
    assert (mine.round, mine.ballot) == (5, ballot(2))
    assert not mine.decided(0.0, ())


def test_joining_a_later_round_takes_its_better_ballot() -> None:
    mine = election(1)
    mine.take(2, vote(3, round=2), ())
    assert mine.ballot == ballot(3)


def test_an_earlier_round_is_answered_and_not_counted() -> None:
    mine = election(2, rounds=3)
    assert mine.take(1, vote(2, round=2), ()) is Turn.ANSWER
    assert not mine.decided(10.0, ())


def test_an_observing_center_is_counted_but_never_answered() -> None:
    mine = election(2)
    assert mine.take(1, vote(1, state=State.OBSERVING), ()) is Turn.NOTHING
    assert mine.take(3, vote(2, state=State.OBSERVING), ()) is Turn.NOTHING
    assert not mine.decided(0.0, ())
    assert mine.decided(TIMING.finalize_s, ())


def test_nobody_votes_for_a_center_outside_the_list() -> None:
    mine = election(1)
    assert mine.take(2, vote(99), ()) is Turn.NOTHING
    assert mine.ballot == ballot(1)


def test_nobody_is_talked_into_voting_for_a_center_that_is_gone() -> None:
    mine = election(1)
    assert mine.take(2, vote(3), {3}) is not Turn.SPREAD
    mine.take(2, vote(3, round=2), {3})
    assert mine.ballot == ballot(1)


def test_all_voters_agreeing_need_no_waiting() -> None:
    mine = election(1)
    mine.take(2, vote(3), ())
    mine.take(3, vote(3), ())
    assert mine.decided(0.0, ())


def test_all_voters_that_are_not_gone_agreeing_need_no_waiting() -> None:
    mine = election(1)
    mine.take(2, vote(2), ())
    assert not mine.decided(0.0, ())
    assert mine.decided(0.0, {3})


def test_a_won_count_waits_for_a_better_ballot() -> None:
    mine = election(1, 5)
    mine.take(2, vote(3), ())
    mine.take(3, vote(3), ())
    assert not mine.decided(1.0, ())
    assert mine.deadline_s() == min(mine.retry_s, 1.0 + TIMING.finalize_s)
    mine.take(4, vote(4), ())
    assert not mine.decided(1.0 + TIMING.finalize_s, ())
    mine.take(3, vote(4), ())
    assert not mine.decided(2.0, ())
    assert mine.decided(2.0 + TIMING.finalize_s, ())


def test_the_nodes_own_lag_moves_its_time_outs() -> None:
    mine = election(1)
    before_s = mine.retry_s
    mine.stretch(1.0)
    assert mine.retry_s == before_s + 1.0
    mine.take(2, vote(2), ())
    mine.decided(5.0, ())
    mine.stretch(2.0)
    assert not mine.decided(5.0 + TIMING.finalize_s, ())
    assert mine.decided(7.0 + TIMING.finalize_s, ())


def test_ballots_are_sent_again_after_spans_that_double_up_to_a_cap() -> None:
    mine = election(1)
    now_s, spans = 0.0, []
    while len(spans) < 8:
        if mine.retry_due(mine.retry_s):
            spans.append(mine.retry_s - now_s)
            now_s = mine.retry_s
    assert not mine.retry_due(mine.retry_s - 0.001)
    assert spans[-1] <= 1.2 * TIMING.retry_max_s
    assert spans[-1] > spans[0]


def test_a_lost_vote_is_made_good_by_the_news_that_its_sender_follows_me() -> None:
    mine = election(2, 2)
    mine.take(1, vote(1), ())
    mine.take(1, vote(2, state=State.FOLLOWING, epoch=1), ())
    assert mine.decided(0.0, ())
    assert mine.ballot.id == 2


def test_stale_followers_of_an_earlier_round_elect_nobody() -> None:
    mine = election(1)
    for other in (2, 3):
        mine.take(other, vote(1, state=State.FOLLOWING), ())
    assert mine.decided(10.0, ())
    mine.begin(ballot(1), 10.0)
    for other in (2, 3):
        mine.take(other, vote(1, state=State.FOLLOWING), ())
    assert not mine.decided(20.0, ())
    assert mine.established() is None


def test_members_of_different_rounds_and_stamps_show_one_leader() -> None:
    mine = election(1, 5)
    mine.take(5, vote(ballot(5, version=7), round=7, state=State.LEADING, epoch=2), ())
    assert mine.established() is None
    mine.take(2, vote(ballot(5, version=3), round=3, state=State.FOLLOWING, epoch=2), ())
    assert mine.established() is None
    mine.take(3, vote(ballot(5, epoch=2), round=101, state=State.FOLLOWING, epoch=2), ())
    assert mine.established() == (5, 2)


def test_a_leader_that_does_not_say_so_is_not_followed() -> None:
    mine = election(1, 5)
    for other in (2, 3, 4):
        mine.take(other, vote(5, round=9, state=State.FOLLOWING, epoch=2), ())
    assert mine.established() is None


def test_followers_of_another_epoch_do_not_count_for_a_leader() -> None:
    mine = election(1)
    mine.take(3, vote(3, round=9, state=State.LEADING, epoch=2), ())
    mine.take(2, vote(3, round=9, state=State.FOLLOWING, epoch=1), ())
    assert mine.established() is None


def test_a_member_that_looks_again_no_longer_follows() -> None:
    mine = election(1)
    mine.take(3, vote(3, round=9, state=State.LEADING, epoch=2), ())
    mine.take(2, vote(3, round=9, state=State.FOLLOWING, epoch=2), ())
    mine.take(2, vote(2), ())
    assert mine.established() is None


def test_votes_of_different_rounds_make_no_quorum() -> None:
    mine = election(1, 5)
    for other, round in ((2, 1), (3, 2), (4, 3), (5, 3)):
        mine.take(other, vote(5, round=round), ())
    assert not mine.decided(0.0, ())
    assert mine.round == 3
