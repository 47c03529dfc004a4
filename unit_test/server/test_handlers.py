"""What handlers hold of their calls, and the ways to write them."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from libevrpc import (
    ClientController,
    RpcClient,
    RpcError,
    RpcServer,
    ServerController,
    StatusCode,
    UsageError,
    inline,
    service_base,
)
from libevrpc.server.methods import shown_signature
from unit_test.fix_rpc import ECHO, WAIT_S, Foo, Serving, echo_pb2, request, wait_until

pytestmark = pytest.mark.live


class Direct:
    """An inline handler that takes only the request."""

    @inline
    def echo(self, message: Any) -> Any:
        if message.request == "raise":
            raise ValueError("inline")
        if message.request == "refuse":
            raise RpcError(StatusCode.NOT_FOUND, "nothing", details={"why": "gone"})
        if message.request == "wrong":
            return None
        return echo_pb2.EchoResponse(response=message.request)


def test_inline_handlers_answer_and_fail_like_others() -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_service(Direct(), ECHO)
    with server, RpcClient(server.address) as client:
        echo = client.stub(ECHO).Echo
        assert echo(request("hi")).response == "hi"
        for text, errno in (("raise", 2001), ("refuse", 4005), ("wrong", 2002)):
            with pytest.raises(RpcError) as caught:
                echo(request(text))
            assert caught.value.errno == errno
        assert server.statistics().failed == 3
        assert server.statistics().worker_threads == 0
        controller = ClientController()
        controller.compress_type = 2
        assert echo(request("squeezed"), controller=controller).response == "squeezed"
        assert server.statistics().worker_threads >= 1  # more, where the first is slow to start
        echo.oneway(request("told"))
        assert echo(request("after")).response == "after"
    assert server.statistics().succeeded >= 2


class Fields(dict[str, str]):
    """Goes when its controller goes."""


class Keeping:
    """Remembers, weakly, what its controllers hold."""

    def __init__(self) -> None:
        self.fields: list[weakref.ref[Fields]] = []

    @inline
    def echo(self, message: Any, controller: ServerController) -> Any:
        fields = controller.response_fields = Fields()
        self.fields.append(weakref.ref(fields))
        return echo_pb2.EchoResponse(response=message.request)


def test_an_answered_call_is_freed_without_the_collector() -> None:
    keeping = Keeping()
    with RpcServer("127.0.0.1:0") as server, RpcClient(server.address) as client:
        server.add_service(keeping, ECHO)
        gc.disable()
        try:
            for _ in range(5):
                client.stub(ECHO).Echo(request("hi"))
            wait_until(lambda: [each() for each in keeping.fields[:4]] == [None] * 4)
        finally:
            gc.enable()


def test_service_base_is_overridden_method_by_method() -> None:
    base = service_base(ECHO)

    class Snake(base):  # type: ignore[misc, valid-type]
        """Overrides in snake_case."""

        def echo(self, message: Any) -> Any:
            return echo_pb2.EchoResponse(response=f"snake {message.request}")

    server = RpcServer("127.0.0.1:0")
    server.add_service(Snake())
    bare = RpcServer("127.0.0.1:0")
    bare.add_service(base())
    with server, bare, RpcClient(server.address) as client, RpcClient(bare.address) as other:
        assert client.stub(ECHO).Echo(request("x")).response == "snake x"
        with pytest.raises(RpcError, match=r"echo.EchoService.Echo is not implemented here") as no:
            other.stub(ECHO).Echo(request("x"))
        assert no.value.code is StatusCode.UNIMPLEMENTED


class Inside:
    """Looks at its controller."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.hooks: list[str] = []

    def look(self, controller: ServerController) -> list[Any]:
        controller.response_fields["seen"] = "yes"
        controller.response_attachment = controller.attachment[::-1]
        controller.compress_type = 3
        return [
            controller.service,
            controller.method,
            dict(controller.metadata),
            controller.log_id,
            0.0 < controller.time_remaining_s() <= 5.0,
            controller.deadline_s > 0,
            controller.cancelled,
            controller.wait_cancelled(0.0),
            controller.failed(),
            controller.error_text(),
        ]

    def fail(self, controller: ServerController) -> str:
        controller.set_failed("as told", StatusCode.ABORTED)
        assert controller.failed()
        assert controller.error_text() == "as told"
        controller.response_fields["why"] = "told"
        return "ignored"

    def fail_ok(self, controller: ServerController) -> str:
        try:
            controller.set_failed("no", StatusCode.OK)
        except UsageError as exc:
            return str(exc)
        return ""

    def late(self, controller: ServerController) -> None:
        controller.on_cancel(lambda: self.hooks.append("first"))
        controller.on_cancel(lambda: self.hooks.append("second"))
        self.entered.set()
        controller.wait_cancelled(WAIT_S)
        controller.on_cancel(lambda: self.hooks.append("late"))

    def unsendable(self) -> object:
        return {1, 2}

    def unsendable_later(self, controller: ServerController) -> None:
        controller.defer().reply({1, 2})


def test_controller_shows_the_call_and_shapes_the_reply() -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_object(Inside())
    with server, RpcClient(server.address) as client:
        controller = ClientController()
        controller.metadata = {"who": "me"}
        controller.attachment = b"abc"
        controller.log_id = 9
        seen = client.call("Inside.look", controller=controller)
        assert seen[:4] == ["Inside", "look", {"who": "me"}, 9] or seen[2]["who"] == "me"
        assert seen[4:] == [True, True, False, False, False, ""]
        assert controller.response_metadata == {"seen": "yes"}
        assert controller.response_attachment == b"cba"
        with pytest.raises(RpcError, match="as told") as caught:
            client.call("Inside.fail")
        assert caught.value.code is StatusCode.ABORTED
        assert caught.value.details["why"] == "told"
        assert "pass the code" in client.call("Inside.fail_ok")
        for method in ("unsendable", "unsendable_later"):
            with pytest.raises(RpcError, match="value cannot be sent"):
                client.call(f"Inside.{method}")


def test_cancel_hooks_run_once_whenever_they_were_set() -> None:
    inside = Inside()
    server = RpcServer("127.0.0.1:0")
    server.add_object(inside)
    with server, RpcClient(server.address) as client:
        while not inside.entered.is_set():  # its time may be over before a worker has it
            future = client.future("Inside.late", timeout_s=0.1)
            assert isinstance(future.exception(WAIT_S), RpcError)
        wait_until(lambda: inside.hooks == ["first", "second", "late"])


class Odd:
    """Fails in ways that cannot be told."""

    def ok(self) -> None:
        raise RpcError(StatusCode.OK, "not an error")

    def huge(self) -> None:
        raise RpcError(StatusCode.ABORTED, "number", errno=1 << 40)

    def negative(self) -> None:
        raise RpcError(StatusCode.ABORTED, "number", errno=-5)

    def fields(self, controller: ServerController) -> str:
        controller.response_fields = {"number": 5}  # type: ignore[dict-item]
        return "x"

    def later(self, controller: ServerController) -> None:
        controller.response_fields = {1: b"x"}  # type: ignore[dict-item]
        controller.defer().reply("x")

    def both(self, controller: ServerController) -> None:
        controller.response_fields = 7  # type: ignore[assignment]
        raise RpcError(StatusCode.ABORTED, "told all the same")


def test_whatever_a_handler_fails_with_its_caller_is_answered() -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_object(Odd())
    server.add_object(Odd(), "Inline", inline=True)
    with server, RpcClient(server.address) as client:
        for service in ("Odd", "Inline"):
            for method, errno in (
                ("ok", 2001),
                ("huge", 2001),
                ("negative", 2001),
                ("fields", 2002),
                ("later", 2002),
                ("both", 4010),
            ):
                with pytest.raises(RpcError) as caught:
                    client.call(f"{service}.{method}")
                assert (method, caught.value.errno) == (method, errno)


@pytest.mark.parametrize(
    ("inline", "text"),
    [
        ("Echo", r"inline = 'Echo': write True, or a list of methods of .*inline=\['Echo'\]"),
        (["Ehco"], "has no method 'Ehco' to inline; did you mean 'Echo'?"),
        (["Echo", "zzz"], "has no method 'zzz' to inline; known: Echo"),
        ([7], "has no method 7 to inline"),
        (7, "inline = 7: write True, or a list"),
    ],
)
def test_inline_names_methods_that_there_are(inline: Any, text: str) -> None:
    class Plain:
        """Has the same method as the service."""

        def Echo(self) -> None:  # noqa: N802
            pass

    server = RpcServer("127.0.0.1:0")
    with pytest.raises(UsageError, match=text):
        server.add_object(Plain(), inline=inline)
    with pytest.raises(UsageError, match=text):
        server.add_service(Direct(), ECHO, inline=inline)
    server.add_object(Plain(), inline=["Echo"])
    server.add_service(Direct(), ECHO, inline={"Echo"})


@pytest.mark.parametrize("data", [{}, [], (), "abc", b"", 5, 1.5, None, print, lambda: None])
def test_data_and_functions_are_no_objects_to_serve(data: object) -> None:
    with pytest.raises(UsageError, match="serve an object of a class"):
        RpcServer("127.0.0.1:0").add_object(data, "X")


def test_a_method_that_hides_its_parameters_is_named() -> None:
    class Holder:
        """Has a builtin for a method."""

        newest = max

    with pytest.raises(UsageError, match=r"Holder.newest does not tell its parameters"):
        RpcServer("127.0.0.1:0").add_object(Holder())


def test_signature_of_a_type_that_only_a_checker_imports_is_shown_as_written() -> None:
    def sum_of(prices: Prices, controller: ServerController) -> float:  # type: ignore[name-defined]  # noqa: F821
        return 0.0

    assert shown_signature(sum_of) == "(prices: 'Prices') -> 'float'"


def test_who_asks_for_a_service_that_is_not_here_is_told_which_are(serving: Serving) -> None:
    client = serving.client()
    with pytest.raises(RpcError) as failed:
        client.call("foo.Sum", 1)
    assert (failed.value.errno, failed.value.text) == (
        1001,
        "no service 'foo' here; services: Foo, echo.EchoService",
    )
    for number in range(25):
        serving.server.add_object(Foo(), f"pkg.Other{number:02}")
    with pytest.raises(RpcError) as failed:
        client.call("pkg.Nope.Sum", 1)
    assert failed.value.errno == 1002
    assert failed.value.text.endswith(", pkg.Other17 and 7 more")
    assert "evrpc.Internal" not in failed.value.text
