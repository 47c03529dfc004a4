"""The centers list changes while a cluster is played, and nothing is lost by it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from center.sim.faults import Aim, Crash, Cut, DiskTrouble, Flap, ListChange, OldList, Pause
from center.sim.mutations import MUTATIONS, applied
from center.sim.play import Outcome, play
from center.sim.procedure import allowed
from center.sim.scenario import Hints, Scenario
from center.sim.shrink import shrunk, source
from center.sim.stage import voters_of
from center.sim.trace import Trace
from unit_test.sim.test_shrink import read

pytestmark = [pytest.mark.sim, pytest.mark.timeout(240)]

DOWN_S = 0.4


def changed(centers: int, *lists: tuple[int, ...], back_s: float = 0.0) -> Scenario:
    """Change the list of a cluster with two servers and a client, one change after the other."""
    faults = tuple(ListChange(1.0, members, DOWN_S, back_s) for members in lists)
    return Scenario(1, centers, 1, 1, 1.2 + 2.8 * len(lists), faults=faults)


def lines_of(scenario: Scenario) -> tuple[Outcome, list[str]]:
    trace = Trace()
    return play(scenario, trace), trace.lines


@pytest.mark.parametrize(
    "scenario",
    [
        changed(3, (1, 2, 4)),
        changed(3, (2, 3, 4), (3, 4, 5)),
        changed(3, (1, 2, 3, 4, 5), (3, 4, 5)),
        changed(3, (1, 2, 3, 4), (2, 3, 4), back_s=0.2),
        changed(5, (1, 3, 5), back_s=0.2),
        changed(1, (1, 2, 3), (1, 2, 3, 4, 5)),
        changed(5, (1, 2, 3), (1, 2, 3, 4, 5)),
    ],
    ids=["replace", "twice", "grow_and_shrink", "one_by_one", "shrink", "from_one", "return"],
)
def test_the_list_changes(scenario: Scenario) -> None:
    outcome, lines = lines_of(scenario)
    assert outcome.violation is None
    asked = [each.members for each in scenario.faults if isinstance(each, ListChange)]
    done = [line.rpartition("the list is ")[2] for line in lines if "operator     is done" in line]
    assert done == [
        f"{' '.join(map(str, members))}, generation {generation}"
        for generation, members in enumerate(asked, start=2)
    ]


def test_a_change_under_way_is_brought_to_its_end_after_healing() -> None:
    scenario = Scenario(
        1, 5, safety_s=1.2, faults=(ListChange(1.0, (1, 2, 3), DOWN_S), Crash(1.1, Aim(2), 3.0))
    )
    outcome, lines = lines_of(scenario)
    assert outcome.violation is None
    at = [index for index, line in enumerate(lines) if "everything is healed" in line]
    assert any("is done: the list is 1 2 3" in line for line in lines[at[0] :])


def test_a_vote_for_a_center_that_is_stopped_unseen_is_given_up() -> None:
    # center 4 has not seen center 5 go, and the others take that one's ballot from nobody
    apart = ((1, 3), (1, 2), (4, 3), (4, 2), (5, 3), (5, 2))
    faults = (ListChange(1.14, (2, 3, 4), 0.3753566), Cut(1.141, 2.0, apart))
    unseen = Hints(missing=0.3, late_s=0.4)
    outcome = play(Scenario(22435, 5, safety_s=4.159, hints=unseen, faults=faults))
    assert outcome.violation is None


def test_who_has_left_may_come_back_and_counts_for_nothing() -> None:
    outcome, lines = lines_of(changed(5, (3, 4, 5), back_s=0.2))
    assert outcome.violation is None
    ghosts = [line for line in lines if "center 1 " in line and "starts with" in line]
    assert len(ghosts) == 2, "once with the cluster, once after it had left"
    assert sum("has another centers list" in line for line in lines) > 0


def test_who_has_left_counts_for_nothing_where_the_same_list_comes_again() -> None:
    whole = changed(5, (1, 2, 3), (1, 2, 3, 4, 5), back_s=0.1)
    outcome, lines = lines_of(whole)
    assert outcome.violation is None
    digests = {voters_of(range(1, 6), generation).digest for generation in (1, 3)}
    assert len(digests) == 2
    news = [line for line in lines if "is done: the list is" in line]
    between = lines[lines.index(news[0]) : lines.index(news[1])]
    assert sum("center 4 " in line and "starts with Record" in line for line in between) == 1
    assert sum("center 4 " in line and "starts with None" in line for line in between) == 1


def test_who_comes_back_with_his_old_folder_is_refused_until_it_is_emptied() -> None:
    first, again = changed(5, (1, 2, 3), (1, 2, 3, 4, 5)).faults
    assert isinstance(again, ListChange)
    again = replace(again, forgets=True, apart_s=0.5)
    outcome, lines = lines_of(Scenario(1, 5, 1, 1, 7.0, faults=(first, again)))
    assert outcome.violation is None
    text = "refuses to start with the list 1 2 3 4 5, generation 3"
    for center in (4, 5):
        said = [line for line in lines if f"center {center} " in line]
        at = next(index for index, line in enumerate(said) if text in line)
        assert "is wiped" in said[at + 1]
        assert "starts with None" in said[at + 2]
    assert any("is done: the list is 1 2 3 4 5, generation 3" in line for line in lines)


def test_an_outdated_list_is_refused() -> None:
    old = OldList(5.0, 1.0, (1, 2), DOWN_S)
    whole = changed(3, (1, 2, 3, 4, 5))
    scenario = replace(whole, safety_s=8.0, faults=(*whole.faults, old))
    outcome, lines = lines_of(scenario)
    assert outcome.violation is None
    refused = [line for line in lines if "refuses to start with the list 1 2 3" in line]
    assert len(refused) == 2


def test_who_is_set_back_before_anything_was_promised_goes_on() -> None:
    # center 1 has the new list and has written nothing under it
    faults = (ListChange(1.0, (1, 2, 3, 4, 5), 0.05), OldList(1.12, 1.0, (1,), DOWN_S))
    outcome, lines = lines_of(Scenario(1, 3, safety_s=4.0, faults=faults))
    assert outcome.violation is None
    assert not any("refuses to start" in line for line in lines)


def test_too_few_may_not_stay() -> None:
    assert allowed((1, 2, 3), (1, 2, 4))
    assert allowed((1, 2, 3), (1, 2, 3, 4, 5))
    assert allowed((1, 2, 3, 4, 5), (1, 3, 5))
    assert allowed((1,), (1, 2, 3))
    assert not allowed((1, 2, 3), (1, 2, 3))
    assert not allowed((1, 2, 3), (3, 4, 5))
    assert not allowed((1, 2, 3), (1,))
    assert not allowed((1,), (1, 2, 3, 4, 5))
    assert not allowed((1, 2, 3, 4), (1, 2))
    _, lines = lines_of(changed(3, (3, 4, 5)))
    assert any("too few of 1 2 3, generation 1 would stay" in line for line in lines)


def test_nobody_is_left_alone_with_a_list_of_whom_none_is_left() -> None:
    # clients that have not asked since would find nobody: the last change waits for them
    scenario = changed(3, (2, 3, 4), (3, 4, 5), (4, 5, 6))
    scenario = replace(scenario, safety_s=16.0)
    outcome, lines = lines_of(scenario)
    assert outcome.violation is None
    assert sum("operator     is done" in line for line in lines) == 3


def test_a_scenario_with_a_changed_list_is_shrunk() -> None:
    planted = next(each for each in MUTATIONS if each.name == "outdated list accepted")
    change = ListChange(1.0, (1, 2, 3, 4, 5), 0.05)
    slip = OldList(2.5, 1.0, (1, 2), 0.05)
    noise = (
        Pause(0.5, Aim(2), 0.1),
        Flap(1.8, 0.01, 1, 2),
        DiskTrouble(2.0, 0.1, Aim(4), 0.02, False),
    )
    whole = Scenario(1, 3, servers=1, safety_s=4.0, faults=(change, slip, *noise))
    with applied(planted):
        small = shrunk(whole)
        found = play(small).violation
        assert found is not None
        assert found.invariant == "I12"
    assert small.faults == (change, slip)
    assert small.servers == 0
    assert read(source(small)) == small
    assert play(small).violation is None
