"""`libevrpc list` of a whole cluster: its map, and what its servers say of themselves."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from libevrpc import RpcServer
from libevrpc.core.clustermap import ServerState
from unit_test.fix_net import free_port
from unit_test.registry.fake_center import FakeCenter, map_of

pytestmark = pytest.mark.live


@pytest.fixture
def center() -> Iterator[tuple[FakeCenter, str]]:
    """Give a center that tells what a test wants, and its address."""
    fake = FakeCenter(queue.SimpleQueue())
    with RpcServer("127.0.0.1:0") as server:
        server.add_service(fake)
        yield fake, server.address


def test_services_and_servers_of_the_map_are_listed(
    run: Any, serving: Any, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    dead = f"127.0.0.1:{free_port()}"
    found = map_of(1, 1, serving.address, dead, service="Foo")
    servers = tuple(
        replace(each, state=ServerState.SUSPECT) if each.address == dead else each
        for each in found.servers
    )
    fake.map = replace(found, servers=servers)
    (listed,) = run("list", f"center://{address}", "--json").json["services"]
    assert (listed["name"], listed["plain"]) == ("Foo", True)
    assert {each["name"] for each in listed["methods"]} >= {"Sum", "who"}
    assert sorted(listed["servers"], key=lambda each: each["state"]) == [
        {"address": dead, "state": "SUSPECT"},
        {"address": serving.address, "state": "UP"},
    ]
    shown = run("list", f"center://{address}/Foo").out.splitlines()
    assert shown[0] == "Foo  (plain object)"
    assert shown[-1].startswith("  at 127.0.0.1:")
    assert f"{dead} (SUSPECT)" in shown[-1]


def test_a_service_whose_servers_do_not_answer_is_listed_all_the_same(
    run: Any, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    dead = f"127.0.0.1:{free_port()}"
    fake.map = map_of(1, 1, dead)
    done = run("list", f"center://{address}")
    assert done.status == 0
    assert done.out.splitlines() == [
        "x.Y",
        f"  not described: {dead}: cannot connect: Connection refused",
        f"  at {dead}",
    ]
    (listed,) = run("list", f"center://{address}", "--json").json["services"]
    assert listed == {
        "name": "x.Y",
        "flaw": f"{dead}: cannot connect: Connection refused",
        "servers": [{"address": dead, "state": "UP"}],
    }


def test_an_empty_map_is_one_line_and_a_failure(run: Any, center: tuple[FakeCenter, str]) -> None:
    fake, address = center
    fake.map = map_of(1, 1)
    for target in (f"center://{address}", f"center://{address}/x.Y"):
        done = run("list", target)
        said = f"libevrpc: UNAVAILABLE (4014): no server is registered at {target}"
        assert (done.status, done.out, done.err) == (1, "", said)
    assert run("list", f"center://{address}", "--json").json == {
        "error": {
            "code": "UNAVAILABLE",
            "errno": 4014,
            "text": f"no server is registered at center://{address}",
        }
    }


def test_a_service_that_is_not_in_the_map_is_told_with_those_there_are(
    run: Any, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    fake.map = map_of(1, 1, "127.0.0.1:1")
    done = run("list", f"center://{address}/a.B")
    assert done.status == 1
    assert done.err.endswith("(1001): service a.B is not in the map; known services: x.Y")


def test_centers_that_cannot_tell_are_told_with_their_reasons(
    run: Any, center: tuple[FakeCenter, str], serving: Any
) -> None:
    fake, address = center
    dead = f"127.0.0.1:{free_port()}"
    done = run("list", f"center://{dead}")
    assert (done.status, f"(111): {dead}: cannot connect" in done.err) == (3, True)
    done = run("list", f"center://{dead},127.0.0.1:{free_port()}", "--json")
    assert (done.status, done.json["error"]["errno"]) == (3, 111)
    fake.ready = False
    done = run("list", f"center://{dead},{address}")
    assert (done.status, done.out) == (1, "")
    assert "no center can tell (" in done.err
    assert f"{address}: it has no map yet" in done.err
    fake.raw_map = b"junk"
    assert "no cluster map" in run("list", f"center://{address}").err
    assert run("list", f"center://{serving.address}").err.endswith("; not a center")
