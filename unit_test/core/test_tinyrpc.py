"""TinyRPC's stream: its captured bytes, both dialects, every codec, any cut, every refusal."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.gob import Uint
from libevrpc.core.tinyrpc import (
    DIALECTS,
    HEADER_BYTES_MAX,
    OPTION_BYTES_MAX,
    ClientStream,
    Dialect,
    Message,
    Option,
    ServerStream,
    TooLongMessageError,
    go_duration,
)
from libevrpc.core.tinyrpc_codecs import CODECS, GOB, JSON, MSGPACK, Header
from libevrpc.errors import ProtocolError

LIMIT = 100_000
EACH = pytest.mark.parametrize("codec", CODECS)
FOLDER = Path(__file__).resolve().parent.parent / "golden" / "tinyrpc"


@dataclass
class Args:
    Num1: int = 0
    Num2: int = 0


def pair(codec: str = GOB, dialect: Dialect = "tinyrpc") -> tuple[ClientStream, ServerStream]:
    """Return both ends, the option exchanged."""
    client = ClientStream(dialect, Option(codec), LIMIT)
    server = ServerStream(dialect, LIMIT)
    assert server.feed(client.hello())
    welcome = server.welcome()
    if welcome:
        assert not client.ready
        assert client.feed(welcome)
    assert client.ready
    assert server.option == Option(codec)
    return client, server


def message(stream: ClientStream | ServerStream, data: bytes) -> Message:
    stream.feed(data)
    found = stream.next_message()
    assert found is not None
    assert stream.next_message() is None
    assert not stream.partial
    assert not stream.buffered_bytes
    return found


@EACH
@pytest.mark.parametrize("dialect", DIALECTS)
def test_calls_go_there_and_back(codec: str, dialect: Dialect) -> None:
    client, server = pair(codec, dialect)
    for seq in (1, 2**64 - 1):
        asked = message(server, client.request("Foo.Sum", seq, client.encode_body(Args(1, 3))))
        assert asked.header == Header("Foo.Sum", seq, "")
        assert asked.body.decode(Args) == Args(1, 3)
        assert asked.body.decode() == {"Num1": 1, "Num2": 3}
        assert asked.body.named
        assert asked.body.data
        told = message(client, server.reply("Foo.Sum", seq, server.encode_body(4, int)))
        assert told.header == Header("Foo.Sum", seq, "")
        assert told.body.decode(int) == told.body.decode() == 4
        assert not told.body.named
        failed = message(client, server.error("Foo.Fail", seq, "boom"))
        assert failed.header == Header("Foo.Fail", seq, "boom")
        assert message(client, server.error("Foo.Fail", seq, "")).header.Error == "unknown error"


@EACH
@pytest.mark.parametrize(
    "value",
    [None, 0, "text", "", b"raw", [1, 2], {"a": 1}, -0.5, True, '\\"}{][', ["\\", {"}": "]"}]],
)
def test_values_of_every_kind_are_told_apart(codec: str, value: Any) -> None:
    client, server = pair(codec)
    if codec == GOB and value == ["\\", {"}": "]"}]:
        value = {"}": "]"}  # the list would be of interfaces, and Go registers no such map
    told = message(client, server.reply("F.M", 1, server.encode_body(value)))
    assert told.body.decode() == ("cmF3" if codec == JSON and value == b"raw" else value)
    assert told.body.named == (value is None if codec == GOB else isinstance(value, dict))


@EACH
def test_many_names_are_names_as_well(codec: str) -> None:
    client, server = pair(codec)
    many = SimpleNamespace(**{f"F{number}": number for number in range(20)})
    assert message(server, client.request("F.M", 1, client.encode_body(many))).body.named


def _stream(codec: str) -> tuple[bytes, list[tuple[Header, Any]]]:
    client, _ = pair(codec)
    wanted: list[tuple[Header, Any]] = []
    data = client.hello()
    for seq, value in enumerate([Args(1, 3), 'te\\xt"\n', [1, -1], 7, Args(0, 0)], 1):
        data += client.request("Foo.Sum", seq, client.encode_body(value))
        wanted.append((Header("Foo.Sum", seq, ""), vars(value) if type(value) is Args else value))
    return data, wanted


@settings(max_examples=150)
@given(st.sampled_from(CODECS), st.sets(st.integers(0, 700), max_size=8))
def test_a_stream_may_be_cut_anywhere(codec: str, cuts: set[int]) -> None:
    data, wanted = _stream(codec)
    inner = sorted(cut for cut in cuts if cut < len(data))
    server = ServerStream("tinyrpc", LIMIT)
    found = []
    for start, end in zip([0, *inner], [*inner, len(data)], strict=True):
        server.feed(data[start:end])
        while (told := server.next_message()) is not None:
            found.append((told.header, told.body.decode()))
    assert found == wanted
    assert not server.partial


@EACH
def test_a_stream_may_come_byte_by_byte(codec: str) -> None:
    data, wanted = _stream(codec)
    server = ServerStream("tinyrpc", LIMIT)
    found = []
    for at in range(len(data)):
        server.feed(data[at : at + 1])
        assert server.buffered_bytes <= at + 1
        while (told := server.next_message()) is not None:
            found.append((told.header, told.body.decode()))
    assert found == wanted


def test_the_option_s_line_feed_may_be_missing() -> None:
    client, server = pair(MSGPACK)
    server = ServerStream("tinyrpc", LIMIT)
    assert server.feed(client.hello().rstrip())
    assert message(server, client.request("F.M", 1, client.encode_body(1))).body.decode() == 1


def test_gee_rpc_s_option_ends_where_its_reader_s_buffer_does() -> None:
    hello = ClientStream("geerpc", Option(), LIMIT).hello()
    assert len(hello) == 512
    assert hello.endswith(b" }")
    assert ServerStream("geerpc", LIMIT).feed(hello)


@dataclass(frozen=True)
class Golden:
    note: str
    dialect: Dialect
    said: dict[str, bytes]
    told: list[str]


def golden() -> list[Golden]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        note, said, told = "", {"client": b"", "server": b""}, []
        dialect: Dialect = "tinyrpc"
        for line in path.read_text().splitlines():
            key, _, value = line.partition(": ")
            if key in said:
                for text, octets in re.findall(r'"([^"]*)"|([0-9a-f]+)', value):
                    said[key] += text.encode() if text else bytes.fromhex(octets)
            elif key == "told":
                told.append(value)
            elif key == "dialect":
                dialect = "geerpc"
            else:
                note = note or line.removeprefix("# ")
        found.append(Golden(note, dialect, said, told))
    return found


@pytest.mark.parametrize("each", golden(), ids=lambda each: each.note[:40])
@pytest.mark.parametrize("whole", [True, False])
def test_captured_bytes_are_read(each: Golden, whole: bool) -> None:
    server = ServerStream(each.dialect, LIMIT)
    client = ClientStream(each.dialect, Option(), LIMIT)
    found = []
    streams: list[tuple[ServerStream | ClientStream, bytes]] = [
        (server, each.said["client"]),
        (client, each.said["server"]),
    ]
    for stream, data in streams:
        pieces = [data] if whole else [data[at : at + 1] for at in range(len(data))]
        for piece in pieces:
            stream.feed(piece)
            while (told := stream.next_message()) is not None:
                header = told.header
                shown = f"{header.ServiceMethod} {header.Seq} {header.Error!r}"
                found.append(f"{shown} {told.body.decode()}")
        assert not stream.partial
    assert found == each.told
    if each.said["client"] and each.said["server"]:
        assert each.said["server"].startswith(server.welcome())
        assert bool(server.welcome()) == (each.dialect == "tinyrpc")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"7 ", "no JSON object: b'7'"),
        (b'"text"', "no JSON object"),
        (b"[}", "TinyRPC option is no JSON"),
        (b"{]}", "TinyRPC option is no JSON"),
        (b"{}", "MagicNumber is None, not 3927900"),
        (b'{"MagicNumber":3927900.0}', "MagicNumber is 3927900.0, not 3927900"),
        (b'{"MagicNumber":"3927900"}', "MagicNumber is '3927900', not 3927900"),
        (b'{"MagicNumber":3927900,"CodecType":7}', "CodecType 7 is none of application/gob, "),
        (b'{"MagicNumber":3927900,"CodecType":[]}', "CodecType [] is none of application/gob, "),
        (b'{"MagicNumber":3927900,"ConnectTimeout":1.5}', "ConnectTimeout is 1.5"),
        (b'{"MagicNumber":3927900,"HandleTimeout":"1s"}', "HandleTimeout is '1s'"),
        (b'{"MagicNumber":3927900,"HandleTimeout":true}', "HandleTimeout is True"),
        (b'{"MagicNumber":3927900,"HandleTimeout":9223372036854775808}', "HandleTimeout is 92"),
        (b"[" * 2000 + b"]" * 2000, "TinyRPC option is no JSON"),
        (b'{"' + b" " * OPTION_BYTES_MAX, "JSON value of 4098 bytes or more, limit 4096"),
        (b'{"\xff": 1}', "TinyRPC option is no JSON"),
    ],
)
def test_an_option_that_is_none_is_refused_by_name(data: bytes, named: str) -> None:
    server = ServerStream("tinyrpc", LIMIT)
    with pytest.raises(ProtocolError, match=re.escape(named)):
        server.feed(data)


def test_an_option_of_its_magic_number_alone_will_do() -> None:
    server = ServerStream("tinyrpc", LIMIT)
    assert not server.feed(b'{"MagicNumber":')
    assert server.next_message() is None
    assert server.feed(b' 3927900, "More": {"is": ["ignored"]}}')
    assert server.option == Option(GOB, 0, 0)


def test_a_server_that_answers_another_codec_is_refused() -> None:
    client = ClientStream("tinyrpc", Option(GOB), LIMIT)
    with pytest.raises(ProtocolError, match="server answers application/json, not application/gob"):
        client.feed(Option(JSON).encode())


@pytest.mark.parametrize(
    ("codec", "data", "named"),
    [
        (GOB, b"\x03\x04\x00\x08", "an int on the wire is no Header"),
        (JSON, b"7\n", "7 is no Header"),
        (JSON, b'{"Seq":-1}', "Header.Seq: -1 is no Uint"),
        (JSON, b'{"Seq":18446744073709551616}', "Header.Seq: 18446744073709551616 is no Uint"),
        (JSON, b"{]}", "not JSON"),
        (JSON, b"]\n", "not JSON"),
        (JSON, b"[" * 30_000 + b"]" * 30_000, "values lie too deep in each other"),
        (MSGPACK, b"\x07", "byte 0x07 where a msgpack bin is expected"),
        (MSGPACK, b"\xc4\x01\xc1", "not msgpack"),
        (MSGPACK, b"\xc4\x02\x07\x07", "not msgpack"),
        (MSGPACK, b"\xc4\x01\x07", "7 is no Header"),
        (GOB, b"\xfc\x00\x98\x96\x80", "gob message of 10000000 bytes, limit 65536"),
        (
            JSON,
            b'{"ServiceMethod":"' + b"x" * HEADER_BYTES_MAX,
            "JSON value of 65554 bytes or more",
        ),
        (MSGPACK, b"\xc6\x00\x98\x96\x80", "msgpack bin of 10000000 bytes, limit 65536"),
    ],
)
def test_a_header_that_is_none_is_refused_by_name(codec: str, data: bytes, named: str) -> None:
    _, server = pair(codec)
    server.feed(data)
    with pytest.raises(ProtocolError, match=re.escape(named)):
        server.next_message()


@EACH
def test_a_body_over_the_limit_names_its_call(codec: str) -> None:
    client, server = pair(codec)
    server.feed(client.request("Foo.Words", 7, client.encode_body("x" * (LIMIT + 1))))
    with pytest.raises(TooLongMessageError, match="^body: .*limit 100000") as told:
        server.next_message()
    assert told.value.header == Header("Foo.Words", 7, "")


@EACH
def test_a_body_on_its_way_is_kept(codec: str) -> None:
    client, server = pair(codec)
    data = client.request("Foo.Words", 7, client.encode_body("x" * 1000))
    server.feed(data[:-500])
    assert server.next_message() is None
    assert server.partial
    assert 500 < server.buffered_bytes < len(data)
    server.feed(data[-500:])
    told = server.next_message()
    assert told is not None
    assert told.body.decode(str) == "x" * 1000


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
@pytest.mark.parametrize("body", [b"\xc4\x01\xc1 ", b'{"Num1":"x"} ', b"nonsense "])
def test_a_wrong_body_is_a_matter_of_its_call(codec: str, body: bytes) -> None:
    client, server = pair(codec)
    head = client.request("Foo.Sum", 1, b"")
    if codec == MSGPACK:
        body = b"\xc4" + bytes([len(body)]) + body
    told = message(server, head + body)
    with pytest.raises(ProtocolError):
        told.body.decode(Args)


@EACH
def test_what_cannot_be_sent_is_refused(codec: str) -> None:
    client, _ = pair(codec)
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), endless, {1, 2}):
        with pytest.raises(ProtocolError):
            client.encode_body(value)
    if codec != JSON:
        for value in (2**70, "\ud800"):
            with pytest.raises(ProtocolError):
                client.encode_body(value)
        with pytest.raises(ProtocolError):
            client.request("\ud800", 1, client.encode_body(1))
    else:
        with pytest.raises(ProtocolError):
            client.encode_body(math.nan)


def test_hints_decide_what_gob_sends() -> None:
    client, server = pair()
    for hint in (int, Uint, float, int | None):
        told = message(client, server.reply("F.M", 1, server.encode_body(4, hint)))
        assert told.body.decode() == 4
    told = message(client, server.reply("F.M", 1, server.encode_body(None, type(None))))
    assert told.body.decode() is None
    with pytest.raises(ProtocolError, match="'4' is no int"):
        server.encode_body("4", int)


@EACH
def test_the_length_of_a_body_is_known_before_it_is_sent(codec: str) -> None:
    client, _ = pair(codec)
    body = client.encode_body("x" * 1000)
    assert 1000 < len(body) < 1020
    assert len(client.request("F.M", 1, body)) > len(body)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (999, "999ns"), (1500, "1.5µs"), (50_000_000, "50ms"),
     (1_000_000, "1ms"), (1_000_001, "1.000001ms"), (2_000_000_000, "2s"), (1_500_000_000, "1.5s"),
     (60_000_000_000, "1m0s"), (90_500_000_000, "1m30.5s"), (3_661_000_000_000, "1h1m1s"),
     (3_600_000_000_000, "1h0m0s"), (1_000_000_001, "1.000000001s")],
)  # fmt: skip
def test_spans_are_written_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text


@settings(max_examples=200)
@given(st.sampled_from(CODECS), st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_or_refused(codec: str, data: bytes, behind: bool) -> None:
    client, server = pair(codec)
    if behind:
        server.feed(client.request("Foo.Sum", 1, client.encode_body(Args(1, 3))))
    try:
        server.feed(data)
        while (told := server.next_message()) is not None:
            told.body.decode()
    except ProtocolError:
        pass
