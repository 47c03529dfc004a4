"""The record of a server in our own layouts: what is written, and what may be read."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.endpoints import Endpoint
from libevrpc.registry import record
from libevrpc.registry.base import Announcement
from libevrpc.registry.record import (
    decode_list,
    decode_record,
    encode_list,
    encode_record,
    endpoint_of,
)
from libevrpc.registry.session import RegistryError

FULL = Announcement("10.0.0.7:9998", ("echo.EchoService", "x.Ärger"), 2.5, ("red",), 8)


def test_a_record_is_these_bytes() -> None:
    assert (
        encode_record(FULL)
        == (
            '{"v":1,"address":"10.0.0.7:9998","services":["echo.EchoService","x.Ärger"],'
            '"weight":2.5,"tags":["red"],"limit":8}'
        ).encode()
    )


def test_a_record_is_read_as_it_was_written() -> None:
    assert decode_record(encode_record(FULL)) == FULL
    assert endpoint_of(FULL) == Endpoint("10.0.0.7", 9998, weight=2.5, tags=("red",), limit=8)


def test_what_is_left_out_has_a_default_and_what_is_unknown_is_ignored() -> None:
    assert decode_record(b'{"address":"A:1","color":"red","weight":2}') == Announcement(
        "a:1", (), 2.0
    )


@pytest.mark.parametrize(
    ("encoded", "told"),
    [
        (b"", "no JSON: Expecting value"),
        (b"\xff", "no JSON"),
        (b'{"address":"a:1"', "no JSON"),
        (b"[" * 100_000, "no JSON: nested too deeply"),
        (b"[]", "no JSON object"),
        (b"{}", '"address" is not a text'),
        (b'{"v":2,"address":"a:1"}', "version 2; this libevrpc reads 1"),
        (b'{"address":7}', '"address" is not a text'),
        (b'{"address":"a"}', "record: address 'a' has no port"),
        (b'{"address":"a:1","weight":"1"}', '"weight" is not a number'),
        (b'{"address":"a:1","weight":true}', '"weight" is not a number'),
        (b'{"address":"a:1","weight":-1}', "weight -1.0 is not in 0"),
        (b'{"address":"a:1","weight":NaN}', "weight nan is not in 0"),
        (b'{"address":"a:1","weight":1' + b"0" * 400 + b"}", '"weight" is too large'),
        (b'{"address":"a:1","tags":"red"}', '"tags" is not a list of texts'),
        (b'{"address":"a:1","services":[1]}', '"services" is not a list of texts'),
        (b'{"address":"a:1","limit":1.5}', r'"limit" is not a whole number in 0..1000000'),
        (b'{"address":"a:1","limit":-1}', '"limit" is not a whole number'),
        (b'{"address":"a:1","limit":true}', '"limit" is not a whole number'),
        (b" " * (300 << 10), "307200 bytes, at most 262144"),
    ],
)
def test_a_wrong_record_is_one_clear_line(encoded: bytes, told: str) -> None:
    with pytest.raises(RegistryError, match=told) as caught:
        decode_record(encoded)
    assert "\n" not in str(caught.value)


def test_half_a_character_is_no_text() -> None:
    """JSON can say it, and nobody could write it any more: no key, no line of a log."""
    for key in ("services", "tags"):
        with pytest.raises(RegistryError, match=f'"{key}" has half a character'):
            decode_record(b'{"address":"h:1","%s":["\\ud800"]}' % key.encode())
    with pytest.raises(RegistryError):
        decode_record(b'{"address":"h\\ud800:1"}')


def test_a_record_without_end_is_not_written() -> None:
    services = tuple(f"pkg.Service{number:0100}" for number in range(3000))
    with pytest.raises(RegistryError, match="record of a:1: .* bytes, at most 262144"):
        encode_record(Announcement("a:1", services))


def test_a_list_is_read_as_it_was_written() -> None:
    servers = (
        Endpoint("a", 1, weight=2.0, tags=("red", "blue"), limit=3),
        Endpoint("", 0, "/run/b"),
        Endpoint("c", 1, transport="http"),
    )
    assert decode_list(encode_list(servers)) == servers


@pytest.mark.parametrize(
    ("encoded", "told"),
    [
        (b"{}", '"servers" is not a list'),
        (b'{"servers":[7]}', "record of a server is no JSON object"),
        (b'{"servers":[{"address":"a:1","transport":"x"}]}', '"transport" is not one of tcp,'),
        (b'{"servers":[{"address":"a:1","transport":[]}]}', '"transport" is not one of tcp,'),
    ],
)
def test_a_wrong_list_is_one_clear_line(encoded: bytes, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        decode_list(encoded)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


KEYS = ("v", "address", "services", "weight", "tags", "limit", "servers")
json_records = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, json_values))


@given(st.binary(max_size=60) | json_records.map(lambda found: json.dumps(found).encode()))
def test_any_bytes_are_a_record_or_a_registry_error(encoded: bytes) -> None:
    for decode in (decode_record, decode_list):
        with contextlib.suppress(RegistryError):
            decode(encoded)


def test_the_longest_record_fits_where_it_is_kept() -> None:
    assert record.RECORD_BYTES_MAX < 1 << 20  # ZooKeeper's nodes and etcd's requests hold 1 MiB
