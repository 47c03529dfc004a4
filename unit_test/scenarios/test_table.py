"""ZooKeeper's tests of its election, and what stands for each of them here.

The numbers are ours; the names are of ZooKeeper's test classes. Every scenario plays the
production nodes under a virtual clock, and its trace lies in `traces/`.

| no. | ZooKeeper | here |
| --- | --- | --- |
| F1-F3 | FLETest: 1, 2, 3 elections of seven | test_f01_elections_of_seven |
| | ... a dead candidate's votes are reset | test_f01_a_dead_candidate_gets_no_votes |
| F4 | FLETest.testJoin | test_f04_a_third_center_joins |
| F5 | testJoinInconsistentEnsemble | test_f05_a_member_tells_another_round |
| F6 | FLENewEpochTest | test_f06_a_fresh_center_meets_one_in_a_later_round |
| F7 | FLERestartTest | test_f07_a_center_is_rebuilt_over_its_disk |
| F8 | FLELostMessageTest | test_f08_a_changed_vote_is_lost_and_only_its_outcome_arrives |
| F9 | FLEBackwardElectionRoundTest | test_f09_stale_votes_elect_nobody_again |
| F10 | FLEOutOfElection: zxid, round | test_f10_members_differ_in_all_but_leader_and_epoch |
| F11 | FLEOutOfElection: rounds while LOOKING | test_f11_votes_of_different_rounds_make_no_quorum |
| F12 | FLEOutOfElection: mixed versions | test_f12_one_member_is_odd |
| F13 | FLEPredicateTest | test_f13_what_makes_a_ballot_better |
| F14 | FLEZeroWeightTest | test_f14_who_has_lost_its_memory_is_not_elected |
| F15-F19 | FLEMalformedNotificationMessageTest | test_f15_garbage_changes_nothing |
| F21 | testElectionFraud | test_f21_a_follower_is_talked_into_standing |
| F22 | testEarlyLeaderAbandonment | test_f22_a_leader_is_left_alone_with_a_map |
| F23 | testHighestZxidJoinLate | test_f23_an_uncommitted_map_is_overtaken |
| F24 | testFailedTxnAsPartOfQuorumLoss | test_f23_an_uncommitted_map_is_overtaken |
| F25 | testLeaderOutOfView | test_f25_a_center_whose_list_lacks_the_leader |
| F26 | testLeaderElectionWithDisloyalVoter | test_f26_a_voter_changes_its_mind |
| F27 | testInconsistentPeerType, testBadPackets | test_f27_one_who_is_not_in_the_list_talks |
| F28 | Zab1_0Test: the leader waits for itself | test_f28_a_leader_waits_for_its_own_promise |
| | ... is behind a follower | test_f28_a_leader_that_is_behind_takes_the_newest_map |
| | ... accepted over current epoch | test_f28_a_voter_is_bound_to_a_larger_epoch |
| | ... abandons before ACKEPOCH | test_f28_a_candidate_dies_before_any_promise |
| F29 | EpochWriteFailureTest | test_f29_a_promise_cannot_be_written |
| | CurrentEpochWriteFailureTest | test_f29_a_refusal_of_the_disk_is_no_promise |
| F30 | LearnerTest: the leader does not come | test_f30_an_elected_center_never_confirms |
| | ... it comes, and takes nobody in | test_f30_a_leader_takes_nobody_in |
| F31 | QuorumMajorityTest | test_f31_quorums |

Without a counterpart, and what stands there instead:

* F12: there is no older form of a message; one of another version is refused when it is
  decoded (`center_core/test_codec.py`). Played is a member with another epoch.
* F14, and the weights and groups of F31 (QuorumHierarchical): every center of the list has
  one vote. The one that may never lead is the one that has lost its memory.
* F20 (CnxManagerTest): sockets are ZeroMQ's. Peers that accept and stay silent, junk, resets,
  taken ports and queues that do not grow: `center/test_bus.py`.
* F21: ZooKeeper's node is set LEADING by the test. Here nobody leads without promises, so
  the fraud is in the votes. ZooKeeper's leader stays; here the misled candidate is bound to
  the larger epoch it asked for, since that promise is written while the others are asked
  (which makes each failover one write shorter). It costs one more election, no safety.
* F24, truncation: there is no log. The map of an isolated leader is replaced as a whole.
* F28, a leader that is behind: ZooKeeper's aborts, ours adopts the newest map promised.
* F30, several addresses of one server: a center has one, of the list.
* F31, the oracle of two servers (QuorumOracleMaj): two centers need each other, and the
  documentation says so. Changing the list while running (reconfig): `docs/election.md` has
  the procedure; lists that differ do not count each other's votes (F25).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def scenarios() -> set[str]:
    """Return the names of all scenarios, from their source."""
    return {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and re.match(r"test_(f\d|ours|nine)", node.name)
    }


def test_the_table_names_every_scenario_and_no_other() -> None:
    named = set(re.findall(r"\btest_f\d+\w+", __doc__ or ""))
    assert named == {each for each in scenarios() if each.startswith("test_f")}


def test_every_trace_belongs_to_a_scenario() -> None:
    played = {f"test_{path.stem.split('-')[0]}" for path in (HERE / "traces").glob("*.txt")}
    assert played <= scenarios()
    assert scenarios() - played == {"test_f13_what_makes_a_ballot_better", "test_f31_quorums"}
