"""`libevrpc status`, and `list` of a whole cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from libevrpc import RpcServer
from libevrpc.gen import center_pb2
from libevrpc.server.servicer import service_base
from unit_test.fix_net import free_port
from unit_test.interop.clusters import Cluster

pytestmark = pytest.mark.live

Base: Any = service_base(center_pb2.DESCRIPTOR.services_by_name["Center"])


class FakeCenter(Base):
    """Tells what it is given."""

    told = center_pb2.StatusResponse()

    def status(self, request: Any) -> center_pb2.StatusResponse:
        return self.told


@pytest.fixture
def center() -> Iterator[tuple[FakeCenter, str]]:
    """Give a center that tells what a test wants, and its address."""
    fake = FakeCenter()
    with RpcServer("127.0.0.1:0") as server:
        server.add_service(fake)
        yield fake, server.address


def leaderless() -> center_pb2.StatusResponse:
    told = center_pb2.StatusResponse(id=2, state="LOOKING", epoch=3, version=4, uptime_s=1.23456)
    told.centers.add(id=1, state="UNKNOWN", address="127.0.0.1:5", last_heard_s=-1.0)
    told.servers.add(
        address="127.0.0.1:9", services=["a.B"], weight=1.5, state="SUSPECT", age_s=2.0, load=0.25
    )
    return told


def test_what_is_not_known_is_null(run: Any, center: tuple[FakeCenter, str]) -> None:
    fake, address = center
    fake.told = leaderless()
    assert run("status", address, "--json").json == {
        "id": 2,
        "state": "LOOKING",
        "leader": None,
        "epoch": 3,
        "version": 4,
        "uptime_s": 1.235,
        "waiting": None,
        "centers": [
            {
                "id": 1,
                "state": "UNKNOWN",
                "leader": None,
                "address": "127.0.0.1:5",
                "last_heard_s": None,
                "heard_by_leader": False,
                "trouble": None,
            }
        ],
        "servers": [
            {
                "address": "127.0.0.1:9",
                "services": ["a.B"],
                "weight": 1.5,
                "state": "SUSPECT",
                "age_s": 2.0,
                "load": 0.25,
            }
        ],
    }


def test_people_get_tables(
    run: Any, center: tuple[FakeCenter, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, address = center
    fake.told = leaderless()
    plain = run("status", address).out
    assert "center 2 LOOKING, no leader, epoch 3 version 4, up 1 s" in plain
    assert "127.0.0.1:9  SUSPECT  25%   1.5     2.0 s ago  a.B" in plain
    assert "never" in plain
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    painted = run("status", address).out
    assert "SUSPECT" in painted
    assert painted != plain
    monkeypatch.setitem(sys.modules, "rich", None)
    assert run("status", address).out == plain


def test_a_follower_tells_of_the_others_what_their_leader_says(
    run: Any, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    told = fake.told = center_pb2.StatusResponse(id=1, state="FOLLOWING", leader=3)
    told.centers.add(id=1, state="FOLLOWING", leader=3, address="a:1")
    told.centers.add(id=2, state="FOLLOWING", leader=3, address="a:2", last_heard_s=20.0)
    told.centers.add(id=3, state="LEADING", leader=3, address="a:3", last_heard_s=0.04)

    def heard() -> list[str]:
        lines = run("status", address).out.splitlines()
        return [line.partition(":")[2][1:].strip() for line in lines if "a:" in line]

    assert heard() == ["this one", "20.0 s ago", "0.0 s ago"], "of an earlier version"
    told.centers[2].heard_by_leader = True
    assert heard() == ["this one", "not by the leader", "0.0 s ago"]
    told.centers[1].heard_by_leader = True
    assert heard() == ["this one", "by the leader", "0.0 s ago"]
    told.leader = told.id = 3
    assert heard() == ["0.0 s ago", "20.0 s ago", "this one"]


def test_a_center_with_another_list_is_shown_as_such_with_what_to_do(
    run: Any, center: tuple[FakeCenter, str]
) -> None:
    fake, address = center
    fake.told = leaderless()
    fake.told.centers[0].trouble = "another centers list"
    shown = run("status", address).out
    assert "127.0.0.1:5  another centers list" in shown
    assert "\ncenter 1: counts for nothing" in shown
    assert "list_generation" in shown
    assert run("status", address, "--json").json["centers"][0]["trouble"] == "another centers list"


def test_a_center_that_waits_says_why(run: Any, center: tuple[FakeCenter, str]) -> None:
    fake, address = center
    fake.told = leaderless()
    fake.told.waiting = "state is empty: 2 of 3 centers heard"
    assert "\nstate is empty: 2 of 3 centers heard\n" in run("status", address).out
    assert run("status", address, "--json").json["waiting"] == fake.told.waiting


def test_the_first_center_that_answers_is_shown(run: Any, center: tuple[FakeCenter, str]) -> None:
    fake, address = center
    fake.told = leaderless()
    dead = f"127.0.0.1:{free_port()}"
    assert run("status", f"{dead},{address}", "--json").json["id"] == 2
    assert run("status", f"center://{address},{dead}", "--json").json["id"] == 2
    assert run("status", dead).status == 3


def test_a_server_is_no_center(run: Any, serving: Any) -> None:
    done = run("status", serving.address)
    assert (done.status, "evrpc.Center" in done.err) == (1, True)
    assert done.err.endswith("; not a center")


def test_the_port_on_which_centers_speak_to_each_other_is_told_apart(run: Any) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        done = run("status", f"127.0.0.1:{port}")
    hint = "; this looks like the peer port: centers are asked at their client port"
    assert (done.status, done.err.endswith(hint)) == (1, True)


@pytest.mark.slow
def test_a_real_cluster_is_shown_listed_and_called(run: Any, tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        leader = cluster.leader()
        empty = run("list", cluster.target(), "--json").json["error"]
        assert empty["text"] == f"no server is registered at {cluster.target()}"
        _, address = cluster.server()
        cluster.await_servers(address)
        told = run("status", cluster.address(leader), "--json").json
        assert (told["id"], told["state"], told["leader"]) == (leader, "LEADING", leader)
        assert [each["id"] for each in told["centers"]] == [leader]
        (server,) = told["servers"]
        assert (server["address"], server["services"], server["state"]) == (address, ["Echo"], "UP")
        listed = run("list", cluster.target(), "--json").json["services"]
        assert [each["name"] for each in listed] == ["Echo"]
        assert listed[0]["servers"] == [{"address": address, "state": "UP"}]
        assert run("list", f"{cluster.target()}/Echo", "--json").json["services"] == listed
        assert run("call", cluster.target(), "Echo.echo", "-d", '["hi"]').json == "hi"
