"""Words of error messages."""

from __future__ import annotations

import pytest

from libevrpc.core.wording import with_article


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("int", "an int"),
        ("object", "an object"),
        ("echo.EchoRequest", "an echo.EchoRequest"),
        ("Args", "an Args"),
        ("str", "a str"),
        ("list[int]", "a list[int]"),
        ("Uint", "a Uint"),
        ("user.UserServiceRpc", "a user.UserServiceRpc"),
        ("", "a "),
    ],
)
def test_a_vowel_is_behind_an(name: str, told: str) -> None:
    assert with_article(name) == told
