"""How servers stand in ZooKeeper's tree: paths and bytes of both layouts. Pure, any thread.

Ours (``layout=libevrpc``, root ``/libevrpc``)::

    /libevrpc/echo.EchoService/10.0.0.7:9998    ephemeral, JSON record (see `record.py`)

one child per server under each service, so any number of servers offer it.

mprpc's (``layout=mprpc``, root ``/``)::

    /UserServiceRpc                             persistent, no data
    /UserServiceRpc/Login                       ephemeral, ASCII ``ip:port``

service names without their protobuf package, and one node per method: one provider each. A client
that looks for ``UserServiceRpc`` gets the providers of all its methods; where those may differ it
looks for ``UserServiceRpc/Login``, which is that method's provider alone. In our own layout both
ask for the same servers.

Names that ZooKeeper would not take, or would read as more than one, are percent-encoded.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.core.targets import Target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Announcement
from libevrpc.registry.record import decode_record, encode_record, endpoint_of
from libevrpc.registry.session import RegistryError

__all__ = [
    "Layout",
    "MprpcLayout",
    "OwnLayout",
    "Place",
    "ZooKeeperPlan",
    "escaped",
    "plan_of",
]

NODES_MAX = 10_000
"""Most nodes that one server may have."""
ADDRESS_BYTES_MAX = 1024
"""A longer value is no provider's address."""
EXPIRY_S = 10.0
"""How long ZooKeeper keeps the nodes of a process that it does not hear, if the target does not
say; the ensemble has bounds of its own (2 and 20 of its ticks)."""
EXPIRY_MIN_S = 0.5
EXPIRY_MAX_S = 600.0

_NAME_KEPT = "!$&'()*+,:;=@[]"
"""What stays as it is in a node's name beside letters, digits and ``_.-~``."""


def escaped(name: str) -> str:
    """Return `name` as the name of one node.

    Raises:
        RegistryError: it is empty.
    """
    if not name:
        raise RegistryError("an empty name cannot be a node of ZooKeeper")
    if name in (".", "..", "zookeeper"):  # steps of a path; ZooKeeper's own node
        return f"%{ord(name[0]):02X}{name[1:]}"
    return quote(name, safe=_NAME_KEPT, errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers of a service are read.

    Attributes:
        folder: the node whose children they are.
        child: the one child that counts; empty: all do.
    """

    folder: str
    child: str = ""


class Layout(Protocol):
    """What nodes a server has, and what a client makes of them."""

    def nodes(self, announcement: Announcement) -> dict[str, bytes]:
        """Return the ephemeral nodes of a server: path -> value.

        Raises:
            RegistryError: the announcement cannot be written in this layout.
        """
        ...

    def place(self, service: str) -> Place:
        """Return where to read who offers ``pkg.Service`` or ``pkg.Service/Method``."""
        ...

    def endpoint(self, value: bytes) -> Endpoint:
        """Return the server that a node's value names.

        Raises:
            RegistryError: it names none.
        """
        ...

    def is_ours(self, found: bytes, own: bytes) -> bool:
        """Tell whether a node found at a path of ours is of a server with our address."""
        ...


class OwnLayout:
    """Ours. See `Layout`.

    Args:
        root: the node above the services; empty: none.
    """

    def __init__(self, root: str = "/libevrpc") -> None:
        self._root = root

    def nodes(self, announcement: Announcement) -> dict[str, bytes]:
        """See `Layout.nodes`."""
        record = encode_record(announcement)
        name = escaped(announcement.address)
        paths = [f"{self._root}/{escaped(service)}/{name}" for service in announcement.services]
        return _bounded(dict.fromkeys(paths, record), announcement)

    def place(self, service: str) -> Place:
        """See `Layout.place`."""
        return Place(f"{self._root}/{escaped(service.partition('/')[0])}")

    def endpoint(self, value: bytes) -> Endpoint:
        """See `Layout.endpoint`."""
        return endpoint_of(decode_record(value))

    def is_ours(self, found: bytes, own: bytes) -> bool:
        """See `Layout.is_ours`: the path has our address."""
        return True


class MprpcLayout:
    """mprpc's. See `Layout`.

    Args:
        root: the node above the services; empty, as with mprpc itself: none.
    """

    def __init__(self, root: str = "") -> None:
        self._root = root

    def nodes(self, announcement: Announcement) -> dict[str, bytes]:
        """See `Layout.nodes`: mprpc's consumers take an IPv4 address and nothing else."""
        value = _ipv4_address(announcement.address)
        return _bounded({self._path(each): value for each in announcement.methods}, announcement)

    def _path(self, method: str) -> str:
        service, _, name = method.rpartition("/")
        return f"{self.place(service).folder}/{escaped(name)}"

    def place(self, service: str) -> Place:
        """See `Layout.place`."""
        name, _, method = service.partition("/")
        folder = f"{self._root}/{escaped(name.rpartition('.')[2])}"
        return Place(folder, escaped(method) if method else "")

    def endpoint(self, value: bytes) -> Endpoint:
        """See `Layout.endpoint`."""
        if len(value) > ADDRESS_BYTES_MAX:
            raise RegistryError(f"a value of {len(value)} bytes is no address; mprpc has ip:port")
        try:
            return parse_endpoint(value.decode("ascii"))
        except (ConfigError, UnicodeDecodeError) as exc:
            raise RegistryError(f"no address of mprpc (ip:port): {exc}") from None

    def is_ours(self, found: bytes, own: bytes) -> bool:
        """See `Layout.is_ours`."""
        return found == own


def _bounded(nodes: dict[str, bytes], announcement: Announcement) -> dict[str, bytes]:
    if len(nodes) > NODES_MAX:
        raise RegistryError(
            f"{announcement.address} would need {len(nodes)} nodes, at most {NODES_MAX}"
        )
    return nodes


def _ipv4_address(address: str) -> bytes:
    """Return `address` as mprpc writes it.

    Raises:
        RegistryError: it is not ``a.b.c.d:port``.
    """
    try:
        endpoint = parse_endpoint(address)
        ipaddress.IPv4Address(endpoint.host)
    except (ConfigError, ValueError):
        raise RegistryError(
            f"layout mprpc cannot tell {address}: its consumers need an IPv4 address; set"
            " advertise = a.b.c.d:port"
        ) from None
    return endpoint.address.encode("ascii")


@dataclass(frozen=True, slots=True)
class ZooKeeperPlan:
    """What a ``zk://`` target asks for. Immutable.

    Attributes:
        hosts: the servers, with commas.
        layout: which nodes.
        expiry_s: time-out of the session that is asked for.
        auth_file: file whose first line is ``user:password``; empty: no authentication.
    """

    hosts: str
    layout: Layout
    expiry_s: float = EXPIRY_S
    auth_file: str = ""


def plan_of(target: Target) -> ZooKeeperPlan:
    """Return what a ``zk://`` target asks for; its options are checked already.

    Raises:
        ConfigError: an address is a path, or the time-out is none that ZooKeeper could have.
    """
    for each in target.endpoints:
        if each.path:
            raise ConfigError(f"target {target.text!r}: {each.address} is no server of ZooKeeper")
    expiry_s = target.seconds("expiry", EXPIRY_S)
    if not EXPIRY_MIN_S <= expiry_s <= EXPIRY_MAX_S:
        raise ConfigError(
            f"target {target.text!r}: expiry = {expiry_s:g}: must be in"
            f" {EXPIRY_MIN_S:g}..{EXPIRY_MAX_S:g} seconds"
        )
    layout: Layout
    if target.query.get("layout") == "mprpc":
        layout = MprpcLayout(target.query.get("root", ""))
    else:
        layout = OwnLayout(target.query.get("root", "/libevrpc"))
    hosts = ",".join(each.address for each in target.endpoints)
    return ZooKeeperPlan(hosts, layout, expiry_s, target.query.get("auth_file", ""))
