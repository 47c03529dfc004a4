"""What an HTTP registry knows: who gave a sign of life, who is gone, what outlives a restart."""

from __future__ import annotations

import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core import beats
from libevrpc.core.beats import ADDRESS_BYTES_MAX, BeatTable
from libevrpc.errors import ConfigError, Errno, RpcError


def addresses(table: BeatTable) -> list[str]:
    return [each.address for each in table.beats()]


def test_servers_are_sorted_and_expire_one_by_one() -> None:
    table = BeatTable(10.0, 100)
    assert table.beat("tcp@b:1", "", 0.0, 0.0) == 10.0
    assert table.beat("tcp@a:1", "", 0.0, 5.0) == 10.0
    assert addresses(table) == ["tcp@a:1", "tcp@b:1"]
    assert table.purge(9.9) == []
    assert table.due_s == 10.0
    assert table.purge(10.0) == ["tcp@b:1"]
    assert table.due_s == 15.0
    assert table.purge(15.0) == ["tcp@a:1"]
    assert math.isinf(table.due_s)
    assert addresses(table) == []


def test_a_beat_moves_the_end_and_only_news_move_the_version() -> None:
    table = BeatTable(10.0, 100)
    table.beat("a", "1", 0.0, 0.0)
    version = table.version
    table.beat("a", "1", 0.0, 8.0)
    assert table.version == version
    assert table.purge(10.0) == []
    table.beat("a", "2", 0.0, 9.0)
    assert table.version == version + 1
    assert [each.record for each in table.beats()] == ["2"]
    assert table.leave("a")
    assert not table.leave("a")
    assert table.version == version + 2


@pytest.mark.parametrize(
    ("own_s", "asked_s", "got_s"),
    [(10.0, 0.0, 10.0), (10.0, 3.0, 3.0), (10.0, 99.0, 10.0), (0.0, 0.0, 0.0), (0.0, 3.0, 3.0)],
)
def test_a_server_may_ask_for_a_shorter_span(own_s: float, asked_s: float, got_s: float) -> None:
    table = BeatTable(own_s, 100)
    assert table.beat("a", "", asked_s, 0.0) == got_s
    assert table.purge(1e12) == (["a"] if got_s else [])


@pytest.mark.parametrize(
    "address", ["", "a,b", "a b", "a\n", "\xe9", "a" * (ADDRESS_BYTES_MAX + 1)]
)
def test_what_cannot_stand_in_a_list_is_refused(address: str) -> None:
    table = BeatTable(10.0, 100)
    with pytest.raises(RpcError, match="no address") as caught:
        table.beat(address, "", 0.0, 0.0)
    assert caught.value.errno == Errno.BAD_REQUEST


def test_a_full_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    table = BeatTable(10.0, 2)
    table.beat("a", "", 0.0, 0.0)
    table.beat("b", "", 0.0, 0.0)
    with pytest.raises(RpcError, match="full: 2 servers") as caught:
        table.beat("c", "", 0.0, 0.0)
    assert caught.value.errno == Errno.LIMIT
    table.beat("a", "still", 0.0, 0.0)
    monkeypatch.setattr(beats, "TABLE_BYTES_MAX", 40)
    table.beat("a", "x" * 24, 0.0, 0.0)
    with pytest.raises(RpcError, match="full: 40 bytes"):
        table.beat("b", "xx", 0.0, 0.0)
    table.leave("b")
    table.beat("a", "x" * 32, 0.0, 0.0)
    table.leave("a")
    table.beat("b", "x" * 32, 0.0, 0.0)


def test_what_is_kept_gets_its_whole_span_again() -> None:
    table = BeatTable(10.0, 100)
    table.beat("tcp@a:1", '{"weight":2}', 3.0, 0.0)
    table.beat("tcp@b:1", "\u20ac", 0.0, 0.0)
    later = BeatTable(10.0, 100)
    assert later.take(table.kept(), 100.0) == 2
    assert [(each.address, each.record) for each in later.beats()] == [
        ("tcp@a:1", '{"weight":2}'),
        ("tcp@b:1", "\u20ac"),
    ]
    assert later.purge(103.0) == ["tcp@a:1"]
    assert later.purge(110.0) == ["tcp@b:1"]


def test_kept_servers_that_never_expire_go_on_so() -> None:
    table = BeatTable(0.0, 100)
    table.beat("a", "", 0.0, 0.0)
    later = BeatTable(0.0, 100)
    later.take(table.kept(), 100.0)
    assert later.purge(1e12) == []


@given(st.integers(0, 200), st.integers(0, 7), st.booleans())
def test_a_torn_or_flipped_record_is_not_believed(place: int, bit: int, cut: bool) -> None:
    table = BeatTable(10.0, 100)
    table.beat("tcp@a:1", '{"weight":2}', 3.0, 0.0)
    kept = table.kept()
    place %= len(kept) - 1
    damaged = bytearray(kept)
    damaged[place] ^= 1 << bit
    later = BeatTable(10.0, 100)
    with pytest.raises(ConfigError, match="torn"):
        later.take(kept[:place] if cut else bytes(damaged), 0.0)
    assert addresses(later) == []


def test_a_later_version_and_too_many_are_named() -> None:
    body = b'{"v":2,"servers":[]}'
    with pytest.raises(ConfigError, match="version 2"):
        BeatTable(10.0, 100).take(b"%s%08x\n%s\n" % (beats.KEPT_MAGIC, zlib.crc32(body), body), 0.0)
    table = BeatTable(10.0, 100)
    table.beat("a", "", 0.0, 0.0)
    table.beat("b", "", 0.0, 0.0)
    small = BeatTable(10.0, 1)
    with pytest.raises(ConfigError, match="full"):
        small.take(table.kept(), 0.0)
    assert addresses(small) == []  # all or nobody
    small.beat("c", "x" * 100, 0.0, 0.0)
