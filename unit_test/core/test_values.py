"""How many values a message may hold: counted before one of them is made."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core import values
from libevrpc.core.objects import ContentType
from libevrpc.core.protobufs import parse_text
from libevrpc.core.values import VALUES_MAX, BoundError, check_json, load_json, load_msgpack
from libevrpc.errors import Errno, RpcError
from libevrpc.gen import center_pb2

TEXTS = st.text(max_size=3) | st.sampled_from(['"', "\\", '\\"', "],[", "{}", "x" * 40, "é,\u2028"])
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False,
    allow_infinity=False) | TEXTS  # fmt: skip
PACKED = PLAIN | st.binary(max_size=3) | st.sampled_from([
    b"x" * 300, b"x" * 70_000, "x" * 300, "x" * 70_000,
    *(msgpack.ExtType(5, b"x" * size) for size in (0, 1, 2, 4, 8, 16, 17, 300, 70_000)),
])  # fmt: skip


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXTS, inner, max_size=20),
        max_leaves=20,
    )


def counted(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(counted(part) for part in value.values())
    if isinstance(value, list):
        return 1 + sum(counted(part) for part in value)
    return 2 if isinstance(value, msgpack.ExtType) else 1


def peak_of_refusing(load: Callable[[bytes], Any], bomb: bytes) -> int:
    """Return the bytes of memory that it took."""
    tracemalloc.start()
    try:
        with pytest.raises(BoundError, match="^more than 4194304 values in one message$"):
            load(bomb)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(max_examples=100)
@given(trees(PACKED), st.integers(1, 130))
def test_values_of_msgpack_are_counted_exactly(value: Any, times: int) -> None:
    value = [value] * times
    data = msgpack.packb(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "VALUES_MAX", counted(value))
        assert load_msgpack(data) == value
        patch.setattr(values, "VALUES_MAX", counted(value) - 1)
        with pytest.raises(BoundError, match=f"^more than {counted(value) - 1} values in one"):
            load_msgpack(data)


@settings(max_examples=100)
@given(trees(PLAIN), st.booleans(), st.sampled_from([None, 1]))
def test_values_of_json_are_counted_exactly(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "VALUES_MAX", counted(value))
        assert load_json(data) == value
        if counted(value) > 1:
            patch.setattr(values, "VALUES_MAX", counted(value) - 1)
            with pytest.raises(BoundError, match=f"^more than {counted(value) - 1} values in one"):
                load_json(data)


@settings(max_examples=100)
@given(trees(PLAIN), st.integers(1, 9), st.sampled_from(["utf-8", "utf-16", "utf-32-be"]))
def test_json_never_has_more_values_than_are_counted(value: Any, piece: int, encoding: str) -> None:
    data = json.dumps(value, ensure_ascii=False).encode(encoding, "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "_PIECE_BYTES", piece)
        if counted(value) > 1:
            patch.setattr(values, "VALUES_MAX", counted(value) - 1)
            with pytest.raises(BoundError):
                load_json(data)


@settings(max_examples=100)
@given(trees(PACKED), st.integers(0, 400), st.binary(max_size=4))
def test_what_is_garbled_is_the_decoders_business(value: Any, cut: int, junk: bytes) -> None:
    data = msgpack.packb(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "VALUES_MAX", 0)
        for text in (data[:cut] + junk, data[:cut] + junk + data[cut:]):
            with suppress(ValueError, TypeError, msgpack.UnpackException):
                load_msgpack(text)
            with suppress(BoundError):
                check_json(text)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\x01\x00\x00\x00" + b"\x90" * (1 << 24),
        b"\xdd\x01\x00\x00\x00" + b"\x80" * (1 << 24),
        b"\xdc\xff\xff" * (VALUES_MAX + 1),
    ],
    ids=["lists", "maps", "heads"],
)
def test_sixteen_megabytes_of_empty_containers_are_never_made(bomb: bytes) -> None:
    assert peak_of_refusing(load_msgpack, bomb) < 1 << 20


@pytest.mark.parametrize("part", [b"[],", b"{},", b'"",', b"0,", b"[ ],"])
def test_sixteen_megabytes_of_empty_json_are_never_made(part: bytes) -> None:
    bomb = b"[" + part * ((1 << 24) // len(part)) + b"0]"
    assert peak_of_refusing(load_json, bomb) < 2 * len(bomb)  # it is copied without commas


def test_large_messages_pass() -> None:
    million = list(range(1 << 20))
    assert load_msgpack(msgpack.packb(million)) == million
    text = "a,b:[{" * (1 << 21)  # 12 MB, with more commas in it than there may be values
    assert load_json(json.dumps(['\\"' + text, text]).encode()) == ['\\"' + text, text]
    blob = bytes(range(256)) * (1 << 16)
    assert load_msgpack(msgpack.packb(["\0" * 300, blob])) == ["\0" * 300, blob]


def test_as_many_values_as_there_may_be_pass() -> None:
    assert len(load_msgpack(b"\xdd\x00\x3f\xff\xff" + b"\xc0" * (VALUES_MAX - 1))) == VALUES_MAX - 1
    with pytest.raises(BoundError):
        load_msgpack(b"\xdd\x00\x40\x00\x00" + b"\xc0" * VALUES_MAX)
    assert len(load_json(b"[" + b"1," * (VALUES_MAX - 2) + b"1]")) == VALUES_MAX - 1
    with pytest.raises(BoundError):
        load_json(b"[" + b"1," * (VALUES_MAX - 1) + b"1]")


def test_json_for_protobuf_messages_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "VALUES_MAX", 10)
    with pytest.raises(RpcError, match=re.escape("more than 10 values in one message")) as caught:
        parse_text(center_pb2.PullRequest, b'{"a":[' + b"0," * 20 + b"0]}", ContentType.JSON)
    assert caught.value.errno == Errno.BAD_REQUEST
