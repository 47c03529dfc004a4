"""What a server answers: results, numbered errors, or the end of the connection."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from libevrpc.core.hello import HELLO_FIELD
from libevrpc.core.objects import ContentType, encode_arguments
from libevrpc.core.prpc_encode import encode_request
from unit_test.fix_rpc import WAIT_S, Raw, Serving, body, echo_pb2, wait_until

pytestmark = pytest.mark.live
ECHO = "echo.EchoService.Echo"


def error(raw: Raw) -> tuple[int, str]:
    reply = raw.reply()
    return reply.error_code, reply.error_text


@pytest.mark.parametrize("inline", [False, True])
def test_answers_by_full_and_by_short_name(serve: Callable[..., Serving], inline: bool) -> None:
    raw = serve(inline=inline).raw()
    for name in (ECHO, "EchoService.Echo"):
        raw.call(name, body("hi"), 7)
        reply = raw.reply()
        assert reply.error_code == 0
        assert reply.correlation_id == 7
        assert echo_pb2.EchoResponse.FromString(reply.payload).response == "hi"


def test_unknown_names_get_the_numbers_that_brpc_gives(serving: Serving) -> None:
    raw = serving.raw()
    for name, errno in (
        ("Nobody.Echo", 1001),
        ("no.such.Service.Echo", 1002),
        ("echo.EchoService.Nothing", 1002),
        ("EchoService.Nothing", 1002),
    ):
        raw.call(name, b"")
        assert error(raw)[0] == errno


@pytest.mark.parametrize("inline", [False, True])
def test_bad_requests_cost_only_themselves(serve: Callable[..., Serving], inline: bool) -> None:
    raw = serve(inline=inline).raw()
    bomb = zlib.compress(bytes(70 << 20))
    for payload, more, text in (
        (b"\xff\xff", {}, "request is not an echo.EchoRequest"),
        (b"junk", {"compress_type": 3}, "body is not zlib"),
        (b"", {"compress_type": 9}, "compress_type 9 is not supported"),
        (bomb, {"compress_type": 3}, "inflates to over"),
        (b"{", {"content_type": 1}, "body is not an echo"),
        (b"", {"content_type": 77}, "content_type 77"),
    ):
        raw.call(ECHO, payload, **more)
        code, told = error(raw)
        assert (code, text in told) == (1003, True), told
    raw.call(ECHO, zlib.compress(body("still here")), compress_type=3)
    assert raw.reply().payload == body("still here")


def test_json_and_text_bodies_are_answered_in_kind(serving: Serving) -> None:
    raw = serving.raw()
    raw.call(ECHO, b'{"request":"hi"}', content_type=1)
    assert raw.reply().payload == b'{"response": "hi"}'
    raw.call(ECHO, b'request: "hi"', content_type=3)
    assert raw.reply().payload == b'response: "hi"\n'


@pytest.mark.parametrize("inline", [False, True])
def test_failing_handlers_fail_their_call_alone(
    serve: Callable[..., Serving], inline: bool, caplog: pytest.LogCaptureFixture
) -> None:
    serving = serve(inline=inline)
    raw = serving.raw()
    for text, told in (
        ("raise", (2001, "ValueError: as asked")),
        ("exit", (2001, "SystemExit: 3")),
        ("unprintable", (2001, "UnprintableError")),
        ("wrong type", (2002, "handler returned str, not an echo.EchoResponse")),
    ):
        raw.call(ECHO, body(text))
        assert error(raw) == told
    assert "Traceback" in caplog.text
    raw.call(ECHO, body("ok"))
    assert raw.reply().error_code == 0
    assert serving.server.statistics().failed == 4


def test_plain_objects_take_positions_and_keywords(serving: Serving) -> None:
    raw = serving.raw()
    for arguments, keywords, result in (((1, 2), {}, b"\x03"), ((1, 2), {"scale": 4}, b"\x0c")):
        payload = encode_arguments(arguments, keywords, ContentType.MSGPACK)
        raw.call("Foo.Sum", payload, content_type=ContentType.MSGPACK)
        assert raw.reply().payload == result
    raw.call("Foo.who", b"[]", content_type=ContentType.JSON)
    assert raw.reply().payload == b'"who"'
    raw.call("Foo.Sum", b"[1,2]", content_type=ContentType.JSON)
    assert raw.reply().payload == b"3"
    for name, payload, errno in (
        ("Foo.Sum", b"[", 1003),
        ("Foo._hidden", b"[]", 1002),
        ("Foo.limit", b"[]", 1002),
        ("Foo.who", b"[1]", 1003),
    ):
        raw.call(name, payload, content_type=ContentType.JSON)
        assert error(raw)[0] == errno


def test_garbage_ends_its_connection_and_no_other(serving: Serving) -> None:
    good = serving.raw()
    good.call(ECHO, body("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    for junk in (b"GARBAGE GARBAGE", b"PRPC" + b"\xff" * 8, b"PRPC\0\0\0\x02\0\0\0\x02\xff\xff"):
        bad = serving.raw()
        bad.send(junk)
        assert bad.closed()
    serving.handler.release.set()
    assert good.reply().error_code == 0


def test_what_came_before_the_garbage_is_answered(serve: Callable[..., Serving]) -> None:
    raw = serve(inline=True).raw()
    frame = encode_request("echo.EchoService", "Echo", 5, body("before"), timeout_ms=5000)
    raw.send(frame + b"junk!")
    assert raw.reply().payload == body("before")
    assert raw.closed()


def test_hello_is_answered_before_the_call_is(serving: Serving) -> None:
    raw = serving.raw()
    fields = {HELLO_FIELD: "version=1;client_timeout_ms=30000"}
    raw.call(ECHO, body("hold"), user_fields=fields)
    raw.sock.settimeout(WAIT_S)
    assert b"evrpc-hello" in raw.sock.recv(4096)
    serving.handler.release.set()
    assert raw.reply().error_code == 0


def test_calls_of_one_connection_run_side_by_side(serving: Serving) -> None:
    raw = serving.raw()
    raw.call(ECHO, body("hold"), 1)
    assert serving.handler.entered.wait(WAIT_S)
    for call_id in (2, 3, 4):
        raw.call(ECHO, body("quick"), call_id)
    assert {raw.reply().correlation_id for _ in range(3)} == {2, 3, 4}
    serving.handler.release.set()
    assert raw.reply().correlation_id == 1


def test_a_reply_that_is_too_long_becomes_an_error(serve: Callable[..., Serving]) -> None:
    serving = serve(body_bytes_max=8192, inflated_bytes_max=1 << 20)
    raw = serving.raw()
    raw.call(ECHO, zlib.compress(body("x" * 9000)), compress_type=3)
    code, text = error(raw)
    assert code == 2002
    assert "limit 4096" in text


def test_describe_hands_out_descriptors(serving: Serving) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool

    from libevrpc.gen.internal_pb2 import DescribeRequest, DescribeResponse

    raw = serving.raw()
    raw.call("evrpc.Internal.Describe", b"")
    told = DescribeResponse.FromString(raw.reply().payload)
    assert [each.name for each in told.services] == ["echo.EchoService", "Foo"]
    signature = told.services[1].methods[0].signature
    assert signature == "(*numbers: float, scale: float = 1) -> float"
    pool = DescriptorPool()
    for file in told.files:
        pool.AddSerializedFile(file)
    assert pool.FindServiceByName("echo.EchoService").methods_by_name["Echo"]
    raw.call("evrpc.Internal.Describe", DescribeRequest(service="EchoService").SerializeToString())
    assert len(DescribeResponse.FromString(raw.reply().payload).services) == 1
    raw.call("evrpc.Internal.Describe", DescribeRequest(service="Nope").SerializeToString())
    assert error(raw) == (1001, "no service 'Nope' here; services: echo.EchoService, Foo")


def test_ping_and_cancel_are_served(serving: Serving) -> None:
    from libevrpc.gen.internal_pb2 import CancelRequest, CancelResponse

    raw = serving.raw()
    raw.call("evrpc.Internal.Ping", b"")
    assert raw.reply().error_code == 0
    raw.call(ECHO, body("until cancelled"), 41)
    assert serving.handler.entered.wait(WAIT_S)
    for call_id, found in ((41, True), (41, False)):
        raw.call("evrpc.Internal.Cancel", CancelRequest(correlation_id=call_id).SerializeToString())
        assert CancelResponse.FromString(raw.reply().payload).found is found
    assert serving.handler.cancelled.wait(WAIT_S)
    assert serving.server.statistics().cancelled == 1


def test_one_way_calls_are_run_and_not_answered(serving: Serving) -> None:
    raw = serving.raw()
    fields = {"evrpc-oneway": "1"}
    raw.call(ECHO, body("told"), 1, user_fields=fields)
    raw.call("Nobody.Echo", b"", 2, user_fields=fields)
    raw.call(ECHO, body("asked"), 3)
    assert raw.reply().correlation_id == 3
    wait_until(lambda: sorted(serving.handler.calls) == ["asked", "told"])


def test_frames_that_are_no_request_cost_only_themselves(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    from libevrpc.core.prpc_encode import encode_reply

    raw = serving.raw()
    raw.send(encode_reply(9, b"to a server"))
    assert error(raw)[0] == 1001
    raw.send(b"PRPC" + (1).to_bytes(4, "big") + (5).to_bytes(4, "big") + b"x")
    raw.call(ECHO, body("still here"))
    assert raw.reply().payload == body("still here")
    assert "frames dropped" in caplog.text
