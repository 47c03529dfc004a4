"""mprpc on a server's port: bare replies and an end, resets for whatever went wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from libevrpc.core.mprpc import Order, encode_request
from libevrpc.credentials import write_secret
from unit_test.fix_rpc import WAIT_S, Serving, body, echo_pb2, wait_until

pytestmark = pytest.mark.live


class Consumer:
    """Calls once, as the original does; but it receives to the end."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), WAIT_S)

    def send(self, text: str, method: str = "Echo", order: Order = "little") -> None:
        self.sock.sendall(encode_request("EchoService", method, body(text), order))

    def receive(self) -> bytes:
        data = b""
        while chunk := self.sock.recv(1 << 20):
            data += chunk
        return data

    def text(self) -> str:
        found: str = echo_pb2.EchoResponse.FromString(self.receive()).response
        return found

    def was_reset(self) -> bool:
        try:
            data = self.receive()
        except ConnectionResetError:
            return True
        pytest.fail(f"an end that reads as success, after {data[:20]!r}")


@pytest.fixture
def consumer() -> object:
    made: list[Consumer] = []

    def make(serving: Serving) -> Consumer:
        made.append(Consumer(serving.address))
        return made[-1]

    yield make
    for each in made:
        each.sock.close()


Make = Callable[[Serving], Consumer]


@pytest.mark.parametrize("size", [0, 4, 3584, 3 << 20])
@pytest.mark.parametrize("inline", [False, True])
def test_replies_of_every_size_arrive_whole(
    serve: Callable[..., Serving], consumer: Make, size: int, inline: bool
) -> None:
    caller = consumer(serve(inline=inline))
    caller.send("x" * size)
    assert caller.text() == "x" * size


def test_requests_may_come_byte_by_byte(serving: Serving, consumer: Make) -> None:
    caller = consumer(serving)
    caller.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in encode_request("echo.EchoService", "Echo", body("slow")):
        caller.sock.sendall(bytes((byte,)))
    assert caller.text() == "slow"


def test_only_the_first_of_glued_requests_is_run(
    serving: Serving, consumer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caller = consumer(serving)
    whole = encode_request("EchoService", "Echo", body("one"))
    caller.sock.sendall(whole + encode_request("EchoService", "Echo", body("two")))
    assert caller.text() == "one"
    assert serving.handler.calls == ["one"]
    assert "bytes behind the request of an mprpc connection" in caplog.text


def test_the_variant_answers_with_lengths_and_goes_on(
    serve: Callable[..., Serving], consumer: Make
) -> None:
    caller = consumer(serve(wires=("all", "mprpc-be")))
    for text in ("one", "two"):
        caller.send(text, order="big")
    file = caller.sock.makefile("rb")
    for text in ("one", "two"):
        size = int.from_bytes(file.read(4), "big")
        assert echo_pb2.EchoResponse.FromString(file.read(size)).response == text
    file.close()


@pytest.mark.parametrize(
    ("request_bytes", "named"),
    [
        (encode_request("Nobody", "Echo", b""), "no service 'Nobody' here; services: "),
        (encode_request("EchoService", "Other", b""), "has no method 'Other'"),
        (encode_request("EchoService", "Echo", b"\xff\xff"), "request is not an echo.EchoRequest"),
        (encode_request("EchoService", "Echo", body("raise")), "ValueError: as asked"),
        (encode_request("Foo", "add", b""), "content_type 0 is not for plain objects"),
        (b"\x04\0\0\0\x0a\xff\xff\xff", "header cannot be decoded"),
        (b"\x06\0\0\0\x0a\x01S\x12\x01M", None),
    ],
)
def test_errors_are_resets_and_named_in_the_log(
    serve: Callable[..., Serving],
    consumer: Make,
    caplog: pytest.LogCaptureFixture,
    request_bytes: bytes,
    named: str | None,
) -> None:
    serving = serve(half_request_timeout_s=0.2)
    caller = consumer(serving)
    caller.sock.sendall(request_bytes if named else request_bytes[:-1])
    assert caller.was_reset()
    if named:
        assert named in caplog.text
    again = consumer(serving)
    again.send("still here")
    assert again.text() == "still here"


def test_floods_of_errors_are_counted_in_few_lines(
    serving: Serving, consumer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        caller = consumer(serving)
        caller.send("", method="Other")
        assert caller.was_reset()
    lines = [each for each in caplog.messages if each.startswith("mprpc call failed")]
    assert 1 <= len(lines) < 20
    assert "method=EchoService.Other count=1: UNIMPLEMENTED (1002): " in lines[0]


def test_a_name_with_a_line_end_is_no_line_of_the_log(
    serving: Serving, consumer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caller = consumer(serving)
    caller.sock.sendall(encode_request("x\nCRITICAL y", "z\r", b""))
    assert caller.was_reset()
    (line,) = [each for each in caplog.messages if each.startswith("mprpc call failed")]
    assert "method=x\\nCRITICAL y.z\\r count=1" in line
    assert line.isprintable()


def test_deadlines_stops_and_tokens_reset_too(
    serve: Callable[..., Serving], consumer: Make, tmp_path: object
) -> None:
    late = consumer(serve(call_timeout_max_s=0.1))
    late.send("until cancelled")
    assert late.was_reset()
    stopped = serve()
    caller = consumer(stopped)
    caller.send("until cancelled")
    assert stopped.handler.entered.wait(WAIT_S)
    stop = threading.Thread(target=stopped.server.stop, args=(0.0,))
    stop.start()
    assert caller.was_reset()
    stop.join(WAIT_S)
    write_secret(f"{tmp_path}/token", "a test's", "opensesameplease")
    guarded = serve(token_file=f"{tmp_path}/token")
    barred = consumer(guarded)
    barred.send("let me in")
    assert barred.was_reset()
    assert guarded.handler.calls == []


def test_a_server_that_stops_still_answers_who_cannot_be_sent_elsewhere(
    serving: Serving, consumer: Make
) -> None:
    raw = serving.raw()
    raw.call("echo.EchoService.Echo", body("hold"), 1)
    late = consumer(serving)  # has connected, and will ask when the server stops already
    silent = consumer(serving)
    wait_until(lambda: serving.server.statistics().connections == 3)
    assert serving.handler.entered.wait(WAIT_S)
    stop = threading.Thread(target=serving.server.stop, args=(WAIT_S,))
    stop.start()
    while (raw.call("Foo.who", b"[]", 2, content_type=1), raw.reply())[1].error_code != 2003:
        pass  # it has not begun to stop
    late.send("late")
    assert late.text() == "late"
    serving.handler.release.set()
    assert raw.reply().correlation_id == 1
    assert silent.was_reset()  # an end would be the answer to what it may be sending now
    stop.join(WAIT_S)


@pytest.mark.parametrize("wires", [("all",), ("http",)])
def test_a_connection_that_says_nothing_ends_by_a_reset_where_mprpc_is_spoken(
    serve: Callable[..., Serving], consumer: Make, wires: tuple[str, ...]
) -> None:
    caller = consumer(serve(handshake_timeout_s=0.05, wires=wires))
    if "all" in wires:
        assert caller.was_reset()
    else:
        assert caller.receive() == b""


def test_caller_that_leaves_cancels_its_call(serving: Serving, consumer: Make) -> None:
    caller = consumer(serving)
    caller.send("until cancelled")
    assert serving.handler.entered.wait(WAIT_S)
    caller.sock.close()
    assert serving.handler.cancelled.wait(WAIT_S)
    wait_until(lambda: serving.server.statistics().connections == 0)


SERVER = """
import sys
from libevrpc import RpcServer
from unit_test.fix_rpc import ECHO, EchoHandler
server = RpcServer("127.0.0.1:0")
server.add_service(EchoHandler(), ECHO)
server.start()
print(server.address, flush=True)
server.run()
"""


def test_a_killed_server_leaves_no_success_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        caller = Consumer(address)
        done = Consumer(address)
        done.send("one")
        assert done.text() == "one"
        caller.send("until cancelled")
        silent = Consumer(address)  # nobody can tell yet that it would speak mprpc
        again = Consumer(address)  # answered behind the first, which so has begun
        again.send("two")
        assert again.text() == "two"
        os.kill(process.pid, signal.SIGKILL)
        assert caller.was_reset()
        assert silent.was_reset()
        for each in (caller, done, again, silent):
            each.sock.close()
