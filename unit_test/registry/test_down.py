"""A registry that is down, as a caller with a short deadline sees it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, StatusCode
from unit_test.fix_net import free_port
from unit_test.fix_rpc import wait_until

pytestmark = pytest.mark.live

TARGETS = ["zk://{}", "etcd://{}", "http://{}/_tinyrpc_/registry", "center://{}"]


def told(client: RpcClient) -> str:
    """Return what a call of 0.1 s fails with."""
    with pytest.raises(RpcError) as failed:
        client.call("Foo.Sum", timeout_s=0.1)
    assert failed.value.code is StatusCode.UNAVAILABLE
    return failed.value.text


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the address of somebody who accepts, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("target", TARGETS)
def test_who_refuses_is_told_with_the_reason(target: str, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with RpcClient(target.format(address), state_dir=str(tmp_path)) as client:
        wait_until(lambda: "Connection refused" in told(client))
        text = told(client)
        assert address in text
        assert "service Foo" in text


@pytest.mark.parametrize("target", TARGETS)
def test_who_is_silent_is_told_as_well(target: str, tmp_path: Path, silent: str) -> None:
    with RpcClient(target.format(silent), state_dir=str(tmp_path)) as client:
        text = told(client)
    assert silent in text
    assert re.search(r"no answer yet|has not answered within [0-9.]+ s", text)
    assert "service Foo" in text
