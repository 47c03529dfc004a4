"""Gob as Go writes it, read and written: `unit_test/golden/gob/values.txt` and TinyRPC's calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.gob import GobReader, GobWriter
from unit_test.core.gob.gob_streams import (
    All,
    Args,
    Group,
    Header,
    Inner,
    Node,
    golden,
    values_of,
)

GROUPS = golden()
FIRST_CALL = bytes.fromhex(
    "38ff81030101064865616465"
    "7201ff82000103010d536572766963654d6574686f64010c0001035365710106000105"
    "4572726f72010c0000000eff820107466f6f2e53756d01010024ff83030101044172677301"
    "ff8400010201044e756d3101040001044e756d32010400000007ff840102010600"
)
SECOND_CALL = bytes.fromhex("0eff820107466f6f2e53756d01020007ff840102010600")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.note[:40])
def test_what_go_writes_is_read(group: Group) -> None:
    assert [raw.decode() for raw in values_of(group.data)] == group.values


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.note[:40])
def test_it_is_read_byte_by_byte_as_well(group: Group) -> None:
    reader = GobReader()
    found = []
    for position in range(len(group.data)):
        reader.feed(group.data[position : position + 1])
        while (raw := reader.next_value()) is not None:
            found.append(raw.decode())
    assert found == group.values
    assert not reader.buffered_bytes


@settings(max_examples=100)
@given(st.data())
def test_it_is_read_however_it_is_cut(data: st.DataObject) -> None:
    group = data.draw(st.sampled_from(GROUPS))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(group.data)), max_size=5)))
    reader = GobReader()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(group.data)], strict=True):
        reader.feed(group.data[start:end])
        while (raw := reader.next_value()) is not None:
            found.append(raw.decode())
    assert found == group.values


def test_the_pieces_of_a_value_count_as_kept_until_it_is_whole() -> None:
    [group] = [group for group in GROUPS if group.note.startswith("a type defined inside")]
    last = len(bytes.fromhex("0aff8a06010201017800")) + 1
    reader = GobReader()
    reader.feed(group.pieces[0][:-last])
    assert reader.next_value() is None
    assert reader.buffered_bytes == 45  # read, and its type learned, but no value yet
    reader.feed(group.pieces[0][-last:])
    raw = reader.next_value()
    assert raw is not None
    assert raw.decode() == group.values[0]
    assert not reader.buffered_bytes


def test_dataclasses_are_made_of_what_go_writes() -> None:
    for note in ("a struct with every", "the same struct, empty"):
        [group] = [group for group in GROUPS if group.note.startswith(note)]
        [raw] = values_of(group.data)
        assert raw.decode(All) == _all(group.values[0])


def _all(told: dict[str, Any]) -> All:
    inner = told["Pointer"]
    changed = told | {
        "Three": tuple(told["Three"]),
        "Inner": Inner(**told["Inner"]),
        "Inners": [Inner(**part) for part in told["Inners"]],
        "ByName": {name: Inner(**part) for name, part in told["ByName"].items()},
        "Pointer": None if inner is None else Inner(**inner),
    }
    return All(**changed)


def test_calls_are_written_as_tinyrpc_writes_them() -> None:
    writer = GobWriter()
    first = writer.message(Header("Foo.Sum", 1, "")) + writer.message(Args(1, 3))
    second = writer.message(Header("Foo.Sum", 2, "")) + writer.message(Args(1, 3))
    assert _ids_as_captured(first) == FIRST_CALL
    assert _ids_as_captured(second) == SECOND_CALL


def _ids_as_captured(data: bytes) -> bytes:
    """Put the first ids that a Go process gives in the place of those of this process."""
    from libevrpc.core.gob import schema_of
    from libevrpc.core.gob.octets import put_int

    for cls, type_id in ((Header, 65), (Args, 66)):
        for sign in (1, -1):
            ours, captured = bytearray(), bytearray()
            put_int(ours, sign * schema_of(cls).type_id)
            put_int(captured, sign * type_id)
            data = data.replace(bytes(ours), bytes(captured))
    return data


def test_calls_of_tinyrpc_are_read() -> None:
    first, args, second, again = values_of(FIRST_CALL + SECOND_CALL)
    assert first.decode(Header) == Header("Foo.Sum", 1, "")
    assert args.decode(Args) == again.decode(Args) == Args(1, 3)
    assert second.decode() == {"ServiceMethod": "Foo.Sum", "Seq": 2, "Error": ""}
    assert args.is_struct


def test_replies_of_tinyrpc_are_read() -> None:
    header = FIRST_CALL[:57]
    error = bytes.fromhex("15ff820108466f6f2e4661696c01010104626f6f6d00")
    nothing = bytes.fromhex("0aff83030102ff8400000003ff8400")
    told, body = values_of(header + error + nothing)
    assert told.decode(Header) == Header("Foo.Fail", 1, "boom")
    assert body.decode() == {}
    [four] = values_of(bytes.fromhex("03040008"))
    assert four.decode(int) == 4
    assert not four.is_struct


def test_a_type_that_holds_itself_goes_out_and_comes_back() -> None:
    data = GobWriter().message(Node(1, Node(2, Node(0))))
    [raw] = values_of(data)
    assert raw.decode(Node) == Node(1, Node(2, Node(0)))
