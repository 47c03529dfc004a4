"""mprpc's names over our own: a program written for it changes its imports and little else.

A callee::

    MprpcApplication.Init(sys.argv)                # -i FILE
    provider = RpcProvider()
    provider.NotifyService(UserService())          # any number of them
    provider.Run()                                 # until SIGTERM or SIGINT

A caller::

    MprpcApplication.Init(sys.argv)
    stub = MprpcStub(user_pb2.DESCRIPTOR.services_by_name["UserServiceRpc"], MprpcChannel())
    controller = MprpcController()
    response = stub.Login(controller, user_pb2.LoginRequest(name=b"zhang san"))
    if controller.Failed():
        print(controller.ErrorText())              # names the step that failed

The file has lines ``key=value``; blanks do not count, ``#`` begins a comment anywhere. Keys of
mprpc: ``rpcserverip``, ``rpcserverport``, ``zookeeperip``, ``zookeeperport``. Beside them:
``registry``, a target instead of that ZooKeeper (``zk://a:2181,b:2181?layout=mprpc``, or a server's
own address where there is no registry; none: a callee tells nobody of itself), and the settings of
`config/server.ini` and `config/client.ini`. Other keys are the program's own: `MprpcConfig.Load`.

What is ours under these names: `RpcProvider` is an `RpcServer`, with PRPC on the same port, too;
`MprpcChannel` an `RpcClient` with ``wire="mprpc"``, which watches ZooKeeper instead of opening a
session for each call, tries another address while it has time, and ends at a deadline.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from libevrpc.client.client import RpcClient
from libevrpc.client.future import CallFuture
from libevrpc.client.stub import Stub
from libevrpc.core.protobufs import message_class
from libevrpc.core.targets import parse_targets
from libevrpc.core.wording import with_article
from libevrpc.errors import ConfigError, Errno, EvrpcError, RpcError, UsageError
from libevrpc.server.server import RpcServer
from libevrpc.server.servicer import service_base
from libevrpc.settings import ClientSettings, ServerSettings, parse_value, rules_of

__all__ = [
    "MprpcApplication",
    "MprpcChannel",
    "MprpcConfig",
    "MprpcController",
    "MprpcStub",
    "RpcProvider",
    "service_base",
]

FILE_BYTES_MAX = 1024 * 1024
"""A longer file is no configuration."""
_DIRECT = ("direct", "list", "file", "dns")
"""Targets that nobody can be announced at."""
_OF_CLIENTS = frozenset(rules_of(ClientSettings)) - {"wire", "balancer"}
_OF_SERVERS = frozenset(rules_of(ServerSettings)) - {"listen", "registry", "wires"}
_STEPS = (
    ("mprpc header", "header"),
    ("cannot connect", "connect"),
    ("cannot resolve", "address"),
    ("no address of mprpc", "address"),
    ("has no server in", "path"),
    ("no server of", "path"),
    ("who offers", "path"),
    ("request of", "serialize"),
    ("write failed", "send"),
    ("had the whole request", "send"),
    ("too much is waiting to be sent", "send"),
    ("reply is not", "parse"),
)
"""What our errors say, and the step of a call that mprpc's users know it by; else it is `recv`."""


class MprpcConfig:
    """The file of `MprpcApplication.Init`. Immutable once read, any thread."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._spelled: dict[str, str] = {}  # with their blanks, which settings of ours may need
        self.path = ""

    def LoadConfigFile(self, path: str | Path) -> None:
        """Read a file; what an earlier one said stays where this one says nothing.

        Raises:
            ConfigError: it cannot be read, or a line is no ``key=value``.
        """
        self.path = str(path)
        try:
            data = Path(path).read_bytes()
        except OSError as exc:
            raise ConfigError(f"{path}: cannot read it: {exc.strerror or exc}") from None
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: {len(data)} bytes are no configuration of mprpc's")
        for number, line in enumerate(data.splitlines(), 1):
            try:
                spelled = line.decode().partition("#")[0].strip()
            except UnicodeDecodeError:
                raise ConfigError(f"{path}:{number}: not UTF-8 text") from None
            text = "".join(spelled.split())
            key, equals, value = text.partition("=")
            if not text:
                continue
            if not equals or not key:
                raise ConfigError(f"{path}:{number}: {text!r}: write key=value, or # and a comment")
            self._values[key] = value
            self._spelled[key] = spelled.partition("=")[2].strip()

    def Load(self, key: str) -> str:
        """Return the value of a key, without blanks; empty where the file does not have it."""
        return self._values.get(key, "")

    def require(self, key: str, example: str) -> str:
        """Return a value that there must be.

        Raises:
            ConfigError: names the file, the key, and what would be right.
        """
        value = self._values.get(key, "")
        if not value:
            raise ConfigError(f"{self.path}: {key} is missing; write {key}={example}")
        return value

    def settings(self, kind: type[ServerSettings | ClientSettings]) -> dict[str, Any]:
        """Return which of our settings the file has.

        Raises:
            ConfigError: a value is none of that setting's.
        """
        names = _OF_SERVERS if kind is ServerSettings else _OF_CLIENTS
        found: dict[str, Any] = {}
        for name in sorted(names & self._values.keys()):
            try:
                found[name] = parse_value(kind, name, self._spelled[name])
            except ConfigError as exc:
                raise ConfigError(f"{self.path}: {exc}") from None
        return found

    def registry(self) -> str:
        """Return the target that servers are announced at and found by; empty: none.

        Raises:
            ConfigError: the file names none.
        """
        target = self._spelled.get("registry", "")
        if target:
            return "" if target == "none" else target
        host = self.require("zookeeperip", "127.0.0.1")
        port = self.require("zookeeperport", "2181")
        return f"zk://{host}:{port}?layout=mprpc"


class MprpcApplication:
    """What the whole program shares: one configuration, one client for it. Any thread."""

    _instance: ClassVar[MprpcApplication | None] = None
    _clients: ClassVar[dict[tuple[str, str], RpcClient]] = {}  # by target and settings

    def __init__(self, config: MprpcConfig) -> None:
        self._config = config

    @classmethod
    def Init(cls, argv: Sequence[str]) -> None:
        """Read the file behind ``-i`` on the command line; again: another one.

        Args:
            argv: with the program's name, as `sys.argv`; other words are left to the program.

        Raises:
            ConfigError: no ``-i FILE``, or the file is wrong. Print it and exit with status 2.
        """
        words = list(argv[1:])
        if "-i" not in words[:-1]:
            program = Path(argv[0]).name if argv else "PROGRAM"
            raise ConfigError(f"which configuration? usage: {program} -i FILE")
        config = MprpcConfig()
        config.LoadConfigFile(words[words.index("-i") + 1])
        cls._instance = cls(config)

    @classmethod
    def GetInstance(cls) -> MprpcApplication:
        """Return the one application.

        Raises:
            UsageError: `Init` was not called.
        """
        if cls._instance is None:
            raise UsageError("call MprpcApplication.Init(sys.argv) first")
        return cls._instance

    def GetConfig(self) -> MprpcConfig:
        """Return what `Init` read."""
        return self._config

    def client(self) -> RpcClient:
        """Return the client that all channels share; it is closed when the program ends."""
        config = self._config
        target = config.registry()
        if not target:
            raise ConfigError(f"{config.path}: registry=none leaves nobody to call")
        settings = config.settings(ClientSettings)
        key = target, repr(settings)
        found = self._clients.get(key)
        if found is None:
            made = RpcClient(target, wire="mprpc", **settings)
            found = self._clients.setdefault(key, made)
            if found is not made:  # another thread was first
                made.close()
        return found

    @classmethod
    def forget(cls) -> None:
        """Undo `Init`, for tests of programs."""
        cls._instance = None

    @classmethod
    def close(cls) -> None:
        """Close the shared client; a later channel makes another. Done at the program's end."""
        while cls._clients:
            cls._clients.popitem()[1].close()


atexit.register(MprpcApplication.close)


class RpcProvider:
    """A server, announced in ZooKeeper as mprpc's are. See `RpcServer` for what else it is.

    Attributes:
        server: the `RpcServer`; to be started or stopped by hand.

    Args:
        settings: of `RpcServer` by name; they win over the file.

    Raises:
        UsageError: `MprpcApplication.Init` was not called.
        ConfigError: the file lacks an address, or a setting is wrong.
    """

    def __init__(self, **settings: Any) -> None:
        config = MprpcApplication.GetInstance().GetConfig()
        host = config.require("rpcserverip", "127.0.0.1")
        port = config.require("rpcserverport", "8000")
        registry = config.registry()
        targets = parse_targets(registry) if registry else ()
        given: dict[str, Any] = {
            "registry": [each.text for each in targets if each.scheme not in _DIRECT],
            **config.settings(ServerSettings),
            **settings,
        }
        self.server = RpcServer(f"{host}:{port}", **given)
        self._names: set[str] = set()

    def NotifyService(self, service: Any) -> None:
        """Serve a service; any number of them, also while running.

        Args:
            service: an object of a class made from `service_base`, with a method for each of
                the .proto, ``(request)`` or ``(request, controller)``, that returns the response.

        Raises:
            UsageError: it is none, or another package's service has the same short name, which
                is all that mprpc's callers send.
        """
        descriptor = getattr(service, "DESCRIPTOR", None)
        if not isinstance(descriptor, ServiceDescriptor):
            raise UsageError(
                f"NotifyService takes an object whose class is made from service_base(descriptor),"
                f" not {with_article(type(service).__name__)}"
            )
        if descriptor.name in self._names:
            text = f"a service called {descriptor.name} is served already: callers could not tell"
            raise UsageError(text)
        self.server.add_service(service)
        self._names.add(descriptor.name)

    def Run(self) -> None:
        """Serve until SIGTERM or SIGINT. Main thread only.

        Raises:
            ConfigError: the address cannot be listened on or must not be announced.
        """
        self.server.run()


class MprpcController:
    """What a caller holds of one call at a time. The caller's thread, but for `StartCancel`."""

    def __init__(self) -> None:
        self.Reset()

    def Reset(self) -> None:
        """Forget the previous call."""
        self._text = ""
        self._failed = False
        self._canceled = False
        self._future: CallFuture | None = None
        self._on_cancel: dict[object, Callable[[], object]] = {}
        self.error: RpcError | None = None
        """Our own error of the call, with status and number; None: it came to no call."""

    def Failed(self) -> bool:
        """Return True if the call failed."""
        return self._failed

    def ErrorText(self) -> str:
        """Return what failed, its step first: ``connect error! ...``; empty after a success."""
        return self._text

    def SetFailed(self, reason: str) -> None:
        """Count the call as failed, with `reason` as its text."""
        self._failed = True
        self._text = reason

    def StartCancel(self) -> None:
        """Give up the call that runs with this controller, if one does. Any thread."""
        self._canceled = True
        if self._future is not None:
            self._future.cancel()
        for key in list(self._on_cancel):
            hook = self._on_cancel.pop(key, None)  # None: another thread has it
            if hook is not None:
                hook()

    def IsCanceled(self) -> bool:
        """Return True once `StartCancel` was called."""
        return self._canceled

    def NotifyOnCancel(self, callback: Callable[[], object]) -> None:
        """Run `callback` when `StartCancel` is called; at once if it was."""
        self._on_cancel[object()] = callback
        if self._canceled:  # looked at last: one of two threads sees the other
            self.StartCancel()

    def begun(self, future: CallFuture) -> None:
        """Take the call that `StartCancel` gives up. The channel."""
        self._future = future
        if self._canceled:
            future.cancel()


class MprpcChannel:
    """Carries calls; any number of stubs may share one. Any thread.

    Args:
        target: whom to call, instead of looking in the configured ZooKeeper: any target of
            `RpcClient`. Such a channel has a client of its own: `Close` it.
        settings: of `RpcClient` by name, for such a channel.

    Raises:
        UsageError: no target, and `MprpcApplication.Init` was not called.
        ConfigError: target or configuration is wrong.
    """

    def __init__(self, target: str | None = None, **settings: Any) -> None:
        self._own = None if target is None else RpcClient(target, **{"wire": "mprpc", **settings})
        if self._own is None and settings:
            raise UsageError("settings are for a channel with a target; others: in the file")
        self._client = self._own or MprpcApplication.GetInstance().client()
        self._stubs: dict[str, Stub] = {}

    def Close(self) -> None:
        """Close what is the channel's own; the shared client stays."""
        if self._own is not None:
            self._own.close()

    def CallMethod(
        self,
        method_descriptor: MethodDescriptor,
        rpc_controller: MprpcController | None,
        request: Any,
        response_class: type[Any],
        done: Callable[[Any], object] | None = None,
    ) -> Any:
        """Call a method and return its response. Blocks, unless there is a `done`.

        Args:
            method_descriptor: of the method.
            rpc_controller: told how it went; None: errors are raised.
            request: a message of the method's request class.
            response_class: the method's response class.
            done: called with the response, None after a failure, on a thread of ours that it
                must not hold; then this returns None at once.

        Returns:
            The response; None after a failure, and with `done`.

        Raises:
            RpcError, UsageError: the call failed, and there is no controller.
        """
        controller = MprpcController() if rpc_controller is None else rpc_controller
        try:
            stub = self._stub(method_descriptor.containing_service)
            future = getattr(stub, method_descriptor.name).future(request)
        except EvrpcError as exc:
            return _failed(controller, exc, method_descriptor, rpc_controller is None, done)
        controller.begun(future)
        if done is not None:
            future.add_done_callback(
                lambda ended: done(_outcome(controller, ended, method_descriptor, raises=False))
            )
            return None
        return _outcome(controller, future, method_descriptor, raises=rpc_controller is None)

    def _stub(self, service: ServiceDescriptor) -> Stub:
        stub = self._stubs.get(service.full_name)
        if stub is None:
            stub = self._stubs[service.full_name] = self._client.stub(service)
        return stub


class MprpcStub:
    """The methods of a service, called as mprpc's generated stubs are.

    ``stub.Login(controller, request)`` returns the response; see `MprpcChannel.CallMethod` for a
    controller of None and for a third argument, `done`.

    Args:
        descriptor: such as ``user_pb2.DESCRIPTOR.services_by_name["UserServiceRpc"]``.
        channel: what carries the calls.
    """

    def __init__(self, descriptor: ServiceDescriptor, channel: MprpcChannel) -> None:
        for method in descriptor.methods:
            setattr(self, method.name, _bound(method, channel))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"the service has no method {name!r}; it has {', '.join(vars(self))}")


def _bound(method: MethodDescriptor, channel: MprpcChannel) -> Callable[..., Any]:
    response_class = message_class(method.output_type)

    def call(
        controller: MprpcController | None,
        request: Any,
        done: Callable[[Any], object] | None = None,
    ) -> Any:
        return channel.CallMethod(method, controller, request, response_class, done)

    return call


def _outcome(
    controller: MprpcController, future: CallFuture, method: MethodDescriptor, *, raises: bool
) -> Any:
    """Return the response of a call that ends; tell the controller of a failure."""
    try:
        return future.result()
    except EvrpcError as exc:
        return _failed(controller, exc, method, raises, None)
    except BaseException:  # Ctrl-C, or whatever else a signal handler raises
        future.cancel()
        raise


def _failed(
    controller: MprpcController,
    error: EvrpcError,
    method: MethodDescriptor,
    raises: bool,
    done: Callable[[Any], object] | None,
) -> None:
    if raises:
        raise error
    controller.error = error if isinstance(error, RpcError) else None
    controller.SetFailed(_described(error, method))
    if done is not None:
        done(None)


def _described(error: EvrpcError, method: MethodDescriptor) -> str:
    """Return an error's text with the step that failed, in mprpc's words."""
    path = f"/{method.containing_service.name}/{method.name}"
    if not isinstance(error, RpcError):
        return f"serialize request error! {error}"
    if error.errno == Errno.CANCELLED:
        return f"call canceled! {error.text}"
    step = next((step for words, step in _STEPS if words in error.text), "recv")
    said: Mapping[str, str] = {
        "path": f"{path} is not exist!",
        "address": f"{path} address is invalid!",
        "serialize": "serialize request error!",
        "header": "serialize rpc header error!",
        "parse": "parse error!",
    }
    number = f" errno:{error.errno}" if step in ("connect", "send", "recv") else ""
    return f"{said.get(step, f'{step} error!')}{number} {error.text}"
