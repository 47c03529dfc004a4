"""`log_calls`: a line for each request and each reply, on both sides, of every kind of end."""

from __future__ import annotations

import http.client
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from libevrpc import RpcError, ServerController
from libevrpc.client.call_log import LoggedCall
from libevrpc.core.objects import encode_arguments
from libevrpc.core.prpc_encode import encode_request
from unit_test.fix_net import free_port
from unit_test.fix_parallel import TRACED
from unit_test.fix_rpc import Serving, body, request, wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0

Serve = Callable[..., Serving]
Lines = Callable[..., list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Give a function that returns the lines of one side with call numbers and times cut out."""
    caplog.set_level(logging.DEBUG, "libevrpc.calls")

    def of(side: str, count: int) -> list[str]:
        def found() -> list[str]:
            said = [each for each in caplog.records if each.name == f"libevrpc.calls.{side}"]
            return [f"{each.levelname} {each.getMessage()}" for each in said]

        wait_until(lambda: len(found()) >= count)
        return [re.sub(r" call=\d+| ms=[0-9.]+|:\d{4,5}\b", "", each) for each in found()]

    return of


@pytest.mark.parametrize("inline", [False, True])
def test_a_call_is_two_lines_on_each_side(serve: Serve, lines: Lines, inline: bool) -> None:
    serving = serve(log_calls=True, inline=inline)
    serving.echo(log_calls=True)(request("hi"))
    size = len(body("hi"))
    assert lines("server", 2) == [
        f"INFO request peer=127.0.0.1 method=echo.EchoService/Echo log_id=0 bytes={size}"
        " timeout_ms=5000",
        f"INFO reply peer=127.0.0.1 method=echo.EchoService/Echo OK bytes={size}",
    ]
    assert lines("client", 2) == [
        f"INFO request peer=127.0.0.1 method=echo.EchoService.Echo bytes={size} try=1",
        f"INFO reply peer=127.0.0.1 method=echo.EchoService.Echo OK bytes={size}",
    ]


def test_plain_objects_futures_and_one_way_calls_are_told_too(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True)
    client = serving.client(log_calls=True)
    assert client.call("Foo.add", 1, 2) == 3
    assert client.future("Foo.add", 1, 2).result(WAIT_S) == 3
    client.oneway("Foo.add", 1, 2)
    assert client.broadcast("Foo.add", 1, 2) == {serving.address: 3}
    kinds = [each.split()[1] for each in lines("client", 8)]
    assert kinds == ["request", "reply", "request", "reply", "request", "sent", "request", "reply"]
    kinds = [each.split()[1] for each in lines("server", 8)]
    assert sorted(kinds) == ["reply"] * 4 + ["request"] * 4


class Quick:
    """Served on the loop thread."""

    def add(self, one: int, two: int) -> int:
        return one + two

    def slow(self) -> None:
        threading.Event().wait(0.02)


def test_inline_handlers_that_take_the_request_alone_are_told_too(
    serve: Serve, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    serving = serve(log_calls=True)
    serving.server.add_object(Quick(), inline=True)
    client = serving.client()
    assert client.call("Quick.add", 1, 2) == 3
    client.call("Quick.slow")
    with pytest.raises(RpcError):
        client.call("Quick.add", 1, "x")
    kinds = [" ".join(each.split()[:2]) for each in lines("server", 6)]
    assert kinds == ["INFO request", "INFO reply"] * 2 + ["INFO request", "WARNING reply"]
    assert any("inline handler held its loop method=Quick.slow" in each for each in caplog.messages)


def test_failures_are_warnings_with_their_reason(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True)
    client = serving.client(log_calls=True)
    for method in ("Foo.nothing", "Foo.add"):
        with pytest.raises(RpcError):
            client.call(method, "x")
    failed = [each for each in lines("server", 4) if each.startswith("WARNING reply")]
    assert "UNIMPLEMENTED (1002): " in failed[0]
    assert "UNKNOWN (2001): TypeError: " in failed[1]
    failed = [each for each in lines("client", 4) if each.startswith("WARNING reply")]
    assert "UNIMPLEMENTED" in failed[0]
    assert "TypeError" in failed[1]


def test_a_try_that_is_repeated_is_told(serve: Serve, lines: Lines) -> None:
    serving = serve()
    target = f"list://127.0.0.1:{free_port()},{serving.address}"
    client = serving.client(target, log_calls=True, balancer="round_robin")
    for _ in range(2):
        assert client.call("Foo.add", 1, 2) == 3
    said = lines("client", 6)
    assert sum("once more" in each for each in said) == 1
    assert sum("try=2" in each for each in said) == 1


def test_a_call_that_nobody_takes_is_one_line(serve: Serve, lines: Lines) -> None:
    serving = serve()
    client = serving.client(log_calls=True)
    with pytest.raises(RpcError):
        client.call("Foo.add", 1, 2, timeout_s=-1.0)
    (said,) = lines("client", 1)
    assert said.startswith("WARNING reply peer=- method=Foo.add DEADLINE_EXCEEDED")


def test_a_deadline_is_told(serve: Serve, lines: Lines) -> None:
    raw = serve(log_calls=True).raw()
    raw.call("echo.EchoService.Echo", body("hold"), timeout_ms=50)
    assert raw.reply().error_code == 1008
    assert "DEADLINE_EXCEEDED (1008)" in lines("server", 2)[1]


def test_calls_that_get_no_reply_say_why(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True)
    cancelled = serving.client().stub(_echo()).Echo.future(request("until cancelled"))
    assert serving.handler.entered.wait(WAIT_S)
    cancelled.cancel()
    assert lines("server", 2)[1].endswith(": cancelled by the caller")
    serving.handler.entered.clear()
    raw = serving.raw()
    raw.call("echo.EchoService.Echo", body("until cancelled"))
    assert serving.handler.entered.wait(WAIT_S)
    raw.close()
    assert lines("server", 4)[3].endswith(": peer closed the connection")


def _echo() -> object:
    from unit_test.fix_rpc import ECHO

    return ECHO


def test_who_shows_no_token_is_told(serve: Serve, lines: Lines, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    serving = serve(log_calls=True, token_file=str(token))
    raw = serving.raw()
    raw.call("echo.EchoService.Echo", body("hi"))
    assert raw.reply().error_code == 1004
    assert "UNAUTHENTICATED (1004)" in lines("server", 2)[1]


def test_requests_over_http_are_told(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True)
    connection = http.client.HTTPConnection(serving.address, timeout=WAIT_S)
    headers = {"Content-Type": "application/json"}
    for method in ("add", "nothing"):
        connection.request("POST", f"/Foo/{method}", b"[1,2]", headers)
        connection.getresponse().read()
    connection.close()
    said = lines("server", 4)
    assert said[0].startswith("INFO request peer=127.0.0.1 method=Foo/add")
    assert said[1] == "INFO reply peer=127.0.0.1 method=Foo/add OK"
    assert "UNIMPLEMENTED (1002)" in said[3]


def test_our_own_pings_are_not_told(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True)
    raw = serving.raw()
    raw.send(encode_request("evrpc.Internal", "Ping", 5, b"", timeout_ms=1000))
    raw.reply()
    raw.call("echo.EchoService.Echo", body("hi"))
    raw.reply()
    assert len(lines("server", 2)) == 2


class Talkative:
    """Sends more metadata than its server takes."""

    def talk(self, controller: ServerController) -> str:
        controller.response_fields["all"] = "x" * 8192
        return "done"


def test_a_reply_beyond_limits_of_requests_is_told_too(serve: Serve, lines: Lines) -> None:
    serving = serve(log_calls=True, header_bytes_max=4096)
    serving.server.add_object(Talkative())
    raw = serving.raw()
    raw.call("Talkative.talk", encode_arguments((), {}, 1001), content_type=1001)
    assert lines("server", 2)[1] == "INFO reply peer=127.0.0.1 method=Talkative/talk OK"
    raw.close()


def test_nothing_is_made_where_nothing_is_logged(serving: Serving, lines: Lines) -> None:
    client = serving.client()
    assert client.new_call is not LoggedCall
    assert client.call("Foo.add", 1, 2) == 3
    assert lines("server", 0) == lines("client", 0) == []


SERVER = """
import signal, sys, threading
from libevrpc import RpcClient, RpcServer
from libevrpc.logqueue import install
install(sys.argv[1], "server")
server = RpcServer("127.0.0.1:0", log_calls=True, drain_s=10.0)
entered = threading.Event()
class Foo:
    def slow(self):
        entered.set()
        threading.Event().wait(0.2)
        return 1
server.add_object(Foo())
server.start()
client = RpcClient(server.address)
call = client.future("Foo.slow")
before = signal.getsignal(signal.SIGTERM)
def ready():
    entered.wait()
    while signal.getsignal(signal.SIGTERM) is before:  # run() has not come so far
        threading.Event().wait(0.01)
    print("ready", flush=True)
threading.Thread(target=ready).start()
server.run()
"""
CLIENT = """
import sys, threading
from libevrpc import RpcClient
from libevrpc.logqueue import DailyFiles, install
class Slow(DailyFiles):
    def write(self, lines):
        threading.Event().wait(0.05)
        super().write(lines)
import libevrpc.logqueue
libevrpc.logqueue.DailyFiles = Slow
install(sys.argv[1], "client", close_s=20.0)
client = RpcClient(sys.argv[2], log_calls=True)
for number in range(200):
    client.call("Foo.add", number, 1)
print("ready", flush=True)
threading.Event().wait()
"""


def logged_until_sigterm(code: str, *arguments: str) -> int:
    """Run a program until it says that it is ready, then send it SIGTERM."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(TRACED, None)  # coverage takes SIGTERM for itself
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        return program.wait(WAIT_S)


def test_a_server_loses_no_line_at_sigterm(tmp_path: Path) -> None:
    assert logged_until_sigterm(SERVER, str(tmp_path)) == 0
    (file,) = tmp_path.iterdir()
    said = file.read_text()
    assert said.count(" request call=") == said.count(" OK bytes=") == 1
    assert said.splitlines()[-1].endswith("stopped")


def test_a_client_program_loses_no_line_at_sigterm(serving: Serving, tmp_path: Path) -> None:
    ended = logged_until_sigterm(CLIENT, str(tmp_path), serving.address)
    assert ended == -signal.SIGTERM
    (file,) = tmp_path.iterdir()
    said = file.read_text()
    assert said.count(" request call=") == said.count(" OK bytes=") == 200
