"""How servers stand in etcd: keys and values of both layouts. Pure, any thread.

Ours (``layout=libevrpc``, root ``/libevrpc``)::

    /libevrpc/echo.EchoService/10.0.0.7:9998    JSON record (see `record.py`)

one key per server under each service. TinyRPC's (``layout=tinyrpc``, root ``/_tinyrpc_/registr``,
misspelt as TinyRPC has it)::

    /_tinyrpc_/registr/tcp@10.0.0.7:9998        tcp@10.0.0.7:9998

one key per server, whose value is its address again. Services, weights and tags are not told
there: every server is taken to offer everything. Addresses are ``tcp@host:port``,
``http@host:port`` (a connection begins with an HTTP CONNECT: `Endpoint.transport`) and
``unix@/path``. Our servers take both beginnings on one port and call themselves ``tcp@``, or
``http@`` with ``transport=http``.

Every key hangs on the lease of its server.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from libevrpc.core.endpoints import UNIX_PREFIX, Endpoint, parse_endpoint
from libevrpc.core.targets import Target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.record import decode_record, encode_record, endpoint_of
from libevrpc.registry.session import RegistryError

__all__ = ["EtcdPlan", "Layout", "OwnLayout", "TinyRpcLayout", "plan_of"]

KEYS_MAX = 10_000
"""Most keys that one server may have."""
ADDRESS_BYTES_MAX = 1024
"""A longer value is no address."""
EXPIRY_S = 10
"""How long etcd keeps the keys of a process that it does not hear, unless the target says it."""
EXPIRY_MIN_S = 2
"""etcd's own least, with its usual times of election."""
ANSWER_MAX_S = 2.0
"""How long a member may take to answer; a frozen one costs this once, then others are asked."""
ANSWER_MIN_S = 0.5
"""However short the expiry: a busy member gets this long."""
OWN_ROOT = "/libevrpc"
TINYRPC_ROOT = "/_tinyrpc_/registr"


class Layout(Protocol):
    """What keys a server has, and what a client makes of them."""

    @property
    def folder(self) -> bytes:
        """What stands before the services' names; empty: there are none."""
        ...

    def keys(self, announcement: Announcement) -> dict[bytes, bytes]:
        """Return the keys of a server with their values.

        Raises:
            RegistryError: the announcement cannot be written in this layout.
        """
        ...

    def prefix(self, service: str) -> bytes:
        """Return how the keys of those begin who offer ``pkg.Service`` or one of its methods."""
        ...

    def beside(self, value: bytes) -> list[bytes]:
        """Return the keys that a server with this value has, this one's included.

        Empty where the value does not tell.
        """
        ...

    def endpoint(self, value: bytes) -> Endpoint:
        """Return the server that the value of a key names.

        Raises:
            RegistryError: it names none.
        """
        ...


class OwnLayout:
    """Ours. See `Layout`.

    Args:
        root: what stands before the services.
    """

    def __init__(self, root: str = OWN_ROOT) -> None:
        self.folder = self._root = f"{root}/".encode()

    def keys(self, announcement: Announcement) -> dict[bytes, bytes]:
        """See `Layout.keys`."""
        if len(announcement.services) > KEYS_MAX:
            raise RegistryError(
                f"{announcement.address} would need {len(announcement.services)} keys,"
                f" at most {KEYS_MAX}"
            )
        record = encode_record(announcement)
        address = announcement.address.encode()
        return {self.prefix(each) + address: record for each in announcement.services}

    def prefix(self, service: str) -> bytes:
        """See `Layout.prefix`."""
        name = service.partition("/")[0]
        if not name:
            raise RegistryError("an empty name cannot be a service in etcd")
        return self._root + name.encode() + b"/"

    def beside(self, value: bytes) -> list[bytes]:
        """See `Layout.beside`: a record names all services."""
        try:
            return list(self.keys(decode_record(value)))
        except RegistryError:
            return []

    def endpoint(self, value: bytes) -> Endpoint:
        """See `Layout.endpoint`."""
        return endpoint_of(decode_record(value))


class TinyRpcLayout:
    """TinyRPC's. See `Layout`.

    Args:
        root: what stands before the addresses.
        transport: how a connection to a server of ours begins: ``tcp`` or ``http``.
    """

    folder = b""

    def __init__(self, root: str = TINYRPC_ROOT, transport: str = "tcp") -> None:
        self._root = f"{root}/".encode()
        self._transport = transport

    def keys(self, announcement: Announcement) -> dict[bytes, bytes]:
        """See `Layout.keys`."""
        address = announcement.address
        if address.startswith(UNIX_PREFIX):
            spelled = "unix@" + address.removeprefix(UNIX_PREFIX)
        else:
            spelled = f"{self._transport}@{address}"
        return {self._root + spelled.encode(): spelled.encode()}

    def prefix(self, service: str) -> bytes:
        """See `Layout.prefix`: the same for all."""
        return self._root

    def beside(self, value: bytes) -> list[bytes]:
        """See `Layout.beside`: one key is all."""
        return []

    def endpoint(self, value: bytes) -> Endpoint:
        """See `Layout.endpoint`."""
        if len(value) > ADDRESS_BYTES_MAX:
            raise RegistryError(f"a value of {len(value)} bytes is no address of TinyRPC")
        try:
            return parse_endpoint(value.decode())
        except (ConfigError, UnicodeDecodeError) as exc:
            raise RegistryError(f"no address of TinyRPC (tcp@host:port): {exc}") from None


@dataclass(frozen=True, slots=True)
class EtcdPlan:
    """What an ``etcd://`` target asks for. Immutable.

    Attributes:
        endpoints: the members' client addresses, each once.
        layout: which keys.
        expiry_s: how long keys outlive their server: whole seconds, as etcd's leases have them.
        auth_file: file whose first line is ``user:password``; empty: no authentication.
    """

    endpoints: tuple[Endpoint, ...]
    layout: Layout
    expiry_s: int = EXPIRY_S
    auth_file: str = ""

    @property
    def answer_s(self) -> float:
        """How long one member may take to answer, so that a lease lives through a frozen one."""
        return min(ANSWER_MAX_S, max(ANSWER_MIN_S, self.expiry_s / 4.0))


def plan_of(target: Target) -> EtcdPlan:
    """Read an ``etcd://`` target, whose options are known ones.

    Raises:
        ConfigError: says what is wrong and what would be right.
    """
    query = target.query
    for each in target.endpoints:
        if each.transport:
            raise ConfigError(
                f"target {target.text!r}: {each.address} is no member of etcd; write"
                " etcd://host:2379,host:2379"
            )
    tinyrpc = query.get("layout") == "tinyrpc"
    if "transport" in query and not tinyrpc:
        raise ConfigError(f"target {target.text!r}: transport is for layout=tinyrpc alone")
    expiry_s = math.ceil(target.seconds("expiry", EXPIRY_S))
    if expiry_s < EXPIRY_MIN_S:
        raise ConfigError(
            f"target {target.text!r}: expiry = {query['expiry']}: etcd keeps keys for"
            f" {EXPIRY_MIN_S} seconds at least"
        )
    layout: Layout
    if tinyrpc:
        layout = TinyRpcLayout(query.get("root", TINYRPC_ROOT), query.get("transport", "tcp"))
    else:
        layout = OwnLayout(query.get("root", OWN_ROOT))
    return EtcdPlan(target.endpoints, layout, expiry_s, query.get("auth_file", ""))
