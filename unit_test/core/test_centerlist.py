"""Center list: named ones first, configured ones never forgotten, bounded."""

from __future__ import annotations

import pytest

from libevrpc.core.centerlist import CENTERS_MAX, CenterList
from libevrpc.errors import ConfigError


def test_rotation_starts_with_the_named_and_comes_round() -> None:
    centers = CenterList(["a:1", "b:1"], ["n:1", "b:1"])
    assert centers.addresses == ("n:1", "b:1", "a:1")
    assert [centers.current, centers.advance(), centers.advance(), centers.advance()] == [
        "n:1",
        "b:1",
        "a:1",
        "n:1",
    ]


def test_no_center_at_all_is_refused_but_a_remembered_one_is_enough() -> None:
    with pytest.raises(ConfigError, match="center://"):
        CenterList([])
    assert CenterList([], ["n:1"]).current == "n:1"


def test_news_keep_the_center_in_use() -> None:
    centers = CenterList(["a:1", "b:1"])
    centers.advance()
    assert centers.name(["n:1"])
    assert (centers.current, centers.named) == ("b:1", ("n:1",))
    assert not centers.name(["n:1", "n:1"])
    assert not centers.name([])
    centers.prefer("n:1")
    assert centers.current == "n:1"
    centers.prefer("stranger:1")
    assert centers.current == "n:1"
    assert centers.name(["m:1"])
    assert centers.current == "m:1"


def test_number_of_centers_is_bounded() -> None:
    centers = CenterList(["a:1"])
    centers.name([f"n{n}:1" for n in range(1000)])
    assert len(centers.addresses) == len(centers.named) == CENTERS_MAX
