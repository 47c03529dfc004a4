"""Registries on the port of a server, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from libevrpc import RpcServer
from libevrpc.server.http.registry import HttpRegistry
from unit_test.server.http.http_peer import HttpPeer


class Registry:
    """A registry, its server, and connections to it."""

    def __init__(self, stack: ExitStack, settings: dict[str, Any], **given: Any) -> None:
        self.server = RpcServer("127.0.0.1:0", **settings)
        self.registry = HttpRegistry(self.server, **given)
        stack.callback(self.registry.close)
        self.server.start()
        stack.callback(lambda: self.server.stop(0.0))
        self.address = self.server.address
        self._stack = stack

    def peer(self) -> HttpPeer:
        peer = HttpPeer(self.address)
        self._stack.callback(peer.close)
        return peer

    def target(self, dialect: str = "tinyrpc", options: str = "") -> str:
        return f"http://{self.address}/_{dialect}_/registry{options}"


@pytest.fixture
def registry() -> Iterator[Callable[..., Registry]]:
    """Give a function that starts registries; all end with the test."""
    with ExitStack() as stack:
        yield lambda settings=None, **given: Registry(stack, settings or {}, **given)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "registry"
