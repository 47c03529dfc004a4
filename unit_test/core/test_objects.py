"""Bodies of plain-object calls: what comes back, and what cannot be sent or read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.objects import (
    KEYWORDS_KEY,
    ContentType,
    decode_arguments,
    decode_value,
    encode_arguments,
    encode_value,
)
from libevrpc.errors import Errno, RpcError

JSON, MSGPACK = ContentType.JSON, ContentType.MSGPACK
BOTH = pytest.mark.parametrize("kind", [JSON, MSGPACK])
KINDS = st.sampled_from([JSON, MSGPACK])
NAMES = st.text(st.characters(codec="utf-8"), max_size=4) | st.just(KEYWORDS_KEY)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False,
    allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=200)
@given(KINDS, st.lists(VALUES, max_size=3), st.dictionaries(NAMES, VALUES, max_size=2))
def test_arguments_come_back_as_passed(
    kind: int, positional: list[Any], keywords: dict[str, Any]
) -> None:
    body = encode_arguments(tuple(positional), keywords, kind)
    assert decode_arguments(body, kind) == (positional, keywords)


@given(KINDS, VALUES)
def test_value_comes_back_as_returned(kind: int, value: Any) -> None:
    assert decode_value(encode_value(value, kind), kind) == value


def test_msgpack_carries_bytes_and_maps_of_any_plain_key() -> None:
    value = {1: b"\xff", "two": [b"", None], b"three": 3.0}
    assert decode_value(encode_value(value, MSGPACK), MSGPACK) == value


def test_shapes_on_the_wire() -> None:
    assert encode_arguments((1, 2), {}, JSON) == b"[1,2]"
    assert encode_arguments((), {}, JSON) == b"[]"
    assert encode_arguments((), {"a": 1}, JSON) == b'{"a":1}'
    assert encode_arguments((1,), {"a": 2}, JSON) == b'[1,{"**":{"a":2}}]'
    assert encode_value("ok", JSON) == b'"ok"'


def test_positional_map_that_looks_like_keywords_stays_positional() -> None:
    argument = {KEYWORDS_KEY: {"a": 1}}
    body = encode_arguments((argument,), {}, JSON)
    assert body == b'[{"**":{"a":1}},{"**":{}}]'
    assert decode_arguments(body, JSON) == ([argument], {})


@BOTH
@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1j, float, [object()], {"a": object()}],
    ids=["object", "set", "complex", "class", "inside a list", "inside a map"],
)
def test_value_of_another_type_is_refused_by_name(kind: int, value: Any) -> None:
    with pytest.raises(RpcError, match="value cannot be sent") as sent:
        encode_value(value, kind)
    assert sent.value.errno == Errno.BAD_RESPONSE
    with pytest.raises(RpcError, match="value cannot be sent") as asked:
        encode_arguments((value,), {}, kind)
    assert asked.value.errno == Errno.BAD_REQUEST


def test_what_only_one_of_them_carries() -> None:
    for value, kind in ((2**64, MSGPACK), ("\ud800", MSGPACK), (float("nan"), JSON), (b"x", JSON)):
        with pytest.raises(RpcError, match="value cannot be sent"):
            encode_value(value, kind)


def test_a_number_that_is_too_large_is_called_so() -> None:
    with pytest.raises(RpcError, match="an int beyond 64 bits"):
        encode_value({"a": [2**64]}, MSGPACK)


@BOTH
def test_value_within_itself_is_refused(kind: int) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RpcError, match="value cannot be sent"):
        encode_value(endless, kind)


@BOTH
@pytest.mark.parametrize("body", ["text", 5, None, True])
def test_arguments_are_an_array_or_a_map(kind: int, body: Any) -> None:
    with pytest.raises(RpcError, match="neither an array nor a map") as caught:
        decode_arguments(encode_value(body, kind), kind)
    assert caught.value.errno == Errno.BAD_REQUEST


def test_names_of_keywords_are_text() -> None:
    for body in ({1: 2}, {b"a": 1}, [1, {KEYWORDS_KEY: {2: 3}}], [{KEYWORDS_KEY: [1]}]):
        with pytest.raises(RpcError, match="names as keys"):
            decode_arguments(encode_value(body, MSGPACK), MSGPACK)


@pytest.mark.parametrize(("kind", "body"), [(JSON, b"[" * 100_000), (MSGPACK, b"\x91" * 9999)])
def test_body_that_breaks_a_bound_is_refused_as_such(kind: int, body: bytes) -> None:
    with pytest.raises(RpcError, match="body: values lie too deep in each other$") as asked:
        decode_arguments(body, kind)
    assert asked.value.errno == Errno.BAD_REQUEST
    with pytest.raises(RpcError, match="body: values lie too deep") as replied:
        decode_value(body, kind)
    assert replied.value.errno == Errno.BAD_RESPONSE


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b"\xff\xfe\xff"),
        (JSON, b"1" * 5000),
        (MSGPACK, b""),
        (MSGPACK, b"\xc1"),
        (MSGPACK, b"\x92\x01"),
        (MSGPACK, b"\x01\x02"),
        (MSGPACK, b"\xa1\xff"),
        (MSGPACK, b"\x81\x90\x01"),
        (MSGPACK, b"\xdf\xff\xff\xff\xff"),
    ],
    ids=lambda each: repr(each)[:24],
)
def test_body_that_cannot_be_read_is_refused_by_name(kind: int, body: bytes) -> None:
    with pytest.raises(RpcError, match=f"body is not {ContentType(kind).name}") as asked:
        decode_arguments(body, kind)
    assert asked.value.errno == Errno.BAD_REQUEST
    with pytest.raises(RpcError) as replied:
        decode_value(body, kind)
    assert replied.value.errno == Errno.BAD_RESPONSE


@settings(max_examples=300)
@given(KINDS, st.binary(max_size=40))
def test_any_body_is_read_or_refused(kind: int, body: bytes) -> None:
    for read in (decode_arguments, decode_value):
        with suppress(RpcError):
            read(body, kind)


@pytest.mark.parametrize("kind", [0, 2, 3, 7, -1])
def test_other_content_types_are_refused_with_what_would_do(kind: int) -> None:
    text = rf"content_type {kind} is not for plain objects; send 1001 \(msgpack\) or 1 \(JSON\)"
    for use in (lambda: encode_value(1, kind), lambda: decode_value(b"1", kind)):
        with pytest.raises(RpcError, match=text):
            use()
