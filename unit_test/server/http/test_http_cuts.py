"""HTTP, PRPC and pages mixed on one connection: the answers do not depend on how bytes arrive."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.http import HttpReply
from libevrpc.core.prpc import Request, WireLimits
from libevrpc.core.prpc_encode import encode_request
from libevrpc.core.prpc_events import Broken, HeldBack
from libevrpc.core.wires import GuestRequest, Say, WireSwitch
from libevrpc.server.guests import GuestContext
from libevrpc.server.http.reader import http_wire
from libevrpc.server.methods import MethodTable
from libevrpc.server.statistics import ServerStatistics
from unit_test.server.http.http_peer import post

CHUNKED = (
    b"POST /Foo/Sum HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
)
MESSAGES = [
    post("/Foo/Sum", "[1,2]"),
    post("/Foo/Sum", b"x" * 300, "Content-Type: application/json\r\nX-Timeout-Ms: 5\r\n"),
    CHUNKED,
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
    post("/Foo/Sum", "text", ""),
    encode_request("Foo", "Sum", 7, b"body", timeout_ms=5),
]
LAST = [
    b"",
    b"GET /health HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    post("/Foo/Sum", "[]", "Connection: close\r\nContent-Type: application/json\r\n"),
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    b"\x00\x01\x02\x03",
]


def switch() -> WireSwitch:
    counts = ServerStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (), 0, 0.0)
    context = GuestContext(
        limits=WireLimits(body_bytes_max=2000, header_bytes_max=1000),
        methods=MethodTable,
        offers=dict,
        statistics=lambda: counts,
        stopping=lambda: False,
        token_fits=lambda token: True,
        wires={},
    )
    return WireSwitch(context.limits, [http_wire(context)])


def happened(pieces: list[bytes], patience: int) -> list[Any]:
    """Feed the pieces, answering a call after `patience` more of them; return what was seen."""
    decoder = switch()
    seen: list[Any] = []
    owed: list[tuple[float, GuestRequest]] = []

    def take(events: list[Any], place: float) -> bool:
        for event in events:
            if isinstance(event, GuestRequest):
                seen.append((event.service, event.method, event.payload, event.timeout_ms))
                owed.append((place + patience, event))
            elif isinstance(event, Request):
                seen.append(("prpc", event.correlation_id, event.payload))
            elif isinstance(event, Say):
                seen.append((event.data, event.close))
                if event.close:
                    return True
            elif isinstance(event, Broken):
                seen.append("broken")
                return True
            else:
                assert isinstance(event, HeldBack)
        return False

    def settle(place: float) -> bool:
        while owed and owed[0][0] <= place:
            _, request = owed.pop(0)
            out = request.writer.reply(request, HttpReply.text(200, "done"))
            seen.append((out.data, out.close))
            if out.close or take(decoder.answered(), place):
                return True
        return False

    for place, piece in enumerate(pieces):
        if take(decoder.receive_data(piece), place) or settle(place):
            return seen
    settle(math.inf)
    return seen


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(MESSAGES), max_size=6),
    st.sampled_from(LAST),
    st.lists(st.integers(0, 2000), max_size=12),
    st.integers(0, 3),
)
def test_the_answers_are_those_of_the_uncut_stream(
    messages: list[bytes], last: bytes, cuts: list[int], patience: int
) -> None:
    stream = b"".join(messages) + last
    places = sorted({cut % len(stream) for cut in cuts}) if stream else []
    edges = [0, *places, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges) if a < b]
    assert happened(pieces, patience) == happened([stream] if stream else [], 0)


def test_the_examples_answer_as_meant() -> None:
    seen = happened([b"".join(MESSAGES)], 0)
    assert [each for each in seen if each[0] == "Foo"] == [
        ("Foo", "Sum", b"[1,2]", 0),
        ("Foo", "Sum", b"x" * 300, 5),
        ("Foo", "Sum", b"[1,2]", 0),
    ]
    assert seen[-1] == ("prpc", 7, b"body")
    statuses = [each[0][9:12] for each in seen if isinstance(each[0], bytes)]
    assert statuses == [b"200"] * 5 + [b"404", b"404"]
    for last in LAST[1:]:
        assert happened([last], 0)[-1] in ("broken",) or happened([last], 0)[-1][1] is True


def test_what_comes_behind_the_end_is_nobodys() -> None:
    decoder = switch()
    (said,) = decoder.receive_data(LAST[1])
    assert isinstance(said, Say)
    assert said.close
    assert decoder.receive_data(MESSAGES[0]) == []
    assert not decoder.partial
