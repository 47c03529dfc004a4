"""Arguments of a wrong type: one clear error, raised where the call is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libevrpc import ClientController, RpcClient, RpcError
from libevrpc import UsageError as Misuse
from unit_test.fix_rpc import Serving, request

pytestmark = pytest.mark.live


def controller_with(**given: Any) -> ClientController:
    controller = ClientController()
    for name, value in given.items():
        setattr(controller, name, value)
    return controller


WRONG = [
    ({"timeout_s": "3"}, "timeout_s is of type str: must be a number of seconds, such as 2.5"),
    ({"timeout_s": [1]}, "timeout_s is of type list: must be a number of seconds"),
    ({"timeout_s": float("nan")}, "timeout_s=nan: a finite time up to 2000000 seconds"),
    ({"key": 5}, "key is of type int: must be bytes or text, such as str(number)"),
    ({"key": "\udcff"}, "argument key is '\\udcff': must be UTF-8 text, or bytes"),
    ({"controller": {}}, "controller is of type dict: must be a ClientController()"),
]
WRONG_INSIDE = [
    ("metadata", {1: "2"}, "name 1 in controller.metadata is of type int: must be text"),
    ("metadata", {"a": 2}, "controller.metadata['a'] is of type int: must be text"),
    ("metadata", [("a", "b")], "controller.metadata is of type list: must be a dict of texts"),
    ("metadata", "x", "controller.metadata is of type str: must be a dict of texts"),
    ("attachment", "text", "controller.attachment is of type str: must be bytes"),
    ("attachment", None, "controller.attachment is of type NoneType: must be bytes"),
    ("attachment", memoryview(b"four").cast("i"), "of type memoryview: must be bytes"),
    ("log_id", "7", "controller.log_id is of type str: must be a whole number"),
    ("log_id", 1 << 63, "controller.log_id is 9223372036854775808: must fit into 64 bits"),
]


@pytest.mark.parametrize("way", ["waiting", "future", "oneway"])
@pytest.mark.parametrize("kind", ["object", "stub"])
def test_a_wrong_type_is_named_at_the_call(serving: Serving, kind: str, way: str) -> None:
    client = serving.client()
    calls = ways_of(client, serving, kind)
    call = calls[way]
    cases = WRONG + [
        ({"controller": controller_with(**{name: value})}, text)
        for name, value, text in WRONG_INSIDE
    ]
    for given, text in cases:
        with pytest.raises(Misuse) as refused:
            call(**given)
        assert text in str(refused.value)
    assert serving.handler.calls == []
    assert calls["waiting"](timeout_s=5) is not None, "the client is none the worse"


def ways_of(client: RpcClient, serving: Serving, kind: str) -> dict[str, Callable[..., Any]]:
    """Return how a call is made, each without its arguments."""
    if kind == "object":
        return {
            "waiting": lambda **given: client.call("Foo.Sum", 1, **given),
            "future": lambda **given: client.future("Foo.Sum", 1, **given),
            "oneway": lambda **given: client.oneway("Foo.Sum", 1, **given),
        }
    echo = serving.echo()
    return {
        "waiting": lambda **given: echo(request("x"), **given),
        "future": lambda **given: echo.future(request("x"), **given),
        "oneway": lambda **given: echo.oneway(request("x"), **given),
    }


@pytest.mark.parametrize("method", [5, None, b"Foo.Sum", ["Foo.Sum"], ("Foo.Sum",)])
def test_a_method_is_a_text(serving: Serving, method: Any) -> None:
    client = serving.client()
    for call in (client.call, client.future, client.oneway):
        with pytest.raises(Misuse, match="write it as text"):
            call(method)


@pytest.mark.parametrize("attachment", [b"raw", bytearray(b"raw"), memoryview(b"raw")])
def test_what_is_like_bytes_can_be_attached(serving: Serving, attachment: Any) -> None:
    controller = controller_with(attachment=attachment, metadata=None, log_id=-1)
    assert serving.client().call("Foo.Sum", 1, key="k", controller=controller) == 1


def test_a_mistyped_argument_of_a_stub_is_named_with_what_was_meant(serving: Serving) -> None:
    echo = serving.echo()
    for way in (echo, echo.future, echo.oneway, echo.broadcast):
        with pytest.raises(
            TypeError, match=r"^no argument 'timeout' here; did you mean 'timeout_s'"
        ):
            way(request("hi"), timeout=3)
    with pytest.raises(TypeError, match="^no argument 'mode' here; known: controller, idempotent"):
        echo.future(request("hi"), mode="all")
    assert serving.handler.calls == []


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [("timeout", "timeout_s"), ("time_out_s", "timeout_s"), ("idempotant", "idempotent")],
)
def test_a_mistyped_argument_that_went_to_a_plain_object_is_named(
    serving: Serving, mistyped: str, meant: str
) -> None:
    client = serving.client()
    calls = [client.call, client.broadcast, lambda *a, **k: client.future(*a, **k).result()]
    for call in calls:
        with pytest.raises(RpcError) as failed:
            call("Foo.Sum", 2, **{mistyped: 3})
        assert failed.value.text.endswith(f"; a caller's own argument is {meant}")
    with pytest.raises(RpcError) as failed:
        client.call("Foo.Sum", 2, other=3)
    assert failed.value.text.endswith("got an unexpected keyword argument 'other'")
