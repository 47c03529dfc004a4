"""The program, run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from libevrpc.cli.main import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what clients remember out of the user's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs the program; every error must be one line."""

    def with_words(*words: str) -> Outcome:
        status = main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert len(err.splitlines()) == (0 if status == 0 or "--json" in words else 1)
        return Outcome(status, out, err.strip())

    return with_words
