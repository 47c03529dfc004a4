"""Stubs straight from service descriptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Never

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from libevrpc.client.arguments import unknown_argument
from libevrpc.client.broadcast import Broadcast, Mode
from libevrpc.client.controller import ClientController
from libevrpc.client.future import CallFuture
from libevrpc.core.protobufs import message_class
from libevrpc.core.wording import with_article
from libevrpc.errors import UsageError

if TYPE_CHECKING:
    from libevrpc.client.client import RpcClient

__all__ = ["Stub", "StubMethod"]


class StubMethod:
    """One method of a stub: call it, or use `future`, `oneway` or `broadcast`. Any thread.

    Keyword arguments of the first three:
        timeout_s: deadline from now, retries included; the client's default if None.
        controller: what to send beside the request, and what came back.
        key: calls with equal keys go to the same server while the set of servers stays.
        idempotent: executing twice does no harm; what the .proto says if None.
    """

    __slots__ = ("_client", "_request_class", "spec")

    def __init__(self, client: RpcClient, descriptor: MethodDescriptor) -> None:
        self.spec = client.wire.protobuf_spec(descriptor)
        self._client = client
        self._request_class = message_class(descriptor.input_type)

    def __call__(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        idempotent: bool | None = None,
        **unknown: Never,
    ) -> Any:
        """Call and wait for the response.

        Raises:
            RpcError: the call failed.
            UsageError: not a request of this method, or called on a loop thread.
        """
        if unknown:
            raise unknown_argument(self.__call__, unknown)
        client = self._client
        router, shape = client.route(self.spec.lookup, waits=True)
        call = client.new_call(
            self.spec,
            self._body(request),
            router,
            shape,
            client.timeout_s if timeout_s is None else timeout_s,
            controller,
            key,
            idempotent,
        )
        return self.spec.parse(call.run().payload)

    def future(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        idempotent: bool | None = None,
        **unknown: Never,
    ) -> CallFuture:
        """Start the call; its errors come out of the future.

        Raises:
            UsageError: not a request of this method.
        """
        if unknown:
            raise unknown_argument(self.future, unknown)
        client = self._client
        router, shape = client.route(self.spec.lookup)
        return client.new_future(
            self.spec,
            self._body(request),
            router,
            shape,
            client.timeout_s if timeout_s is None else timeout_s,
            controller,
            key,
            idempotent,
        ).start()

    def oneway(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        controller: ClientController | None = None,
        key: bytes | str | None = None,
        **unknown: Never,
    ) -> None:
        """Send the request and return; nobody learns whether it was executed.

        Raises:
            RpcError: it could not even be queued to be sent.
            UsageError: not a request of this method, or called on a loop thread.
        """
        if unknown:
            raise unknown_argument(self.oneway, unknown)
        client = self._client
        router, shape = client.route(self.spec.lookup, waits=True)
        client.new_oneway(
            self.spec,
            self._body(request),
            router,
            shape,
            client.timeout_s if timeout_s is None else timeout_s,
            controller,
            key,
            None,
        ).send()

    def broadcast(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        mode: Mode = "first_error",
        idempotent: bool | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """Call all servers at once and wait for them; see `RpcClient.broadcast`.

        Raises:
            RpcError: the first failure; or nobody has said who there is.
            UsageError: not a request of this method, a bad mode, or called on a loop thread.
        """
        if unknown:
            raise unknown_argument(self.broadcast, unknown)
        client = self._client
        router, shape = client.route(self.spec.lookup, waits=True)
        timeout_s = client.timeout_s if timeout_s is None else timeout_s
        body = self._body(request)
        call = Broadcast(
            self.spec, body, router, shape, timeout_s, mode, idempotent, client.new_future
        )
        return call.run()

    def _body(self, request: Any) -> bytes:
        if request.__class__ is not self._request_class:
            wanted = with_article(self._request_class.DESCRIPTOR.full_name)
            given = with_article(type(request).__name__)
            raise UsageError(f"{self.spec.label} takes {wanted}, not {given}")
        body: bytes = request.SerializeToString()
        return body


class Stub:
    """The methods of one service, named as in the .proto. Made by `RpcClient.stub`."""

    def __init__(self, client: RpcClient, descriptor: ServiceDescriptor) -> None:
        self._name = descriptor.full_name
        self._methods = {each.name: StubMethod(client, each) for each in descriptor.methods}
        self.__dict__.update(self._methods)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> StubMethod: ...
    else:
        __getattr__: Callable[..., Any] = lambda self, name: self._missing(name)

    def _missing(self, name: str) -> StubMethod:
        methods = ", ".join(self.__dict__.get("_methods", ()))
        raise AttributeError(f"service {self._name} has no method {name!r}; methods: {methods}")
