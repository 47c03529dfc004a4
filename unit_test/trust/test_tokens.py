"""A server with a token: who shows it, who does not, who shows another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libevrpc import ConfigError, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.channel.connection import Connection
from libevrpc.channel.options import ConnectionOptions
from libevrpc.channel.private import token_frame
from libevrpc.core.prpc import (
    BadRequest,
    Broken,
    Event,
    PrpcDecoder,
    Request,
    SignedRequest,
    WireLimits,
)
from libevrpc.core.prpc_encode import encode_request, encode_signed
from libevrpc.credentials import Tokens
from libevrpc.errors import Errno, ProtocolError
from libevrpc.loop.transport import Transport
from libevrpc.server.door import MISSING, WRONG, Door
from unit_test.fix_rpc import ECHO, WAIT_S, Raw, Serving, body, request, wait_until

TOKEN = "the-token-of-this-cluster"
OTHER = "the-token-of-another-cluster"
NAME = "echo.EchoService.Echo"
live = pytest.mark.live
Files = Callable[..., str]


@pytest.fixture
def file_with(tmp_path: Path) -> Files:
    """Give a function that writes tokens to a file."""

    def write(*tokens: str) -> str:
        path = tmp_path / f"token-{len(list(tmp_path.iterdir()))}"
        path.write_text("\n".join(tokens))
        path.chmod(0o600)
        return str(path)

    return write


@pytest.fixture
def guarded(serve: Callable[..., Serving], file_with: Files) -> Serving:
    """Give a server that wants TOKEN."""
    return serve(token_file=file_with(TOKEN))


def signed(call_id: int, text: str, token: str) -> bytes:
    """Return a call that shows a token itself, as brpc's clients do."""
    empty = encode_signed("echo.EchoService", "Echo", call_id, token.encode(), 5000)
    (event,) = PrpcDecoder("server", WireLimits()).receive_data(empty)
    assert isinstance(event, SignedRequest)
    meta, payload = empty[12:], body(text)
    size = (len(meta) + len(payload)).to_bytes(4, "big")
    return b"PRPC" + size + len(meta).to_bytes(4, "big") + meta + payload


# -- the wire --------------------------------------------------------------------------------


def test_any_cut_of_a_signed_request_gives_the_same_event() -> None:
    frame = token_frame(TOKEN.encode())
    for cut in range(len(frame)):
        decoder = PrpcDecoder("server", WireLimits())
        events = decoder.receive_data(frame[:cut]) + decoder.receive_data(frame[cut:])
        (event,) = events
        assert isinstance(event, SignedRequest)
        assert (event.service, event.method) == ("evrpc.Internal", "Ping")
        assert event.authentication_data == TOKEN.encode()


def test_a_request_that_shows_nothing_is_no_signed_one() -> None:
    frame = encode_request("a.B", "C", 1, b"", timeout_ms=1, user_fields={"k": "v"})
    (event,) = PrpcDecoder("server", WireLimits()).receive_data(frame)
    assert type(event) is Request


# -- the door --------------------------------------------------------------------------------


@live
@pytest.mark.parametrize("inline", [False, True])
def test_who_shows_the_token_is_served(
    serve: Callable[..., Serving], file_with: Files, inline: bool
) -> None:
    path = file_with(TOKEN)
    serving = serve(inline=inline, token_file=path)
    client = serving.client(token_file=path)
    assert client.call("Foo.Sum", 1, 2) == 3
    assert client.future("Foo.Sum", 1, 2).result(WAIT_S) == 3
    client.oneway("Foo.Sum", 1, 2)
    echo = serving.echo(token_file=path)
    assert echo(request("hi")).response == "hi"


@live
def test_many_first_calls_at_once_all_come_after_the_token(
    guarded: Serving, file_with: Files
) -> None:
    client = guarded.client(token_file=file_with(TOKEN))
    callers, results = 16, []
    start = threading.Barrier(callers)

    def call(number: int) -> None:
        start.wait(WAIT_S)
        results.append(client.call("Foo.Sum", number))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(callers))


@live
def test_a_call_that_finds_the_connection_just_opened_comes_after_the_token(
    guarded: Serving, file_with: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = guarded.client(token_file=file_with(TOKEN))
    send_waiting = Connection._send_waiting  # noqa: SLF001
    results: list[object] = []
    second = threading.Thread(target=lambda: results.append(client.call("Foo.Sum", 3, 4)))

    def late(self: Connection, transport: Transport) -> Any:
        second.start()
        second.join(0.2)  # time enough to overtake, were it allowed to
        return send_waiting(self, transport)

    monkeypatch.setattr(Connection, "_send_waiting", late)
    assert client.call("Foo.Sum", 1, 2) == 3
    second.join(WAIT_S)
    assert results == [7]


@live
@pytest.mark.parametrize(("shown", "text"), [(None, MISSING), (OTHER, WRONG)])
def test_who_does_not_is_refused_by_name(
    guarded: Serving,
    file_with: Files,
    caplog: pytest.LogCaptureFixture,
    shown: str | None,
    text: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    more = {} if shown is None else {"token_file": file_with(shown)}
    client = guarded.client(**more)
    echo = client.stub(ECHO).Echo
    for call in (
        lambda: client.call("Foo.Sum", 1),
        lambda: client.future("Foo.Sum", 1).result(WAIT_S),
        lambda: echo(request("hi"), idempotent=True),
        lambda: client.call("No.such"),
    ):
        with pytest.raises(RpcError) as caught:
            call()
        assert caught.value.code is StatusCode.UNAUTHENTICATED
        assert caught.value.errno == Errno.UNAUTHENTICATED
        assert text in caught.value.text
        assert "token_file" in caught.value.text
        assert TOKEN not in str(caught.value)
    assert guarded.handler.calls == []
    assert guarded.server.statistics().refused >= 4
    assert caplog.text.count("refused peer=127.0.0.1:") == 1
    assert TOKEN not in caplog.text
    assert OTHER not in caplog.text


@live
def test_a_token_is_no_hindrance_where_none_is_wanted(serving: Serving, file_with: Files) -> None:
    assert serving.client(token_file=file_with(TOKEN)).call("Foo.Sum", 1) == 1


@live
def test_a_new_connection_shows_the_token_again(
    serve: Callable[..., Serving], file_with: Files
) -> None:
    path = file_with(TOKEN)
    serving = serve(token_file=path, idle_timeout_s=0.05)
    client = serving.client(token_file=path)
    for _ in range(3):
        before = serving.server.statistics().connections
        assert client.call("Foo.Sum", 1) == 1
        wait_until(lambda before=before: serving.server.statistics().connections <= before)


@live
def test_the_token_may_come_with_any_call_and_stands_for_those_that_follow(
    guarded: Serving,
) -> None:
    raw = guarded.raw()
    raw.call(NAME, body("too early"), 1)
    raw.send(signed(2, "signed", OTHER))
    raw.send(signed(3, "signed", TOKEN))
    raw.call(NAME, body("later"), 4)
    told = {each.correlation_id: each for each in (raw.reply() for _ in range(4))}
    assert [told[each].error_code for each in (1, 2, 3, 4)] == [1004, 1004, 0, 0]
    assert (told[1].error_text, told[2].error_text) == (MISSING, WRONG)
    assert sorted(guarded.handler.calls) == ["later", "signed"]  # two workers may have run them


@live
def test_all_of_it_in_one_piece(guarded: Serving) -> None:
    raw = guarded.raw()
    early = encode_request("echo.EchoService", "Echo", 1, body("early"), timeout_ms=5000)
    later = encode_request("echo.EchoService", "Echo", 3, body("later"), timeout_ms=5000)
    raw.send(early + signed(2, "signed", TOKEN) + later)
    told = {each.correlation_id: each.error_code for each in (raw.reply() for _ in range(3))}
    assert told == {1: 1004, 2: 0, 3: 0}


@live
def test_a_bad_request_does_not_open_the_door(guarded: Serving) -> None:
    raw = guarded.raw()
    raw.send(encode_request("", "Echo", 1, b"", timeout_ms=5000))
    assert raw.reply().error_code == Errno.UNAUTHENTICATED
    raw.send(b"PRPC" + (1).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"x")  # dropped
    raw.call(NAME, body("x"), 2)
    assert raw.reply().error_code == Errno.UNAUTHENTICATED
    raw.send(b"junk of a wire that nobody knows")
    assert raw.closed()


@live
def test_a_oneway_request_without_a_token_gets_no_reply(guarded: Serving) -> None:
    raw = guarded.raw()
    raw.call(NAME, body("x"), 1, user_fields={"evrpc-oneway": "1"})
    raw.call(NAME, body("x"), 2)
    assert raw.reply().correlation_id == 2
    assert guarded.handler.calls == []


@live
def test_a_peer_without_a_token_is_cut_off_though_it_talks(
    serve: Callable[..., Serving], file_with: Files
) -> None:
    """It says hello and calls; none of this counts as a first message."""
    serving = serve(token_file=file_with(TOKEN), handshake_timeout_s=1.0)
    raw: Raw = serving.raw()
    raw.call(NAME, body("x"), 1, user_fields={"evrpc-hello": "version=1;client_timeout_ms=9000"})
    assert raw.reply().error_code == Errno.UNAUTHENTICATED
    assert raw.closed()
    assert serving.server.statistics().timed_out == 1


@live
def test_either_of_two_tokens_opens_while_they_change(
    serve: Callable[..., Serving], file_with: Files
) -> None:
    serving = serve(token_file=file_with(TOKEN, OTHER))
    for path in (file_with(TOKEN), file_with(OTHER), file_with(OTHER, TOKEN)):
        assert serving.client(token_file=path).call("Foo.Sum", 1) == 1


# -- settings --------------------------------------------------------------------------------


def test_a_token_file_that_is_wrong_is_named_at_once(file_with: Files) -> None:
    short = file_with("short")
    for make in (
        lambda: RpcClient("127.0.0.1:1", token_file=short),
        lambda: RpcServer("127.0.0.1:0", token_file=short),
    ):
        with pytest.raises(ConfigError, match="a token is 16 to 512 printable characters"):
            make()
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        RpcClient("127.0.0.1:1", token_file="/nowhere")


def test_a_token_opens_a_server_to_other_machines(file_with: Files) -> None:
    with pytest.raises(ConfigError, match="set token_file, or write security = none"):
        RpcServer("0.0.0.0:0")
    RpcServer("0.0.0.0:0", token_file=file_with(TOKEN))


def test_a_token_is_in_no_repr(file_with: Files) -> None:
    server = RpcServer("127.0.0.1:0", token_file=file_with(TOKEN))
    client = RpcClient("127.0.0.1:1", token_file=file_with(TOKEN))
    options = ConnectionOptions(WireLimits(), 1, 1, TOKEN.encode())
    for each in (server, server.settings, client, client.settings, options):
        assert TOKEN not in repr(each)


class Refusals:
    """A session, as far as a door is concerned."""

    peer = "127.0.0.1:5"

    def __init__(self, door: Door) -> None:
        self.door: Door | None = door
        self.refused: list[tuple[Event, str]] = []

    def refuse(self, event: Event, errno: int, text: str) -> None:
        assert errno == Errno.UNAUTHENTICATED
        self.refused.append((event, text))


def test_the_end_of_a_stream_passes_a_closed_door(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(Tokens([TOKEN.encode()]))
    session = Refusals(door)
    bad = BadRequest(1, 1003, "bad")
    broken = Broken(ProtocolError("junk"))
    for now_s in (100.0, 105.0, 111.0):
        assert door.let_in(session, [bad, broken], now_s) == [broken]  # type: ignore[arg-type]
    assert session.refused == [(bad, MISSING)] * 3
    assert session.door is door
    assert caplog.text.count("refused peer=127.0.0.1:5") == 2
