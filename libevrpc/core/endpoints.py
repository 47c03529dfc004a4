"""Endpoints: the addresses that a client dials and a server listens on.

Three spellings: ``host:port``, ``[v6]:port`` and ``unix:///path``; TinyRPC's three are read as
well: ``tcp@host:port``, ``http@host:port`` and ``unix@/path``. Parsing never resolves names; that
belongs to the shell, off the loop.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from libevrpc.errors import ConfigError

if TYPE_CHECKING:
    from libevrpc.core.slots import SlotTable

__all__ = [
    "Endpoint",
    "EndpointSet",
    "doubled",
    "format_address",
    "is_host_name",
    "is_usual",
    "parse_endpoint",
]

PORT_MAX = 65535
HOST_CHARS_MAX = 253
"""Longest host name (RFC 1035)."""
PATH_BYTES_MAX = 107
"""Longest unix socket path: sun_path holds 108 bytes with its final NUL."""
WEIGHT_MAX = 1_000_000.0
"""Largest weight of one endpoint; weights only compare with each other."""
LIMIT_MAX = 1_000_000
"""Largest limit of one endpoint."""
UNIX_PREFIX = "unix://"
TRANSPORTS = ("tcp", "http", "unix")
"""What TinyRPC writes before an address and an @."""

_GRPC_SCHEMES = ("ipv4", "ipv6")
"""What gRPC writes before an address, and a colon."""

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_DIGITS_AND_DOTS = re.compile(r"[0-9.]+")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_USUAL = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}}):([1-9][0-9]{{0,4}})")
"""An IPv4 address and its port as they are spelled here: nearly every address of a map."""
_EXAMPLES = "host:port, [v6]:port or unix:///path"


def format_address(host: str, port: int, path: str = "") -> str:
    """Spell an address the way `parse_endpoint` reads it. Any thread."""
    if path:
        return UNIX_PREFIX + path
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_usual(text: str) -> bool:
    """Tell whether `text` is an IPv4 address with a port, spelled as `parse_endpoint` spells it.

    Cheap: for who meets ten thousand addresses at a time, and parses only the other ones.
    Any thread.
    """
    usual = _USUAL.fullmatch(text)
    return usual is not None and int(usual[2]) <= PORT_MAX


def is_host_name(text: str) -> bool:
    """Tell whether `text` is a host name: labels of up to 63 characters, dots between. Any thread.

    What is made of digits and dots alone is an address, or none.
    """
    name = text.lower()
    return (
        len(name) <= HOST_CHARS_MAX
        and _HOST_NAME.fullmatch(name) is not None
        and not _DIGITS_AND_DOTS.fullmatch(name)
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address with the weight and tags its registry gave it. Immutable, any thread.

    Attributes:
        host: name, IPv4 or IPv6 address without brackets; empty for a unix socket.
        port: 1..65535; 0 only where a server listens ("any free port") or with a path.
        path: absolute path of a unix socket, else empty.
        weight: 0..WEIGHT_MAX; 0 means "only if nothing else is left".
        tags: words for filters.
        transport: how the registry says that a connection begins, one of TRANSPORTS: ``http`` with
            an HTTP CONNECT, ``tcp`` and ``unix`` at once; empty: it did not say, the client's wire
            decides. Only the wires of TinyRPC and gee-rpc look at it.
        limit: most calls that one client may have in flight there, 0..LIMIT_MAX; 0: any number.
        address: the spelling, made once; what live counters are keyed by, so that a new
            weight does not forget them.

    Raises:
        ConfigError: weight or limit is out of its range.
    """

    host: str
    port: int
    path: str = ""
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    transport: str = ""
    limit: int = 0
    address: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Spell the address, check the figures."""
        address = format_address(self.host, self.port, self.path)
        object.__setattr__(self, "address", address)
        if not 0.0 <= self.weight <= WEIGHT_MAX:
            raise ConfigError(f"{address}: weight {self.weight} is not in 0..{WEIGHT_MAX:.0f}")
        if not 0 <= self.limit <= LIMIT_MAX:
            raise ConfigError(f"{address}: limit {self.limit} is not in 0..{LIMIT_MAX}")

    def __hash__(self) -> int:
        """Hash by address alone: cheap, and equal endpoints have equal addresses."""
        return hash(self.address)

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """What a registry knows of a service at one moment. Immutable, any thread.

    Attributes:
        endpoints: where the service is offered, in the registry's order.
        slots: the service's slot table, where a center assigned one.
        version: (epoch, version) of the map this came from; (0, 0) where there is none.
        vnodes: slots that are this client's own, best first; empty: no preference.
        remembered: left by an earlier process; the registry has not been heard since.
    """

    endpoints: tuple[Endpoint, ...]
    slots: SlotTable | None = None
    version: tuple[int, int] = (0, 0)
    vnodes: tuple[int, ...] = ()
    remembered: bool = False


def doubled(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return those whose address stands before them with another transport. Any thread.

    An address is one server, with one channel, one set of counters and one result of a
    broadcast, however its connections begin: the first one stays.
    """
    first: dict[str, str] = {}
    return tuple(
        each
        for each in endpoints
        if first.setdefault(each.address, each.transport) != each.transport
    )


def parse_endpoint(text: str, *, listening: bool = False) -> Endpoint:
    """Read ``host:port``, ``[v6]:port`` or ``unix:///path``. Any thread.

    Args:
        text: the spelling; host names are lowered, IPv6 addresses compressed. To dial, also
            ``tcp@host:port``, ``http@host:port`` and ``unix@/path``.
        listening: also accept port 0, which asks the system for a free port.

    Raises:
        ConfigError: says what is wrong and what would be right.
    """
    usual = _USUAL.fullmatch(text)
    if usual is not None and (port := int(usual[2])) <= PORT_MAX:
        return Endpoint(usual[1], port)
    if not text:
        raise ConfigError(f"address is empty; write {_EXAMPLES}")
    if text != text.strip() or not text.isprintable():
        raise ConfigError(f"address {text!r} contains blanks or control characters")
    transport, at, rest = text.partition("@")
    if at and transport in TRANSPORTS and not listening:
        return _parse_tagged(text, transport, rest)
    if text.startswith(UNIX_PREFIX):
        return _parse_unix(text)
    meant = _path_meant(text)
    if meant:
        raise ConfigError(f"address {text!r}: a unix socket is written {meant}")
    if "://" in text:
        raise ConfigError(f"address {text!r} has a scheme; write {_EXAMPLES}")
    if text.startswith("["):
        host, port_text = _split_bracketed(text)
    else:
        host, port_text = _split_plain(text)
    return Endpoint(host, _parse_port(text, port_text, listening))


def _parse_tagged(text: str, transport: str, rest: str) -> Endpoint:
    """Read what follows ``tcp@``, ``http@`` or ``unix@``."""
    try:
        if transport == "unix":
            endpoint = _parse_unix(UNIX_PREFIX + rest)
        elif "@" in rest or rest.startswith(UNIX_PREFIX):
            raise ConfigError(f"write {transport}@host:port")
        else:
            endpoint = parse_endpoint(rest)
    except ConfigError as exc:
        raise ConfigError(f"address {text!r}: {exc}") from None
    return replace(endpoint, transport=transport)


def _path_meant(text: str) -> str:
    """Return how an address that means a path is written right; empty: it means none."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "unix":
        path = rest.lstrip("/") if rest.startswith("/") else ""
    elif text.startswith(("/", "./", "../", "~/")):
        path = text.lstrip("/") if text.startswith("/") else ""
    else:
        return ""
    return f"{UNIX_PREFIX}/{path or 'run/x.sock, with its absolute path'}"


def _parse_unix(text: str) -> Endpoint:
    path = text[len(UNIX_PREFIX) :]
    if path and not path.startswith(("/", ".", "~")):
        hint = f"address {text!r} needs an absolute file path: did you mean {UNIX_PREFIX}/{path}?"
        raise ConfigError(hint)
    if not path.startswith("/") or path.endswith("/"):
        raise ConfigError(f"address {text!r} needs an absolute file path: unix:///run/x.sock")
    path_bytes = len(path.encode())
    if path_bytes > PATH_BYTES_MAX:
        raise ConfigError(
            f"address {text!r}: path of {path_bytes} bytes, at most {PATH_BYTES_MAX} fit"
        )
    return Endpoint("", 0, path)


def _split_bracketed(text: str) -> tuple[str, str]:
    inside, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise ConfigError(f"address {text!r} lacks the closing ']'; write [v6]:port")
    if not rest.startswith(":"):
        raise ConfigError(f"address {text!r} has no port; write [{inside}]:port")
    try:
        return ipaddress.IPv6Address(inside).compressed, rest[1:]
    except ValueError:
        raise ConfigError(f"address {text!r}: {inside!r} is not an IPv6 address") from None


def _split_plain(text: str) -> tuple[str, str]:
    if any(letter.isspace() for letter in text):
        raise ConfigError(f"address {text!r} contains blanks")
    name, colon, rest = text.partition(":")
    if colon and "/" in rest:
        port_text, _, path = rest.partition("/")
        raise ConfigError(f"address {text!r}: {'/' + path!r} is too much; write {name}:{port_text}")
    if "@" in text:
        address = text.rpartition("@")[2]
        raise ConfigError(
            f"address {address!r}: neither user nor password stands here, before an @"
        )
    if text.count(":") > 1:
        if name in _GRPC_SCHEMES:
            raise ConfigError(f"address {text!r}: write {rest}")
        raise ConfigError(f"address {text!r}: write an IPv6 address in brackets: [v6]:port")
    name, colon, port_text = text.partition(":")
    if not colon:
        right = f"{name}:port" if _HOST_NAME.fullmatch(name.lower()) else _EXAMPLES
        raise ConfigError(f"address {text!r} has no port; write {right}")
    if not name:
        raise ConfigError(f"address {text!r} has no host; write 127.0.0.1:port or 0.0.0.0:port")
    host = name.lower()
    if _DIGITS_AND_DOTS.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host)), port_text
        except ValueError:
            raise ConfigError(f"address {text!r}: {name!r} is not an IPv4 address") from None
    if not is_host_name(host):
        raise ConfigError(f"address {text!r}: {name!r} is not a host name")
    return host, port_text


def _parse_port(text: str, port_text: str, listening: bool) -> int:
    lowest = 0 if listening else 1
    if not (port_text.isascii() and port_text.isdecimal() and len(port_text) <= 5):
        raise ConfigError(
            f"address {text!r}: port {port_text!r} is not a number in {lowest}..{PORT_MAX}"
        )
    port = int(port_text)
    if not lowest <= port <= PORT_MAX:
        raise ConfigError(f"address {text!r}: port {port} is not in {lowest}..{PORT_MAX}")
    return port
