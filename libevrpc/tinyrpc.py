"""TinyRPC's names over our own: a program written for it, or for gee-rpc, changes little else.

A server::

    server = NewServer()
    server.Register(Foo())                                # its public methods, as Foo.Sum ...
    server.Accept("tcp", "127.0.0.1:9998")                # until SIGTERM or SIGINT

A client::

    client = Dial("tcp", "127.0.0.1:9998", Option(HandleTimeout=2.0))
    total = client.Call("Foo.Sum", Args(1, 2), int, timeout_s=1.0)

A client of many servers::

    discovery = TinyRegistryDiscovery("http://127.0.0.1:9999/_tinyrpc_/registry")
    with XClient(discovery, RandomSelect) as xclient:
        total = xclient.Call("Foo.Sum", Args(1, 2), int)
        xclient.Broadcast("Foo.Sum", Args(1, 2), int)     # all of them, the first error ends it

What is ours under these names: a `Client` or `XClient` is an `RpcClient` with ``wire="tinyrpc"``,
which reconnects by itself, tries another server as long as nothing was sent, and ends each call at
a deadline; a `Server` is an `RpcServer`, with HTTP and PRPC on the same port, too. Times are
seconds. A type is given where Go gives a pointer: the result is returned.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from libevrpc.channel.call import ClientCall
from libevrpc.client.client import RpcClient
from libevrpc.client.future import CallFuture
from libevrpc.core.endpoints import Endpoint, EndpointSet, parse_endpoint
from libevrpc.errors import ConfigError, Errno, RpcError, StatusCode, UsageError
from libevrpc.server.server import RpcServer

__all__ = [
    "Client",
    "Dial",
    "DialHTTP",
    "Discovery",
    "EtcdRegistryDiscovery",
    "GeeRegistryDiscovery",
    "MultiServersDiscovery",
    "NewServer",
    "Option",
    "RandomSelect",
    "RoundRobinSelect",
    "Server",
    "TinyRegistryDiscovery",
    "XClient",
    "XDial",
]

RandomSelect: Final = 0
RoundRobinSelect: Final = 1
_BALANCERS = {RandomSelect: "random", RoundRobinSelect: "round_robin"}

_SHUT_DOWN = "connection is shut down"
_FOREVER_S = 86400.0
"""What a time-out of 0, which is none, comes to."""
_CODECS = {f"application/{name}": name for name in ("gob", "json", "msgpack")}


@dataclass(frozen=True, slots=True)
class Option:
    """How connections begin. Immutable.

    Attributes:
        CodecType: ``application/gob``, ``application/json`` or ``application/msgpack``.
        ConnectTimeout: for the connection, and again for the greeting; 0: none. Seconds.
        HandleTimeout: how long a server may work on a call; 0: any time. Seconds.
        Dialect: ``tinyrpc`` or ``geerpc``: whether the server answers the option.
    """

    CodecType: str = "application/gob"
    ConnectTimeout: float = 10.0
    HandleTimeout: float = 0.0
    Dialect: str = "tinyrpc"

    def settings(self) -> dict[str, Any]:
        """Return it as settings of an `RpcClient`.

        Raises:
            ConfigError: there is no such codec or dialect.
        """
        codec = _CODECS.get(self.CodecType)
        if codec is None:
            raise ConfigError(f"invalid codec type {self.CodecType}: one of {', '.join(_CODECS)}")
        if self.Dialect not in ("tinyrpc", "geerpc"):
            raise ConfigError(f"Dialect {self.Dialect!r}: tinyrpc or geerpc")
        return {
            "wire": self.Dialect,
            "codec": codec,
            "connect_timeout_s": self.ConnectTimeout or _FOREVER_S,
            "handle_timeout_s": self.HandleTimeout,
        }


def Dial(network: str, addr: str, option: Option | None = None) -> Client:
    """Connect to one server: ``tcp`` and host:port, or ``unix`` and a path.

    Raises:
        RpcError: it is not there, or does not answer the option.
        ConfigError: network, address or option is wrong.
    """
    if network not in ("tcp", "unix"):
        raise ConfigError(f"network {network!r}: tcp or unix")
    return _dialled(f"{network}@{addr}", option)


def DialHTTP(network: str, addr: str, option: Option | None = None) -> Client:
    """Connect to one server by HTTP CONNECT. Arguments and errors as of `Dial`."""
    if network != "tcp":
        raise ConfigError(f"network {network!r}: tcp")
    return _dialled(f"http@{addr}", option)


def XDial(address: str, option: Option | None = None) -> Client:
    """Connect to ``protocol@address``: ``tcp@host:port``, ``http@host:port``, ``unix@/path``.

    Errors as of `Dial`.
    """
    if address.count("@") != 1:
        raise ConfigError(f"address {address!r}: write protocol@address, such as tcp@host:port")
    return _dialled(address, option)


def _dialled(address: str, option: Option | None) -> Client:
    client = Client(address, option)
    try:
        client.reach()
    except BaseException:
        client.Close()
        raise
    return client


class _Closeable:
    """What `Client` and `XClient` have in common: calls until they are closed."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._closed = False

    def Close(self) -> None:
        """End; calls in flight fail. Any number of times."""
        self._closed = True
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.Close()

    def _open(self) -> RpcClient:
        if self._closed:
            raise RpcError(StatusCode.UNAVAILABLE, _SHUT_DOWN, errno=Errno.CLOSED)
        return self._client


class Client(_Closeable):
    """Calls one server. Any thread. Made by `Dial`, `DialHTTP` or `XDial`."""

    def __init__(self, address: str, option: Option | None = None) -> None:
        super().__init__(RpcClient(address, **(option or Option()).settings()))

    def Call(
        self, method: str, args: Any, reply: Any = None, *, timeout_s: float | None = None
    ) -> Any:
        """Call ``Service.Method`` and return its result.

        Args:
            method: what to call.
            args: its one argument: a dataclass, number, text, bytes, list or dict.
            reply: type of the result, such as ``int`` or a dataclass; None: whatever comes.
            timeout_s: deadline from now; 5 seconds if None.

        Raises:
            RpcError: the call failed; UNKNOWN: the server says why.
        """
        return self._open().call(method, args, result=reply, timeout_s=timeout_s)

    def Go(
        self, method: str, args: Any, reply: Any = None, *, timeout_s: float | None = None
    ) -> CallFuture:
        """Start a call; its result or error comes out of the future. Arguments as of `Call`."""
        return self._open().future(method, args, result=reply, timeout_s=timeout_s)

    def IsAvailable(self) -> bool:
        """True until `Close`: a connection that breaks is made anew by the next call."""
        return not self._closed

    def reach(self) -> None:
        """Wait for the connection.

        Raises:
            RpcError: there is none.
        """
        client = self._open()
        router, _ = client.route("", waits=True)
        endpoint = client.endpoints()[0]
        _, channel = router.pick_only(endpoint, monotonic())
        connection = channel.connection()
        settings = client.settings
        patience_s = settings.resolve_timeout_s + 2.0 * settings.connect_timeout_s
        done = threading.Event()
        probe = ClientCall(connection.next_id(), monotonic() + patience_s, lambda _: done.set())
        connection.probe(probe)
        done.wait()
        if probe.failure is not None:
            raise RpcError.from_errno(probe.failure.errno, probe.failure.text)


class Discovery:
    """Where an `XClient` finds its servers: any target, such as ``dns://`` or ``center://`` ones.

    Args:
        target: as `RpcClient` takes it.
    """

    def __init__(self, target: str) -> None:
        self.target = target


class MultiServersDiscovery(Discovery):
    """A list that the program keeps. Any thread.

    Args:
        servers: addresses, such as ``tcp@host:port`` or ``http@host:port``.

    Raises:
        ConfigError: an address is wrong.
    """

    def __init__(self, servers: Iterable[str]) -> None:
        super().__init__("list://127.0.0.1:1")  # told each client before its first call
        self._rng = random.Random()
        self._turn = self._rng.randrange(2**31 - 2)
        self._followers: list[XClient] = []
        self._lock = threading.Lock()
        self._servers: list[str] = []
        self.Update(servers)

    def Refresh(self) -> None:
        """Do nothing: the list is what it is."""

    def Update(self, servers: Iterable[str]) -> None:
        """Replace the list; calls on the way to a server that is gone run to their end.

        Raises:
            ConfigError: an address is wrong; the list stays as it was.
        """
        listed = list(dict.fromkeys(servers))
        endpoints = tuple(map(parse_endpoint, listed))
        with self._lock:
            self._servers = listed
            for follower in self._followers:
                follower.follow(endpoints)

    def Get(self, mode: int) -> str:
        """Return one server's address.

        Raises:
            RpcError: there is none.
            UsageError: there is no such mode.
        """
        servers = self._servers
        if not servers:
            raise _no_servers()
        if mode == RandomSelect:
            return self._rng.choice(servers)
        if mode != RoundRobinSelect:
            raise _wrong_mode(mode)
        self._turn += 1
        return servers[self._turn % len(servers)]

    def GetAll(self) -> list[str]:
        """Return all addresses."""
        return list(self._servers)

    def join(self, follower: XClient) -> None:
        """Tell `follower` who there is, and of updates until `leave`."""
        with self._lock:
            self._followers.append(follower)
            follower.follow(tuple(map(parse_endpoint, self._servers)))

    def leave(self, follower: XClient) -> None:
        """Tell `follower` nothing more."""
        with self._lock:
            if follower in self._followers:
                self._followers.remove(follower)


class TinyRegistryDiscovery(Discovery):
    """An HTTP registry of TinyRPC, or ours.

    Args:
        url: such as ``http://127.0.0.1:9999/_tinyrpc_/registry``.
        timeout: how often an unmodified one is asked, seconds; ours tells of news at once.
    """

    dialect = "tinyrpc"

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        super().__init__(f"{url}?dialect={self.dialect}&every={timeout:g}")


class GeeRegistryDiscovery(TinyRegistryDiscovery):
    """An HTTP registry of gee-rpc. Arguments as of `TinyRegistryDiscovery`."""

    dialect = "geerpc"


class EtcdRegistryDiscovery(Discovery):
    """TinyRPC's keys in etcd.

    Args:
        addr: such as ``127.0.0.1:2379``; several with commas between.
        timeout: taken and not needed: the keys are watched, so that news come at once.
    """

    def __init__(self, addr: str, timeout: float = 10.0) -> None:
        del timeout
        super().__init__(f"etcd://{addr}?layout=tinyrpc")


class XClient(_Closeable):
    """Calls one of many servers, or all of them. Any thread.

    Args:
        discovery: where they are found.
        mode: `RandomSelect` or `RoundRobinSelect`.
        option: how connections begin.
    """

    def __init__(
        self, discovery: Discovery, mode: int = RandomSelect, option: Option | None = None
    ) -> None:
        balancer = _BALANCERS.get(mode)
        if balancer is None:
            raise _wrong_mode(mode)
        self._listed = discovery if isinstance(discovery, MultiServersDiscovery) else None
        settings = (option or Option()).settings()
        super().__init__(RpcClient(discovery.target, balancer=balancer, **settings))
        if self._listed is not None:
            self._listed.join(self)

    def Call(
        self, method: str, args: Any, reply: Any = None, *, timeout_s: float | None = None
    ) -> Any:
        """Call one server. Arguments and errors as of `Client.Call`."""
        client = self._open()
        self._require_servers()
        return client.call(method, args, result=reply, timeout_s=timeout_s)

    def Go(
        self, method: str, args: Any, reply: Any = None, *, timeout_s: float | None = None
    ) -> CallFuture:
        """Start a call of one server. Arguments as of `Client.Call`."""
        client = self._open()
        self._require_servers()
        return client.future(method, args, result=reply, timeout_s=timeout_s)

    def Broadcast(
        self, method: str, args: Any, reply: Any = None, *, timeout_s: float | None = None
    ) -> Any:
        """Call all servers at once; return the result of one of them, None where there is none.

        Raises:
            RpcError: the first failure, which has ended the other calls.
        """
        found = self._open().broadcast(method, args, result=reply, timeout_s=timeout_s)
        return next(iter(found.values()), None)

    def Servers(self) -> list[str]:
        """Return the addresses known now; of a registry none before the first call."""
        return [_spelled(each) for each in self._open().endpoints()]

    def Close(self) -> None:
        """End; calls in flight fail. Any number of times."""
        super().Close()
        if self._listed is not None:
            self._listed.leave(self)

    def follow(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Call these servers from now on. The discovery."""
        try:
            router, _ = self._client.route("")
        except UsageError:
            if self._closed:  # it is about to leave the discovery
                return
            raise
        router.update(EndpointSet(endpoints))

    def _require_servers(self) -> None:
        if self._listed is not None and not self._listed.GetAll():
            raise _no_servers()


def _spelled(endpoint: Endpoint) -> str:
    if endpoint.path:
        return f"unix@{endpoint.path}"
    return f"{endpoint.transport or 'tcp'}@{endpoint.address}"


def _no_servers() -> RpcError:
    text = "rpc discovery: no available servers"
    return RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)


def _wrong_mode(mode: object) -> UsageError:
    return UsageError(f"mode {mode!r}: RandomSelect (0) or RoundRobinSelect (1)")


class Server:
    """Serves plain objects to TinyRPC's clients, over TCP, unix sockets and HTTP alike."""

    def __init__(self) -> None:
        self._objects: dict[str, object] = {}
        self._server: RpcServer | None = None

    def Register(self, receiver: object, name: str = "") -> None:
        """Serve the public methods of `receiver` as ``Type.Method``, or under another `name`.

        Raises:
            UsageError: there is such a service.
        """
        name = name or type(receiver).__name__
        if name in self._objects:
            raise UsageError(f"rpc: service already defined: {name}")
        if self._server is not None:
            self._server.add_object(receiver, name=name)
        self._objects[name] = receiver

    def Listen(self, network: str, addr: str, **settings: Any) -> str:
        """Serve in the background; returns the address, as `XDial` takes it.

        Args:
            network: ``tcp`` (HTTP included) or ``unix``.
            addr: host:port, where port 0 is any free one; or a path.
            settings: of `RpcServer`, such as ``registry="http://.../_tinyrpc_/registry"``.

        Raises:
            ConfigError: it cannot be listened there.
        """
        server = self._make(network, addr, settings)
        try:
            server.start()
        except BaseException:
            self._server = None
            raise
        return _spelled(parse_endpoint(server.address))

    def Accept(self, network: str, addr: str, **settings: Any) -> None:
        """Serve until SIGTERM or SIGINT. Main thread. Arguments as of `Listen`."""
        self._make(network, addr, settings).run()

    def Close(self) -> None:
        """Stop what `Listen` began: calls that run are finished, within a while."""
        if self._server is not None:
            self._server.stop()

    def _make(self, network: str, addr: str, settings: dict[str, Any]) -> RpcServer:
        if self._server is not None:
            raise UsageError("this server listens already")
        if network not in ("tcp", "unix"):
            raise ConfigError(f"network {network!r}: tcp or unix")
        listen = addr if network == "tcp" else f"unix://{addr}"
        server = RpcServer(listen, **settings)
        for name, receiver in self._objects.items():
            server.add_object(receiver, name=name)
        self._server = server
        return server


def NewServer() -> Server:
    """Return a server that serves nothing yet."""
    return Server()
