"""Targets: every scheme that exists, and one clear line for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core import targets
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.targets import Target, parse_target
from libevrpc.errors import ConfigError


def addresses(target: Target) -> list[str]:
    return [endpoint.address for endpoint in target.endpoints]


@pytest.mark.parametrize(
    ("text", "scheme", "listed", "path"),
    [
        ("h:1", "direct", ["h:1"], ""),
        ("[::1]:1", "direct", ["[::1]:1"], ""),
        ("unix:///run/a", "direct", ["unix:///run/a"], ""),
        ("list://a:1", "list", ["a:1"], ""),
        ("list://a:1,[::1]:2,unix:///run/a", "list", ["a:1", "[::1]:2", "unix:///run/a"], ""),
        ("center://c1:8899,c2:8899", "center", ["c1:8899", "c2:8899"], ""),
        ("center://[::1]:8899/echo.EchoService", "center", ["[::1]:8899"], "echo.EchoService"),
        ("center://c1:8899/Foo", "center", ["c1:8899"], "Foo"),
    ],
)
def test_good_target_is_read(text: str, scheme: str, listed: list[str], path: str) -> None:
    target = parse_target(text)
    assert (target.scheme, addresses(target), target.path) == (scheme, listed, path)
    assert target.text == text
    assert not target.query


def test_listed_address_may_carry_a_weight() -> None:
    target = parse_target("list://a:1;weight=2.5,b:2")
    assert target.endpoints == (Endpoint("a", 1, weight=2.5), Endpoint("b", 2))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("list://", "no address"),
        ("list://a:1,", "empty"),
        ("list://a", "a:port"),
        ("list://a:1,A:1", "a:1 twice"),
        ("list://a:1;weigth=1", "weight=2.5"),
        ("list://a:1;weight=x", "not a number"),
        ("list://a:1;weight=-1", "not in 0"),
        ("center:///echo.Echo", "no address"),
        ("center://c:1/", "not a service name"),
        ("center://c:1/9x", "not a service name"),
        ("centre://c:1", "did you mean center://"),
        ("unix:/run/e.sock", "a unix socket is written unix:///run/e.sock$"),
        ("Center://c:1", "did you mean center://"),
        ("center:c1:1,c2:1", r"did you mean center://c1:1,c2:1\?"),
        ("center:/c1:1/a.B", r"did you mean center://c1:1/a.B\?"),
        ("list:/a:1", r"did you mean list://a:1\?"),
        ("a:1, b:2", r"did you mean list://a:1,b:2\?"),
        ("a:1,b", "'a:1,b': port '1,b' is not a number"),
        ("list://a:1;b:2", "separated by commas; write a:1,b:2$"),
        ("tcp://a:1", r"unknown scheme 'tcp' \(did you mean a:1\?\)"),
        ("http://a:1/x", "unknown scheme 'http'; write"),
        ("gopher://c:1", "unknown scheme 'gopher'; write host:port, center://, list://, unix://"),
    ],
)
def test_wrong_target_is_one_clear_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


def test_list_longer_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGET_ENDPOINTS_MAX", 2)
    with pytest.raises(ConfigError, match="at most 2"):
        parse_target("list://a:1,b:1,c:1")


def test_a_registry_can_add_its_scheme() -> None:
    def parse_file(text: str, rest: str) -> Target:
        return Target("file", (), rest, {}, text)

    target = parse_target("file:///etc/servers", {"file": parse_file})
    assert (target.scheme, target.path) == ("file", "/etc/servers")


@given(st.text(max_size=40) | st.from_regex(r"(list|center|x)://[a-z0-9:,;=./]{0,30}"))
def test_any_text_is_a_target_or_a_config_error(text: str) -> None:
    try:
        target = parse_target(text)
    except ConfigError:
        return
    assert target.text == text
