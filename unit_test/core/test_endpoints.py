"""Endpoints: what parses, how it is spelled again, what is refused and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.endpoints import Endpoint, EndpointSet, is_usual, parse_endpoint
from libevrpc.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "address"),
    [
        ("localhost:80", "localhost", 80, "", "localhost:80"),
        ("Db-1.Example.org:65535", "db-1.example.org", 65535, "", "db-1.example.org:65535"),
        ("10.0.0.1:1", "10.0.0.1", 1, "", "10.0.0.1:1"),
        ("[::1]:9998", "::1", 9998, "", "[::1]:9998"),
        ("[0:0:0:0:0:0:0:1]:9998", "::1", 9998, "", "[::1]:9998"),
        ("[fe80::1%eth0]:7", "fe80::1%eth0", 7, "", "[fe80::1%eth0]:7"),
        ("unix:///run/e.sock", "", 0, "/run/e.sock", "unix:///run/e.sock"),
        ("echo_server:80", "echo_server", 80, "", "echo_server:80"),
    ],
)
def test_good_address_is_read(text: str, host: str, port: int, path: str, address: str) -> None:
    endpoint = parse_endpoint(text)
    assert (endpoint.host, endpoint.port, endpoint.path) == (host, port, path)
    assert endpoint.address == str(endpoint) == address
    assert parse_endpoint(endpoint.address) == endpoint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        (" a:1", "blanks"),
        ("a\n:1", "control"),
        ("a", "a:port"),
        (":80", "no host"),
        ("::1:80", "brackets"),
        ("[::1", "closing"),
        ("[::1]", "no port"),
        ("[::1]80", "no port"),
        ("[zz]:80", "not an IPv6"),
        ("10.0.0.256:80", "not an IPv4"),
        ("-a:80", "not a host name"),
        ("a..b:80", "not a host name"),
        ("a" * 64 + ":80", "not a host name"),
        (".".join(["a" * 60] * 5) + ":80", "not a host name"),
        ("a:", "not a number"),
        ("a:x", "not a number"),
        ("a:\u0663", "not a number"),
        ("a:123456", "not a number"),
        ("a:0", "not in 1..65535"),
        ("a:65536", "not in 1..65535"),
        ("unix://run/e.sock", r"absolute file path: did you mean unix:///run/e.sock\?"),
        ("unix://./e.sock", "absolute file path: unix:///run/x.sock"),
        ("unix:/run/e.sock", "a unix socket is written unix:///run/e.sock$"),
        ("unix:run/e.sock", "written unix:///run/x.sock, with its absolute path"),
        ("UNIX:///run/e.sock", "written unix:///run/e.sock$"),
        ("/run/e.sock", "written unix:///run/e.sock$"),
        ("./e.sock", "with its absolute path"),
        ("a:1/b", "'/b' is too much; write a:1$"),
        ("a b:1", "blanks"),
        ("a;1", "has no port; write host:port,"),
        ("unix:///run/", "absolute"),
        ("unix:///" + "x" * 107, "107"),
        ("http://a:1", "scheme"),
    ],
)
def test_wrong_address_is_refused_with_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("text", "transport", "address"),
    [
        ("tcp@a:1", "tcp", "a:1"),
        ("tcp@[::]:80", "tcp", "[::]:80"),
        ("http@10.0.0.1:9999", "http", "10.0.0.1:9999"),
        ("unix@/run/e.sock", "unix", "unix:///run/e.sock"),
    ],
)
def test_tinyrpc_spelling_is_read(text: str, transport: str, address: str) -> None:
    endpoint = parse_endpoint(text)
    assert (endpoint.transport, endpoint.address) == (transport, address)
    assert endpoint != parse_endpoint(endpoint.address)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tcp@", "'tcp@': address is empty"),
        ("tcp@http@a:1", "write tcp@host:port"),
        ("tcp@unix:///run/e", "write tcp@host:port"),
        ("unix@run/e.sock", "absolute file path"),
        ("http@a", "has no port; write a:port"),
        ("ftp@a:1", "'a:1': neither user nor password stands here, before an @"),
        ("ipv4:10.0.0.1:1", r"write 10.0.0.1:1$"),
    ],
)
def test_wrong_tinyrpc_spelling_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_endpoint(text)


def test_tinyrpc_spelling_is_for_dialling_only() -> None:
    with pytest.raises(ConfigError):
        parse_endpoint("tcp@127.0.0.1:1", listening=True)


def test_port_zero_is_for_listening_only() -> None:
    assert parse_endpoint("127.0.0.1:0", listening=True).port == 0
    with pytest.raises(ConfigError, match=r"0\.\.65535"):
        parse_endpoint("127.0.0.1:x", listening=True)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), 1e7])
def test_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        Endpoint("a", 1, weight=weight)


def test_weight_changes_the_value_but_not_the_address() -> None:
    light, heavy = Endpoint("a", 1), Endpoint("a", 1, weight=2.0)
    assert light != heavy
    assert (light.address, hash(light)) == (heavy.address, hash(heavy))
    assert EndpointSet((light,)) != EndpointSet((heavy,))


@given(st.text(max_size=40) | st.from_regex(r"[\[\]a-z0-9.:/-]{1,30}", fullmatch=True))
def test_any_text_is_an_endpoint_or_a_config_error(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ConfigError:
        return
    assert parse_endpoint(endpoint.address) == endpoint


@pytest.mark.parametrize("text", ["0.0.0.0:1", "10.0.0.1:65535", "255.255.255.255:9998"])
def test_an_ipv4_address_spelled_as_here_is_usual(text: str) -> None:
    assert is_usual(text)
    assert parse_endpoint(text).address == text


@pytest.mark.parametrize(
    "text",
    [
        *("10.0.0.1:0", "10.0.0.1:65536", "10.0.0.01:1", "10.0.0.1:01", "10.0.0.256:1"),
        *("10.0.0.1", "10.0.0.1:1\n", "10.0.0.\u0661:1", "localhost:80", "[::1]:80"),
        *("1.10.0.0.1:1", ""),
    ],
)
def test_whatever_else_is_not(text: str) -> None:
    assert not is_usual(text)
