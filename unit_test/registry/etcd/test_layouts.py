from __future__ import annotations

import pytest

from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.etcd_gateway import credentials_of
from libevrpc.registry.etcd_layouts import KEYS_MAX, OwnLayout, TinyRpcLayout, plan_of
from libevrpc.registry.session import RegistryError
from unit_test.registry.etcd.relay import plan_for

SERVER = Announcement("10.0.0.7:9998", ("a.Foo", "b.Bar"), 2.5, ("red",))


def test_our_keys_and_values_are_these_bytes() -> None:
    record = (
        b'{"v":1,"address":"10.0.0.7:9998","services":["a.Foo","b.Bar"],"weight":2.5,'
        b'"tags":["red"],"limit":0}'
    )
    assert OwnLayout().keys(SERVER) == {
        b"/libevrpc/a.Foo/10.0.0.7:9998": record,
        b"/libevrpc/b.Bar/10.0.0.7:9998": record,
    }
    assert OwnLayout("/team/x").prefix("a.Foo/Sum") == b"/team/x/a.Foo/"


@pytest.mark.parametrize(
    ("address", "transport", "spelled"),
    [
        ("10.0.0.7:9998", "tcp", b"tcp@10.0.0.7:9998"),
        ("10.0.0.7:9998", "http", b"http@10.0.0.7:9998"),
        ("[::1]:80", "tcp", b"tcp@[::1]:80"),
        ("unix:///run/e.sock", "http", b"unix@/run/e.sock"),
    ],
)
def test_tinyrpc_keys_and_values_are_these_bytes(
    address: str, transport: str, spelled: bytes
) -> None:
    layout = TinyRpcLayout(transport=transport)
    announcement = Announcement(address, ("a.Foo", "b.Bar"))
    assert layout.keys(announcement) == {b"/_tinyrpc_/registr/" + spelled: spelled}
    found = layout.endpoint(spelled)
    assert (found.address, found.transport) == (address, spelled.partition(b"@")[0].decode())
    assert layout.prefix("a.Foo") == layout.prefix("") == b"/_tinyrpc_/registr/"


def test_a_record_tells_the_other_keys_of_its_server() -> None:
    layout = OwnLayout("/a/b")
    keys = layout.keys(SERVER)
    for value in keys.values():
        assert layout.beside(value) == list(keys)
    assert layout.beside(b"garbage") == []
    assert TinyRpcLayout().beside(b"tcp@10.0.0.7:9998") == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"", "no address of TinyRPC"),
        (b"tcp@nowhere", "has no port"),
        (b"\xff\xfe", "no address of TinyRPC"),
        (b"x" * 5000, "5000 bytes"),
    ],
)
def test_what_is_no_address_of_tinyrpc_is_named(value: bytes, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        TinyRpcLayout().endpoint(value)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(RegistryError, match="at most 10000"):
        OwnLayout().keys(Announcement("h:1", tuple(f"s{n}" for n in range(KEYS_MAX + 1))))
    with pytest.raises(RegistryError, match="empty name"):
        OwnLayout().prefix("")


def test_a_target_says_what_is_wanted() -> None:
    plan = plan_of(parse_target("etcd://a:1,b:2/x.Y?root=/r&expiry=2.5&auth_file=/p"))
    assert [each.address for each in plan.endpoints] == ["a:1", "b:2"]
    assert plan.layout.prefix("x.Y") == b"/r/x.Y/"
    assert (plan.expiry_s, plan.auth_file) == (3, "/p")
    plain = plan_of(parse_target("etcd://a:1"))
    assert (plain.layout.prefix("x.Y"), plain.expiry_s) == (b"/libevrpc/x.Y/", 10)
    assert credentials_of(plain) is None


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("etcd://tcp@h:1", "is no member of etcd; write etcd://host:2379"),
        ("etcd://a:1?expiry=1", "etcd keeps keys for 2 seconds at least"),
        ("etcd://a:1?transport=http", "transport is for layout=tinyrpc alone"),
        ("etcd://a:1?layout=tinyrpc&transport=unix", "must be one of: tcp, http"),
        ("etcd://a:1?auth_file=x", "must be a file's absolute path"),
    ],
)
def test_a_wrong_target_is_refused_with_what_would_be_right(target: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_of(parse_target(target))


def test_plans_of_tests_are_like_those_of_targets() -> None:
    plan = plan_of(parse_target("etcd://127.0.0.1:1?expiry=2"))
    assert plan_for("127.0.0.1:1").endpoints == plan.endpoints
