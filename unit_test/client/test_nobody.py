"""Calls that find nobody: the error names the cause, with the status that a program acts on."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode
from unit_test.fix_net import free_port
from unit_test.fix_rpc import WAIT_S
from unit_test.registry.fake_center import FakeCenter, map_of

pytestmark = pytest.mark.live
Way = Callable[[RpcClient, float], Any]


def waiting(client: RpcClient, timeout_s: float) -> Any:
    client.call("x.Y.z", timeout_s=timeout_s)


def future(client: RpcClient, timeout_s: float) -> Any:
    client.future("x.Y.z", timeout_s=timeout_s).result()


def oneway(client: RpcClient, timeout_s: float) -> Any:
    client.oneway("x.Y.z", timeout_s=timeout_s)


@pytest.fixture
def center() -> Iterator[tuple[FakeCenter, str]]:
    fake = FakeCenter(queue.SimpleQueue())
    with RpcServer("127.0.0.1:0", threads=1) as server:
        server.add_service(fake)
        yield fake, server.address
        server.stop(0.0)


def refusal(way: Way, folder: Path, *centers: str, **settings: Any) -> RpcError:
    """Return the error of a call; of one that waits longer, where nothing had been heard so far."""
    with RpcClient(f"center://{','.join(centers)}", state_dir=str(folder), **settings) as client:
        for timeout_s in (0.3, WAIT_S):
            with pytest.raises(RpcError) as failed:
                way(client, timeout_s)
            late = failed.value.code is StatusCode.DEADLINE_EXCEEDED
            if "no answer yet" not in failed.value.text and not late:
                break
    return failed.value


ways = pytest.mark.parametrize("way", [waiting, future, oneway])


@ways
def test_no_center_answers(way: Way, tmp_path: Path) -> None:
    dead = f"127.0.0.1:{free_port()}"
    error = refusal(way, tmp_path, dead)
    assert (error.code, error.errno) == (StatusCode.UNAVAILABLE, 1009)
    assert error.text.startswith(f"no center answers for service x.Y ({dead}: cannot connect")


@ways
def test_centers_without_a_leader(way: Way, tmp_path: Path, center: tuple[FakeCenter, str]) -> None:
    fake, address = center
    fake.ready = False
    error = refusal(way, tmp_path, address)
    assert (error.code, error.errno) == (StatusCode.UNAVAILABLE, 4014)
    assert f"({address}: it has no map yet)" in error.text


@ways
def test_a_service_that_is_not_in_the_map(
    way: Way, tmp_path: Path, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    fake.map = map_of(1, 1)
    fake.services = ["a.B", "c.D"]
    error = refusal(way, tmp_path, address)
    assert (error.code, error.errno) == (StatusCode.UNIMPLEMENTED, 1001)
    assert error.text == "service x.Y is not in the map; known services: a.B, c.D"


@pytest.mark.parametrize("way", [waiting, future])
def test_a_refusal_is_told_with_what_the_centers_know(
    way: Way, tmp_path: Path, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    gone = f"127.0.0.1:{free_port()}"
    fake.map = map_of(1, 1, gone)
    assert refusal(way, tmp_path, address).text == f"{gone}: cannot connect: Connection refused"
    fake.map, fake.ready = None, False  # and the client starts with what it remembers
    error = refusal(way, tmp_path, address)
    assert error.code is StatusCode.UNAVAILABLE
    assert error.text == (
        f"{gone}: cannot connect: Connection refused;"
        f" no center can tell who offers service x.Y ({address}: it has no map yet)"
    )


@ways
@pytest.mark.parametrize("shown", ["", "another-token-that-is-wrong-0123456789"])
def test_a_center_that_wants_a_token_is_told_as_that(way: Way, shown: str, tmp_path: Path) -> None:
    wanted, own = tmp_path / "wanted", tmp_path / "own"
    for path, token in ((wanted, "the-token-of-this-cluster-0123456789"), (own, shown)):
        path.write_text(token + "\n")
        path.chmod(0o600)
    fake = FakeCenter(queue.SimpleQueue())
    with RpcServer("127.0.0.1:0", threads=1, token_file=str(wanted)) as server:
        server.add_service(fake)
        given = {"token_file": str(own)} if shown else {}
        error = refusal(way, tmp_path, server.address, **given)
    assert (error.code, error.errno) == (StatusCode.UNAUTHENTICATED, 1004)
    assert error.text.startswith("no center may tell us of service x.Y")
    assert "token" in error.text
