"""Messages of too many values, over every wire: refused by name, and nobody else is harmed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from libevrpc import ClientController, RpcClient, RpcError, RpcServer
from libevrpc.core import values
from libevrpc.core.compress import CompressType
from unit_test.fix_rpc import Serving
from unit_test.server.http.http_peer import JSON, HttpPeer, error_of

pytestmark = pytest.mark.live

TOLD = "more than 500 values in one message"
MANY: list[Any] = [[]] * 500


class Lists:
    """Takes and gives values."""

    def count(self, items: Any) -> int:
        return len(items)

    def make(self, count: int) -> list[Any]:
        return [[]] * count


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RpcServer]:
    monkeypatch.setattr(values, "VALUES_MAX", 500)
    with RpcServer("127.0.0.1:0") as server:
        server.add_object(Lists())
        yield server


@pytest.mark.parametrize("content_type", [1, 1001])
@pytest.mark.parametrize("compress_type", [CompressType.NONE, CompressType.GZIP])
def test_prpc(server: RpcServer, content_type: int, compress_type: int) -> None:
    with RpcClient(server.address) as client:

        def call(method: str, argument: Any) -> Any:
            controller = ClientController()
            controller.compress_type = compress_type
            return client.call(
                f"Lists.{method}", argument, controller=controller, content_type=content_type
            )

        with pytest.raises(RpcError, match=TOLD) as asked:
            call("count", MANY)
        assert asked.value.errno == 1003
        with pytest.raises(RpcError, match=TOLD) as replied:
            call("make", 500)
        assert replied.value.errno == 2002
        assert call("count", MANY[:100]) == 100
        assert call("make", 100) == MANY[:100]
        assert server.statistics().accepted == 1  # connections: it is still the first


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_tinyrpc(server: RpcServer, codec: str) -> None:
    with RpcClient(server.address, wire="tinyrpc", codec=codec) as client:
        with pytest.raises(RpcError, match=f"argument of Lists.count: {TOLD}"):
            client.call("Lists.count", MANY)
        with pytest.raises(RpcError, match=f"reply of Lists.make: {TOLD}") as replied:
            client.call("Lists.make", 500)
        assert replied.value.errno == 2002
        assert client.call("Lists.count", MANY[:100]) == 100
        assert client.call("Lists.make", 100) == MANY[:100]
        assert server.statistics().accepted == 1


def test_http(server: RpcServer) -> None:
    http = HttpPeer(server.address)
    for headers, pack in ((JSON, bytes), (JSON + "Content-Encoding: gzip\r\n", gzip.compress)):
        answer = http.ask("/Lists/count", pack(json.dumps([MANY]).encode()), headers)
        assert answer.status == 400
        assert TOLD in error_of(answer)["text"]
        answer = http.ask("/Lists/count", pack(json.dumps([MANY[:100]]).encode()), headers)
        assert answer.body == b"100"
    http.close()


def test_json_for_protobuf_services(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    http = HttpPeer(serve().address)
    monkeypatch.setattr(values, "VALUES_MAX", 500)
    body = json.dumps({"request": MANY})
    answer = http.ask("/echo.EchoService/Echo", body, JSON)
    assert answer.status == 400
    assert TOLD in error_of(answer)["text"]
    assert http.echo("small") == "small"
    http.close()
