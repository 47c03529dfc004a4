"""Numbers and sizes that no center of ours sends: they cost nothing and bind nobody."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from center.core import codec
from center.core.ballot import LEAP_MAX, Ballot, State
from center.core.events import Message
from center.core.messages import (
    Announcement,
    Body,
    Confirmation,
    Forward,
    Introduction,
    Join,
    Ping,
    Proposal,
    Put,
    Refusal,
    Relay,
    Report,
)
from center.core.record import MapRecord
from libevrpc.errors import ProtocolError
from unit_test.center_core.bench import DIGEST, Bench
from unit_test.center_core.pump import Pump

FAR = (1 << 63) - 1
VOTE = Proposal(1, Ballot(3, 5, 0, 1), State.LOOKING, 0, 3, (3, 5), DIGEST, 0)
MESSAGES: list[Body] = [
    Introduction(0, False, FAR, (0, 0), State.LOOKING, None, 0, DIGEST, 0),
    Introduction(0, False, 3, (3, FAR), State.LOOKING, None, 0, DIGEST, 0),
    replace(VOTE, round=FAR),
    replace(VOTE, accepted_epoch=FAR),
    replace(VOTE, ballot=Ballot(FAR, 5, 0, 2)),
    Confirmation(FAR, False, (3, 5), "c", DIGEST),
    Confirmation(4, False, (3, FAR), "c", DIGEST),
    Refusal(4, FAR, None),
    Announcement(2, FAR, State.LEADING),
    Join(FAR, (3, 5), DIGEST),
    Ping(FAR, 1, (3, 5)),
    Ping(3, 1, (FAR, 1)),
    Put(4, "c", MapRecord(4, FAR, (3, 5), b"")),
    Relay("c", MapRecord(FAR, 1, (3, 5), b"")),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_a_number_out_of_all_proportion_binds_nobody(message: Body) -> None:
    bench = Bench()
    bench.hear(2, message)
    later = bench.later(5.0)
    assert max(write.record.accepted_epoch for write in bench.writes) < 10 if bench.writes else True
    asked = [each.message for each in later if hasattr(each, "message")]
    for each in asked:
        codec.decode(codec.encode(1, 1, each))
        assert getattr(each, "round", 0) < 100
    assert bench.node.snapshot(bench.now_s).accepted_epoch < 10


def test_who_speaks_of_it_is_named_once() -> None:
    pump = Pump(3)
    pump.start()
    pump.settle()
    for number in (FAR, LEAP_MAX * 2, LEAP_MAX):
        pump.feed(1, Message(2, pump.node(2).incarnation, Join(number, (0, 0), "")))
    named = [text for text in pump.hosts[1].logs if "not believed" in text]
    assert named == [f"center 2 speaks of an epoch, version or round {FAR}: that is not believed"]


def test_a_round_vouches_for_no_epoch() -> None:
    """Rounds may be driven up by messages alone; epochs are written down before they count."""
    bench = Bench()
    for step in range(1, 4):
        bench.hear(2, replace(VOTE, round=step * LEAP_MAX))
    bench.hear(2, replace(VOTE, round=3 * LEAP_MAX, accepted_epoch=2 * LEAP_MAX))
    bench.later(5.0)
    assert bench.node.snapshot(bench.now_s).accepted_epoch < 10
    assert all(write.record.accepted_epoch < 10 for write in bench.writes)


def nested(count: int) -> bytes:
    return bytes(msgpack.packb([1, 10, 2, 7, [[]] * count]))


@pytest.mark.parametrize(
    "junk",
    [
        lambda: b"\xdd" + (8_000_000).to_bytes(4, "big") + b"\x90" * 8_000_000,
        lambda: bytes(msgpack.packb([1, 10, 2, 7, *([[[]] * 4000] * 2000)])),
        lambda: bytes(msgpack.packb([1, 10, 2, 7, [list(range(4000))] * 500])),
        lambda: bytes(msgpack.packb([1, 10, 2, 7, [[[]] * 4000] * 4])),
        lambda: bytes(msgpack.packb({number: number for number in range(1_000_000)})),
        lambda: bytes(msgpack.packb([1, 10, 2, 7, ["x" * 100_000]])),
        lambda: b"\x91" * 100_000,
    ],
    ids=["empty lists", "lists of lists", "numbers", "short lists", "map", "text", "deep"],
)
def test_junk_takes_no_more_memory_than_its_own_length(junk: Callable[[], bytes]) -> None:
    message = junk()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            codec.decode(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_long_message_carries_a_map() -> None:
    body = Put(4, "c", MapRecord(4, 6, (3, 5), bytes(6 << 20)))
    assert codec.decode(codec.encode(2, 7, body)) == (2, 7, body)


def test_the_longest_forward_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    services: Any = tuple(f"service number {number}" for number in range(40))
    reports = tuple(Report(f"10.0.0.{number}:80", services) for number in range(250))
    encoded = codec.encode(2, 7, Forward(reports))
    assert len(encoded) < codec.LONG_BYTES
    assert codec.decode(encoded)[2] == Forward(reports)
