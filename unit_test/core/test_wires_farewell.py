"""A peer that is too slow is told so where its wire has words for it."""

from __future__ import annotations

from libevrpc.core.prpc_events import Event, WireLimits
from libevrpc.core.wires import Probe, Wire, WireReader, WireSwitch


class Mute:
    partial = True
    buffered_bytes = 1

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        return [], None


class Polite(Mute):
    def farewell(self) -> bytes:
        return b"too slow"


def spoken(reader: type[WireReader]) -> bytes:
    switch = WireSwitch(WireLimits(), [Wire("one", False, lambda head: Probe.YES, reader)])
    assert switch.farewell() == b""
    assert switch.receive_data(b"begin") == []
    return switch.farewell()


def test_a_reader_may_have_last_words() -> None:
    assert spoken(Mute) == b""
    assert spoken(Polite) == b"too slow"
