"""`libevrpc` on targets that are registries."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from compare.etcd import EtcdCluster

from unit_test.registry.etcd.plain import put

pytestmark = pytest.mark.live


def test_servers_of_a_file_are_called_and_listed(run: Any, serving: Any, tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    path.write_text(json.dumps([{"address": serving.address, "services": ["Foo"]}]))
    called = run("call", f"file://{path}", "Foo.Sum", "-d", "[1, 2]")
    assert (called.status, called.out.strip()) == (0, "3")
    assert "Foo  (plain object)" in run("list", f"file://{path}").out.splitlines()


@pytest.mark.parametrize(
    ("target", "right"),
    [
        ("zk://127.0.0.1:1?root=/r", "zk://127.0.0.1:1/package.Service?root=/r"),
        ("zk://127.0.0.1:1?layout=mprpc", "zk://127.0.0.1:1/package.Service?layout=mprpc"),
        ("etcd://127.0.0.1:1", "etcd://127.0.0.1:1/package.Service"),
        (
            "etcd://127.0.0.1:1?layout=libevrpc",
            "etcd://127.0.0.1:1/package.Service?layout=libevrpc",
        ),
    ],
)
def test_a_registry_is_listed_service_by_service(run: Any, target: str, right: str) -> None:
    done = run("list", target)
    assert done.status == 2
    assert f"name a service to list, such as {right}" in done.err


def test_a_layout_without_services_is_listed_without_one(
    run: Any, serving: Any, etcd: EtcdCluster
) -> None:
    root = f"/{uuid.uuid4().hex}"
    target = f"etcd://{etcd.address(1)}?layout=tinyrpc&root={root}"
    put(etcd.address(1), f"{root}/tcp@{serving.address}", f"tcp@{serving.address}")
    done = run("list", target)
    assert (done.status, done.err) == (0, "")
    assert "Foo  (plain object)" in done.out.splitlines()
