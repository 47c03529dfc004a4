"""`RpcClient`: the composition root of a client."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from google.protobuf.descriptor import ServiceDescriptor

from libevrpc.channel.background import watch_forks
from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import ConnectionOptions
from libevrpc.channel.dial import DialTimes
from libevrpc.client.broadcast import Broadcast, Mode
from libevrpc.client.call_log import LoggedCall, LoggedFuture, LoggedOneway
from libevrpc.client.controller import ClientController
from libevrpc.client.future import CallFuture
from libevrpc.client.invocation import CallShape, Invocation
from libevrpc.client.lease import Lease
from libevrpc.client.method import MethodSpec
from libevrpc.client.oneway import OnewayInvocation
from libevrpc.client.router import Router
from libevrpc.client.started import FutureInvocation
from libevrpc.client.stub import Stub
from libevrpc.client.wires import open_wire
from libevrpc.core.balancers import BALANCERS, Balancer, balancer_named
from libevrpc.core.breaker import BreakerPolicy
from libevrpc.core.compress import CompressType
from libevrpc.core.contents import ContentType
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import CLIENT_HELLO
from libevrpc.core.prpc import META_ROOM_BYTES, WireLimits
from libevrpc.core.retry import RetryBudget, RetryPolicy
from libevrpc.core.targets import parse_target
from libevrpc.core.wording import with_article
from libevrpc.credentials import read_tokens
from libevrpc.errors import ConfigError, UsageError
from libevrpc.loop.eventloop import EventLoop, on_any_loop
from libevrpc.registry.opening import open_resolver, require_adapter
from libevrpc.settings import ClientSettings, load_settings

__all__ = ["RpcClient"]

_METHODS_KEPT_MAX = 1024
"""Methods of plain objects whose constant bytes a client keeps."""


class RpcClient:
    """Calls the services behind a target. Thread-safe, fork-safe, cheap to build.

    Nothing is connected or started before the first call; broken connections come back by
    themselves. May be subclassed. Close it, or use it as a context manager: one that is dropped
    closes itself when its last call is done, with a ResourceWarning.

    Args:
        target: ``host:port``, ``unix:///path``, ``list://a:1,b:2``,
            ``center://c1:8899,c2:8899[/pkg.Service]``, or another registry: ``zk://``,
            ``etcd://``, ``http://``, ``dns://``, ``file://`` (docs/registries.md).
        wire: protocol that the servers speak: prpc, mprpc, mprpc-be, tinyrpc, tinyrpc-http,
            geerpc, geerpc-http; ``prpc``. See docs/guide.md for what the others cannot carry.
        balancer: name (p2c, round_robin, random, weighted, vnode) or a `Balancer` subclass
            to make one of for each service; ``p2c``.
        timeout_s: deadline of calls that name none (5).
        config: an ini file; see config/client.ini for every key.
        settings: further keys of `ClientSettings` by name.

    Arguments win over ``LIBEVRPC_CLIENT_*`` in the environment, those over the file.

    Raises:
        ConfigError: target or setting is wrong, or a library is missing; the text says what
            would be right.
    """

    def __init__(
        self,
        target: str,
        *,
        wire: str | None = None,
        balancer: str | type[Balancer] | None = None,
        timeout_s: float | None = None,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self._balancer_class = _own_balancer(balancer)
        given = {
            "wire": wire,
            "balancer": None if self._balancer_class else balancer,
            "timeout_s": timeout_s,
            **settings,
        }
        self.settings = load_settings(ClientSettings, config=config, arguments=given)
        if not isinstance(target, str):
            raise ConfigError(
                f"target is {with_article(type(target).__name__)}: write it as text, host:port"
            )
        self._target = parse_target(target)
        require_adapter(self._target)
        self.wire = open_wire(self.settings, self._target)
        self._encode = self.wire.body
        tokens = read_tokens(self.settings.token_file)
        self._token = b"" if tokens is None else tokens.shown
        self._rng = Random()
        self.timeout_s = self.settings.timeout_s
        """Deadline of calls that name none, seconds."""
        self._methods: dict[tuple[str, int, Any], MethodSpec] = {}
        logs = self.settings.log_calls
        self.new_call = LoggedCall if logs else Invocation
        self.new_future = LoggedFuture if logs else FutureInvocation
        self.new_oneway = LoggedOneway if logs else OnewayInvocation
        self._closed = False
        self._start_afresh()
        watch_forks(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._routes: dict[str, tuple[Router, CallShape]] = {}

    def after_fork(self) -> None:
        """Drop what belongs to the parent. Called in the child; not for users."""
        self._start_afresh()

    # -- calls --------------------------------------------------------------------------

    def stub(self, service: ServiceDescriptor) -> Stub:
        """Return the methods of a protobuf service.

        Args:
            service: such as ``echo_pb2.DESCRIPTOR.services_by_name["EchoService"]``.

        Raises:
            UsageError: it is no service descriptor.
        """
        if not isinstance(service, ServiceDescriptor):
            raise UsageError(
                f"stub() takes a service descriptor, not {with_article(type(service).__name__)};"
                ' such as echo_pb2.DESCRIPTOR.services_by_name["EchoService"]'
            )
        return Stub(self, service)

    def call(
        self,
        method: str,
        /,
        *arguments: Any,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        idempotent: bool = False,
        content_type: int = ContentType.MSGPACK,
        result: Any = None,
        **keywords: Any,
    ) -> Any:
        """Call a plain object's method and wait for its result.

        Args:
            method: ``Service.Method`` or ``pkg.Service/Method``.
            arguments, keywords: what msgpack can carry (None, bool, int, float, str, bytes,
                list, tuple, dict).
            timeout_s: deadline from now, retries included; the client's default if None.
            controller: what to send beside the request, and what came back.
            key: calls with equal keys go to the same server while the set of servers stays.
            idempotent: executing twice does no harm.
            content_type: 1001 msgpack, 1 JSON; on other wires than PRPC it does not count.
            result: type that the result is to have, such as ``int``, ``list[str]`` or a
                dataclass; None: whatever came.

        Raises:
            RpcError: the call failed.
            UsageError: a bad method name, or called on a loop thread.
        """
        spec = self._object_spec(method, content_type, result)
        body = self._encode(arguments, keywords, content_type)
        router, shape = self.route(spec.lookup, waits=True)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        call = self.new_call(spec, body, router, shape, timeout_s, controller, key, idempotent)
        return spec.parse(call.run().payload)

    def future(
        self,
        method: str,
        /,
        *arguments: Any,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        idempotent: bool = False,
        content_type: int = ContentType.MSGPACK,
        result: Any = None,
        **keywords: Any,
    ) -> CallFuture:
        """Start a call of a plain object's method. Arguments as in `call`."""
        spec = self._object_spec(method, content_type, result)
        body = self._encode(arguments, keywords, content_type)
        router, shape = self.route(spec.lookup)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        return self.new_future(
            spec, body, router, shape, timeout_s, controller, key, idempotent
        ).start()

    def oneway(
        self,
        method: str,
        /,
        *arguments: Any,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        content_type: int = ContentType.MSGPACK,
        **keywords: Any,
    ) -> None:
        """Send a call of a plain object's method and forget it. Arguments as in `call`."""
        spec = self._object_spec(method, content_type, None)
        body = self._encode(arguments, keywords, content_type)
        router, shape = self.route(spec.lookup, waits=True)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        self.new_oneway(spec, body, router, shape, timeout_s, controller, key, None).send()

    def broadcast(
        self,
        method: str,
        /,
        *arguments: Any,
        timeout_s: float | None = None,
        mode: Mode = "first_error",
        idempotent: bool = False,
        content_type: int = ContentType.MSGPACK,
        result: Any = None,
        **keywords: Any,
    ) -> dict[str, Any]:
        """Call a plain object's method on all servers at once and wait for them.

        Args:
            method, arguments, keywords, content_type, result: as in `call`.
            timeout_s: deadline from now of all of it; the client's default if None.
            mode: ``first_error``: the first failure cancels the other calls and is raised.
                ``all``: each call runs to its end.
            idempotent: executing twice on one server does no harm.

        Returns:
            Address of each server -> its result; with ``all``, or its RpcError. Empty where the
            registry says that there is no server.

        Raises:
            RpcError: the first failure; or nobody has said who there is.
            UsageError: a bad method name or mode, or called on a loop thread.
        """
        spec = self._object_spec(method, content_type, result)
        body = self._encode(arguments, keywords, content_type)
        router, shape = self.route(spec.lookup, waits=True)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        call = Broadcast(spec, body, router, shape, timeout_s, mode, idempotent, self.new_future)
        return call.run()

    def route(self, service: str, *, waits: bool = False) -> tuple[Router, CallShape]:
        """Return where calls of `service` go and what they look like. For stubs.

        Raises:
            UsageError: the client is closed, or the call would block a loop thread.
        """
        if waits and on_any_loop():
            raise UsageError(
                "a call that waits would stop the loop it is made on (an inline handler or a"
                " callback); use .future(...)"
            )
        route = self._routes.get(service)
        return self._make_route(service) if route is None else route

    # -- life ---------------------------------------------------------------------------

    def endpoints(self, service: str = "") -> tuple[Endpoint, ...]:
        """Return the servers known to offer `service` now; empty before the first call."""
        routes = self._routes
        route = routes.get(service)
        if route is None and not service:
            route = next(iter(routes.values()), None)
        return () if route is None else route[0].endpoints()

    def close(self) -> None:
        """Close the connections; calls in flight fail. Any number of times.

        One-way requests that wait for a connection, or for their server to read, have a second to
        get on their way.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._routes = {}
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------

    def _object_spec(self, method: str, content_type: int, result: Any) -> MethodSpec:
        try:
            spec = self._methods.get((method, content_type, result))
        except TypeError:  # cannot be hashed, so it is no text, or no type: what follows says so
            return self.wire.object_spec(method, content_type, result)
        if spec is None:
            spec = self.wire.object_spec(method, content_type, result)
            if len(self._methods) >= _METHODS_KEPT_MAX:
                self._methods.clear()
            self._methods[method, content_type, result] = spec
        return spec

    def _make_route(self, service: str) -> tuple[Router, CallShape]:
        """Make the route of a service when it is first asked for."""
        with self._lock:
            if self._closed:
                raise UsageError("this client is closed")
            route = self._routes.get(service)
            if route is not None:
                return route
            if self._routes and self._target.scheme in ("direct", "list"):
                route = next(iter(self._routes.values()))  # the same servers, whatever is asked
                self._routes[service] = route
                return route
            lease = self._lease
            if lease is None:
                lease = self._lease = Lease(self._target.text)
            route = self._make_router(lease.loop), self._make_shape(lease)
            resolver = open_resolver(self._target, self._looked_for(service), self.settings)
            lease.hold(route[0], resolver)
            route[0].explain = resolver.trouble
            resolver.start(route[0].update)
            self._routes[service] = route
            return route

    def _looked_for(self, lookup: str) -> str:
        """Return what the registry is asked for: the service that the target names, if it does."""
        named, method = self._target.service, lookup.partition("/")[2]
        if not named:
            return lookup
        return f"{named}/{method}" if method else named

    def _make_router(self, loop: EventLoop) -> Router:
        settings = self.settings
        policy = BreakerPolicy(
            isolation_min_s=settings.set_aside_min_s, isolation_max_s=settings.set_aside_max_s
        )
        options = ConnectionOptions(
            limits=WireLimits(
                settings.body_bytes_max, settings.header_bytes_max, settings.inflated_bytes_max
            ),
            calls_max=settings.calls_per_connection_max,
            unsent_bytes_max=settings.unsent_bytes_max,
            token=self._token,
        )
        times = DialTimes(settings.resolve_timeout_s, settings.connect_timeout_s)
        connections = self.wire.connections
        if self._balancer_class is not None:
            balancer = self._balancer_class(self._rng, policy=policy)
        else:
            balancer = balancer_named(settings.balancer, self._rng, policy=policy)
        return Router(
            balancer,
            RetryBudget(settings.retry_budget_percent / 100.0),
            RetryPolicy(settings.retries_max),
            self._rng,
            loop,
            lambda endpoint: Channel(endpoint, loop, options, times, wire=connections),
        )

    def _make_shape(self, lease: Lease) -> CallShape:
        settings = self.settings
        return CallShape(
            lease=lease,
            hello_field=CLIENT_HELLO.field(),
            compress_type=int(CompressType[settings.compress.upper()]),
            checksum=settings.checksum,
            inflated_bytes_max=settings.inflated_bytes_max,
            request_bytes_max=settings.body_bytes_max - META_ROOM_BYTES,
            foreign=settings.wire != "prpc",
        )


def _own_balancer(balancer: object) -> type[Balancer] | None:
    """Return the class that a user wrote; None where it is a name, or nothing.

    Raises:
        ConfigError: it is neither.
    """
    if balancer is None or isinstance(balancer, str):
        return None
    if isinstance(balancer, type) and issubclass(balancer, Balancer):
        return balancer
    found = balancer if isinstance(balancer, type) else type(balancer)
    kind = "the class" if found is balancer else "an object of"
    raise ConfigError(
        f"argument balancer is {kind} {found.__name__}: must be one of"
        f" {', '.join(BALANCERS)}, or a subclass of libevrpc.Balancer: the class,"
        " of which each service gets an object"
    )
