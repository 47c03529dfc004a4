"""Gob that lies: every lie has its own error, and costs neither time nor memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libevrpc.core.gob import (
    GobError,
    GobReader,
    GobTooLongError,
    GobWriter,
    encode_value,
    limits,
    octets,
    schema_of,
    walk,
)
from libevrpc.core.gob.octets import put_int, put_uint, uint_at
from unit_test.core.gob.gob_streams import Args, Group, golden, message, values_of

GROUPS = golden()


def uint(value: int) -> bytes:
    out = bytearray()
    put_uint(out, value)
    return bytes(out)


def signed(value: int) -> bytes:
    out = bytearray()
    put_int(out, value)
    return bytes(out)


def common(type_id: int) -> bytes:
    """Return a CommonType without a name."""
    return b"\x01\x02" + signed(type_id) + b"\x00"


def framed(content: bytes) -> bytes:
    return uint(len(content)) + content


def slice_of(type_id: int, elem: int) -> bytes:
    return framed(signed(-type_id) + b"\x02" + common(type_id) + b"\x01" + signed(elem) + b"\0\0")


def array_of(type_id: int, elem: int, length: int) -> bytes:
    content = (
        b"\x01" + common(type_id) + b"\x01" + signed(elem) + b"\x01" + signed(length) + b"\0\0"
    )
    return framed(signed(-type_id) + content)


def map_of(type_id: int, key: int, elem: int) -> bytes:
    content = b"\x04" + common(type_id) + b"\x01" + signed(key) + b"\x01" + signed(elem) + b"\0\0"
    return framed(signed(-type_id) + content)


def struct_of(type_id: int, *fields: tuple[str, int]) -> bytes:
    described = b"".join(
        b"\x01" + uint(len(name)) + name.encode() + b"\x01" + signed(part) + b"\0"
        for name, part in fields
    )
    content = b"\x03" + common(type_id) + b"\x01" + uint(len(fields)) + described + b"\0\0"
    return framed(signed(-type_id) + content)


def value_of(type_id: int, content: bytes, *, bare: bool = False) -> bytes:
    return framed(signed(type_id) + (b"" if bare else b"\0") + content)


def refusal(data: bytes, hint: Any = None) -> str:
    """Return why a stream is refused, when it is read or when its value is."""
    with pytest.raises(GobError) as told:
        read_all(data, hint)
    return str(told.value)


def read_all(data: bytes, hint: Any = None) -> None:
    for raw in values_of(data):
        raw.decode(hint)


INT, STRING, BYTES, INTERFACE = limits.INT, limits.STRING, limits.BYTES, limits.INTERFACE
OWN = 65


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\x00", "message of no bytes"),
        (b"\xf0", "number of 16 bytes, limit 8"),
        (message(0x04, 0x00, 0xF0), "number of 16 bytes, limit 8"),
        (value_of(90, b"\0"), "type 90 has not been defined"),
        (slice_of(OWN, 91) + value_of(OWN, b"\0"), "type 91 has not been defined"),
        (slice_of(9, INT), "ids below 64 are gob's"),
        (slice_of(OWN, INT) * 2, "type 65 defined a second time"),
        (framed(signed(-OWN) + b"\0"), "type 65 is 0 things at once, not one"),
        (framed(signed(-OWN) + b"\x02\0\x01\0\0"), "type 65 is 2 things at once, not one"),
        (framed(signed(-OWN) + b"\x09"), "field 8 of struct wireType, which has 7"),
        (framed(signed(-OWN) + b"\x02\0\0\0"), "1 bytes behind the value of a message"),
        (message(0x04, 0x01, 0x02), "a value that is no struct begins with 1, not 0"),
        (message(0x04, 0x00, 0x02, 0x02), "1 bytes behind the value of a message"),
        (message(0x04, 0x00), "1 bytes wanted where 0 are left of the message"),
        (message(0x0C, 0x00, 0x05, b"abc"), "5 bytes wanted where 3 are left"),
        (message(0x0C, 0x00, 0x02, b"\xff\xff"), "string is not UTF-8"),
        (slice_of(OWN, INT) + value_of(OWN, uint(10**9)), "1000000000 elements in the 0 bytes"),
        (slice_of(OWN, INT) + value_of(OWN, uint(2**64 - 1)), "elements in the 0 bytes"),
        (map_of(OWN, INT, INT) + value_of(OWN, b"\x02\x02\x02\x02"), "2 elements in the 3 bytes"),
        (array_of(OWN, INT, 3) + value_of(OWN, b"\x02\x02\x02"), "2 elements in an array of 3"),
        (struct_of(OWN, ("A", INT)) + value_of(OWN, b"\x02\x02\0", bare=True), "field 1 of struct"),
        (struct_of(OWN, ("A", INT)) + value_of(OWN, b"\x01\x02\x01\x02\0", bare=True), "field 1"),
        (struct_of(OWN, ("A", INT)) + value_of(OWN, uint(2**64 - 1), bare=True), "of struct"),
        (slice_of(OWN, INTERFACE) + value_of(OWN, b"\x01" + uint(2000)), "name of 2000 bytes"),
        (slice_of(66, INT) + map_of(OWN, 66, INT) + value_of(OWN, b"\x01\x01\x02\x02"),
         "a list cannot be the key of a dict"),
    ],
)  # fmt: skip
def test_each_lie_is_named(data: bytes, named: str) -> None:
    assert named in refusal(data)


@pytest.mark.parametrize(
    ("definition", "content"),
    [
        (slice_of(OWN, OWN), b"\x01" * 200),
        (array_of(OWN, OWN, 1), b"\x01" * 200),
        (struct_of(OWN, ("Next", OWN)), b"\x01" * 200),
        (map_of(OWN, INT, OWN), b"\x01\x02" * 200),
        (slice_of(OWN, INTERFACE), (b"\x01\x01x" + signed(OWN) + b"\x05\0") * 150),
    ],
)
def test_values_lie_in_each_other_only_so_deep(definition: bytes, content: bytes) -> None:
    data = value_of(OWN, content, bare=definition.startswith(struct_of(OWN, ("Next", OWN))))
    assert "more than 100 deep" in refusal(definition + data)
    holder = struct_of(99, ("Stepped", OWN), ("Num1", INT))
    data = value_of(99, b"\x01" + content, bare=True)
    assert "more than 100 deep" in refusal(definition + holder + data, Args)


@pytest.mark.parametrize("kind", ["slice", "array", "map", "struct"])
def test_types_may_hold_themselves(kind: str) -> None:
    told = {
        "slice": (slice_of(OWN, OWN) + value_of(OWN, b"\x02\x00\x01\x00"), [[], [[]]]),
        "array": (array_of(OWN, OWN, 0) + value_of(OWN, b"\x00"), []),
        "map": (map_of(OWN, INT, OWN) + value_of(OWN, b"\x01\x02\x00"), {1: {}}),
        "struct": (struct_of(OWN, ("N", OWN)) + value_of(OWN, b"\x01\0\0", bare=True),
                   {"N": {"N": None}}),
    }  # fmt: skip
    data, wanted = told[kind]
    assert [raw.decode() for raw in values_of(data)] == [wanted]


def test_types_lie_in_each_other_only_so_deep() -> None:
    chain = b"".join(slice_of(type_id, type_id + 1) for type_id in range(OWN, OWN + 200))
    data = chain + slice_of(OWN + 200, INT) + value_of(OWN, b"\0")
    assert "types lie more than 100 deep" in refusal(data)


def test_a_stream_defines_only_so_many_types() -> None:
    many = b"".join(slice_of(OWN + number, INT) for number in range(limits.DEFINITIONS_MAX))
    assert list(values_of(many)) == []
    assert "more than 1000 types" in refusal(many + slice_of(5000, INT))


def test_definitions_have_only_so_many_bytes() -> None:
    long = b"".join(struct_of(OWN + number, ("x" * 60_000, INT)) for number in range(18))
    assert "definitions of more than 1048576 bytes" in refusal(long)


def test_a_message_has_only_so_many_bytes() -> None:
    reader = GobReader()
    reader.feed(uint(limits.MESSAGE_BYTES_MAX + 1))
    with pytest.raises(GobTooLongError, match="gob message of 67108865 bytes, limit 67108864"):
        reader.next_value()


def test_a_message_with_interface_values_has_fewer() -> None:
    text = b"x" * limits.OPEN_BYTES_MAX
    held = b"\x01\x06string" + signed(STRING) + uint(len(text)) + b"\0" + uint(len(text)) + text
    reader = GobReader()
    reader.feed(slice_of(OWN, INTERFACE) + value_of(OWN, held))
    with pytest.raises(GobTooLongError, match="with interface values, limit 4194304"):
        reader.next_value()


def test_a_message_makes_only_so_many_values() -> None:
    fields = [(f"F{number}", BYTES) for number in range(500)]
    data = struct_of(66, *fields) + slice_of(OWN, 66)
    structs = value_of(OWN, uint(20_000) + b"\0" * 20_000)
    assert f"more than {limits.VALUES_MAX} values" in refusal(data + structs)


@dataclass
class Wide:
    Left: Args
    Right: tuple[Args, Args]


def test_fields_that_were_not_sent_are_counted_with_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = struct_of(66, ("More", INT)) + slice_of(OWN, 66)
    [raw] = values_of(data + value_of(OWN, uint(3) + b"\0" * 3))
    # three elements; each is one more, two fields, two in Left, and six in Right
    monkeypatch.setattr(octets, "VALUES_MAX", 36)
    assert raw.decode(list[Wide])[2] == Wide(Args(0, 0), (Args(0, 0), Args(0, 0)))
    monkeypatch.setattr(octets, "VALUES_MAX", 35)
    with pytest.raises(GobError, match="more than 35 values"):
        raw.decode(list[Wide])


def test_short_messages_make_no_large_lists() -> None:
    tracemalloc.start()
    refusal(slice_of(OWN, INT) + value_of(OWN, uint(10**9)))
    array = array_of(66, INT, 10**9)
    [raw] = values_of(array + struct_of(67, ("A", 66)) + value_of(67, b"\0", bare=True))
    assert raw.decode() == {"A": None}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def defining(count: int, times: int) -> Iterator[bytes]:
    """Yield the messages of a list of interface values, the first of which define a type each."""
    head = signed(OWN) + b"\0" + uint(count)
    for number in range(times):
        yield framed(head + b"\x01x" + slice_of(100 + number, INT)[1:])
        head = signed(100 + number) + b"\x02\0\0"
    yield framed(head + b"\0" * (count - times))


def test_a_value_may_define_types_again_and_again() -> None:
    reader = GobReader()
    reader.feed(slice_of(OWN, INTERFACE))
    *pieces, last = defining(300, 50)  # more elements than bytes in the message that counts them
    for piece in pieces:
        reader.feed(piece)
        assert reader.next_value() is None
    reader.feed(last[:1])
    assert reader.next_value() is None
    reader.feed(last[1:])
    raw = reader.next_value()
    assert raw is not None
    assert raw.decode() == [[]] * 50 + [None] * 250
    assert reader.buffered_bytes == 0


def test_a_value_of_many_messages_has_only_so_many_bytes() -> None:
    reader = GobReader()
    reader.feed(slice_of(OWN, INTERFACE) + b"".join(defining(300, 50)))
    with pytest.raises(GobTooLongError, match="gob value of .* with interface values, limit 500"):
        reader.next_value(500)


@pytest.mark.parametrize(
    ("ending", "named"),
    [
        (b"\x01x" + slice_of(100, INT)[1:] + b"\xff", "ends within its value, 1 bytes before"),
        (b"\x01", "ends within its value, 0 bytes before its end"),
        (b"\x04name", "ends within its value, 0 bytes before its end"),
        (b"\x04na", "ends within its value, 2 bytes before its end"),
        (b"\0\0", "1 bytes behind the value of a message"),
        (b"\xfe\xff\xff", "a type's name of 65535 bytes, limit 1024"),
        (b"\x01x" + signed(BYTES) + b"\x03\x01", "a value that is no struct begins with 1"),
    ],
)
def test_an_open_value_ends_where_its_message_does(ending: bytes, named: str) -> None:
    content = signed(OWN) + b"\0\x01" + ending
    for step in (1, len(content)):
        reader = GobReader()
        reader.feed(slice_of(OWN, INTERFACE))
        data = framed(content)
        with pytest.raises(GobError, match=named):  # noqa: PT012
            for start in range(0, len(data), step):
                reader.feed(data[start : start + step])
                assert reader.next_value() is None


def test_a_message_ends_behind_its_types_number() -> None:
    assert "a message of 1 bytes ends within its type's number" in refusal(b"\x01\xfe\x01\x02")


def test_a_long_value_is_gone_through_while_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def counting(data: bytearray, pos: int) -> tuple[int, int] | None:
        looked.append(pos)
        return uint_at(data, pos)

    monkeypatch.setattr(walk, "uint_at", counting)
    data = GobWriter().message([[1, "two", 3.5, True] * 50] * 100, list[list[Any]])
    reader = GobReader()
    piece = 1000
    for start in range(0, len(data), piece):
        looked.clear()
        reader.feed(data[start : start + piece])
        raw = reader.next_value()
        assert len(looked) <= piece + 9  # a number may have come in two pieces
    assert raw is not None
    assert raw.decode() == [[1, "two", 3.5, True] * 50] * 100


def test_a_definition_inside_a_value_counts_like_any_other() -> None:
    described = slice_of(OWN, INT)[1:]
    data = slice_of(OWN, INT) + slice_of(66, INTERFACE)
    data += framed(signed(66) + b"\0\x01\x01x" + described)
    assert "type 65 defined a second time" in refusal(data)


def test_a_wrong_hint_is_named_with_its_place() -> None:
    data = struct_of(OWN, ("Num1", STRING), ("Num2", INT))
    assert refusal(data + value_of(OWN, b"\0", bare=True), Args) == (
        ".Num1: a str on the wire is no int"
    )
    nested = struct_of(66, ("In", OWN)) + value_of(66, b"\x01\x02\xf0", bare=True)
    assert ".In: .Num2: number of 16 bytes" in refusal(data + nested)


@pytest.mark.parametrize(
    ("value", "hint", "named"),
    [
        ("text", int, "a str on the wire is no int"),
        (1, str, "an int on the wire is no str"),
        (1, float, "an int on the wire is no float"),
        (1, bool, "an int on the wire is no bool"),
        (1, list[int], "an int on the wire is no list[int]"),
        ([1], dict[str, int], "a slice []int on the wire is no dict[str, int]"),
        ({"a": 1}, Args, "a map map[string]int on the wire is no Args"),
        (Args(1, 2), list[int], "a struct Args on the wire is no list[int]"),
        ([1, 2], tuple[int, int, int], "2 elements where 3 are wanted"),
        (b"x", str, "a bytes on the wire is no str"),
    ],
)
def test_what_is_something_else_is_refused(value: Any, hint: Any, named: str) -> None:
    assert refusal(GobWriter().message(value), hint) == named


@settings(max_examples=300)
@given(st.binary(max_size=60))
@example(b"\x05\x04\x00\xf8\xff\xff")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = GobReader()
    reader.feed(data)
    try:
        while (raw := reader.next_value()) is not None:
            raw.decode()
    except GobError:
        pass


@settings(max_examples=400)
@given(st.data())
def test_broken_streams_of_go_are_read_or_refused(data: st.DataObject) -> None:
    group: Group = data.draw(st.sampled_from(GROUPS))
    stream = bytearray(group.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from("scid")):
            case "s":
                stream[at] = data.draw(st.integers(0, 255))
            case "c":
                del stream[at : at + data.draw(st.integers(1, 4))]
            case "i":
                stream[at:at] = data.draw(st.binary(max_size=4))
            case _:
                stream += stream[at:]
        if not stream:
            break
    reader = GobReader()
    reader.feed(bytes(stream))
    try:
        while (raw := reader.next_value()) is not None:
            raw.decode()
    except GobError:
        pass


def test_too_long_a_value_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_BYTES_MAX", 10)
    with pytest.raises(GobError, match="value of 23 bytes, limit 10"):
        encode_value(schema_of(bytes), bytes(20))
