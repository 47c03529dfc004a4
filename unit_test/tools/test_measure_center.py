"""What the measurement of a center takes for a figure."""

from __future__ import annotations

import pytest
from measure_center import not_one_leader

from libevrpc.gen.center_pb2 import StatusResponse


def test_reports_count_while_one_center_leads() -> None:
    status = StatusResponse(id=2, leads=True, epoch=7)
    assert not_one_leader(status, status) == ""


@pytest.mark.parametrize(("leads", "epoch"), [(False, 7), (True, 8)])
def test_reports_of_a_center_that_lost_its_lead_do_not_count(leads: bool, epoch: int) -> None:
    before = StatusResponse(id=2, leads=True, epoch=7)
    after = StatusResponse(id=2, leads=leads, epoch=epoch)
    assert "center 2 did not lead all the while" in not_one_leader(before, after)
    assert not_one_leader(after, before)
