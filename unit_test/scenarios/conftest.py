"""Traces of scenarios: each run is compared with the recorded one.

`pytest unit_test/scenarios --record-traces` writes them anew; then read what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unit_test.scenarios.play import Play

TRACES = Path(__file__).parent / "traces"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-traces", action="store_true", help="write the traces anew")


@pytest.fixture
def staged(request: pytest.FixtureRequest) -> Iterator[Callable[..., Play]]:
    """Makes the plays of one test; afterwards its trace must be the recorded one."""
    plays: list[Play] = []
    failed = request.session.testsfailed

    def stage(*given: Any, **options: Any) -> Play:
        plays.append(Play(*given, **options))
        return plays[-1]

    yield stage
    name = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")
    path = TRACES / f"{name}.txt"
    lines = [f"# {request.node.name}", *(line for play in plays for line in ["", *play.lines])]
    text = "\n".join(lines) + "\n"
    if request.config.getoption("--record-traces", default=False):
        path.write_text(text, encoding="utf-8")
    if request.session.testsfailed > failed:
        return
    assert path.exists(), f"no trace {path.name}: pytest unit_test/scenarios --record-traces"
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()
