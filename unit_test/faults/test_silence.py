"""Four of ten servers fall silent at once, and some time later come back or do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.faults.mass_silence import fall_silent
from unit_test.faults.stage import CALM, Stage

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

SUSPECT_MAX_S = 2.5
EXPIRY_S = 1.5
REPORT_S = "0.5"
"""The youngest report of those who fall silent together must not be a round of the center (one
second) younger than the oldest: half of that is for a machine that delays them."""


@pytest.fixture
def stage(networks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Give centers that suspect for a short while only, and servers that report often."""
    monkeypatch.setenv("LIBEVRPC_SERVER_REPORT_S", REPORT_S)
    settings = f"suspect_max_s = {SUSPECT_MAX_S}\nexpiry_s = {EXPIRY_S}\n{CALM}"
    with Stage(tmp_path, settings=settings) as stage:
        yield stage


def test_a_mass_of_silent_servers_is_suspected_then_dropped_and_disturbs_no_call(
    stage: Stage,
) -> None:
    seen = fall_silent(stage)
    assert (seen.faults, seen.failed) == ([], 0)
    assert seen.calls > 100
    assert seen.dropped_ms - seen.suspected_ms > 500.0
