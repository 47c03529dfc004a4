"""Stages for tests of faults, where networks of our own can be made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from unit_test.faults.fix_netns import missing
from unit_test.faults.stage import CALM, Stage

why_not = cache(missing)


@pytest.fixture
def networks() -> None:
    """Skip where no network namespace can be made, and say what is missing."""
    if why_not():
        pytest.skip(why_not())


@pytest.fixture
def stage(networks: None, tmp_path: Path) -> Iterator[Stage]:
    """Give three centers, two servers in their map, and a client that calls."""
    with Stage(tmp_path, settings=CALM) as stage:
        stage.populate()
        yield stage
