"""Paths and bytes of both layouts in ZooKeeper, and what a target's options make of them."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.endpoints import Endpoint
from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.session import RegistryError
from libevrpc.registry.zookeeper_layouts import (
    NODES_MAX,
    MprpcLayout,
    OwnLayout,
    Place,
    escaped,
    plan_of,
)

ECHO = Announcement("10.0.0.7:9998", ("echo.EchoService", "echo.Other"), 2.0, ("red",), 5)
USER = Announcement(
    "127.0.0.1:8000",
    ("fixbug.UserServiceRpc",),
    methods=("fixbug.UserServiceRpc/Login", "fixbug.UserServiceRpc/Register"),
)


class TestOwn:
    def test_each_service_has_a_child_for_the_server(self) -> None:
        nodes = OwnLayout().nodes(ECHO)
        assert list(nodes) == [
            "/libevrpc/echo.EchoService/10.0.0.7:9998",
            "/libevrpc/echo.Other/10.0.0.7:9998",
        ]
        assert {json.dumps(json.loads(each), sort_keys=True) for each in nodes.values()} == {
            '{"address": "10.0.0.7:9998", "limit": 5, "services": ["echo.EchoService",'
            ' "echo.Other"], "tags": ["red"], "v": 1, "weight": 2.0}'
        }

    def test_what_is_written_is_read(self) -> None:
        layout = OwnLayout("/elsewhere")
        place = layout.place("echo.Other")
        assert place == Place("/elsewhere/echo.Other")
        value = layout.nodes(ECHO)[f"{place.folder}/10.0.0.7:9998"]
        assert layout.endpoint(value) == Endpoint(
            "10.0.0.7", 9998, weight=2.0, tags=("red",), limit=5
        )

    def test_a_method_is_found_where_its_service_is(self) -> None:
        assert OwnLayout().place("a.B/C") == OwnLayout().place("a.B")

    def test_a_path_in_the_file_system_is_one_name(self) -> None:
        nodes = OwnLayout("").nodes(Announcement("unix:///run/x.sock", ("a.B",)))
        assert list(nodes) == ["/a.B/unix:%2F%2F%2Frun%2Fx.sock"]


class TestMprpc:
    def test_each_method_has_a_node_without_the_package(self) -> None:
        assert MprpcLayout().nodes(USER) == {
            "/UserServiceRpc/Login": b"127.0.0.1:8000",
            "/UserServiceRpc/Register": b"127.0.0.1:8000",
        }

    def test_a_client_reads_one_method_or_all(self) -> None:
        layout = MprpcLayout("/top")
        assert layout.place("fixbug.UserServiceRpc") == Place("/top/UserServiceRpc")
        assert layout.place("fixbug.UserServiceRpc/Login") == Place("/top/UserServiceRpc", "Login")
        assert layout.endpoint(b"127.0.0.1:8000") == Endpoint("127.0.0.1", 8000)

    @pytest.mark.parametrize("address", ["localhost:8000", "[::1]:8000", "unix:///run/x.sock"])
    def test_only_ipv4_can_be_told(self, address: str) -> None:
        with pytest.raises(RegistryError, match="need an IPv4 address; set advertise"):
            MprpcLayout().nodes(Announcement(address, ("a.B",), methods=("a.B/C",)))

    def test_a_node_is_ours_if_it_has_our_address(self) -> None:
        assert MprpcLayout().is_ours(b"127.0.0.1:8000", b"127.0.0.1:8000")
        assert not MprpcLayout().is_ours(b"127.0.0.1:8001", b"127.0.0.1:8000")


@given(st.binary(max_size=64))
def test_garbage_is_named_in_either_layout(value: bytes) -> None:
    for layout in (OwnLayout(), MprpcLayout()):
        with suppress(RegistryError):
            assert layout.endpoint(value).port


def test_a_value_out_of_all_proportion_is_no_address() -> None:
    with pytest.raises(RegistryError, match="2000 bytes is no address"):
        MprpcLayout().endpoint(b"1" * 2000)


@given(st.text(min_size=1))
def test_any_name_is_one_node_of_ascii(name: str) -> None:
    node = escaped(name)
    assert node.isascii()
    assert node.isprintable()
    assert "/" not in node
    assert node not in (".", "..", "zookeeper")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_are_different_nodes(one: str, other: str) -> None:
    assert (one == other) == (escaped(one) == escaped(other))


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("echo.EchoService", "echo.EchoService"),
        ("[::1]:80", "[::1]:80"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        (".", "%2E"),
        ("..", "%2E."),
        ("zookeeper", "%7Aookeeper"),
        ("\u00e4", "%C3%A4"),
    ],
)
def test_names_are_escaped_where_they_must_be(name: str, node: str) -> None:
    assert escaped(name) == node


def test_no_name_is_no_node() -> None:
    with pytest.raises(RegistryError, match="empty name"):
        escaped("")


def test_too_many_nodes_are_refused() -> None:
    names = tuple(f"a.S{number}" for number in range(NODES_MAX + 1))
    with pytest.raises(RegistryError, match=f"would need {NODES_MAX + 1} nodes"):
        OwnLayout().nodes(Announcement("10.0.0.7:1", names))


class TestPlan:
    def test_defaults(self) -> None:
        plan = plan_of(parse_target("zk://z1:2181,[::1]:2182/a.B"))
        assert plan.hosts == "z1:2181,[::1]:2182"
        assert plan.expiry_s == 10.0
        assert plan.auth_file == ""
        assert plan.layout.place("a.B") == Place("/libevrpc/a.B")

    def test_options(self) -> None:
        plan = plan_of(
            parse_target("zk://z:1?layout=mprpc&root=/r/s&expiry=2.5&auth_file=/etc/zk.secret")
        )
        assert plan.expiry_s == 2.5
        assert plan.auth_file == "/etc/zk.secret"
        assert plan.layout.place("a.B") == Place("/r/s/B")

    def test_mprpc_has_no_root_of_its_own(self) -> None:
        assert plan_of(parse_target("zk://z:1?layout=mprpc")).layout.place("a.B") == Place("/B")

    @pytest.mark.parametrize(
        ("target", "complaint"),
        [
            ("zk://z:1?expiry=0.2", r"expiry = 0.2: must be in 0.5..600 seconds"),
            ("zk://z:1?expiry=1000", r"expiry = 1000: must be in"),
            ("zk://unix:///run/x", "no server of ZooKeeper|not a service name"),
        ],
    )
    def test_what_zookeeper_cannot_do_is_refused(self, target: str, complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint):
            plan_of(parse_target(target))
