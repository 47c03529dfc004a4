"""The greeting inside user_fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.hello import (
    CLIENT_HELLO,
    GOAWAY_FIELD,
    HELLO_FIELD,
    HELLO_VERSION,
    Hello,
    answer_fields,
    read_hello,
)


@given(st.integers(1, 86_400_000))
def test_hello_comes_back_as_said(client_timeout_ms: int) -> None:
    hello = Hello(HELLO_VERSION, client_timeout_ms)
    assert read_hello({"other": "x", HELLO_FIELD: hello.field()}) == hello


def test_servers_understand_what_clients_say() -> None:
    assert read_hello({HELLO_FIELD: CLIENT_HELLO.field()}) == CLIENT_HELLO


@pytest.mark.parametrize("stopping", [False, True])
def test_a_server_answers_with_its_span_and_whether_it_stops(stopping: bool) -> None:
    fields = answer_fields(1.5, stopping=stopping)
    assert read_hello(fields) == Hello(HELLO_VERSION, 1500)
    assert (GOAWAY_FIELD in fields) is stopping


def test_unknown_keys_are_for_later_versions() -> None:
    text = "colour=red;version=1;features=;client_timeout_ms=30000;x"
    assert read_hello({HELLO_FIELD: text}) == Hello(1, 30_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version=1",
        "client_timeout_ms=30000",
        "version=2;client_timeout_ms=30000",
        "version=1;client_timeout_ms=0",
        "version=1;client_timeout_ms=-5",
        "version=1;client_timeout_ms=86400001",
        "version=1;client_timeout_ms=3e4",
        "version=1;client_timeout_ms=³",
        "version=1;client_timeout_ms=٣٠٠",
        "version=1;client_timeout_ms=" + "9" * 5000,
        "version=one;client_timeout_ms=30000",
        "version 1 client_timeout_ms 30000",
        "version=1,client_timeout_ms=30000",
    ],
)
def test_hello_that_makes_no_sense_is_none(text: str) -> None:
    assert read_hello({HELLO_FIELD: text}) is None


@pytest.mark.parametrize("fields", [None, {}, {"evrpc-oneway": "1"}])
def test_most_requests_have_no_hello(fields: dict[str, str] | None) -> None:
    assert read_hello(fields) is None


@given(st.text() | st.text("version=1;client_timeout_ms=0 ", max_size=60))
def test_any_text_is_a_hello_or_none(text: str) -> None:
    hello = read_hello({HELLO_FIELD: text})
    assert hello is None or 0 < hello.client_timeout_ms <= 86_400_000


def test_a_servers_answer_says_when_it_is_going_away() -> None:
    fields = answer_fields(1.5, stopping=False)
    assert read_hello(fields) == Hello(1, 1500)
    assert GOAWAY_FIELD not in fields
    assert answer_fields(1.5, stopping=True) == {**fields, GOAWAY_FIELD: "stopping"}
