"""Targets: the one string that says how a client finds its servers.

``host:port`` and ``unix:///path`` name one server, ``list://`` a fixed list, ``center://``
a cluster of centers. Further registries add a parser to the table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from libevrpc.core.endpoints import UNIX_PREFIX, Endpoint, parse_endpoint
from libevrpc.errors import ConfigError

__all__ = ["TARGET_PARSERS", "Target", "TargetParser", "parse_endpoints", "parse_target"]

DIRECT = "direct"
"""Scheme of a target that is one address."""
TARGET_ENDPOINTS_MAX = 10_000
"""Most addresses in one target; longer lists belong into a registry."""
_TRANSPORTS = ("tcp", "http", "grpc", "rpc", "brpc", "prpc")
"""What people put before an address that needs nothing before it."""

_SERVICE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target. Immutable, any thread.

    Attributes:
        scheme: ``direct``, ``list``, ``center``, or one that a registry added.
        endpoints: the servers (direct, list) or the registry's own addresses (center).
        path: what follows the addresses without its slash: the service's full name for
            ``center``; empty where none was given.
        query: the ``?key=value&...`` part; only schemes that define keys accept any.
        text: the target as written, for messages.
    """

    scheme: str
    endpoints: tuple[Endpoint, ...]
    path: str
    query: Mapping[str, str]
    text: str


TargetParser = Callable[[str, str], Target]
"""(whole text, what follows ``scheme://``) -> Target; raises ConfigError."""

_NO_QUERY: Mapping[str, str] = MappingProxyType({})


def parse_target(text: str, parsers: Mapping[str, TargetParser] | None = None) -> Target:
    """Read a target. Any thread.

    Args:
        text: see the module's head.
        parsers: scheme -> parser; TARGET_PARSERS if left out.

    Raises:
        ConfigError: says what is wrong and what would be right; an unknown scheme gets
            the list of those that exist.
    """
    known = TARGET_PARSERS if parsers is None else parsers
    scheme, mark, rest = text.partition("://")
    if not mark and (meant := _list_meant(text, known)):
        raise ConfigError(f"target {text!r}: did you mean {meant}?")
    if not mark or text.startswith(UNIX_PREFIX):
        return Target(DIRECT, (parse_endpoint(text),), "", _NO_QUERY, text)
    parser = known.get(scheme)
    if parser is None:
        raise ConfigError(_unknown_scheme(text, scheme, known))
    return parser(text, rest)


def _list_meant(text: str, known: Mapping[str, TargetParser]) -> str:
    """Return how a target with half a scheme, or a list without one, is written right."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in known and ":" in rest:
        return f"{scheme.lower()}://{rest.lstrip('/')}"
    parts = [part.strip() for part in text.split(",")]
    return f"list://{','.join(parts)}" if len(parts) > 1 and all(map(_is_address, parts)) else ""


def _is_address(text: str) -> bool:
    try:
        parse_endpoint(text)
    except ConfigError:
        return False
    return True


def _unknown_scheme(text: str, scheme: str, known: Mapping[str, TargetParser]) -> str:
    names = sorted({*known, "unix"})
    near = difflib.get_close_matches(scheme.lower(), names, n=1)
    rest = text.partition("://")[2]
    plain = scheme.lower() in _TRANSPORTS and _is_address(rest)
    meant = f"{near[0]}://" if near else rest if plain else ""
    hint = f" (did you mean {meant}?)" if meant else ""
    spelled = ", ".join(f"{name}://" for name in names)
    return f"target {text!r}: unknown scheme {scheme!r}{hint}; write host:port, {spelled}"


def parse_endpoints(text: str, listed: str) -> tuple[Endpoint, ...]:
    """Read ``a:1,b:2;weight=3``: distinct addresses, each with an optional weight.

    Args:
        text: the whole target, for messages.
        listed: the addresses, separated by commas.

    Raises:
        ConfigError: an address is wrong, listed twice, or there is none.
    """
    if not listed:
        raise ConfigError(f"target {text!r} lists no address; write host:port,host:port")
    spelled = listed.split(",")
    if len(spelled) > TARGET_ENDPOINTS_MAX:
        raise ConfigError(
            f"target lists {len(spelled)} addresses, at most {TARGET_ENDPOINTS_MAX} are possible"
        )
    endpoints: dict[str, Endpoint] = {}
    for item in spelled:
        endpoint = _parse_weighted(text, item)
        if endpoint.address in endpoints:
            raise ConfigError(f"target {text!r} lists {endpoint.address} twice")
        endpoints[endpoint.address] = endpoint
    return tuple(endpoints.values())


def _parse_weighted(text: str, item: str) -> Endpoint:
    address, semicolon, option = item.partition(";")
    try:
        endpoint = parse_endpoint(address)
        if not semicolon:
            return endpoint
        key, _, value = option.partition("=")
        if _is_address(option):
            raise ConfigError(f"addresses are separated by commas; write {address},{option}")
        if key != "weight":
            raise ConfigError(f"{key!r} is not an option of an address; write ;weight=2.5")
        return replace(endpoint, weight=_parse_weight(value))
    except ConfigError as exc:
        raise ConfigError(f"target {text!r}: {exc}") from None


def _parse_weight(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"weight {value!r} is not a number") from None


def _parse_list(text: str, rest: str) -> Target:
    return Target("list", parse_endpoints(text, rest), "", _NO_QUERY, text)


def _parse_center(text: str, rest: str) -> Target:
    listed, slash, service = rest.partition("/")
    if slash and not _SERVICE_NAME.fullmatch(service):
        raise ConfigError(
            f"target {text!r}: {service!r} is not a service name; "
            "write center://host:port,host:port/package.Service"
        )
    return Target("center", parse_endpoints(text, listed), service, _NO_QUERY, text)


TARGET_PARSERS: Mapping[str, TargetParser] = MappingProxyType(
    {"list": _parse_list, "center": _parse_center}
)
