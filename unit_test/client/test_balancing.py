"""Several servers: spreading, dead ones, keys, retries and probes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.core.balancers import Balancer, RandomBalancer
from libevrpc.core.endpoints import Endpoint
from unit_test.fix_net import free_port
from unit_test.fix_rpc import WAIT_S, wait_until

pytestmark = pytest.mark.live


class Named:
    """Tells which server it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fail_with: RpcError | None = None
        self.calls = 0

    def who(self) -> str:
        self.calls += 1
        if self.fail_with is not None:
            raise self.fail_with
        return self.name


Trio = list[tuple[RpcServer, Named]]


@pytest.fixture
def trio() -> Iterator[Trio]:
    servers = []
    for name in "abc":
        server = RpcServer(f"127.0.0.1:{free_port()}")  # it is nobody else's while it stands still
        named = Named(name)
        server.add_object(named)
        server.start()
        servers.append((server, named))
    yield servers
    for server, _ in servers:
        server.stop(0.0)


def target(trio: Trio) -> str:
    return "list://" + ",".join(server.address for server, _ in trio)


@pytest.mark.parametrize("balancer", ["p2c", "round_robin", "random", "weighted", "vnode"])
def test_every_server_gets_its_share(trio: Trio, balancer: str) -> None:
    with RpcClient(target(trio), balancer=balancer) as client:
        assert len({client.call("Named.who") for _ in range(30)}) <= len(client.endpoints()) == 3

        def share() -> bool:
            counts = Counter(client.call("Named.who") for _ in range(300))
            return len(counts) == 3 and min(counts.values()) >= 40

        wait_until(share)  # one that a pause made look slow is tried again soon


def test_equal_keys_go_to_one_server(trio: Trio) -> None:
    with RpcClient(target(trio)) as client:
        owners = {
            key: {client.call("Named.who", key=key) for _ in range(5)}
            for key in map(str, range(30))
        }
    assert all(len(each) == 1 for each in owners.values())
    assert len(set.union(*owners.values())) == 3


def test_dead_server_costs_no_call_and_comes_back(trio: Trio) -> None:
    address = trio[0][0].address
    with RpcClient(target(trio), balancer="round_robin") as client:
        for _ in range(6):
            client.call("Named.who")
        trio[0][0].stop(0.0)
        assert {client.call("Named.who", idempotent=True) for _ in range(50)} == {"b", "c"}
        again = RpcServer(address)
        again.add_object(Named("again"))
        with again:
            wait_until(lambda: client.call("Named.who") == "again")


@pytest.mark.parametrize("balancer", ["p2c", "round_robin", RandomBalancer])
def test_the_settings_say_how_long_a_failing_server_is_left_alone(
    balancer: str | type[Balancer],
) -> None:
    dead = Endpoint("127.0.0.1", free_port())
    client = RpcClient(
        dead.address, balancer=balancer, set_aside_min_s=700.0, set_aside_max_s=900.0
    )
    with client:
        chooser = client.route("Named")[0]._balancer  # noqa: SLF001  # whom no call reaches  # noqa: SLF001
        wait_until(chooser.states)
        chooser.set_aside(dead, 0.0)
        assert chooser.next_probe_s == 700.0
        chooser.probed(dead, 0.0, ok=False)
        assert chooser.next_probe_s == 900.0


def test_futures_are_retried_too(trio: Trio) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with RpcClient(f"{target(trio)},{dead}", balancer="round_robin") as client:
        futures = [client.future("Named.who") for _ in range(40)]
        assert {future.result(WAIT_S) for future in futures} == {"a", "b", "c"}


def test_overloaded_server_is_asked_once_and_another_answers(trio: Trio) -> None:
    held, release = threading.Event(), threading.Event()

    class Full:
        """Keeps the only worker, so that the next call waits and a third is refused."""

        def hold(self) -> None:
            held.set()
            release.wait(WAIT_S)

    named = Named("full")
    full = RpcServer("127.0.0.1:0", workers=1, queue_max=1)
    full.add_object(Full())
    full.add_object(named)
    with full, RpcClient(full.address) as filler:
        filling = [filler.future("Full.hold", timeout_s=WAIT_S)]
        assert held.wait(WAIT_S)
        filling.append(filler.future("Full.hold", timeout_s=WAIT_S))
        wait_until(lambda: full.statistics().waiting == 1)
        with RpcClient(f"{target(trio)},{full.address}", balancer="round_robin") as client:
            assert {client.call("Named.who") for _ in range(9)} <= {"a", "b", "c"}
        assert full.statistics().refused > 0
        release.set()
        for each in filling:
            each.result(WAIT_S)
    assert named.calls == 0


def test_answers_are_never_retried(trio: Trio) -> None:
    for _, named in trio:
        named.fail_with = RpcError(StatusCode.NOT_FOUND, "nothing")
    with RpcClient(target(trio)) as client:
        with pytest.raises(RpcError, match="nothing"):
            client.call("Named.who", idempotent=True)
        assert sum(named.calls for _, named in trio) == 1


def test_all_dead_is_an_error_in_time() -> None:
    dead = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
    with RpcClient(f"list://{dead}", timeout_s=3.0) as client:
        with pytest.raises(RpcError) as caught:
            client.call("Named.who")
        assert caught.value.code is StatusCode.UNAVAILABLE


def test_one_way_calls_are_balanced_too(trio: Trio) -> None:
    with RpcClient(target(trio), balancer="round_robin") as client:
        for _ in range(9):
            client.oneway("Named.who")
        wait_until(lambda: [named.calls for _, named in trio] == [3, 3, 3])


def test_one_way_calls_avoid_a_server_that_refuses_connections(trio: Trio) -> None:
    dead = f"127.0.0.1:{free_port()}"
    servers = f"{target(trio)},{dead}"
    with RpcClient(servers, balancer="round_robin", set_aside_min_s=25.0) as client:
        for _ in range(4):
            client.call("Named.who")  # one of them finds out
        before = sum(named.calls for _, named in trio)
        for _ in range(9):
            client.oneway("Named.who")
        wait_until(lambda: sum(named.calls for _, named in trio) == before + 9)


def test_servers_come_and_go_with_the_registry() -> None:
    from random import Random

    from libevrpc.channel.background import acquire_loop, release_loop
    from libevrpc.client.router import Router
    from libevrpc.core.balancers import balancer_named
    from libevrpc.core.endpoints import Endpoint, EndpointSet
    from libevrpc.core.retry import RetryBudget, RetryPolicy

    loop = acquire_loop()
    retired: list[str] = []

    class Channel:
        """Notes what the router does with it."""

        ended = True

        def __init__(self, endpoint: Endpoint) -> None:
            self.endpoint = endpoint

        def retire(self) -> None:
            retired.append(self.endpoint.address)

        def close(self, text: str) -> None:
            retired.append(text)

    rng = Random(1)
    router = Router(balancer_named("p2c", rng), RetryBudget(), RetryPolicy(), rng, loop, Channel)  # type: ignore[arg-type]
    told: list[int] = []
    router.when(router.known, lambda: told.append(1))
    assert router.pick(None, (), 0.0) is None
    assert told == []
    one, two = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
    router.update(EndpointSet((one, two)))
    assert told == [1]
    router.when(router.known, lambda: told.append(2))
    assert told == [1, 2]
    picked = router.pick(None, (one,), 0.0)
    assert picked is not None
    assert picked[0] == two
    assert router.pick(None, (one, two), 0.0) is not None
    router.update(EndpointSet((one,)))
    assert retired == ["127.0.0.1:2"]
    assert router.pick(b"key", (), 0.0) is not None
    router.update(EndpointSet(()))
    assert not router.known.is_set()
    router.close("closed")
    with pytest.raises(RpcError, match="client is closed"):
        router.pick(None, (), 0.0)
    release_loop()


class Raising(Balancer):
    """Cannot take any list."""

    def refreshed(self, ready: object, endpoints: object) -> None:
        raise ZeroDivisionError("as planned")


@pytest.mark.parametrize("scheme", ["list", "file"])
def test_a_balancer_that_raises_is_named_and_its_servers_are_called(
    trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    first, *others = (server.address for server, _ in trio)
    listed = tmp_path / "servers"
    listed.write_text(f"{first}\n")
    where = f"file://{listed}" if scheme == "file" else f"list://{first}"
    with RpcClient(where, balancer=Raising, state_dir=str(tmp_path)) as client:
        assert client.call("Named.who", timeout_s=WAIT_S) == "a"
        if scheme == "file":
            listed.write_text("\n".join(others))
            wait_until(lambda: len(client.endpoints()) == 2)
            assert client.call("Named.who") in "bc"
    said = [each for each in caplog.records if each.levelname != "INFO"]
    assert said
    assert {each.getMessage() for each in said} == {
        "balancer Raising raised in refreshed: the servers are called all the same"
    }
    assert "as planned" in caplog.text
