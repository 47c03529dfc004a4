"""Clients that nobody closes: they warn, and give back their threads and connections."""

from __future__ import annotations

import gc
import queue
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import RpcClient, RpcServer
from libevrpc.channel import background
from unit_test.fix_fork import result_in_child
from unit_test.fix_rpc import ECHO, WAIT_S, Serving, request, wait_until
from unit_test.registry.fake_center import FakeCenter, map_of

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Without the collector only what is in no cycle ends at once."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def ours() -> set[str]:
    """Name the threads of clients."""
    names = ("libevrpc-client", "libevrpc-pull", "libevrpc-drop")
    return {each.name for each in threading.enumerate() if each.name.startswith(names)}


def test_a_dropped_client_warns_and_gives_everything_back(serving: Serving) -> None:
    client = RpcClient(serving.address)
    echo = client.stub(ECHO).Echo
    assert echo(request("x")).response == "x"
    del client
    assert "libevrpc-client" in ours(), "the stub still needs it"
    with pytest.warns(ResourceWarning, match=f"unclosed RpcClient of {serving.address}: close"):
        del echo
    wait_until(lambda: not ours() and serving.server.statistics().connections == 0)


def test_a_dropped_client_of_a_cluster_gives_its_pulls_back(
    tmp_path: Path, serving: Serving
) -> None:
    fake = FakeCenter(queue.SimpleQueue())
    fake.map = map_of(1, 1, serving.address, service="Foo")
    with RpcServer("127.0.0.1:0") as server:
        server.add_service(fake)
        client = RpcClient(f"center://{server.address}", state_dir=str(tmp_path))
        assert client.call("Foo.Sum", 1, 2) == 3
        assert "libevrpc-pull" in ours()
        with pytest.warns(ResourceWarning, match="unclosed RpcClient of center://"):
            del client
        wait_until(lambda: not ours())


def test_a_call_on_its_way_is_finished_first(serving: Serving) -> None:
    future = RpcClient(serving.address).stub(ECHO).Echo.future(request("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    serving.handler.release.set()
    assert future.result(WAIT_S).response == "hold"
    with pytest.warns(ResourceWarning, match="unclosed"):
        del future
    wait_until(lambda: not ours())


def test_it_may_be_dropped_under_any_lock(serving: Serving) -> None:
    """As the collector does it, in whatever the thread is just doing."""
    holder: list[Any] = [RpcClient(serving.address)]
    holder[0].call("Foo.Sum")
    loop = background.acquire_loop()
    with (
        pytest.warns(ResourceWarning, match="unclosed"),
        background._lock,  # noqa: SLF001
        loop._inbox_lock,  # noqa: SLF001
    ):
        holder.clear()
    background.release_loop()
    wait_until(lambda: not ours())


def test_who_used_nothing_or_closed_it_is_not_warned(serving: Serving) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unused = RpcClient(serving.address)
        del unused
        closed = RpcClient(serving.address)
        closed.call("Foo.Sum")
        closed.close()
        del closed
    assert not ours()


def test_what_a_child_drops_is_still_the_parents(serving: Serving) -> None:
    client = serving.client()
    assert client.call("Foo.Sum", 1) == 1

    def in_child() -> int:
        nonlocal client
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            serving._clients.clear()  # noqa: SLF001
            del client
        return len(told)

    assert result_in_child(in_child) == 0
    assert client.call("Foo.Sum", 1) == 1
    assert serving.server.statistics().connections == 1
