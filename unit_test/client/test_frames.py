"""Requests that cannot be framed: they fail by name, and cost nobody else anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libevrpc import ClientController, RpcClient, RpcError, ServerController, StatusCode
from unit_test.fix_rpc import ECHO, WAIT_S, Serving, request, wait_until

pytestmark = pytest.mark.live


def noted(chars: int) -> ClientController:
    controller = ClientController()
    controller.metadata = {"note": "x" * chars}
    return controller


def test_metadata_too_long_fails_the_call_alone(serve: Callable[..., Serving]) -> None:
    serving = serve()
    client = serving.client()
    echo = client.stub(ECHO).Echo
    for call in (echo, lambda message, **more: echo.future(message, **more).result(WAIT_S)):
        controller = noted(70_000)
        with pytest.raises(RpcError, match="names and metadata of") as caught:
            call(request("x"), controller=controller)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert controller.failed()
    assert echo(request("next")).response == "next"


def test_connection_says_hello_though_its_first_request_could_not_be_framed(
    serve: Callable[..., Serving],
) -> None:
    serving = serve()
    client = serving.client()
    echo = client.stub(ECHO).Echo
    with pytest.raises(RpcError):
        echo(request("x"), controller=noted(70_000))
    echo(request("hello"))
    (channel,) = client.route("echo.EchoService")[0]._channels.values()  # noqa: SLF001
    wait_until(lambda: channel.connection()._upkeep.greeted)  # noqa: SLF001


def test_server_is_not_held_busy_by_requests_that_could_not_be_framed(
    serve: Callable[..., Serving],
) -> None:
    servings = [serve(), serve()]
    target = "list://" + ",".join(each.address for each in servings)
    with RpcClient(target) as client:
        echo = client.stub(ECHO).Echo
        for _ in range(10):
            with pytest.raises(RpcError):
                echo(request("x"), controller=noted(70_000))
        states = client.route("echo.EchoService")[0]._balancer.states()  # noqa: SLF001
        assert [state.in_flight for state in states] == [0, 0]


def test_body_and_metadata_together_are_within_the_limit(serve: Callable[..., Serving]) -> None:
    serving = serve(body_bytes_max=1 << 20)
    client = serving.client(body_bytes_max=1 << 20)
    beside = client.future("Foo.Sum", 1, timeout_s=WAIT_S)
    controller = noted(40_000)
    with pytest.raises(RpcError, match="limit 1048576") as caught:
        client.call("Foo.Sum", "y" * ((1 << 20) - 8192), controller=controller)
    assert caught.value.errno == 1003
    assert beside.result(WAIT_S) == 1
    assert serving.server.statistics().accepted == 1


def test_reply_and_its_metadata_together_are_within_the_limit(
    serve: Callable[..., Serving],
) -> None:
    class Wordy:
        def say(self, controller: ServerController) -> str:
            controller.response_fields["note"] = "x" * 40_000
            return "y" * ((1 << 20) - 8192)

    serving = serve(body_bytes_max=1 << 20)
    serving.server.add_object(Wordy())
    client = serving.client(body_bytes_max=1 << 20)
    with pytest.raises(RpcError, match="reply of") as caught:
        client.call("Wordy.say")
    assert caught.value.errno == 2002
    assert client.call("Foo.Sum", 1) == 1
    assert serving.server.statistics().accepted == 1
