"""Every setting of server, client and center: name, default, unit and range.

A setting is found as argument, else in the environment (`LIBEVRPC_SERVER_THREADS`), else in the
ini file (`[server]`, `threads = 4`), else it has its default. Settings are checked together,
once, and never change afterwards. Units stand in the names: `_s` seconds, `_bytes` bytes,
`_percent` percent; byte sizes may be written `64 MiB`. `config/` lists them all.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar, get_type_hints

from libevrpc import rules
from libevrpc.errors import ConfigError
from libevrpc.inifile import nearest, read_ini
from libevrpc.rules import BODY_BYTES_LEAST, KIB, MIB, MisfitError, Rule, require
from libevrpc.variables import PREFIX, warn_of_strangers

__all__ = ["CenterSettings", "ClientSettings", "ServerSettings", "adjusted", "load_settings"]

VOTE_RETRY_MIN_S = 0.1
"""A center sends its vote again after this at the earliest."""

WIRE_NAMES = ("prpc", "mprpc", "mprpc-be", "tinyrpc", "tinyrpc-http", "geerpc", "geerpc-http")
"""The protocols that a client speaks."""

CODEC_NAMES = ("gob", "json", "msgpack")
"""How bodies are written on the wires of TinyRPC and gee-rpc."""

BALANCER_NAMES = ("p2c", "round_robin", "random", "weighted", "vnode")
"""The balancers that have a name; a program may give the class of another as argument."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the three have in common: every value obeys its rule, whoever made the object."""

    SECTION: ClassVar[str]

    def __post_init__(self) -> None:
        for name, rule in rules_of(type(self)).items():
            value = getattr(self, name)
            complaint = rule.complaint(value)
            require(complaint is None, f"{name} = {value}: {complaint}", name)
        self._check_together()

    def _check_together(self) -> None:
        """Raise ConfigError where values that are right alone do not fit each other."""


@dataclass(frozen=True, slots=True)
class ServerSettings(_Settings):
    """Settings of one `RpcServer`: section `[server]`, variables `LIBEVRPC_SERVER_*`."""

    SECTION: ClassVar[str] = "server"

    listen: tuple[str, ...] = rules.setting(
        ("127.0.0.1:9998",), "addresses to listen on: host:port, [v6]:port, unix:///path"
    )
    advertise: str = rules.setting(
        "", "address that clients dial; empty: the first one listened on"
    )
    threads: int = rules.count(2, "loop threads, which share the connections", at_most=64)
    workers: int = rules.count(32, "worker threads, which run the handlers", at_most=4096)
    queue_max: int = rules.count(1024, "calls that wait for a worker; one more is answered 2004")
    processes: int = rules.count(
        1,
        "processes of this server; more than one are not supported yet",
        at_most=1,
        instead="; one process is all that a server is so far: start several servers on this host,"
        " each with a port of its own, and give their clients a registry, or"
        " list://host:port,host:port",
    )
    wires: tuple[str, ...] = rules.setting(
        ("all",),
        "protocols beside PRPC on the same port, by name; all: those that are installed and need"
        " no choice; empty: none",
    )
    client_timeout_s: float = rules.span(30.0, "a client silent for this long is gone", 0.1)
    call_timeout_max_s: float = rules.span(
        3600.0, "longest a call may run, whatever the caller says"
    )
    body_bytes_max: int = rules.size(64 * MIB, "longest body of a message", BODY_BYTES_LEAST)
    header_bytes_max: int = rules.size(64 * KIB, "longest header of a message")
    inflated_bytes_max: int = rules.size(64 * MIB, "longest body after decompression")
    calls_per_connection_max: int = rules.count(
        1024, "calls in flight on one connection; one more is answered 2004"
    )
    unsent_bytes_max: int = rules.size(
        64 * MIB, "replies the peer has not taken; one more is answered 1011"
    )
    unsent_pause_bytes: int = rules.size(4 * MIB, "above this no more requests are read")
    connections_max: int = rules.count(20_000, "connections; one more is closed at once")
    idle_timeout_s: float = rules.span(
        0.0, "a connection without calls is closed after this; 0: never", 0.0
    )
    handshake_timeout_s: float = rules.span(
        30.0, "a new connection must send its first message within this; 0: never", 0.0
    )
    half_request_timeout_s: float = rules.span(
        30.0, "a request that has begun must be whole within this"
    )
    stalled_write_timeout_s: float = rules.span(
        30.0, "a peer that takes no byte of its replies for this long is closed"
    )
    drain_s: float = rules.span(10.0, "how long a stop waits for running calls", 0.0)
    inline_warn_s: float = rules.span(
        0.005, "an inline handler that runs longer is named in the log"
    )
    log_calls: bool = rules.setting(
        False, "a line in the log for each request and each reply (logger libevrpc.calls.server)"
    )
    switch_interval_s: float = rules.span(
        0.0005,
        "interpreter switch interval set at start, so that busy handlers do not starve the"
        " loops; 0: leave it",
        0.0,
    )
    registry: str = rules.setting("", "targets to announce at, with blanks between; empty: nowhere")
    report_s: float = rules.span(1.0, "how often the load is reported to the registry", 0.1)
    weight: float = rules.setting(1.0, "share of the load beside other servers", 0.01, 65.0)
    tags: tuple[str, ...] = rules.setting((), "words that clients get with the server")
    limit: int = rules.count(
        0, "most calls that one client may have in flight here; 0: any number", 0
    )
    state_dir: str = rules.setting("", "what survives a restart; empty: the user's state folder")
    token_file: str = rules.token_file("shown to centers and wanted from callers")
    security: str = rules.security(
        "loopback: refuse to listen beyond this machine without a token; none: listen anywhere,"
        " unprotected"
    )

    def _check_together(self) -> None:
        require(bool(self.listen), "listen: at least one address", "listen")
        require(
            self.unsent_pause_bytes <= self.unsent_bytes_max,
            f"unsent_pause_bytes = {self.unsent_pause_bytes}: must be at most unsent_bytes_max"
            f" ({self.unsent_bytes_max})",
            "unsent_pause_bytes",
            "unsent_bytes_max",
        )
        require(
            self.body_bytes_max <= self.unsent_bytes_max,
            f"body_bytes_max = {self.body_bytes_max}: must be at most unsent_bytes_max"
            f" ({self.unsent_bytes_max}), or the longest reply could not be sent",
            "body_bytes_max",
            "unsent_bytes_max",
        )


@dataclass(frozen=True, slots=True)
class ClientSettings(_Settings):
    """Settings of one `RpcClient`: section `[client]`, variables `LIBEVRPC_CLIENT_*`."""

    SECTION: ClassVar[str] = "client"

    wire: str = rules.setting("prpc", "protocol that the servers speak", choices=WIRE_NAMES)
    timeout_s: float = rules.span(5.0, "deadline of a call that names none, retries included")
    connect_timeout_s: float = rules.span(1.0, "how long one address may take to accept")
    resolve_timeout_s: float = rules.span(2.0, "how long a host name may take to resolve")
    retries_max: int = rules.count(3, "tries after the first, on other servers", 0, 100)
    retry_budget_percent: float = rules.setting(
        20.0,
        "retries in relation to calls, beside ten a second; calls that no server has run are"
        " retried without it; 0: only those are",
        0.0,
        100.0,
    )
    balancer: str = rules.setting("p2c", "how a server is chosen", choices=BALANCER_NAMES)
    set_aside_min_s: float = rules.span(0.1, "first time a failing server is left alone")
    set_aside_max_s: float = rules.span(30.0, "longest time a failing server is left alone")
    pull_min_s: float = rules.span(30.0, "the map is asked for at the earliest after this")
    pull_max_s: float = rules.span(60.0, "the map is asked for at the latest after this")
    long_poll: bool = rules.setting(True, "hear of a new map at once, beside the pulls")
    body_bytes_max: int = rules.size(64 * MIB, "longest body of a message", BODY_BYTES_LEAST)
    header_bytes_max: int = rules.size(64 * KIB, "longest header of a message")
    inflated_bytes_max: int = rules.size(64 * MIB, "longest body after decompression")
    calls_per_connection_max: int = rules.count(
        1024, "calls in flight on one connection; one more fails with 2004"
    )
    unsent_bytes_max: int = rules.size(
        64 * MIB, "requests the server has not taken; one more fails with 1011"
    )
    compress: str = rules.setting(
        "none", "how requests are compressed", choices=("none", "gzip", "zlib")
    )
    checksum: bool = rules.setting(False, "send a CRC-32C with each request")
    log_calls: bool = rules.setting(
        False, "a line in the log for each request and each reply (logger libevrpc.calls.client)"
    )
    codec: str = rules.setting(
        "gob", "how bodies are written, with TinyRPC's wires and gee-rpc's", choices=CODEC_NAMES
    )
    handle_timeout_s: float = rules.span(
        0.0,
        "with those wires: how long a server may work on a call, told it with each connection;"
        " 0: any time",
        0.0,
    )
    state_dir: str = rules.setting("", "what survives a restart; empty: the user's state folder")
    token_file: str = rules.token_file("shown to every server and center that is called")

    def _check_together(self) -> None:
        for low, high in (
            ("set_aside_min_s", "set_aside_max_s"),
            ("pull_min_s", "pull_max_s"),
        ):
            require(
                getattr(self, low) <= getattr(self, high),
                f"{low} = {getattr(self, low)}: must be at most {high} ({getattr(self, high)})",
                low,
                high,
            )
        plain = self.compress == "none" and not self.checksum
        text = f"wire = {self.wire}: only prpc has room for compress and checksum"
        require(plain or self.wire == "prpc", text, "wire", "compress", "checksum")


@dataclass(frozen=True, slots=True)
class CenterSettings(_Settings):
    """Settings of one center: section `[center]`, variables `LIBEVRPC_CENTER_*`."""

    SECTION: ClassVar[str] = "center"

    peer_bind: str = rules.setting(
        "", "host to hear other centers on; empty: as in the centers list"
    )
    client_bind: str = rules.setting("", "host to serve clients on; empty: as in the centers list")
    data_dir: str = rules.setting("", "durable state; empty: the user's state folder")
    heartbeat_s: float = rules.center_span(0.1, "how often the leader speaks to its followers")
    lease_s: float = rules.center_span(
        0.3, "a leader not heard by a quorum for this long steps down"
    )
    patience_s: float = rules.center_span(
        0.5, "a follower that hears no leader for this long elects"
    )
    finalize_wait_s: float = rules.center_span(
        0.05, "how long a won vote waits for a better one", 0.0
    )
    vote_retry_max_s: float = rules.center_span(
        1.6, "longest wait before a vote is sent again", VOTE_RETRY_MIN_S
    )
    publish_batch_s: float = rules.center_span(
        0.02, "registrations within this time share one map", 0.0
    )
    report_s: float = rules.center_span(1.0, "how often servers report", 0.1)
    expiry_s: float = rules.center_span(
        3.0, "a server that does not report for this long is dropped"
    )
    slow_start_s: float = rules.center_span(30.0, "a new server's weight grows over this time", 0.0)
    suspect_percent: float = rules.setting(
        30.0,
        "when more of the servers than this fall silent together, suspect us; 100: never",
        1.0,
        100.0,
    )
    suspect_max_s: float = rules.center_span(
        60.0, "longest time silent servers are kept as suspects"
    )
    assignment: str = rules.setting(
        "slots", "how virtual nodes get their servers", choices=("slots", "ring")
    )
    key_file: str = rules.setting(
        "", "secret key of this center, where the centers list has public ones; empty: none"
    )
    token_file: str = rules.token_file("wanted from servers and clients")
    list_generation: int = rules.count(1, "raised by one with each change of the centers list")
    threads: int = rules.count(2, "loop threads that serve clients", at_most=64)
    security: str = rules.security(
        "loopback: refuse centers beyond this machine without keys and a token; none: speak to"
        " anyone, unprotected"
    )
    log_level: str = rules.log_level()

    def _check_together(self) -> None:
        require(
            2 * self.heartbeat_s <= self.lease_s,
            f"heartbeat_s = {self.heartbeat_s}: must be at most half of lease_s"
            f" ({self.lease_s}), or the lease ends between two heartbeats",
            "heartbeat_s",
            "lease_s",
        )
        for low, high, why in (
            ("lease_s", "patience_s", "or two leaders could overlap"),
            ("report_s", "expiry_s", "or servers expire between two reports"),
            ("expiry_s", "suspect_max_s", "or no server is ever a suspect"),
        ):
            first, second = getattr(self, low), getattr(self, high)
            text = f"{low} = {first}: must be below {high} ({second}), {why}"
            require(first < second, text, low, high)


KINDS: Mapping[str, type[_Settings]] = {
    kind.SECTION: kind for kind in (ServerSettings, ClientSettings, CenterSettings)
}

AnySettings = TypeVar("AnySettings", bound=_Settings)


def rules_of(kind: type[_Settings]) -> dict[str, Rule]:
    """Return the rule of each setting, in the order of the fields."""
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(kind)}


def load_settings(
    kind: type[AnySettings],
    *,
    config: str | Path | None = None,
    arguments: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> AnySettings:
    """Gather settings: argument, then environment, then ini file, then default. Any thread.

    Args:
        kind: `ServerSettings`, `ClientSettings` or `CenterSettings`.
        config: an ini file. It may hold the other sections too; those are checked, not used.
        arguments: values by name; None means "not given". An address list may be one string.
        environ: the environment, if not this process's. Variables that name no setting of any
            role are told of once, as warnings, and do nothing else.

    Raises:
        ConfigError: one line that names the place, what was found and what would be right.
    """
    in_file = _from_ini(kind, config) if config is not None else {}
    environ = os.environ if environ is None else environ
    warn_of_strangers(environ, {section: rules_of(each) for section, each in KINDS.items()})
    nearer = _from_environ(kind, environ)
    nearer |= _from_arguments(kind, arguments or {})
    try:
        return kind(**{**in_file, **nearer})
    except MisfitError as exc:
        to_blame = any(name in in_file and name not in nearer for name in exc.names)
        where = f"{config}: " if to_blame else ""
        raise ConfigError(f"{where}[{kind.SECTION}] {exc}") from exc


def parse_value(kind: type[_Settings], name: str, text: str) -> object:
    """Turn the text of one setting into its value, and hold it against its rule.

    Raises:
        ConfigError: says what the text should have been, without saying where it stood.
    """
    wanted = get_type_hints(kind)[name]
    try:
        value = _parse_size(text) if "_bytes" in name else _PARSERS[wanted](text)
    except ValueError as exc:
        raise ConfigError(f"{name} = {text}: {exc}") from exc
    complaint = rules_of(kind)[name].complaint(value)
    require(complaint is None, f"{name} = {text}: {complaint}")
    return value


def _from_ini(kind: type[_Settings], path: str | Path) -> dict[str, object]:
    ini = read_ini(path)
    ini.require_known({section: rules_of(each) for section, each in KINDS.items()})
    found: dict[str, dict[str, object]] = {}
    for section, values in ini.sections.items():
        parsed = found.setdefault(section, {})
        for key, value in values.items():
            try:
                parsed[key] = parse_value(KINDS[section], key, value.text)
            except ConfigError as exc:
                raise ConfigError(f"{ini.path}:{value.line}: {exc}") from exc
    return found.get(kind.SECTION, {})


def adjusted(settings: AnySettings, arguments: Mapping[str, object]) -> AnySettings:
    """Return settings of which some have another value; None: as before. Any thread.

    Raises:
        ConfigError: a value is wrong; the text names it and what would be right.
    """
    return dataclasses.replace(settings, **_from_arguments(type(settings), arguments))


def _from_environ(kind: type[_Settings], environ: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in rules_of(kind):
        variable = f"{PREFIX}{kind.SECTION}_{name}".upper()
        if variable in environ:
            try:
                found[name] = parse_value(kind, name, environ[variable])
            except ConfigError as exc:
                raise ConfigError(f"environment variable {variable}: {exc}") from exc
    return found


def _from_arguments(kind: type[_Settings], arguments: Mapping[str, object]) -> dict[str, object]:
    rules, types = rules_of(kind), get_type_hints(kind)
    found: dict[str, object] = {}
    for name, value in arguments.items():
        if name not in rules:
            meant = _USUAL_NAMES.get(name)
            hint = f"; did you mean {meant!r}?" if meant in rules else nearest(name, rules)
            raise ConfigError(f"argument {name!r}: no such setting{hint}")
        if value is not None:
            found[name] = _as_argument(name, value, types[name])
            complaint = rules[name].complaint(found[name])
            require(complaint is None, f"argument {name} = {value}: {complaint}")
    return found


def _as_argument(name: str, value: object, wanted: object) -> object:
    if wanted == tuple[str, ...]:
        words = _parse_words(value) if isinstance(value, str) else value
        if isinstance(words, Sequence) and all(isinstance(word, str) for word in words):
            return tuple(words)
        raise ConfigError(f"argument {name} = {value!r}: must be a string or a list of strings")
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"argument {name} = {value!r}: must be {_TYPE_NAMES[wanted]}")
    return value


def _parse_int(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError("must be a whole number")
    return int(text)


def _parse_size(text: str) -> int:
    number, _, unit = text.partition(" ")
    factor = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": KIB * MIB}.get(unit.strip())
    if factor is None or not number.isdecimal():
        raise ValueError("must be a number of bytes, such as 65536, 64 KiB or 64 MiB")
    return int(number) * factor


def _parse_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number such as 0.5")
    return number


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError("must be true or false")


def _parse_words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


_PARSERS: Mapping[object, Callable[[str], object]] = {
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    str: str.strip,
    tuple[str, ...]: _parse_words,
}
_USUAL_NAMES = dict.fromkeys(("addr", "address", "bind", "host", "port"), "listen")
"""What settings are called elsewhere, where it is not spelled like ours."""
_TYPE_NAMES: Mapping[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
}
