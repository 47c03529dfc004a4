"""What holds of all tests of registries."""

from __future__ import annotations

import pytest

from libevrpc.registry import center, watcher


@pytest.fixture(autouse=True)
def patient_with_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an end wait for what is remembered, however much others write to the same disk."""
    for module in (center, watcher):
        monkeypatch.setattr(module, "_FLUSH_S", 30.0)
