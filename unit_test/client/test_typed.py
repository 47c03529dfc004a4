"""Dataclasses as arguments and results of plain objects over PRPC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from libevrpc import RpcClient, RpcError, RpcServer
from libevrpc import UsageError as Misuse

pytestmark = pytest.mark.live


@dataclass
class Point:
    x: int
    y: int
    names: list[str] = field(default_factory=list)


class Shapes:
    """Plain results, shaped by the caller."""

    def mirror(self, point: dict[str, Any]) -> dict[str, Any]:
        return {"x": point["y"], "y": point["x"], "names": point["names"]}

    def point(self) -> Point:
        return Point(1, 2, ["a"])


@pytest.fixture
def client() -> Iterator[RpcClient]:
    with RpcServer("127.0.0.1:0") as server:
        server.add_object(Shapes())
        with RpcClient(server.address) as client:
            yield client


@pytest.mark.parametrize("content_type", [1, 1001])
def test_dataclasses_travel_as_maps(client: RpcClient, content_type: int) -> None:
    point = Point(1, 2, ["p"])
    found = client.call("Shapes.mirror", point, result=Point, content_type=content_type)
    assert found == Point(2, 1, ["p"])
    future = client.future("Shapes.point", result=Point, content_type=content_type)
    assert future.result() == Point(1, 2, ["a"])
    assert client.call("Shapes.point", content_type=content_type) == {
        "x": 1,
        "y": 2,
        "names": ["a"],
    }


def test_a_result_of_another_shape_is_refused(client: RpcClient) -> None:
    with pytest.raises(RpcError, match=r"reply of Shapes\.point: .* is no int") as caught:
        client.call("Shapes.point", result=int)
    assert caught.value.errno == 2002
    with pytest.raises(RpcError, match=r"is no list\[float\]$"):
        client.call("Shapes.point", result=list[float])
    with pytest.raises(Misuse):
        client.call("Shapes.point", result=threading_lock)
    with pytest.raises(RpcError, match=r"\(1003\): value cannot be sent: an object$"):
        client.call("Shapes.mirror", object())


def threading_lock() -> None:
    """Stand in for what is no type."""
