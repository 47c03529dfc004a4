"""Bytes of a live brpc 1.17, and of its dispatch rules: `unit_test/golden/*.hex`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.prpc import PrpcDecoder, WireLimits
from unit_test.core.prpc_frames import REPLY_FIELDS, REQUEST_FIELDS, cut, feed

FOLDER = Path(__file__).resolve().parent.parent / "golden"
DEFAULTS: dict[str, Any] = {
    "attachment": "",
    "compress_type": 0,
    "content_type": 0,
    "error_code": 0,
    "error_text": "",
    "log_id": 0,
    "payload": "",
    "timeout_ms": 0,
    "user_fields": None,
}


@dataclass(frozen=True)
class Golden:
    side: Literal["server", "client"]
    data: bytes
    events: list[tuple[object, ...]]


def read(path: Path) -> Golden:
    side, data, events = "", b"", []
    for line in path.read_text().splitlines():
        key, _, value = line.partition(": ")
        match key:
            case "side":
                side = value
            case "bytes":
                data += bytes.fromhex(value)
            case "event":
                events.append(expected(json.loads(value)))
            case _:
                assert line.startswith("# "), f"{path.name}: {line}"
    assert side in ("server", "client")
    return Golden(side, data, events)  # type: ignore[arg-type]


def expected(event: dict[str, Any]) -> tuple[object, ...]:
    [(kind, told)] = event.items()
    if kind in ("Request", "Reply"):
        whole = DEFAULTS | told
        for name in ("attachment", "payload"):
            whole[name] = bytes.fromhex(whole[name])
        names = REQUEST_FIELDS if kind == "Request" else REPLY_FIELDS
        return (kind, *((name, whole[name]) for name in names))
    return (kind, told) if isinstance(told, str) else (kind, *told.values())


def agrees(got: list[tuple[object, ...]], wanted: list[tuple[object, ...]]) -> bool:
    """Compare events; of texts the beginning, because each runtime words its errors itself."""
    if len(got) != len(wanted):
        return False
    for mine, golden in zip(got, wanted, strict=True):
        if mine[0] in ("BadRequest", "Broken"):
            if mine[0] != golden[0] or not str(mine[-1]).startswith(str(golden[-1])):
                return False
            if mine[0] == "BadRequest" and mine[1:3] != golden[1:3]:
                return False
        elif mine != golden:
            return False
    return True


GOLDEN = {path.stem: read(path) for path in sorted(FOLDER.glob("*.hex"))}
EACH = pytest.mark.parametrize("name", GOLDEN)


def test_the_vectors_are_there() -> None:
    assert len(GOLDEN) >= 23


@EACH
def test_vector_in_one_piece(name: str) -> None:
    golden = GOLDEN[name]
    got = feed(PrpcDecoder(golden.side, WireLimits()), [golden.data])
    assert agrees(got, golden.events), got


@EACH
def test_vector_byte_by_byte(name: str) -> None:
    golden = GOLDEN[name]
    got = feed(PrpcDecoder(golden.side, WireLimits()), [bytes((each,)) for each in golden.data])
    assert agrees(got, golden.events), got


@EACH
def test_vector_twice_on_one_connection(name: str) -> None:
    golden = GOLDEN[name]
    decoder = PrpcDecoder(golden.side, WireLimits())
    ends = any(event[0] == "Broken" for event in golden.events)
    assert agrees(feed(decoder, [golden.data]), golden.events)
    again = feed(decoder, [golden.data])
    assert again == [] if ends else agrees(again, golden.events)


@settings(max_examples=300)
@given(st.sampled_from(sorted(GOLDEN)), st.lists(st.integers(0, 160), max_size=8))
def test_vector_at_any_cut(name: str, at: list[int]) -> None:
    golden = GOLDEN[name]
    got = feed(PrpcDecoder(golden.side, WireLimits()), cut(golden.data, at))
    assert agrees(got, golden.events), got


def test_each_vector_says_what_it_is() -> None:
    for path in FOLDER.glob("*.hex"):
        assert re.match(r"# \w", path.read_text()), path.name
