"""What is measured of registries: when a client knew, not when it was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import measure_registries
import pytest

from libevrpc.core.endpoints import Endpoint, EndpointSet

A, B = Endpoint("a", 1, tags=("first",)), Endpoint("b", 1)
NEW_A = Endpoint("a", 1, tags=("second",))
BUSY_B = Endpoint("b", 1, weight=0.0)


def test_later_news_do_not_change_when_a_server_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[Callable[[EndpointSet], object]] = []
    clock = SimpleNamespace(now_s=0.0)
    resolver = SimpleNamespace(start=clients.append)
    monkeypatch.setattr(measure_registries, "open_resolver", lambda *_: resolver)
    monkeypatch.setattr(
        measure_registries, "time", SimpleNamespace(monotonic=lambda: float(clock.now_s))
    )
    view = measure_registries.View("file:///servers", tmp_path)
    for clock.now_s, servers in enumerate([(A,), (A, B), (NEW_A, B), (NEW_A, BUSY_B), (NEW_A,)], 1):
        clients[0](EndpointSet(servers))
        if servers == (A, B):
            assert view.until("a:1", ("first",)) == 1.0
            assert view.until("b:1", ()) == 2.0
    assert view.until("a:1", ("second",)) == 3.0
    assert view.until("b:1", None) == 4.0
