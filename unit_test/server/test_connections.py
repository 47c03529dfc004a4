"""What one connection may do to itself and to the others: half requests, floods, full tables."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from libevrpc import RpcClient, RpcServer, ServerController
from libevrpc.clock import monotonic_s
from libevrpc.core.hello import HELLO_FIELD, ONEWAY_FIELD
from libevrpc.core.prpc_encode import encode_request
from libevrpc.gen.internal_pb2 import CancelRequest, CancelResponse
from libevrpc.server.session import Session
from unit_test.fix_rpc import WAIT_S, Raw, Serving, body, wait_until

pytestmark = pytest.mark.live
NAME = "echo.EchoService.Echo"


def test_requests_that_always_overlap_reads_are_not_half_a_request(
    serve: Callable[..., Serving],
) -> None:
    raw = serve(half_request_timeout_s=0.8).raw()
    frame = encode_request("echo.EchoService", "Echo", 1, body("x"), timeout_ms=5000)
    until_s = monotonic_s() + 1.8
    raw.send(frame[:10])
    while monotonic_s() < until_s:  # a message begins with every read, and is whole at the next
        raw.send(frame[10:] + frame[:10])
        assert raw.reply().error_code == 0
    assert raw.closed()  # the last one never becomes whole


def test_calls_of_a_full_connection_can_be_cancelled(serve: Callable[..., Serving]) -> None:
    serving = serve(calls_per_connection_max=2)
    raw = serving.raw()
    for call_id in (1, 2):
        raw.call(NAME, body("until cancelled"), call_id)
    wait_until(lambda: serving.server.statistics().in_flight == 2)
    raw.call("evrpc.Internal.Cancel", CancelRequest(correlation_id=2).SerializeToString(), 3)
    reply = raw.reply()
    assert (reply.correlation_id, reply.error_code) == (3, 0)
    assert CancelResponse.FromString(reply.payload).found
    assert serving.server.statistics().in_flight == 1


def test_one_way_calls_hear_nothing_of_their_deadline(serving: Serving) -> None:
    raw = serving.raw()
    fields = {ONEWAY_FIELD: "1"}
    calls = 0
    while not serving.handler.entered.is_set():  # its time may be over before a worker has it
        calls += 1
        raw.call(NAME, body("until cancelled"), 1, timeout_ms=30, user_fields=fields)
        wait_until(lambda: serving.server.statistics().expired == calls)  # noqa: B023 - called here
    assert serving.handler.cancelled.wait(WAIT_S)
    raw.call(NAME, body("next"), 2)
    assert raw.reply().correlation_id == 2


def test_dropped_frames_are_counted_not_listed(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    raw = serving.raw()
    raw.send(struct.pack(">4sII", b"PRPC", 0, 1) * 1000)
    raw.call(NAME, body("next"))
    assert raw.reply().error_code == 0
    raw.close()
    wait_until(lambda: not serving.server.statistics().connections)
    told = [text for text in caplog.messages if "frames dropped" in text]
    assert len(told) == 2
    assert "count=1 " in told[0]
    assert "count=999 " in told[1]


def test_slow_reader_whose_pings_we_do_not_read_is_alive(serve: Callable[..., Serving]) -> None:
    serving = serve(client_timeout_s=0.4, unsent_pause_bytes=1 << 16)
    raw = serving.raw()
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    fields = {HELLO_FIELD: "version=1;client_timeout_ms=400"}
    raw.call(NAME, body("x" * 8_000_000), 1, user_fields=fields)
    ping = encode_request("evrpc.Internal", "Ping", -2, b"", timeout_ms=1000)
    over = threading.Event()

    def ping_on() -> None:
        while not over.wait(0.05):
            raw.send(ping)

    pinger = threading.Thread(target=ping_on)
    pinger.start()
    wait_until(lambda: all(each._transport.paused for each in sessions(serving)))  # noqa: SLF001
    assert not over.wait(1.2)
    while raw.reply().correlation_id != 1:  # what was pinged before that long answer was there
        pass
    assert raw.reply().correlation_id == -2
    assert serving.server.statistics().timed_out == 0
    over.set()
    pinger.join(WAIT_S)


class Where:
    """Tells which kind of thread runs it."""

    def direct(self) -> str:
        return threading.current_thread().name

    def controlled(self, controller: ServerController) -> str:
        return threading.current_thread().name


@pytest.mark.parametrize("method", ["direct", "controlled"])
def test_compressed_requests_of_inline_methods_are_inflated_by_workers(method: str) -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_object(Where(), inline=True)
    with server, RpcClient(server.address) as client:
        assert "loop" in client.call(f"Where.{method}")
        raw = Raw(server.address)
        squeezed = gzip.compress(b"\x90")
        raw.call(f"Where.{method}", squeezed, content_type=1001, compress_type=2)
        assert b"libevrpc-work" in raw.reply().payload
        raw.close()
        assert server.statistics().calls == 2


def test_internal_requests_are_short_and_not_compressed(serving: Serving) -> None:
    raw = serving.raw()
    raw.call("evrpc.Internal.Ping", gzip.compress(b""), 1, compress_type=2)
    raw.call("evrpc.Internal.Ping", bytes(4097), 2)
    for call_id, text in ((1, "takes no compressed requests"), (2, "up to 4096 bytes")):
        reply = raw.reply()
        assert (reply.correlation_id, reply.error_code) == (call_id, 1003)
        assert text in reply.error_text
    assert serving.server.statistics().refused == 2
    raw.call("evrpc.Internal.Ping", b"", 3)
    assert raw.reply().error_code == 0


def sessions(serving: Serving) -> list[Session]:
    return [each for shard in serving.server._shards for each in shard.sessions]  # noqa: SLF001
