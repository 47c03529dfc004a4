"""TinyRPC and gee-rpc on a server's port: both dialects, three codecs, errors that end nothing."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libevrpc import RpcServer, ServerController, inline
from libevrpc.core.gob.walk import Walk
from libevrpc.core.tinyrpc import Dialect, Option
from libevrpc.core.tinyrpc_codecs import CODECS, GOB, JSON
from libevrpc.credentials import write_secret
from libevrpc.errors import UsageError
from unit_test.fix_rpc import WAIT_S, Serving, wait_until
from unit_test.fix_tiny import Args, Caller, Everything, Foo, Point

pytestmark = pytest.mark.live

EVERYTHING = Everything(
    True, -7, 7, 0.5, "grün", b"\0\xff", [1, -2, 0], ["a", ""], (0, 5, -5), {"x": 1, "": 0},
    Point(1.5, -1.5), [Point(), Point(2.0)], {"here": Point(0.0, 3.0)}, Point(4.0), [[1], [], [2]],
)  # fmt: skip


WRONG = "result of Foo.Wrong: 'not a number' is no int"


@pytest.fixture
def port() -> Iterator[tuple[RpcServer, Foo]]:
    foo = Foo()
    server = RpcServer("127.0.0.1:0")
    server.add_object(foo, name="Foo")
    server.start()
    yield server, foo
    foo.gate.set()
    server.stop(0.0)


Open = Callable[..., Caller]


@pytest.fixture
def caller(port: tuple[RpcServer, Foo]) -> Iterator[Open]:
    made: list[Caller] = []

    def connect(codec: str = GOB, handle_timeout_ns: int = 0, **more: object) -> Caller:
        option = Option(codec, handle_timeout_ns=handle_timeout_ns)
        made.append(Caller(str(port[0].address), option, **more))
        made[-1].open()
        return made[-1]

    yield connect
    for each in made:
        each.close()


EACH = pytest.mark.parametrize("codec", CODECS)


@EACH
def test_calls_are_answered_in_every_codec(caller: Open, codec: str) -> None:
    foo = caller(codec)
    assert foo.call("Foo.Sum", Args(1, 3), int) == 4
    assert foo.call("Foo.Sum", Args(-1, -(2**60)), int) == -(2**60) - 1
    assert foo.call("Foo.Mirror", EVERYTHING, Everything) == EVERYTHING
    assert foo.call("Foo.Mirror", Everything(), Everything) == Everything()
    assert foo.call("Foo.Squares", 3, dict[int, int]) == {0: 0, 1: 1, 2: 4}
    assert foo.call("Foo.Squares", 0, dict[int, int]) == {}
    assert foo.call("Foo.Words", "two words", list[str]) == ["two", "words"]
    assert foo.call("Foo.Words", "", list[str]) == []
    assert foo.call("Foo.Total", [1, 2, 3], int) == 6
    assert foo.call("Foo.Apart", Args(7, 3), int) == 4
    assert foo.call("Foo.Nothing", Args()) is None
    assert foo.call("Foo.Odd", "as it is") == "as it is"
    assert foo.call("Foo.Odd", Args(1, 2)) == {"Num1": 1, "Num2": 2}


@EACH
def test_errors_end_neither_connection_nor_server(caller: Open, codec: str) -> None:
    foo = caller(codec)
    assert foo.call("Foo.Fail", Args()) == "boom"
    assert foo.call("Foo.Crash", Args()) == "KeyError: 'oops'"
    assert foo.call("Foo.Mul", Args(1, 3)) == "rpc server: can't find method Mul"
    assert foo.call("Bar.Sum", Args(1, 3)) == "rpc server: can't find service Bar"
    assert foo.call("a.b.Bar.Sum", Args()) == "rpc server: can't find service a.b.Bar"
    assert foo.call("Sum", 1) == "rpc server: service/method request ill-formed: Sum"
    assert foo.call("", 1) == "rpc server: service/method request ill-formed: "
    told = foo.call("Foo.Wrong", Args())  # only gob has types to hold it against
    assert told == ("not a number" if codec != GOB else WRONG)
    assert foo.call("Foo.Sum", "text").startswith("argument of Foo.Sum: ")
    assert "arguments do not fit" in foo.call("Foo.Apart", Point())
    assert foo.call("Foo.Sum", Args(1, 3), int) == 4


def test_half_a_character_in_an_error_is_no_reason_to_be_silent(
    port: tuple[RpcServer, Foo], caller: Open
) -> None:
    class Odd:
        def Fail(self) -> None:  # noqa: N802 - a Go name
            raise ValueError("\ud800")

    server, _ = port
    server.add_object(Odd(), name="Odd")
    assert caller().call("Odd.Fail", 1) == "ValueError: ?"
    server.remove_service("Odd")


def test_five_calls_at_once_are_told_apart(caller: Open) -> None:
    foo = caller()
    asked = {foo.send("Foo.Sum", Args(number, number * number)): number for number in range(5)}
    for _ in range(5):
        message = foo.receive()
        number = asked.pop(message.header.Seq)
        assert message.body.decode(int) == number + number * number
    assert not asked


def test_a_long_value_costs_the_loop_no_more_than_what_was_read(
    caller: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    go_on = Walk.go_on

    def noted(walk: Walk) -> bool:
        before = walk.pos
        try:
            return go_on(walk)
        finally:
            steps.append(walk.pos - before)

    monkeypatch.setattr(Walk, "go_on", noted)
    long, other = caller(), caller()
    data = long.request("Foo.Nothing", [1, "two"] * 50_000)
    long.sock.sendall(data[:-1])
    wait_until(lambda: sum(steps) > len(data) - 200)  # the header, and what defines types
    assert other.call("Foo.Sum", Args(1, 2)) == 3
    steps.clear()
    long.sock.sendall(data[-1:])
    assert not long.receive().header.Error
    assert sum(steps) < 20


def test_the_option_s_time_out_ends_each_call(caller: Open) -> None:
    foo = caller(handle_timeout_ns=50_000_000)
    late = "rpc server: request handle timeout: expect within 50ms"
    slow = foo.send("Foo.Sleep", Args(60))
    quick = foo.send("Foo.Sum", Args(1, 2))
    told: dict[int, str] = {}
    while len(told) < 2:
        message = foo.receive()
        if message.header.Seq == quick and message.header.Error == late:
            quick = foo.send("Foo.Sum", Args(1, 2))  # its time was over before a worker had it
            continue
        told[message.header.Seq] = message.header.Error
    assert told == {slow: late, quick: ""}


@pytest.fixture
def gee_port() -> Iterator[RpcServer]:
    server = RpcServer("127.0.0.1:0", wires=("geerpc",))
    server.add_object(Foo(), name="Foo")
    server.start()
    yield server
    server.stop(0.0)


@pytest.mark.parametrize("dialect", ["tinyrpc", "geerpc"])
@pytest.mark.parametrize("size", [1, 1000])
def test_option_and_first_request_may_come_together_or_in_pieces(
    port: tuple[RpcServer, Foo], gee_port: RpcServer, dialect: Dialect, size: int
) -> None:
    address = str(port[0].address if dialect == "tinyrpc" else gee_port.address)
    with Caller(address, dialect=dialect) as foo:
        hello = foo.stream.hello()
        wanted = hello if dialect == "tinyrpc" else b""
        if wanted:
            foo.stream.feed(wanted)  # what the server is going to say
        data = hello + foo.request("Foo.Sum", Args(1, 3))
        foo.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            foo.sock.sendall(data[start : start + size])
        got = b""
        while len(got) < len(wanted):
            got += foo.sock.recv(len(wanted) - len(got))
        assert got == wanted
        assert foo.receive().body.decode(int) == 4


def test_gee_rpc_gets_no_answer_to_its_option(gee_port: RpcServer) -> None:
    with Caller(str(gee_port.address), dialect="geerpc") as foo:
        foo.open()
        assert foo.call("Foo.Sum", Args(1, 3), int) == 4
        assert foo.call("Bar.Sum", Args(1, 3)) == "rpc server: can't find service Bar"
        assert foo.call("Foo.Sum", Args(1, 4), int) == 5


@pytest.mark.parametrize("dialect", ["tinyrpc", "geerpc"])
def test_connect_leads_to_both_dialects(port: tuple[RpcServer, Foo], dialect: Dialect) -> None:
    foo = Caller(str(port[0].address), dialect=dialect)
    foo.connect()
    foo.open()
    assert foo.call("Foo.Sum", Args(1, 3), int) == 4
    foo.close()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b'{"MagicNumber":1}', "MagicNumber is 1, not 3927900"),
        (b'{"MagicNumber":3927900,"CodecType":"text/xml"}', "CodecType 'text/xml' is none of"),
        (b'{"MagicNumber" 3927900}', "TinyRPC option is no JSON"),
        (b'{"MagicNumber":3927900,"HandleTimeout":-1}', "HandleTimeout is -1"),
        (b'{"' + b"x" * 5000, "TinyRPC option: JSON value of 50"),
        (Option().encode() + b"\xff", "byte"),
        (Option().encode() + b"\x80", "number of 128 bytes"),
        (Option().encode() + b"\xfd\xff\xff\xff", "gob message of 16777215 bytes, limit 65536"),
        (Option().encode() + b"\x03\x04\x00\x08", "int on the wire is no Header"),
    ],
)
def test_what_cannot_be_read_ends_its_connection_and_is_named(
    port: tuple[RpcServer, Foo], caplog: pytest.LogCaptureFixture, data: bytes, named: str
) -> None:
    caplog.set_level(logging.WARNING)
    foo = Caller(str(port[0].address))
    foo.sock.sendall(data)
    if named == "byte":  # a number of one byte that has not come: it waits
        foo.sock.sendall(b"\x00")
        named = "message of no bytes"
    if data.startswith(Option().encode()):
        assert foo.sock.recv(len(Option().encode()), socket.MSG_WAITALL) == Option().encode()
    assert foo.closed()
    foo.close()
    wait_until(lambda: named in caplog.text)


@EACH
def test_a_body_over_the_limit_is_refused_by_name_and_ends_its_connection(codec: str) -> None:
    server = RpcServer("127.0.0.1:0", body_bytes_max=100_000)
    server.add_object(Foo(), name="Foo")
    server.start()
    foo = Caller(str(server.address), Option(codec))
    foo.open()
    assert "limit 100000" in foo.call("Foo.Long", 200_000)
    text = foo.call("Foo.Words", "x" * 200_000)
    assert text.startswith("body: ")
    assert "limit 100000" in text
    assert foo.closed()
    foo.close()
    server.stop(0.0)


def test_a_protobuf_service_says_that_it_is_one(serve: Callable[..., Serving]) -> None:
    serving = serve()
    foo = Caller(serving.address)
    foo.open()
    assert "is a protobuf service" in foo.call("echo.EchoService.Echo", 1)
    foo.close()


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_our_own_clients_call_the_same_methods(port: tuple[RpcServer, Foo], codec: str) -> None:
    from libevrpc import RpcClient

    with RpcClient(str(port[0].address), codec=codec) as client:
        assert client.call("Foo.Sum", {"Num1": 1, "Num2": 3}) == 4
        assert client.call("Foo.Sum", Num1=1, Num2=3) == 4
        assert client.call("Foo.Sum", args={"Num2": 3}) == 3
        assert client.call("Foo.Sum", Args(1, 3)) == 4


def test_json_is_as_go_has_it(caller: Open) -> None:
    foo = caller(JSON)
    foo.sock.sendall(b'{"ServiceMethod":"Foo.Sum","Seq":1,"Error":""}\n{"Num1":1,"Num2":3}\n')
    wanted = b'{"ServiceMethod":"Foo.Sum","Seq":1,"Error":""}\n4\n'
    assert foo.sock.recv(len(wanted), socket.MSG_WAITALL) == wanted
    foo.sock.sendall(b'{"ServiceMethod":"Foo.Fail","Seq":2}{}')
    wanted = b'{"ServiceMethod":"Foo.Fail","Seq":2,"Error":"boom"}\n{}\n'
    assert foo.sock.recv(len(wanted), socket.MSG_WAITALL) == wanted


def test_callers_that_leave_are_forgotten(port: tuple[RpcServer, Foo], caller: Open) -> None:
    server, _ = port
    before = server.statistics().connections
    foo = caller()
    foo.send("Foo.Sleep", Args(60))
    wait_until(lambda: server.statistics().connections == before + 1)
    foo.close()
    wait_until(lambda: server.statistics().connections == before, WAIT_S)


def test_a_port_may_speak_gee_rpc_beside_all_others() -> None:
    server = RpcServer("127.0.0.1:0", wires=("all", "geerpc"))
    server.add_object(Foo(), name="Foo")
    server.start()
    for dialect, connect in (("geerpc", False), ("geerpc", True), ("tinyrpc", True)):
        with Caller(str(server.address), dialect=dialect) as foo:  # type: ignore[arg-type]
            if connect:
                foo.connect()
            foo.open()
            assert foo.call("Foo.Sum", Args(1, 3), int) == 4
    server.stop(0.0)


def test_a_token_comes_in_by_connect_alone(tmp_path: Path) -> None:
    write_secret(tmp_path / "token", "a test's", "opensesameplease")
    server = RpcServer("127.0.0.1:0", token_file=str(tmp_path / "token"))
    server.add_object(Foo(), name="Foo")
    server.start()
    with Caller(str(server.address)) as foo:
        foo.open()
        assert foo.call("Foo.Sum", Args(1, 3)).startswith("no token was shown")
    with Caller(str(server.address)) as foo:
        foo.connect("Authorization: Bearer opensesameplease\n")
        foo.open()
        assert foo.call("Foo.Sum", Args(1, 3), int) == 4
    server.stop(0.0)


@pytest.mark.parametrize("connect", [False, True])
def test_who_was_told_of_its_idleness_hears_nothing_more(connect: bool) -> None:
    """One of Go does not hang up then; a second notice was PRPC's, and broke its stream."""
    server = RpcServer("127.0.0.1:0", threads=1, idle_timeout_s=600.0)
    server.add_object(Foo(), name="Foo")
    server.start()
    (shard,) = server._shards  # noqa: SLF001

    def let_time_pass() -> None:
        (session,) = shard.sessions
        session._timers.last_read_s -= 10_000.0  # noqa: SLF001
        session._check_timers()  # noqa: SLF001

    with Caller(str(server.address)) as foo:
        if connect:
            foo.connect()
        foo.open()
        assert foo.call("Foo.Sum", Args(1, 3), int) == 4
        shard.loop.post(let_time_pass)
        told = foo.receive().header
        assert (told.Seq, told.Error) == (0, "server is stopping")
        server.stop(0.0)
        assert foo.closed()


def test_http_calls_the_same_methods(port: tuple[RpcServer, Foo]) -> None:
    host, _, number = str(port[0].address).rpartition(":")
    connection = http.client.HTTPConnection(host, int(number), timeout=WAIT_S)
    for body in ('{"Num1": 1, "Num2": 3}', '[{"Num1": 1, "Num2": 3}]'):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/Foo/Sum", body, headers)
        assert connection.getresponse().read() == b"4"
    connection.close()


class Odd:
    """Methods whose signatures say little."""

    def Named(self, **fields: int) -> int:  # noqa: N802 - a Go name
        return fields["Num1"] - fields["Num2"]

    def Several(self, *args: Any) -> str:  # noqa: N802 - the same
        return repr(args)

    def Unknown(self, args) -> Nowhere:  # type: ignore[name-defined,no-untyped-def]  # noqa: N802, F821
        return args

    def Unsent(self, args: set[int]) -> set[int]:  # noqa: N802 - the same
        return set(args)

    @inline
    def Here(self, args: Args) -> Args:  # noqa: N802 - the same
        return Args(args.Num2, args.Num1)

    def Attached(self, controller: ServerController) -> int:  # noqa: N802 - the same
        controller.response_attachment = b"beside"
        return 1


class Misnamed:
    """Its annotation names what is not there."""

    def Sum(self, args: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: N802, F821
        return 0


def test_an_annotation_that_cannot_be_read_is_named_at_once() -> None:
    told = r"Foo.Sum: parameter args: its annotation cannot be read: name 'Nowhere' is not defined"
    with pytest.raises(UsageError, match=told):
        RpcServer("127.0.0.1:0").add_object(Misnamed(), name="Foo")


def test_signatures_that_say_little_are_served_as_far_as_they_go() -> None:
    server = RpcServer("127.0.0.1:0")
    server.add_object(Odd(), name="Odd")
    server.start()
    with Caller(str(server.address)) as odd:
        odd.open()
        assert odd.call("Odd.Named", Args(5, 3)) == 2
        assert odd.call("Odd.Several", [1, 2]) == "([1, 2],)"
        assert odd.call("Odd.Unknown", Args(5, 3)) == {"Num1": 5, "Num2": 3}
        assert "gob has no type for a set" in odd.call("Odd.Unsent", [1])
        assert odd.call("Odd.Here", Args(5, 3), Args) == Args(3, 5)
        assert "has an attachment" in odd.call("Odd.Attached", 1)
    server.stop(0.0)
