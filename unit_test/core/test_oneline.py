"""Foreign text in a line of the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.oneline import CHARS_MAX, one_line


@pytest.mark.parametrize(
    "text", ["", "echo.EchoService", 'it\'s \\ "so" für alle', "x" * CHARS_MAX]
)
def test_what_can_be_printed_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n2026-01-01 CRITICAL b", "a\\n2026-01-01 CRITICAL b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u2028\ud800", "\\u2028\\ud800"),
        ("it's\r", "it's\\r"),
        ("x" * (CHARS_MAX + 1), "x" * CHARS_MAX + "..."),
    ],
)
def test_what_cannot_is_spelled_and_what_is_long_is_cut(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text())
def test_it_is_always_one_line(text: str) -> None:
    assert one_line(text).isprintable()
