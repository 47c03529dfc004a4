"""Stages for tests of faults, where networks of our own can be made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from unit_test.faults.fix_netns import missing
from unit_test.faults.stage import CALM, Stage
from unit_test.fix_services import REQUIRED

why_not = cache(missing)


@pytest.fixture
def networks() -> None:
    """Leave the test out where no network can be made, and say why; fail it in CI."""
    if why_not():
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(why_not(), pytrace=False)
        pytest.skip(why_not())


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give three centers, two servers in their map, and a client that calls."""
    with Stage(tmp_path, settings=CALM) as stage:
        stage.populate()
        yield stage
