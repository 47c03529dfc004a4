"""Targets: the one string that says how a client finds its servers.

``host:port`` and ``unix:///path`` name one server, ``list://`` a fixed list, ``center://``
a cluster of centers; ``zk://``, ``etcd://`` and ``http://`` another registry, ``dns://`` a name,
``file://`` a file. What follows a ``?`` are the options of a scheme.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from libevrpc.core.endpoints import UNIX_PREFIX, Endpoint, parse_endpoint
from libevrpc.errors import ConfigError

__all__ = [
    "TARGET_PARSERS",
    "Target",
    "TargetParser",
    "parse_endpoints",
    "parse_target",
    "parse_targets",
]

DIRECT = "direct"
"""Scheme of a target that is one address."""
TARGET_ENDPOINTS_MAX = 10_000
"""Most addresses in one target; longer lists belong into a registry."""
TARGETS_MAX = 8
"""Most registries that one server announces itself at."""
_TRANSPORTS = ("tcp", "http", "grpc", "rpc", "brpc", "prpc")
"""What people put before an address that needs nothing before it."""

_SERVICE_SCHEMES = ("center", "zk", "etcd")
"""Schemes whose path is a service's name."""
SPAN_MIN_S = 0.1
SPAN_MAX_S = 86400.0
"""Shortest and longest span of time in a target."""
_FILE_PATH_BYTES_MAX = 4096

_SERVICE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target. Immutable, any thread.

    Attributes:
        scheme: ``direct``, or a key of TARGET_PARSERS.
        endpoints: the servers (direct, list), the name and port (dns), nothing (file), else the
            registry's own addresses.
        path: what follows the addresses: the service's full name for ``center``, ``zk`` and
            ``etcd``, empty where none was given; for ``http`` and ``file`` a path with its slash.
        query: the ``?key=value&...`` part, checked; only schemes that define keys accept any.
        text: the target as written, for messages.
    """

    scheme: str
    endpoints: tuple[Endpoint, ...]
    path: str
    query: Mapping[str, str]
    text: str

    @property
    def service(self) -> str:
        """Full name of the service that the target names; empty: it names none."""
        return self.path if self.scheme in _SERVICE_SCHEMES else ""

    def naming(self, service: str) -> str:
        """Return the target's text with the service that is meant, where it can and does not."""
        if self.scheme not in _SERVICE_SCHEMES or self.path:
            return self.text
        before, mark, options = self.text.partition("?")
        return f"{before.rstrip('/')}/{service}{mark}{options}"

    def seconds(self, key: str, default: float) -> float:
        """Return an option that is a span of time."""
        return float(self.query.get(key, default))


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
    further = _FURTHER.search(rest)
    if further is not None and further[1] in known:
        raise ConfigError(f"target {text!r}: two targets? write a blank before {further[1]}://")
    return parser(text, rest)


def parse_targets(text: str) -> tuple[Target, ...]:
    """Read several targets, with blanks between them: where a server announces itself. Any thread.

    Raises:
        ConfigError: one is wrong or given twice, there is none, or more than TARGETS_MAX.
    """
    spelled = text.split()
    if not spelled or len(spelled) > TARGETS_MAX:
        raise ConfigError(f"{len(spelled)} targets: write 1 to {TARGETS_MAX}, with blanks between")
    for each in spelled:
        if spelled.count(each) > 1:
            raise ConfigError(f"target {each!r} is given twice")
    return tuple(parse_target(each) for each in spelled)


_FURTHER = re.compile(r"[,;]([a-z]+)://")
"""Where one target ends and another begins, without the blank between them."""
_ALIASES = MappingProxyType({"zookeeper": "zk", "etcd3": "etcd", "centers": "center"})
"""Words that are no schemes, and those that they stand for."""


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
    import difflib  # for mistakes alone

    names = sorted({*known, "unix"})
    alias = _ALIASES.get(scheme.lower(), "")
    near = [alias] if alias in known else difflib.get_close_matches(scheme.lower(), names, n=1)
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


_OptionCheck = Callable[[str], str]
"""What is wrong with an option's value and what would be right; empty: nothing."""


def _one_of(*names: str) -> _OptionCheck:
    return lambda value: "" if value in names else f"must be one of: {', '.join(names)}"


def _is_span(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if SPAN_MIN_S <= number <= SPAN_MAX_S:
        return ""
    return f"must be a number of seconds in {SPAN_MIN_S:g}..{SPAN_MAX_S:g}"


def _is_root(value: str) -> str:
    parts = value[1:].split("/")
    right = value.startswith("/") and all(part not in ("", ".", "..") for part in parts)
    return "" if right else "must be a path such as /services"


def _is_absolute(value: str) -> str:
    right = value.startswith("/") and value.isprintable()
    return "" if right else "must be a file's absolute path"


_OPTIONS: Mapping[str, Mapping[str, _OptionCheck]] = MappingProxyType(
    {
        "zk": {
            "layout": _one_of("libevrpc", "mprpc"),
            "root": _is_root,
            "expiry": _is_span,
            "auth_file": _is_absolute,
        },
        "etcd": {
            "layout": _one_of("libevrpc", "tinyrpc"),
            "root": _is_root,
            "expiry": _is_span,
            "auth_file": _is_absolute,
            "transport": _one_of("tcp", "http"),
        },
        "http": {
            "dialect": _one_of("tinyrpc", "geerpc"),
            "transport": _one_of("tcp", "http"),
            "every": _is_span,
            "expiry": _is_span,
        },
        "dns": {"every": _is_span},
        "file": {"every": _is_span},
    }
)
"""Which options a scheme has."""


def _no_option(key: str, options: Mapping[str, _OptionCheck]) -> str:
    import difflib  # for mistakes alone

    near = difflib.get_close_matches(key, options, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{key!r} is not an option{hint}; options: {', '.join(options)}"


def _split_query(text: str, rest: str) -> tuple[str, Mapping[str, str]]:
    """Cut the options off and check them.

    Raises:
        ConfigError: an option is unknown, given twice, or its value is wrong.
    """
    before, mark, listed = rest.partition("?")
    options = _OPTIONS[text.partition("://")[0]]
    query: dict[str, str] = {}
    for item in listed.split("&") if mark else ():
        key, _, value = item.partition("=")
        if key not in options:
            raise ConfigError(f"target {text!r}: {_no_option(key, options)}")
        if key in query:
            raise ConfigError(f"target {text!r} gives {key} twice")
        complaint = options[key](value)
        if complaint:
            raise ConfigError(f"target {text!r}: {key} = {value}: {complaint}")
        query[key] = value
    return before, MappingProxyType(query)


def _parse_sessions(text: str, rest: str) -> Target:
    """Read ``zk://`` and ``etcd://``."""
    scheme = text.partition("://")[0]
    before, query = _split_query(text, rest)
    listed, slash, service = before.partition("/")
    if slash and not _SERVICE_NAME.fullmatch(service):
        raise ConfigError(
            f"target {text!r}: {service!r} is not a service name; write"
            f" {scheme}://host:port,host:port/package.Service, and a folder as ?root=/folder"
        )
    return Target(scheme, _unweighted(text, listed), service, query, text)


def _unweighted(text: str, listed: str) -> tuple[Endpoint, ...]:
    """Read the addresses of a registry."""
    if ";" in listed:
        raise ConfigError(f"target {text!r}: a registry's own addresses have no options")
    return parse_endpoints(text, listed)


def _parse_http(text: str, rest: str) -> Target:
    before, query = _split_query(text, rest)
    listed, slash, path = before.partition("/")
    endpoints = _unweighted(text, listed)
    if not slash or not path:
        raise ConfigError(
            f"target {text!r}: http:// is a registry and needs its path: write"
            f" http://{listed}/_tinyrpc_/registry, or {listed} for one server"
        )
    if not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise ConfigError(f"target {text!r}: /{path} is not the path of a URL")
    return Target("http", endpoints, "/" + path, query, text)


def _parse_dns(text: str, rest: str) -> Target:
    before, query = _split_query(text, rest)
    if before.startswith("/") and _is_address(before[1:]):  # as gRPC has it
        raise ConfigError(f"target {text!r}: did you mean dns://{before[1:]}?")
    endpoints = _unweighted(text, before)
    if len(endpoints) != 1 or endpoints[0].path:
        raise ConfigError(f"target {text!r}: write one name and a port: dns://name:port")
    return Target("dns", endpoints, "", query, text)


def _parse_file(text: str, rest: str) -> Target:
    path, query = _split_query(text, rest)
    if path and not path.startswith("/"):
        hint = f"did you mean file:///{path.lstrip('./')}?"
        raise ConfigError(f"target {text!r} needs an absolute path: {hint}")
    if len(path) < 2 or path.endswith("/") or not path.isprintable():
        raise ConfigError(f"target {text!r} needs an absolute path: file:///etc/servers.json")
    if len(path.encode(errors="surrogateescape")) > _FILE_PATH_BYTES_MAX:
        raise ConfigError(f"target's path is longer than {_FILE_PATH_BYTES_MAX} bytes")
    return Target("file", (), path, query, text)


TARGET_PARSERS: Mapping[str, TargetParser] = MappingProxyType(
    {
        "list": _parse_list,
        "center": _parse_center,
        "zk": _parse_sessions,
        "etcd": _parse_sessions,
        "http": _parse_http,
        "dns": _parse_dns,
        "file": _parse_file,
    }
)
