"""Targets: every scheme that exists, and one clear line for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core import targets
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.targets import Target, parse_target, parse_targets
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


@pytest.mark.parametrize(
    ("text", "listed", "path", "query"),
    [
        ("zk://z1:2181,z2:2181", ["z1:2181", "z2:2181"], "", {}),
        ("zk://z1:2181/pkg.Echo", ["z1:2181"], "pkg.Echo", {}),
        ("zk://z:1?layout=mprpc", ["z:1"], "", {"layout": "mprpc"}),
        (
            "zk://z:1/Echo?root=/a/b&expiry=2.5&layout=libevrpc",
            ["z:1"],
            "Echo",
            {"root": "/a/b", "expiry": "2.5", "layout": "libevrpc"},
        ),
        ("etcd://[::1]:2379/a.B?layout=tinyrpc", ["[::1]:2379"], "a.B", {"layout": "tinyrpc"}),
        ("http://h:9999/_tinyrpc_/registry", ["h:9999"], "/_tinyrpc_/registry", {}),
        ("http://h:9/x?dialect=geerpc&every=2", ["h:9"], "/x", {"dialect": "geerpc", "every": "2"}),
        ("dns://echo.example.com:9998", ["echo.example.com:9998"], "", {}),
        ("dns://localhost:1?every=5", ["localhost:1"], "", {"every": "5"}),
        ("file:///etc/servers.json", [], "/etc/servers.json", {}),
        ("file:///a b?every=0.5", [], "/a b", {"every": "0.5"}),
    ],
)
def test_a_registry_s_target_is_read(
    text: str, listed: list[str], path: str, query: dict[str, str]
) -> None:
    target = parse_target(text)
    assert target.scheme == text.partition(":")[0]
    assert (addresses(target), target.path, dict(target.query)) == (listed, path, query)


def test_only_a_path_that_names_a_service_does() -> None:
    assert parse_target("zk://z:1/a.B").service == "a.B"
    assert parse_target("center://z:1/a.B").service == "a.B"
    assert parse_target("http://z:1/a.B").service == ""
    assert parse_target("file:///a.B").service == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("center://c:1,d:1", "center://c:1,d:1/a.B"),
        ("center://c:1/x.Y", "center://c:1/x.Y"),
        ("zk://z:1?layout=mprpc&root=/r", "zk://z:1/a.B?layout=mprpc&root=/r"),
        ("etcd://z:1", "etcd://z:1/a.B"),
        ("http://h:1/_tinyrpc_/registry", "http://h:1/_tinyrpc_/registry"),
        ("file:///x", "file:///x"),
        ("h:1", "h:1"),
    ],
)
def test_a_target_can_be_told_the_service(text: str, named: str) -> None:
    assert parse_target(text).naming("a.B") == named


def test_a_span_of_a_target_has_a_default() -> None:
    assert parse_target("dns://n:1?every=5").seconds("every", 30.0) == 5.0
    assert parse_target("dns://n:1").seconds("every", 30.0) == 30.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zk://", "no address"),
        ("zk://z:1;weight=2", "no options"),
        ("zk://z:1/a/b", r"'a/b' is not a service name; .* a folder as \?root=/folder"),
        ("zk://z:1?layuot=mprpc", r"'layuot' is not an option \(did you mean layout\?\)"),
        ("zk://z:1?", "'' is not an option; options: layout, root, expiry"),
        ("zk://z:1?layout=tinyrpc", "must be one of: libevrpc, mprpc"),
        ("etcd://z:1?layout=mprpc", "must be one of: libevrpc, tinyrpc"),
        ("zk://z:1?layout=mprpc&layout=mprpc", "gives layout twice"),
        ("zk://z:1?root=a", "root = a: must be a path such as /services"),
        ("zk://z:1?root=/a/", "must be a path"),
        ("zk://z:1?root=/", "must be a path"),
        ("zk://z:1?root=/a/../b", "must be a path"),
        ("zk://z:1?auth_file=secret", "must be a file's absolute path"),
        ("zk://z:1?expiry=soon", "must be a number of seconds in 0.1..86400"),
        ("zk://z:1?expiry=nan", "must be a number of seconds"),
        ("zk://z:1?expiry=0", "must be a number of seconds"),
        ("http://h:1", "write http://h:1/_tinyrpc_/registry, or h:1 for one server"),
        ("http://h:1/", "needs its path"),
        ("http://h:1/a b", "not the path of a URL"),
        ("http://h:1/a#b", "not the path of a URL"),
        ("http://h:1/x?dialect=go", "must be one of: tinyrpc, geerpc"),
        ("dns://a:1,b:1", "write one name and a port"),
        ("dns://unix:///a", "write one name and a port"),
        ("dns://a", "a:port"),
        ("dns:///a:1", r"did you mean dns://a:1\?"),
        ("etcd://user:word@a:1", "'a:1': neither user nor password stands here"),
        ("file://etc/x", r"did you mean file:///etc/x\?"),
        ("file:///", "file:///etc/servers.json"),
        ("file://", "file:///etc/servers.json"),
        ("file:///a\n", "file:///etc/servers.json"),
        ("file:///a?layout=x", "options: every"),
        (f"file:///{'a' * 5000}", "longer than 4096 bytes"),
    ],
)
def test_a_wrong_registry_is_one_clear_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


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
        ("zookeeper://c:1", r"unknown scheme 'zookeeper' \(did you mean zk://\?\)"),
        ("zk://c:1,etcd://d:1", r"two targets\? write a blank before etcd://$"),
        ("center://c:1;zk://d:1", r"two targets\? write a blank before zk://$"),
        ("gopher://c:1", "unknown scheme 'gopher'; write host:port, center://, dns://, etcd://"),
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


@given(
    st.text(max_size=40)
    | st.from_regex(r"(list|center|zk|http|dns|file|x)://[a-z0-9:,;=./?&]{0,30}")
)
def test_any_text_is_a_target_or_a_config_error(text: str) -> None:
    try:
        target = parse_target(text)
    except ConfigError:
        return
    assert target.text == text


def test_several_targets_stand_with_blanks_between() -> None:
    found = parse_targets(" center://a:1,b:1   zk://c:1 ")
    assert [each.text for each in found] == ["center://a:1,b:1", "zk://c:1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 targets: write 1 to 8"),
        (" ".join(f"a:{port}" for port in range(1, 10)), "9 targets: write 1 to 8"),
        ("zk://c:1 zk://c:1", "'zk://c:1' is given twice"),
        ("zk://c:1 zk:/d:1", "did you mean zk://d:1"),
    ],
)
def test_a_wrong_list_of_targets_is_one_clear_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_targets(text)
