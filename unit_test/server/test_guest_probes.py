"""Whose a message is: every wire knows its own first bytes, and takes nobody else's."""

from __future__ import annotations

import pytest
from fuzz.readers import told
from fuzz.seeds import SEEDS
from fuzz.target import server_of
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.prpc_encode import encode_request
from libevrpc.core.wires import PROBE_BYTES_MAX, Probe, Wire

NAMES = tuple(name for name in SEEDS if name != "prpc")
WIRES: dict[str, Wire] = {
    name: wire for name, wire in told(server_of, NAMES).wires.items() if name in NAMES
}


def takers(head: bytes) -> set[str]:
    return {name for name, wire in WIRES.items() if wire.probe(head) is Probe.YES}


def willing(head: bytes) -> set[str]:
    return {name for name, wire in WIRES.items() if wire.probe(head) is not Probe.NO}


@pytest.mark.parametrize("name", SEEDS)
def test_each_wire_takes_its_own_and_nobody_elses(name: str) -> None:
    owner = set() if name == "prpc" else {name}
    for stream in SEEDS[name]():
        assert takers(stream[:PROBE_BYTES_MAX]) == owner, stream[:20]
        for size in range(4, min(len(stream), PROBE_BYTES_MAX)):
            assert takers(stream[:size]) <= owner
            assert willing(stream[:size]) >= owner


@settings(max_examples=300)
@given(st.binary(min_size=4, max_size=PROBE_BYTES_MAX))
def test_no_bytes_are_taken_by_two(head: bytes) -> None:
    assert len(takers(head)) <= 1


@settings(max_examples=200)
@given(st.text(min_size=1, max_size=20), st.binary(max_size=30), st.integers(5, PROBE_BYTES_MAX))
def test_prpc_and_streaming_frames_are_nobodys(service: str, body: bytes, size: int) -> None:
    frame = encode_request(service, "Echo", 1, body, timeout_ms=5)
    for data in (frame, b"STRM" + frame[4:]):
        assert takers(data[:4]) == set()
        assert willing(data[:size]) == set()
