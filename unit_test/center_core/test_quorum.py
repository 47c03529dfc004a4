import pytest

from center.core.quorum import Outcome, majority, tally

WON, LOST, PENDING = Outcome.WON, Outcome.LOST, Outcome.PENDING


@pytest.mark.parametrize(
    ("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_a_quorum_is_more_than_half_of_the_configured_list(voters: int, needed: int) -> None:
    assert majority(voters) == needed


@pytest.mark.parametrize(
    ("yes", "no", "voters", "outcome"),
    [
        (0, 0, 1, PENDING),
        (1, 0, 1, WON),
        (0, 1, 1, LOST),
        (1, 0, 2, PENDING),
        (1, 1, 2, LOST),
        (2, 0, 2, WON),
        (1, 1, 3, PENDING),
        (2, 1, 3, WON),
        (1, 2, 3, LOST),
        (2, 2, 4, LOST),
        (3, 1, 4, WON),
        (2, 2, 5, PENDING),
        (0, 3, 5, LOST),
    ],
)
def test_a_count_is_won_lost_or_pending(yes: int, no: int, voters: int, outcome: Outcome) -> None:
    assert tally(yes, no, voters) is outcome


@pytest.mark.parametrize("voters", range(1, 8))
def test_any_two_quorums_meet(voters: int) -> None:
    assert 2 * majority(voters) > voters
