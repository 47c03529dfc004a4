"""Calls over HTTP on the port of a real server, byte by byte."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from libevrpc import Errno, ServerController
from libevrpc.credentials import write_secret
from libevrpc.errors import RpcError, StatusCode
from unit_test.fix_rpc import WAIT_S, Serving, body, echo_pb2, wait_until
from unit_test.server.http.http_peer import ECHO_PATH, JSON, HttpPeer, error_of, post

pytestmark = pytest.mark.live

Serve = Callable[..., Serving]
Peer = Callable[[Serving], HttpPeer]
PROTOBUF = "Content-Type: application/x-protobuf\r\n"


def test_a_call_with_json_is_answered_with_json(serve: Serve, peer: Peer) -> None:
    answer = peer(serve()).ask(ECHO_PATH, '{"request":"hé"}')
    assert answer.status == 200
    assert answer.headers == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
    }
    assert json.loads(answer.body) == {"response": "hé"}


def test_the_bytes_of_an_answer(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    http.send(post("/Foo/Sum", "[1,2]", JSON + "Connection: close\r\n"))
    assert http.to_end() == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
        b"Connection: close\r\n\r\n3"
    )


def test_plain_objects_take_arrays_and_names(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    assert http.ask("/Foo/Sum", "[1, 2]").body == b"3"
    assert http.ask("/Foo/Sum", '[2,{"**":{"scale":3}}]').body == b"6"
    assert http.ask("/Foo/Sum", '{"scale":3}').body == b"0"
    assert http.ask("/Foo/who", "[]").body == b'"who"'
    assert http.ask("/Foo/%53um", "[4]").body == b"4"


def test_protobuf_bodies_are_taken_too(serve: Serve, peer: Peer) -> None:
    answer = peer(serve()).ask(ECHO_PATH, body("hi"), PROTOBUF)
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert echo_pb2.EchoResponse.FromString(answer.body).response == "hi"


def test_short_names_and_inline_methods(serve: Serve, peer: Peer) -> None:
    http = peer(serve(inline=True))
    assert http.ask("/EchoService/Echo", '{"request":"a"}').status == 200
    assert http.echo("b") == "b"


@pytest.mark.parametrize("inline", [False, True])
def test_compressed_bodies_are_inflated_within_the_limit(
    serve: Serve, peer: Peer, inline: bool
) -> None:
    http = peer(serve(inline=inline, inflated_bytes_max=1 << 20))
    headers = JSON + "Content-Encoding: gzip\r\n"
    answer = http.ask(ECHO_PATH, gzip.compress(b'{"request":"small"}'), headers)
    assert json.loads(answer.body) == {"response": "small"}
    answer = http.ask(ECHO_PATH, gzip.compress(bytes(2 << 20)), headers)
    assert answer.status == 400
    assert "inflates" in error_of(answer)["text"]
    assert http.ask(ECHO_PATH, b"no gzip", headers).status == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "data", "status", "errno"),
    [
        ("POST", "/no.Such/Echo", JSON, "{}", 404, Errno.NO_METHOD),
        ("POST", "/Nobody/Echo", JSON, "{}", 404, Errno.NO_SERVICE),
        ("POST", "/echo.EchoService/Nope", JSON, "{}", 404, Errno.NO_METHOD),
        ("POST", "/evrpc.Internal/Ping", JSON, "{}", 404, Errno.NO_SERVICE),
        ("POST", "/no.Such/Echo", "", "{}", 404, Errno.NO_METHOD),
        ("POST", "/just-one", JSON, "{}", 404, Errno.NO_SERVICE),
        ("POST", "/a/b/c", JSON, "{}", 404, Errno.NO_SERVICE),
        ("POST", "/", JSON, "{}", 404, Errno.NO_SERVICE),
        ("POST", ECHO_PATH, JSON, "{", 400, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, JSON, "", 400, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, JSON, '{"nope":1}', 400, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, JSON, "[" * 10_000, 400, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, PROTOBUF, b"\xff", 400, Errno.BAD_REQUEST),
        ("POST", "/Foo/Sum", JSON, '["a"]', 500, Errno.INTERNAL),
        ("POST", "/Foo/Sum", JSON, "7", 400, Errno.BAD_REQUEST),
        ("POST", "/Foo/who", JSON, "[1]", 400, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, "", "{}", 415, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, "Content-Type: text/plain\r\n", "{}", 415, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, JSON + "Content-Encoding: br\r\n", "{}", 415, Errno.BAD_REQUEST),
        ("POST", ECHO_PATH, JSON + "X-Timeout-Ms: soon\r\n", "{}", 400, Errno.BAD_REQUEST),
        ("PUT", ECHO_PATH, JSON, "{}", 405, Errno.BAD_REQUEST),
        ("PUT", "/no.Such/Echo", JSON, "{}", 404, Errno.NO_METHOD),
        ("POST", "/health", JSON, "{}", 405, Errno.BAD_REQUEST),
    ],
)
def test_what_is_wrong_is_named_and_the_connection_goes_on(
    serve: Serve,
    peer: Peer,
    method: str,
    path: str,
    headers: str,
    data: str | bytes,
    status: int,
    errno: int,
) -> None:
    http = peer(serve())
    answer = http.ask(path, data, headers, method)
    error = error_of(answer)
    assert (answer.status, error["errno"]) == (status, errno)
    assert error["text"]
    assert http.echo("still there") == "still there"
    if status == 405:
        assert "OPTIONS" in answer.headers["allow"]


def test_a_handlers_failure_is_told(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    answer = http.ask(ECHO_PATH, '{"request":"raise"}')
    assert answer.status == 500
    assert error_of(answer) == {"code": "UNKNOWN", "errno": 2001, "text": "ValueError: as asked"}
    answer = http.ask(ECHO_PATH, '{"request":"wrong type"}')
    assert (answer.status, error_of(answer)["errno"]) == (500, Errno.BAD_RESPONSE)


def test_deadlines_come_by_either_header(serve: Serve, peer: Peer) -> None:
    serving = serve()
    http = peer(serving)
    for header in ("X-Timeout-Ms: 30", "grpc-timeout: 30m"):
        while not serving.handler.entered.is_set():  # its time may be over before a worker has it
            answer = http.ask(ECHO_PATH, '{"request":"until cancelled"}', JSON + header + "\r\n")
            assert (answer.status, error_of(answer)["code"]) == (504, "DEADLINE_EXCEEDED")
        assert serving.handler.cancelled.wait(WAIT_S)
        serving.handler.entered.clear()
        serving.handler.cancelled.clear()
    assert http.echo("on") == "on"


class Told:
    """Shows what came with a call, and sends something back."""

    def meta(self, controller: ServerController) -> dict[str, str]:
        controller.response_fields["shard"] = "7"
        controller.response_fields["bad name"] = "x\r\ny"
        controller.compress_type = 2
        return dict(controller.metadata)

    def gone(self) -> None:
        raise RpcError(StatusCode.NOT_FOUND, "no such user", details={"user": "7"})

    def attached(self, controller: ServerController) -> str:
        controller.response_attachment = b"beside"
        return "with an attachment"


def test_metadata_go_both_ways(serve: Serve, peer: Peer) -> None:
    serving = serve()
    serving.server.add_object(Told())
    http = peer(serving)
    headers = JSON + "X-Meta-Tenant: blue\r\nX-Meta-Evrpc-Oneway: 1\r\n"
    answer = http.ask("/Told/meta", "[]", headers)
    assert json.loads(answer.body) == {"tenant": "blue"}
    assert answer.headers["x-meta-shard"] == "7"
    assert "bad" not in str(answer.headers)
    answer = http.ask("/Told/meta", "[]", headers + "Accept-Encoding: gzip\r\n")
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)) == {"tenant": "blue"}
    answer = http.ask("/Told/gone", "[]")
    assert answer.status == 404
    assert error_of(answer)["details"] == {"user": "7"}


def test_a_reply_with_an_attachment_fails(serve: Serve, peer: Peer) -> None:
    serving = serve()
    serving.server.add_object(Told())
    http = peer(serving)
    answer = http.ask("/Told/attached", "[]")
    assert answer.status == 500
    assert error_of(answer) == {
        "code": "INTERNAL",
        "errno": Errno.BAD_RESPONSE,
        "text": "the reply has an attachment, which only PRPC can carry",
    }
    assert http.echo("still there") == "still there"


def test_pipelined_requests_are_answered_in_order(serve: Serve, peer: Peer) -> None:
    serving = serve()
    http = peer(serving)
    requests = [post(ECHO_PATH, json.dumps({"request": str(number)})) for number in range(50)]
    http.send(b"".join(requests[:2]) + b"\r\n" + b"".join(requests[2:]))
    found = [json.loads(http.answer().body)["response"] for _ in requests]
    assert found == [str(number) for number in range(50)]
    assert serving.handler.calls == found


def test_pipelined_megabytes_wait_in_the_kernel(serve: Serve, peer: Peer) -> None:
    serving = serve()
    http = peer(serving)
    http.post(ECHO_PATH, '{"request":"hold"}')
    assert serving.handler.entered.wait(WAIT_S)
    request = post(ECHO_PATH, json.dumps({"request": "x" * 100_000}))
    http.sock.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 100 << 20:
            sent += http.sock.send(request)
    assert sent < 100 << 20
    http.sock.settimeout(WAIT_S)
    serving.handler.release.set()
    assert json.loads(http.answer().body) == {"response": "hold"}
    assert len(json.loads(http.answer().body)["response"]) == 100_000


def test_prpc_and_http_take_turns_on_one_connection(serve: Serve, peer: Peer) -> None:
    serving = serve()
    raw = serving.raw()
    http = peer(serving)
    raw.sock.close()
    raw.sock = http.sock
    for turn in range(3):
        assert http.echo(f"json {turn}") == f"json {turn}"
        raw.call("echo.EchoService.Echo", body(f"prpc {turn}"))
        reply = raw.reply()
        assert echo_pb2.EchoResponse.FromString(reply.payload).response == f"prpc {turn}"


def test_http_1_0_ends_with_its_answer(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    http.send(b"GET /health HTTP/1.0\n\n")
    assert http.to_end().endswith(b"Connection: close\r\n\r\nok")


def test_a_chunked_body_with_a_pause_for_100_continue(serve: Serve, peer: Peer) -> None:
    http = peer(serve())
    http.send(
        f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\n{JSON}Expect: 100-continue\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    assert http.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    http.send(b'4\r\n{"re\r\n')
    http.send(b'10;x\r\nquest":"chunks"}\r\n0\r\n\r\n')
    assert json.loads(http.answer().body) == {"response": "chunks"}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n", 413),
        (f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\nX-A: " + "a" * 66_000, 431),
        (f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\nX: " + "a" * (10 << 20) + "\r\n\r\n", 431),
        (f"POST {ECHO_PATH} HTTP/1.1\r\n\r\n", 400),
        (
            f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
            "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
            415,
        ),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
def test_what_is_not_read_to_its_end_ends_the_connection(
    serve: Serve, peer: Peer, head: str, status: int
) -> None:
    serving = serve()
    http = peer(serving)
    http.send(head.encode())
    answer = http.answer()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert error_of(answer)["text"]
    assert http.to_end() == b""
    assert peer(serving).echo("others go on") == "others go on"


@pytest.mark.parametrize("sent", [b"POST /echo.Echo", post(ECHO_PATH, "{}")[:-1]])
def test_a_slow_request_is_told_so(serve: Serve, peer: Peer, sent: bytes) -> None:
    http = peer(serve(half_request_timeout_s=0.1, handshake_timeout_s=5.0))
    assert http.echo("first") == "first"
    http.send(sent)
    answer = http.answer()
    assert (answer.status, error_of(answer)["code"]) == (408, "DEADLINE_EXCEEDED")
    assert http.to_end() == b""


def test_an_idle_connection_ends_without_a_word(serve: Serve, peer: Peer) -> None:
    http = peer(serve(idle_timeout_s=0.1))
    assert http.echo("first") == "first"
    assert http.to_end() == b""


def test_a_client_that_leaves_cancels_its_call(serve: Serve, peer: Peer) -> None:
    serving = serve()
    http = peer(serving)
    http.post(ECHO_PATH, '{"request":"until cancelled"}')
    assert serving.handler.entered.wait(WAIT_S)
    http.close()
    assert serving.handler.cancelled.wait(WAIT_S)


def test_too_many_calls_are_429(serve: Serve, peer: Peer) -> None:
    serving = serve(workers=1, queue_max=1)
    peers = [peer(serving) for _ in range(3)]
    peers[0].post(ECHO_PATH, '{"request":"hold"}')
    assert serving.handler.entered.wait(WAIT_S)
    peers[1].post(ECHO_PATH, '{"request":"waits"}')
    wait_until(lambda: serving.server.statistics().waiting == 1)
    answer = peers[2].ask(ECHO_PATH, '{"request":"too many"}')
    assert (answer.status, error_of(answer)["errno"]) == (429, Errno.LIMIT)
    assert answer.headers["retry-after"] == "1"
    serving.handler.release.set()
    assert [each.answer().status for each in peers[:2]] == [200, 200]


def test_a_server_that_stops_says_so_and_finishes(serve: Serve, peer: Peer) -> None:
    serving = serve(threads=1)
    held, asker, prober, raw = peer(serving), peer(serving), peer(serving), serving.raw()
    held.post(ECHO_PATH, '{"request":"hold"}')
    assert serving.handler.entered.wait(WAIT_S)
    assert asker.echo("before") == prober.echo("before") == "before"
    stopper = threading.Thread(target=serving.server.stop)
    stopper.start()

    def refused() -> bool:
        raw.call("echo.EchoService.Echo", body("now?"))
        return raw.reply().error_code == Errno.STOPPING

    wait_until(refused)
    answer = asker.ask(ECHO_PATH, '{"request":"late"}')
    assert (answer.status, error_of(answer)["errno"]) == (503, Errno.STOPPING)
    assert answer.headers["connection"] == "close"
    answer = prober.get("/health")
    assert (answer.status, answer.body) == (503, b"stopping")
    serving.handler.release.set()
    answer = held.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    stopper.join(WAIT_S)


def test_a_guarded_server_wants_the_token_with_each_request(
    serve: Serve, peer: Peer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    write_secret(str(path), "a test's", "opensesameplease")
    serving = serve(token_file=str(path))
    http = peer(serving)
    right = JSON + "Authorization: Bearer opensesameplease\r\n"
    answer = http.ask(ECHO_PATH, '{"request":"x"}')
    assert (answer.status, error_of(answer)["errno"]) == (401, Errno.UNAUTHENTICATED)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert http.ask(ECHO_PATH, "{}", JSON + "Authorization: Bearer wrong\r\n").status == 401
    assert http.echo("with", right) == "with"
    assert http.ask(ECHO_PATH, "{}").status == 401
    assert http.get("/health").body == b"ok"
    assert http.get("/debug/services").status == 401
    assert http.get("/debug/services", right.partition("\r\n")[2]).status == 200
    big = f"POST {ECHO_PATH} HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: 100000\r\n\r\n"
    http.send(big.encode())
    assert http.answer().status == 401  # without a byte of the body
    assert http.to_end() == b""


@pytest.mark.parametrize("path", ["/Foo/Nope", "/None/Nope", "/Foo/Sum"])
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_a_guarded_server_names_its_methods_to_nobody_without_the_token(
    serve: Serve, peer: Peer, tmp_path: Path, method: str, path: str
) -> None:
    secret = tmp_path / "token"
    write_secret(str(secret), "a test's", "opensesameplease")
    http = peer(serve(token_file=str(secret)))
    for headers in ("", "Authorization: Bearer wrong\r\n"):
        answer = http.get(path, headers, method)
        assert (answer.status, b"has" in answer.body) == (401, False)
    answer = http.get(path, "Authorization: Bearer opensesameplease\r\n", method)
    assert answer.status in (204, 404, 405, 415)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_calls_a_method(serve: Serve) -> None:
    serving = serve()
    run = subprocess.run(
        f'curl -sS -m 10 -H Content-Type:application/json -d {{"request":"curl"}}'
        f" http://{serving.address}{ECHO_PATH}"
        f" --next -sS -w %{{http_code}} http://{serving.address}/health".split(),
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert run.stdout == b'{"response": "curl"}ok200'


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_sends_a_large_body_after_its_question(serve: Serve, tmp_path: Path) -> None:
    serving = serve()
    (tmp_path / "body").write_text(json.dumps({"request": "x" * 3_000_000}))
    url = f"http://{serving.address}{ECHO_PATH}"
    command = ["curl", "-sS", "-m", "20", "--data-binary", f"@{tmp_path}/body", url]
    run = subprocess.run([*command, "-H", JSON.strip()], capture_output=True, check=True)
    assert len(json.loads(run.stdout)["response"]) == 3_000_000
    run = subprocess.run([*command, "-w", "%{http_code}"], capture_output=True, check=True)
    assert run.stdout.endswith(b"415")


@pytest.mark.parametrize("pieces", [(64, 2), (10, 60), (40, 8, 40), (1000,)])
def test_too_many_empty_lines_before_a_request_are_400(
    serve: Serve, peer: Peer, pieces: tuple[int, ...]
) -> None:
    stranger = peer(serve())
    for size in pieces:
        stranger.send(b"\r\n" * (size // 2))
    answer = stranger.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert error_of(answer)["text"] == "more than 64 bytes of empty lines"
