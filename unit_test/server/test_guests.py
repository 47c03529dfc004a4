"""Other wires on the port: limits, deadlines, tokens and ends are the same as PRPC's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from libevrpc import ConfigError, Deferred, RpcError, RpcServer, ServerController, StatusCode
from libevrpc.clock import monotonic_s
from libevrpc.core.conn_timers import ConnectionTimers
from libevrpc.core.hello import ONEWAY_FIELD
from libevrpc.core.prpc import PrpcDecoder, Reply, WireLimits
from libevrpc.core.wires import HELD_BYTES_MAX, Wire
from libevrpc.credentials import write_secret
from libevrpc.server import guests
from libevrpc.server.guest_calls import GuestSide
from libevrpc.server.guests import GuestContext
from unit_test.fix_rpc import WAIT_S, Raw, Serving, body, wait_until
from unit_test.server.line_wire import CallReader, lines

__all__ = ["lines"]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("lines")]

ECHO = "echo.EchoService.Echo"


class Talker:
    """A peer that sends lines and reads lines."""

    def __init__(self, raw: Raw) -> None:
        self.sock = raw.sock
        self._data = b""

    def line(self) -> str:
        parts = [self._data]
        while b"\n" not in parts[-1]:
            data = self.sock.recv(1 << 20)
            assert data, f"the server closed the connection after {self._data!r}"
            parts.append(data)
        line, _, self._data = b"".join(parts).partition(b"\n")
        return line.decode()

    def some(self) -> bytes:
        """Give what came behind the last line, or comes next."""
        data, self._data = self._data, b""
        return data or self.sock.recv(1 << 20)

    def rest(self) -> str:
        """Read to the end."""
        while data := self.sock.recv(1 << 20):
            self._data += data
        return self._data.decode()

    def ended(self) -> bool:
        return self.rest() == ""

    def send(self, data: str) -> None:
        self.sock.sendall(data.encode())

    def echo(self, text: str, words: str = "", wire: str = "CALL") -> None:
        self.send(f'{wire} {ECHO}{words} : {{"request": "{text}"}}\n')


def ok(text: str) -> str:
    return f'OK {{"response": "{text}"}}'


@pytest.fixture
def talk() -> Callable[[Serving], Talker]:
    return lambda serving: Talker(serving.raw())


Talk = Callable[[Serving], Talker]


def test_replies_come_in_order_however_the_requests_are_cut(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    whole = "".join(f'CALL {ECHO} : {{"request": "{n}"}}\n' for n in range(20))
    peer.send(whole)
    assert [peer.line() for _ in range(20)] == [ok(str(n)) for n in range(20)]
    for letter in whole[:150]:
        peer.send(letter)
    peer.send(whole[150:])
    assert [peer.line() for _ in range(20)] == [ok(str(n)) for n in range(20)]
    assert serving.server.statistics().calls == 40


def test_prpc_takes_turns_with_another_wire(serving: Serving) -> None:
    raw = serving.raw()
    peer = Talker(raw)
    raw.call(ECHO, body("first"), 1)
    assert raw.reply().correlation_id == 1
    peer.echo("second")
    assert peer.line() == ok("second")
    # what follows a request that is not answered yet waits for its answer
    peer.send(f'CALL {ECHO} : {{"request": "hold"}}\n')
    raw.call(ECHO, body("last"), 2)
    assert serving.handler.entered.wait(WAIT_S)
    serving.handler.release.set()
    assert peer.line() == ok("hold")
    decoder = PrpcDecoder("client", WireLimits())
    while not (replies := decoder.receive_data(peer.some())):
        pass
    [reply] = replies
    assert isinstance(reply, Reply)
    assert reply.correlation_id == 2


@pytest.mark.parametrize("inline", [False, True])
def test_errors_are_the_writers_to_spell(
    serve: Callable[..., Serving], talk: Talk, inline: bool
) -> None:
    peer = talk(serve(inline=inline))
    asked = {
        "Nobody.Echo : ": "ERR 1001 no service 'Nobody' here",
        "echo.EchoService.Other : ": "ERR 1002 service 'echo.EchoService' has no method 'Other'",
        "evrpc.Internal.Ping : ": "ERR 1001 evrpc.Internal is for PRPC alone",
        f"{ECHO} : [": "ERR 1003 body is not an echo.EchoRequest",
        f'{ECHO} : {{"request": "raise"}}': "ERR 2001 ValueError: as asked",
        f'{ECHO} : {{"request": "exit"}}': "ERR 2001 SystemExit: 3",
        f'{ECHO} : {{"request": "wrong type"}}': "ERR 2002 handler returned str",
    }
    peer.send("".join(f"CALL {line}\n" for line in asked))
    for wanted in asked.values():
        assert peer.line().startswith(wanted)
    peer.echo("still here")
    assert peer.line() == ok("still here")


def test_readers_speak_for_themselves(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    peer.send("CALL SAY hello : \n")
    peer.echo("between")
    peer.send("CALL SAY again : \nCALL BYE : \nCALL SAY nothing : \n")
    assert [peer.line() for _ in range(4)] == ["SAID hello", ok("between"), "SAID again", "BYE"]
    assert peer.ended()


def test_broken_stream_is_closed(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    peer.echo("one")
    assert peer.line() == ok("one")
    peer.send("CALL BREAK : \n")
    assert peer.ended()
    behind = talk(serving)
    behind.echo("hold")
    behind.send("CALL BREAK : \n")  # is read when the answer is out
    assert serving.handler.entered.wait(WAIT_S)
    serving.handler.release.set()
    assert behind.rest().rstrip("\n") in ("", ok("hold"))


@pytest.mark.parametrize("inline", [False, True])
def test_close_behind_a_reply_loses_none_of_it(
    serve: Callable[..., Serving], talk: Talk, inline: bool
) -> None:
    serving = serve(inline=inline)
    peer = talk(serving)
    text = "x" * 3_000_000
    peer.echo(text, " close=1")
    # what follows is thrown away, and must not reset the connection before all is read
    peer.send("CALL SAY never : \n" * 10_000)
    assert peer.line() == ok(text)
    assert peer.ended()
    peer.sock.close()
    wait_until(lambda: serving.server.statistics().connections == 0)


def test_an_answer_on_its_way_to_the_loop_is_no_idleness(
    serve: Callable[..., Serving], talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, goes_on = threading.Event(), threading.Event()
    looks: list[float] = []
    due = ConnectionTimers.due

    def note(self: GuestSide, encoded: object) -> None:
        answered.set()
        goes_on.wait(WAIT_S)

    def looked(self: ConnectionTimers, owed: int, unsent_since_s: float | None) -> Any:
        looks.append(monotonic_s())
        return due(self, owed, unsent_since_s)

    monkeypatch.setattr(GuestSide, "_note", note)
    monkeypatch.setattr(ConnectionTimers, "due", looked)
    serving = serve(idle_timeout_s=0.05)
    peer = talk(serving)
    peer.echo("x")
    assert answered.wait(WAIT_S)
    since_s = monotonic_s()
    wait_until(lambda: looks[-1] > since_s + 0.1)
    goes_on.set()
    assert peer.line() == ok("x")


def test_finished_connection_does_not_wait_for_ever(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    peer.echo("last", " close=1")
    assert peer.line() == ok("last")
    assert peer.ended()
    # the peer keeps its end open
    wait_until(lambda: serving.server.statistics().connections == 0)


def test_held_back_requests_are_bounded_and_then_answered(
    serve: Callable[..., Serving], talk: Talk
) -> None:
    serving = serve(threads=1)
    peer = talk(serving)
    peer.echo("hold")
    assert serving.handler.entered.wait(WAIT_S)
    said = [f"{n:01000}" for n in range(12_000)]
    more = "".join(f"CALL SAY {text} : \n" for text in said).encode()
    sender = threading.Thread(target=peer.sock.sendall, args=(more,))
    sender.start()
    wait_until(lambda: CallReader.peaks[0] > HELD_BYTES_MAX)
    other = talk(serving)
    for _ in range(50):  # turns of the loop in which it could read more
        other.echo("turn")
        assert other.line() == ok("turn")
    assert CallReader.peaks[0] <= HELD_BYTES_MAX + (1 << 20)
    serving.handler.release.set()
    assert peer.line() == ok("hold")
    assert [peer.line() for _ in said] == [f"SAID {text}" for text in said]
    sender.join(WAIT_S)
    peer.echo("more")
    assert peer.line() == ok("more")


def test_inline_handlers_hold_nothing_back(serve: Callable[..., Serving], talk: Talk) -> None:
    serving = serve(inline=True)
    peer = talk(serving)
    count = 5000
    whole = "".join(f'CALL {ECHO} : {{"request": "{n}"}}\n' for n in range(count)).encode()
    sender = threading.Thread(target=peer.sock.sendall, args=(whole,))
    sender.start()
    assert [peer.line() for _ in range(count)] == [ok(str(n)) for n in range(count)]
    sender.join(WAIT_S)
    peer.echo("y" * 100_000)  # too long to be decoded on the loop
    assert peer.line() == ok("y" * 100_000)


def test_slow_inline_handler_is_named(
    serve: Callable[..., Serving], talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    serving = serve(inline_warn_s=0.001)
    serving.server.add_object(Later(), inline=["busy"])
    peer = talk(serving)
    peer.send("CALL Later.busy : []\nCALL Later.busy : []\n")
    assert [peer.line(), peer.line()] == ['OK "done"', 'OK "done"']
    text = "inline handler held its loop method=Later.busy ms="
    assert [record for record in caplog.messages if record.startswith(text)] == [ANY]


def test_deadline_is_told_by_the_writer(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    peer.echo("until cancelled", " ms=40")
    peer.echo("until cancelled", " ms=40")
    late = "ERR 1008 deadline reached before the handler finished"
    assert [peer.line(), peer.line()] == [late, late]
    peer.echo("next")
    assert peer.line() == ok("next")
    assert serving.server.statistics().expired == 2


def test_calls_over_the_queue_are_refused(serve: Callable[..., Serving], talk: Talk) -> None:
    serving = serve(workers=1, queue_max=1, threads=1)
    first, second, third = talk(serving), talk(serving), talk(serving)
    first.echo("hold")
    assert serving.handler.entered.wait(WAIT_S)
    second.echo("waits")
    wait_until(lambda: serving.server.statistics().waiting == 1)
    third.echo("refused")
    third.echo("refused too")
    refused = "ERR 2004 too many calls wait for a worker"
    assert [third.line(), third.line()] == [refused, refused]
    serving.handler.release.set()
    assert [first.line(), second.line()] == [ok("hold"), ok("waits")]
    third.echo("now")
    assert third.line() == ok("now")


def test_calls_over_the_connections_limit_are_refused(
    serve: Callable[..., Serving], talk: Talk
) -> None:
    serving = serve(calls_per_connection_max=2)
    peer = talk(serving)
    for _ in range(3):
        peer.echo("hold", wire="MANY")
    assert peer.line() == "ERR 2004 2 calls are in flight on this connection already"
    serving.handler.release.set()
    assert [peer.line(), peer.line()] == [ok("hold"), ok("hold")]


def test_stopping_server_refuses_and_finishes(
    serving: Serving, talk: Talk, lines: list[GuestContext]
) -> None:
    assert not lines[0].stopping()
    busy, other = talk(serving), talk(serving)
    busy.echo("hold")
    other.echo("one")
    assert other.line() == ok("one")
    assert serving.handler.entered.wait(WAIT_S)
    stop = threading.Thread(target=serving.server.stop, args=(WAIT_S,))
    stop.start()
    while (line := (other.echo("two"), other.line())[1]) == ok("two"):
        pass  # it has not begun to stop
    assert line == "ERR 2003 server is stopping"
    assert lines[0].stopping()
    serving.handler.release.set()
    assert busy.line() == ok("hold")
    stop.join(WAIT_S)
    assert busy.ended()


def test_every_request_is_answered_also_one_that_asks_for_no_answer(
    serving: Serving, talk: Talk
) -> None:
    peer = talk(serving)
    peer.echo("answer", f" field={ONEWAY_FIELD}")
    assert peer.line() == ok("answer")
    peer.echo("until cancelled", f" field={ONEWAY_FIELD}")
    assert serving.handler.entered.wait(WAIT_S)
    peer.sock.close()
    assert serving.handler.cancelled.wait(WAIT_S)


def test_client_that_goes_away_cancels_its_calls(serving: Serving, talk: Talk) -> None:
    peer = talk(serving)
    peer.echo("until cancelled")
    assert serving.handler.entered.wait(WAIT_S)
    peer.sock.close()
    assert serving.handler.cancelled.wait(WAIT_S)
    wait_until(lambda: serving.server.statistics().in_flight == 0)
    assert serving.server.statistics().cancelled == 1


def test_token_is_wanted_with_each_request(
    serve: Callable[..., Serving], talk: Talk, tmp_path: Path, lines: list[GuestContext]
) -> None:
    path = tmp_path / "token"
    write_secret(str(path), "a test's", "opensesameplease")
    serving = serve(token_file=str(path), handshake_timeout_s=1.0)
    peer = talk(serving)
    peer.send("CALL SAY first : \n")
    peer.echo("who")
    peer.echo("wrong", " token=other")
    assert peer.line() == "SAID first"
    assert peer.line().startswith("ERR 1004 no token was shown")
    assert peer.line().startswith("ERR 1004 the token that was shown is not one")
    assert peer.ended()  # nothing counted as its first message
    assert serving.handler.calls == []
    friend = talk(serving)
    friend.echo("friend", " token=opensesameplease")
    assert friend.line() == ok("friend")
    friend.echo("again")
    assert friend.line().startswith("ERR 1004 ")
    assert lines[0].token_fits(b"opensesameplease")
    assert not lines[0].token_fits(b"")


class Later:
    """Answers in every other way."""

    def __init__(self) -> None:
        self.answers: list[Deferred] = []

    def defer(self, controller: ServerController) -> None:
        self.answers.append(controller.defer())

    def fail(self, controller: ServerController) -> None:
        controller.set_failed("no more", StatusCode.RESOURCE_EXHAUSTED)

    def attach(self, controller: ServerController) -> str:
        controller.response_attachment = b"raw"
        return "with an attachment"

    def attach_later(self, controller: ServerController) -> None:
        controller.response_attachment = b"raw"
        self.answers.append(controller.defer())

    def busy(self) -> str:
        until_s = monotonic_s() + 0.01
        while monotonic_s() < until_s:
            pass
        return "done"

    def unwritable(self) -> str:
        return "unwritable"

    def long(self, size: int) -> str:
        return "x" * size


def test_deferred_failed_and_unsendable_answers(serve: Callable[..., Serving], talk: Talk) -> None:
    serving = serve(body_bytes_max=1 << 16)
    later = Later()
    serving.server.add_object(later)
    peer = talk(serving)
    for name in ("defer", "defer", "attach_later"):
        peer.send(f"CALL Later.{name} : []\n")
    wait_until(lambda: len(later.answers) == 1)
    assert later.answers[0].reply("done")
    assert not later.answers[0].reply("twice")
    assert peer.line() == 'OK "done"'
    wait_until(lambda: len(later.answers) == 2)
    assert later.answers[1].fail(RpcError(StatusCode.NOT_FOUND, "not here"))
    assert not later.answers[1].fail(RpcError(StatusCode.NOT_FOUND, "not here"))
    assert peer.line() == "ERR 4005 not here"
    wait_until(lambda: len(later.answers) == 3)
    later.answers[2].reply("done")
    attachment = "ERR 2002 the reply has an attachment, which only PRPC can carry"
    assert peer.line() == attachment
    peer.send("CALL Later.fail : []\nCALL Later.attach : []\nCALL Later.long : [70000]\n")
    assert peer.line() == "ERR 4008 no more"
    assert peer.line() == attachment
    assert peer.line().startswith("ERR 2002 reply of 70002 bytes, limit ")
    assert serving.server.statistics().failed == 5
    peer.send("CALL Later.unwritable : []\n")
    assert peer.ended()


def test_answer_for_a_stopped_server_goes_nowhere(serving: Serving, talk: Talk) -> None:
    later = Later()
    serving.server.add_object(later)
    peer = talk(serving)
    peer.send("CALL Later.defer : []\n")
    wait_until(lambda: bool(later.answers))
    serving.server.stop(0.0)
    assert not later.answers[0].reply("late")
    assert peer.ended()


def test_unread_replies_end_the_connection(serve: Callable[..., Serving], talk: Talk) -> None:
    serving = serve(body_bytes_max=1 << 20, unsent_bytes_max=1 << 20, unsent_pause_bytes=1 << 20)
    serving.server.add_object(Later())
    peer = talk(serving)
    for _ in range(16):
        peer.send("MANY Later.long : [1000000]\n")
    wait_until(lambda: serving.server.statistics().connections == 0)


def test_wires_are_chosen_by_name(
    monkeypatch: pytest.MonkeyPatch, lines: list[GuestContext]
) -> None:
    def lacking(_: object) -> Wire:
        raise ModuleNotFoundError("No module named 'frobnicate'", name="frobnicate")

    monkeypatch.setitem(guests.GUESTS, "LACK", guests.Guest(lacking, needs="frob"))
    monkeypatch.setitem(
        guests.GUESTS, "PICK", guests.Guest(guests.GUESTS["CALL"].make, chosen=True)
    )

    def names(*wires: str) -> list[str]:
        RpcServer("127.0.0.1:0", wires=("CALL", *wires))
        return list(lines[-1].wires)

    assert names() == ["CALL"]
    assert "PICK" not in names("all")
    assert {"CALL", "MANY"} <= set(names("all"))
    assert "PICK" in names("all", "PICK")
    with pytest.raises(ConfigError, match=r"wires = CALLS: no such wire; did you mean 'CALL'\?"):
        names("CALLS")
    with pytest.raises(ConfigError, match=r"frobnicate is missing: pip install 'libevrpc\[frob\]'"):
        names("LACK")


def test_without_a_wire_its_bytes_are_refused(serve: Callable[..., Serving], talk: Talk) -> None:
    peer = talk(serve(wires=()))
    peer.echo("hello")
    assert peer.ended()
