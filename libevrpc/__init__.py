"""libevrpc: RPC for Python with discovery and load balancing inside.

A server::

    server = RpcServer("127.0.0.1:9998")
    server.add_service(Echo(), echo_pb2.DESCRIPTOR.services_by_name["EchoService"])
    server.run()

A client::

    with RpcClient("127.0.0.1:9998") as client:
        stub = client.stub(echo_pb2.DESCRIPTOR.services_by_name["EchoService"])
        response = stub.Echo(echo_pb2.EchoRequest(request="hi"), timeout_s=1.0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from libevrpc.errors import (
    ConfigError,
    Errno,
    EvrpcError,
    ProtocolError,
    RpcError,
    StatusCode,
    UsageError,
)

if TYPE_CHECKING:
    from libevrpc.client.client import RpcClient
    from libevrpc.client.controller import ClientController
    from libevrpc.client.future import CallFuture
    from libevrpc.client.stub import Stub, StubMethod
    from libevrpc.core.balancers import Balancer, EndpointState
    from libevrpc.core.endpoints import Endpoint
    from libevrpc.core.http import HttpReply, HttpRequest
    from libevrpc.server.calls import Deferred, ServerController
    from libevrpc.server.http.registry import HttpRegistry
    from libevrpc.server.methods import inline
    from libevrpc.server.server import RpcServer
    from libevrpc.server.servicer import service_base
    from libevrpc.server.statistics import ServerStatistics

__all__ = [
    "Balancer",
    "CallFuture",
    "ClientController",
    "ConfigError",
    "Deferred",
    "Endpoint",
    "EndpointState",
    "Errno",
    "EvrpcError",
    "HttpRegistry",
    "HttpReply",
    "HttpRequest",
    "ProtocolError",
    "RpcClient",
    "RpcError",
    "RpcServer",
    "ServerController",
    "ServerStatistics",
    "StatusCode",
    "Stub",
    "StubMethod",
    "UsageError",
    "__version__",
    "inline",
    "service_base",
]

__version__ = "0.1.0"


_HOMES = {
    "Balancer": "core.balancers",
    "CallFuture": "client.future",
    "ClientController": "client.controller",
    "Deferred": "server.calls",
    "Endpoint": "core.endpoints",
    "EndpointState": "core.balancers",
    "HttpRegistry": "server.http.registry",
    "HttpReply": "core.http",
    "HttpRequest": "core.http",
    "RpcClient": "client.client",
    "RpcServer": "server.server",
    "ServerController": "server.calls",
    "ServerStatistics": "server.statistics",
    "Stub": "client.stub",
    "StubMethod": "client.stub",
    "inline": "server.methods",
    "service_base": "server.servicer",
}
"""Where names are made that are imported when they are first asked for: a server does without the
client, so does a center, and a client without the server."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for. Any thread."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
