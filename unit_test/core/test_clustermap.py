"""Cluster maps: same map, same bytes; any bytes, a map or one named error; small enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core import clustermap
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServerState, ServiceTable
from libevrpc.errors import ProtocolError, UsageError

ECHO, FOO = "echo.EchoService", "foo.Foo"


def u16(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def small_map() -> ClusterMap:
    return ClusterMap(
        "c-1",
        3,
        17,
        (
            ServerEntry("10.0.0.1:1", (ECHO,), 1.0, ServerState.UP, 0.5, 0.9, ("a",)),
            ServerEntry("10.0.0.2:1", (ECHO, FOO), 2.5, ServerState.UP, 0.1, 0.2),
            ServerEntry("[::1]:1", (ECHO,), 0.1, ServerState.DRAINING, 3.0, 0.5),
            ServerEntry("unix:///run/s", (FOO,), 1.0, ServerState.SUSPECT, 9e9, 1.0),
        ),
        (
            ServiceTable((ECHO,), (0, 1, 2), u16(0, 1, 2, 1)),
            ServiceTable((FOO, "foo.Bar"), (1, 3), u16(0, 1)),
        ),
        (1, 2, 5),
    )


entries = st.builds(
    ServerEntry,
    st.integers(1, 65535).map("10.0.0.1:{}".format),
    st.lists(st.sampled_from([ECHO, FOO, "x"]), max_size=3).map(tuple),
    st.floats(0, 65.535),
    st.sampled_from(ServerState),
    st.floats(0, 1e9),
    st.floats(0, 1),
    st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@st.composite
def maps(draw: st.DrawFn) -> ClusterMap:
    servers = draw(st.lists(entries, max_size=6, unique_by=lambda entry: entry.address))
    tables = []
    for _ in range(draw(st.integers(0, 3)) if servers else 0):
        members = draw(st.lists(st.integers(0, len(servers) - 1), min_size=1, unique=True))
        owner = st.integers(0, len(members) - 1)
        owners = draw(st.lists(owner, min_size=8, max_size=8))
        tables.append(ServiceTable((draw(st.text(max_size=5)),), tuple(members), u16(*owners)))
    number = st.integers(0, clustermap.STAMP_MAX)
    centers = draw(st.lists(st.integers(0, 9), max_size=3))
    return ClusterMap(
        draw(st.text(max_size=9)),
        draw(number),
        draw(number),
        tuple(servers),
        tuple(tables),
        tuple(centers),
    )


@given(maps())
def test_decoded_map_equals_the_published_one_and_has_the_same_bytes(published: ClusterMap) -> None:
    encoded = published.encode()
    decoded = ClusterMap.decode(encoded)
    assert decoded == published
    assert decoded.encode() == encoded


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 400), st.booleans())
def test_any_bytes_are_a_map_or_a_protocol_error(noise: bytes, at: int, insert: bool) -> None:
    whole = small_map().encode()
    spoiled = whole[:at] + noise + whole[at + (0 if insert else len(noise)) :]
    for encoded in (noise, spoiled):
        try:
            decoded = ClusterMap.decode(encoded)
        except ProtocolError:
            continue
        assert ClusterMap.decode(decoded.encode()) == decoded


def spoiled(position: int, value: object) -> bytes:
    columns = msgpack.unpackb(small_map().encode())
    columns[position] = value
    return bytes(msgpack.packb(columns))


@pytest.mark.parametrize(
    "encoded",
    [
        msgpack.packb({}),
        msgpack.packb([]),
        b"",
        b"\xc1",
        b"\x92\x01",
        spoiled(0, 2),
        spoiled(1, 7),
        spoiled(2, -1),
        spoiled(3, 1.0),
        spoiled(3, True),
        spoiled(4, "10.0.0.1:1\n10.0.0.1:1\na:1\nb:1"),
        spoiled(4, "a:1"),
        spoiled(4, "a\nb\nc\nd"),
        spoiled(4, None),
        spoiled(5, b"123"),
        spoiled(6, b"\x00\x00\x00\x09"),
        spoiled(8, u16(1, 2, 3, 1001)),
        spoiled(9, [["x"]]),
        spoiled(9, ["x", "y", "z"]),
        spoiled(9, [[1], [2], [3]]),
        spoiled(13, [[["s"], None, u16(0, 9)]]),
        spoiled(13, [[["s"], u16(0, 0), b"\0"]]),
        spoiled(13, [[["s"], u16(0, 9), b"\0"]]),
        spoiled(13, [[["s"], u16(0), b"\0\0\0"]]),
        spoiled(13, [[["s"], u16(0), b""]]),
        spoiled(13, [[["s"], u16(0), b"\1"]]),
        spoiled(13, 5),
        spoiled(14, ["x"]),
    ],
)
def test_spoiled_map_is_refused_by_name(encoded: bytes) -> None:
    with pytest.raises(ProtocolError, match="no cluster map"):
        ClusterMap.decode(encoded)


def test_too_large_a_map_is_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = small_map().encode()
    monkeypatch.setattr(clustermap, "MAP_BYTES_MAX", 100)
    with pytest.raises(ProtocolError, match="at most 100"):
        ClusterMap.decode(encoded)
    with pytest.raises(UsageError, match="at most 100"):
        small_map().encode()
    monkeypatch.setattr(clustermap, "SERVERS_MAX", 3)
    with pytest.raises(UsageError, match="at most 3"):
        small_map().encode()
    monkeypatch.setattr(clustermap, "MAP_BYTES_MAX", 9999)
    with pytest.raises(ProtocolError, match="4 servers"):
        ClusterMap.decode(encoded)


def test_a_thousand_servers_with_16384_slots_fit_into_64_kib() -> None:
    servers = tuple(
        ServerEntry(f"192.168.{100 + n // 100}.{100 + n % 100}:{10000 + n}", (ECHO,), 1.0)
        for n in range(1000)
    )
    owners = u16(*(slot % 1000 for slot in range(16384)))
    published = ClusterMap(
        "c" * 32, 9, 9, servers, (ServiceTable((ECHO,), tuple(range(1000)), owners),)
    )
    encoded = published.encode()
    assert len(encoded) <= 64 * 1024
    assert ClusterMap.decode(encoded) == published


@pytest.mark.parametrize(
    "field",
    [
        {"weight": -1},
        {"weight": 66},
        {"load": 1.1},
        {"age_s": -1},
        {"address": "a\nb"},
        {"address": ""},
    ],
)
def test_figures_out_of_range_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"weight|age|address"):
        replace(small_map().servers[0], **field)


def test_part_has_only_the_servers_of_the_service() -> None:
    part = small_map().part("foo.Bar")
    assert [entry.address for entry in part.servers] == ["10.0.0.2:1", "unix:///run/s"]
    assert part.tables == (ServiceTable(("foo.Bar",), (0, 1), u16(0, 1)),)
    assert part.stamp == (3, 17)
    assert ClusterMap.decode(part.encode()) == part
    nothing = small_map().part("nobody")
    assert (nothing.servers, nothing.tables, nothing.stamp) == ((), (), (3, 17))


def test_endpoints_keep_unwell_servers_with_weight_zero() -> None:
    found = small_map().endpoints_of(ECHO)
    assert [(e.address, e.weight) for e in found.endpoints] == [
        ("10.0.0.1:1", 1.0),
        ("10.0.0.2:1", 2.5),
        ("[::1]:1", 0.0),
    ]
    assert found.slots is not None
    assert [found.slots.owner(slot).address for slot in range(4)] == [
        "10.0.0.1:1",
        "10.0.0.2:1",
        "[::1]:1",
        "10.0.0.2:1",
    ]
    assert (found.version, found.vnodes) == ((3, 17), ())
    assert small_map().endpoints_of("nobody").endpoints == ()


def test_own_vnodes_come_ranked_by_the_load_of_their_owners() -> None:
    found = small_map().endpoints_of(ECHO, "client-1", 4)
    assert found.slots is not None
    owners = [found.slots.owner(slot).address for slot in found.vnodes]
    assert owners == ["10.0.0.2:1", "10.0.0.2:1", "[::1]:1", "10.0.0.1:1"]
    assert found.vnodes == small_map().part(ECHO).endpoints_of(ECHO, "client-1", 4).vnodes
