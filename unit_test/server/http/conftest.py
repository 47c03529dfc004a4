from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from unit_test.fix_rpc import Serving
from unit_test.server.http.http_peer import HttpPeer


@pytest.fixture
def peer() -> Iterator[Callable[[Serving], HttpPeer]]:
    """Give a function that opens connections; all end with the test."""
    opened: list[HttpPeer] = []

    def open_one(serving: Serving) -> HttpPeer:
        opened.append(HttpPeer(serving.address))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
