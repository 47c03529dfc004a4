"""What a center may go on from: the record of its own list, or of an earlier one."""

from __future__ import annotations

from center.core.record import Record, Voters


def voters(digest: str, generation: int) -> Voters:
    return Voters(((1, "10.0.0.1:8898"),), digest, generation)


def test_a_record_goes_with_its_own_list_and_with_the_next_one() -> None:
    record = Record(list_digest="three", list_generation=2)
    assert record.fits(voters("three", 2))
    assert record.fits(voters("three", 1))  # the same centers, whatever the number
    assert record.fits(voters("five", 3))
    assert not record.fits(voters("five", 2))
    assert not record.fits(voters("five", 1))
    assert not record.fits(voters("five", 4))  # missed one, or left and comes back
    assert Record().fits(voters("five", 0))
