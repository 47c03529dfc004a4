"""The checker of histories: it is silent on good ones and finds each planted fault."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from unit_test.faults.history import (
    Call,
    Claim,
    History,
    Read,
    Record,
    Writer,
    faults_of,
    lag_s,
    reigns_of,
    two_claimants_s,
)


def read(source: str, at_s: float, epoch: int, version: int, digest: int = 0) -> Read:
    return Read("w", source, at_s, at_s + 0.1, epoch, version, digest or hash((epoch, version)))


def claim(source: str, at_s: float, epoch: int, *, leads: bool = True) -> Claim:
    return Claim("w", source, at_s, at_s + 0.1, leads, epoch, int(source) if leads else 0)


def call(client: str, at_s: float, epoch: int, version: int, failure: str = "") -> Call:
    return Call(client, at_s, at_s + 0.1, epoch, version, failure)


GOOD: list[Record] = [
    read("1", 0.0, 1, 1),
    read("2", 0.05, 1, 1),
    claim("1", 0.0, 1),
    call("c", 0.5, 1, 1),
    claim("1", 1.0, 1),
    read("1", 1.0, 1, 3),
    claim("1", 2.0, 1, leads=False),
    claim("2", 3.0, 2),
    read("2", 3.0, 2, 4),
    read("1", 3.5, 1, 3),
    call("c", 3.6, 2, 4),
    read("1", 4.0, 2, 4),
]


def faults(*more: Record) -> list[str]:
    return faults_of(History.of([*GOOD, *more]))


def test_a_good_history_has_no_fault() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (read("1", 5.0, 1, 3), "center 1 went back from (2, 4) to (1, 3)"),
        (read("1", 5.0, 0, 0), "center 1 went back from (2, 4) to (0, 0)"),
        (read("2", 5.0, 2, 3), "center 2 went back from (2, 4) to (2, 3)"),
        (call("c", 5.0, 1, 3), "client c went back from (2, 4) to (1, 3)"),
        (read("3", 5.0, 1, 3, digest=7), "two maps (1, 3)"),
        (claim("3", 5.0, 2), "centers 2 and 3 lead in epoch 2"),
        (claim("2", 0.5, 1), "centers 1 and 2 lead in epoch 1"),
    ],
)
def test_a_planted_fault_is_found(planted: Record, found: str) -> None:
    assert [each for each in faults(planted) if each.startswith(found)]


def test_an_answer_under_way_while_a_newer_one_came_is_no_step_back() -> None:
    slow = Read("w", "1", 3.9, 6.0, 1, 3, hash((1, 3)))
    assert faults(slow) == []


def test_a_client_may_hold_what_was_served_between_two_looks() -> None:
    assert faults(call("d", 1.2, 1, 2)) == []
    assert faults(call("d", 4.5, 2, 9)) == []  # nobody has looked since


def test_a_client_must_not_hold_what_nobody_can_have_served() -> None:
    still = [read("1", 8.0, 2, 4), read("2", 8.0, 2, 4)]
    assert faults(*still, call("d", 7.0, 2, 5)) == [
        "client d holds (2, 5), which no center can have served"
    ]
    assert faults(*still, call("d", 8.5, 2, 5)) == []
    assert faults(*still[:1], call("d", 7.0, 2, 5)) == []  # center 2 may have had it


def test_records_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "history"
    records = [*GOOD, Read("w", "1", 7.0, 7.1, 2, 9, 1, True, ("a:1", "b:2"))]
    with closing(Writer(path)) as writer:
        for record in records:
            writer.write(record)
    with path.open("a") as file:
        file.write('["Read","w","1",8')  # its writer was killed
    assert History.load(path) == History.of(records)


def test_reigns_are_seen_at_their_widest() -> None:
    reigns = reigns_of(History.of(GOOD))
    assert [(each.source, each.epoch, each.from_s, each.to_s) for each in reigns] == [
        ("1", 1, 0.0, 1.1),
        ("2", 2, 3.0, 3.1),
    ]
    assert [(each.sure_from_s, each.sure_to_s) for each in reigns] == [(0.1, 1.0), (3.1, 3.0)]


def test_two_claimants_are_timed() -> None:
    assert two_claimants_s(History.of(GOOD)) == 0.0
    late = [claim("2", 4.0, 2), claim("1", 3.4, 1), claim("1", 3.8, 1)]
    assert two_claimants_s(History.of([*GOOD, *late])) == pytest.approx(3.9 - 3.4)
    assert two_claimants_s(History.of([*GOOD, *late]), surely=True) == pytest.approx(3.8 - 3.5)


def test_a_claim_that_was_read_late_proves_no_second_claimant() -> None:
    slow = Claim("w", "1", 2.9, 3.5, True, 1, 1)
    history = History.of([claim("1", 0.0, 1), slow, claim("2", 3.0, 2), claim("2", 3.6, 2)])
    assert two_claimants_s(history) == pytest.approx(3.5 - 3.0)
    assert two_claimants_s(history, surely=True) == 0.0


def test_a_second_reign_of_the_same_center_is_no_second_claimant() -> None:
    assert two_claimants_s(History.of([claim("1", 0.0, 1), claim("1", 0.05, 2)])) == 0.0


def test_the_lag_of_a_center_is_timed() -> None:
    history = History.of(GOOD)
    assert lag_s(history, "1", 9.0) == pytest.approx(1.0)  # (2, 4): seen at 3.1, shown at 4.1
    history.reads.append(read("2", 5.0, 2, 5))
    assert lag_s(history, "1", 9.0) == pytest.approx(9.0 - 5.1)
    assert lag_s(history, "2", 9.0) == pytest.approx(2.0)  # (1, 3): seen at 1.1, passed at 3.1
