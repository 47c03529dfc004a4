"""`RpcClient`: the composition root of a client."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from libevrpc.channel.channel import Channel
from libevrpc.channel.connection import ConnectionOptions
from libevrpc.channel.dial import DialTimes
from libevrpc.client.background import acquire_loop, release_loop, watch_forks
from libevrpc.client.controller import ClientController
from libevrpc.client.future import CallFuture
from libevrpc.client.invocation import CallShape, Invocation, result_of
from libevrpc.client.method import MethodSpec, object_method
from libevrpc.client.router import Router
from libevrpc.client.stub import Stub
from libevrpc.core.balancers import Balancer, balancer_named
from libevrpc.core.breaker import BreakerPolicy
from libevrpc.core.compress import CompressType
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.hello import HELLO_VERSION, Hello
from libevrpc.core.objects import ContentType, encode_arguments
from libevrpc.core.prpc import WireLimits
from libevrpc.core.retry import RetryBudget, RetryPolicy
from libevrpc.core.targets import parse_target
from libevrpc.errors import UsageError
from libevrpc.loop.eventloop import EventLoop, on_any_loop
from libevrpc.registry.base import Resolver
from libevrpc.registry.opening import open_resolver
from libevrpc.settings import ClientSettings, load_settings

__all__ = ["RpcClient"]

_METHODS_KEPT_MAX = 1024
"""Methods of plain objects whose constant bytes a client keeps."""


class RpcClient:
    """Calls the services behind a target. Thread-safe, fork-safe, cheap to build.

    Nothing is connected or started before the first call; broken connections come back by
    themselves. May be subclassed. Close it, or use it as a context manager.

    Args:
        target: ``host:port``, ``unix:///path``, ``list://a:1,b:2``,
            ``center://c1:8899,c2:8899[/pkg.Service]``.
        balancer: name (p2c, round_robin, random, weighted, vnode) or a `Balancer` subclass
            to make one of for each service; ``p2c``.
        timeout_s: deadline of calls that name none (5).
        config: an ini file; see config/client.ini for every key.
        settings: further keys of `ClientSettings` by name.

    Arguments win over ``LIBEVRPC_CLIENT_*`` in the environment, those over the file.

    Raises:
        ConfigError: target or setting is wrong; the text says what would be right.
    """

    def __init__(
        self,
        target: str,
        *,
        balancer: str | type[Balancer] | None = None,
        timeout_s: float | None = None,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self._balancer_class = balancer if isinstance(balancer, type) else None
        given = {
            "balancer": balancer if isinstance(balancer, str) else None,
            "timeout_s": timeout_s,
            **settings,
        }
        self.settings = load_settings(ClientSettings, config=config, arguments=given)
        self._target = parse_target(target)
        self._rng = Random()
        if self._balancer_class is None:
            balancer_named(self.settings.balancer, self._rng)  # complain now, not at the first call
        self._timeout_s = self.settings.timeout_s
        self._methods: dict[tuple[str, int], MethodSpec] = {}
        self._closed = False
        self._start_afresh()
        watch_forks(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._loop: EventLoop | None = None
        self._shape: CallShape | None = None
        self._routers: dict[str, Router] = {}
        self._resolvers: list[Resolver] = []

    def after_fork(self) -> None:
        """Drop what belongs to the parent. Called in the child; not for users."""
        self._start_afresh()

    # -- calls --------------------------------------------------------------------------

    def stub(self, service: ServiceDescriptor) -> Stub:
        """Return the methods of a protobuf service.

        Args:
            service: such as ``echo_pb2.DESCRIPTOR.services_by_name["EchoService"]``.
        """
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
            content_type: 1001 msgpack, 1 JSON.

        Raises:
            RpcError: the call failed.
            UsageError: a bad method name, or called on a loop thread.
        """
        spec = self._object_spec(method, content_type)
        body = encode_arguments(arguments, keywords, content_type)
        call = self.invocation(spec, body, timeout_s, controller, key, idempotent, waits=True)
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
        **keywords: Any,
    ) -> CallFuture:
        """Start a call of a plain object's method. Arguments as in `call`."""
        spec = self._object_spec(method, content_type)
        body = encode_arguments(arguments, keywords, content_type)
        call = self.invocation(spec, body, timeout_s, controller, key, idempotent)
        return call.start(result_of(spec))

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
        spec = self._object_spec(method, content_type)
        body = encode_arguments(arguments, keywords, content_type)
        self.invocation(spec, body, timeout_s, controller, key, None, waits=True).send_oneway()

    def invocation(
        self,
        spec: MethodSpec,
        body: bytes,
        timeout_s: float | None,
        controller: ClientController | None,
        key: bytes | str | None,
        idempotent: bool | None,
        *,
        waits: bool = False,
    ) -> Invocation:
        """Prepare one call. For stubs.

        Raises:
            UsageError: the client is closed, or the call would block a loop thread.
        """
        if waits and on_any_loop():
            raise UsageError(
                "a call that waits would stop the loop it is made on (an inline handler or a"
                " callback); use .future(...)"
            )
        router = self._routers.get(spec.service)
        if router is None:
            router = self._router_of(spec.service)
        shape = self._shape
        assert shape is not None
        return Invocation(
            spec,
            body,
            router,
            shape,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            key=key.encode() if isinstance(key, str) else key,
            idempotent=idempotent,
            controller=controller,
        )

    # -- life ---------------------------------------------------------------------------

    def endpoints(self, service: str = "") -> tuple[Endpoint, ...]:
        """Return the servers known to offer `service` now; empty before the first call."""
        router = self._routers.get(service)
        if router is None and not service and self._routers:
            router = next(iter(self._routers.values()))
        return () if router is None else router.endpoints()

    def close(self) -> None:
        """Close the connections; calls in flight fail. Any number of times."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            routers = list({id(each): each for each in self._routers.values()}.values())
            resolvers, self._resolvers = self._resolvers, []
            self._routers = {}
            loop, self._loop = self._loop, None
        for resolver in resolvers:
            resolver.close()
        for router in routers:
            router.close("client is closed")
        if loop is not None:
            release_loop()

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------

    def _object_spec(self, method: str, content_type: int) -> MethodSpec:
        spec = self._methods.get((method, content_type))
        if spec is None:
            spec = object_method(method, content_type)
            if len(self._methods) >= _METHODS_KEPT_MAX:
                self._methods.clear()
            self._methods[method, content_type] = spec
        return spec

    def _router_of(self, service: str) -> Router:
        """Return the router of a service, made when first asked for."""
        with self._lock:
            if self._closed:
                raise UsageError("this client is closed")
            router = self._routers.get(service)
            if router is not None:
                return router
            fixed = self._target.scheme in ("direct", "list")
            if fixed and self._routers:  # any service of these servers goes the same way
                router = next(iter(self._routers.values()))
                self._routers[service] = router
                return router
            if self._loop is None:
                self._loop = acquire_loop()
                self._shape = self._make_shape(self._loop)
            router = self._make_router(self._loop)
            resolver = open_resolver(self._target, self._target.path or service, self.settings)
            self._resolvers.append(resolver)
            resolver.start(router.update)
            self._routers[service] = router
            return router

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
        )
        times = DialTimes(settings.resolve_timeout_s, settings.connect_timeout_s)
        if self._balancer_class is not None:
            balancer = self._balancer_class(self._rng, policy=policy)
        else:
            balancer = balancer_named(settings.balancer, self._rng)
        return Router(
            balancer,
            RetryBudget(settings.retry_budget_percent / 100.0),
            RetryPolicy(settings.retries_max),
            self._rng,
            loop,
            lambda endpoint: Channel(endpoint, loop, options, times),
        )

    def _make_shape(self, loop: EventLoop) -> CallShape:
        settings = self.settings
        timeout_ms = int(settings.client_timeout_s * 1000.0)
        return CallShape(
            loop=loop,
            hello_field=Hello(HELLO_VERSION, timeout_ms).field(),
            compress_type=int(CompressType[settings.compress.upper()]),
            checksum=settings.checksum,
            inflated_bytes_max=settings.inflated_bytes_max,
        )
