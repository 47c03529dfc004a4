"""The `file://` registry: a list of servers that somebody else writes.

Either one server per line, with `#` comments::

    10.0.0.7:9998
    10.0.0.8:9998;weight=2;tags=red,blue;limit=8

or JSON: a list of such texts and of records as other registries have them (`record.py`), or an
object with that list under "servers". A record that names services counts for those alone.

Replace the file whole (write another one, rename it): what is found half written is named with
its line, and the last good list stays.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from libevrpc.core.endpoints import Endpoint, parse_endpoint
from libevrpc.core.hello import INTERNAL_SERVICE
from libevrpc.core.targets import Target
from libevrpc.core.watching import WatchPolicy
from libevrpc.errors import ConfigError
from libevrpc.registry.record import announcement_of, endpoint_of
from libevrpc.registry.session import Nap, RegistryError
from libevrpc.registry.state import state_folder
from libevrpc.registry.watcher import SessionResolver
from libevrpc.settings import ClientSettings

__all__ = ["FileWatchSession", "parse_servers", "resolver"]

EVERY_S = 1.0
"""How often the file is looked at."""
FILE_BYTES_MAX = 4 << 20
"""A longer file is not read."""
TORN_S = 0.05
"""A last line without its end is read again after this: it may be under way."""
_REFRESH_S = 3600.0

_Sign = tuple[int, int, int, int]


def resolver(target: Target, service: str, settings: ClientSettings) -> SessionResolver:
    """Return the resolver of a `file://` target."""
    path, every_s = target.path, target.seconds("every", EVERY_S)
    policy = WatchPolicy(refresh_s=_REFRESH_S, settle_s=0.0)
    return SessionResolver(
        target.text,
        service,
        lambda: FileWatchSession(path, service, every_s),
        state_folder(settings.state_dir),
        policy,
    )


class FileWatchSession:
    """Reads a list from a file, and again when the file has changed. See `WatchSession`.

    Args:
        path: of the file.
        service: whom records that name services are asked for.
        every_s: how often it is looked at.
    """

    def __init__(self, path: str, service: str, every_s: float = EVERY_S) -> None:
        self._path = path
        self._service = service
        self._every_s = every_s
        self._nap = Nap()
        self._seen: _Sign | None = None

    def open(self) -> None:
        """See `WatchSession.open`: each question opens the file by itself."""

    def fetch(self) -> tuple[Endpoint, ...]:
        """See `WatchSession.fetch`."""
        encoded, self._seen = self._read()
        if encoded and not encoded.endswith(b"\n") and not _is_json(encoded):
            self._nap.wait(TORN_S)
            if self._sign() != self._seen:
                line = encoded.count(b"\n") + 1
                raise RegistryError(f"{self._path}:{line}: the file is being written")
        return parse_servers(self._path, encoded, self._service)

    def others(self) -> set[str]:
        """See `WatchSession.others`."""
        return services_of(self._read()[0])

    def doubt(self) -> str:
        """See `WatchSession.doubt`: a file answers or fails."""
        return ""

    def wait(self, timeout_s: float) -> bool:
        """See `WatchSession.wait`."""
        left_s = timeout_s
        while left_s > 0.0:
            if self._sign() != self._seen:
                return True
            if self._nap.wait(min(left_s, self._every_s)):
                return False
            left_s -= self._every_s
        return self._sign() != self._seen

    def close(self) -> None:
        """See `WatchSession.close`."""

    def wake(self) -> None:
        """See `WatchSession.wake`."""
        self._nap.wake()

    def _sign(self) -> _Sign | None:
        """Return what changes with the file's content; None: it is not there."""
        try:
            return _sign_of(os.stat(self._path))
        except OSError:
            return None

    def _read(self) -> tuple[bytes, _Sign]:
        """Return the content and its sign, which is never younger than the content."""
        try:
            # without O_NONBLOCK a fifo would block for as long as nobody writes to it
            number = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                found = os.fstat(number)
                if not stat.S_ISREG(found.st_mode):
                    raise RegistryError(f"{self._path} is no regular file")
                with open(number, "rb", closefd=False) as file:
                    encoded = file.read(FILE_BYTES_MAX + 1)
            finally:
                os.close(number)
        except OSError as exc:
            raise RegistryError(f"cannot read {self._path}: {exc.strerror}") from None
        if len(encoded) > FILE_BYTES_MAX:
            raise RegistryError(f"{self._path} is longer than {FILE_BYTES_MAX} bytes")
        return encoded, _sign_of(found)


def _sign_of(found: os.stat_result) -> _Sign:
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


def _is_json(encoded: bytes) -> bool:
    return encoded.lstrip()[:1] in (b"[", b"{")


def parse_servers(path: str, encoded: bytes, service: str) -> tuple[Endpoint, ...]:
    """Read a list of servers. Any thread.

    Args:
        path: of the file, for messages.
        encoded: its content.
        service: whom records that name services are asked for.

    Raises:
        RegistryError: names the file, the line or the place in the list, and what is wrong.
    """
    if not encoded.strip():
        raise RegistryError(f"{path} is empty; write one host:port per line, or [] for nobody")
    try:
        text = encoded.decode()
    except UnicodeDecodeError as exc:
        line = encoded.count(b"\n", 0, exc.start) + 1
        raise RegistryError(f"{path}:{line}: not UTF-8") from None
    return _of_json(path, text, service) if _is_json(encoded) else _of_lines(path, text)


def _of_lines(path: str, text: str) -> tuple[Endpoint, ...]:
    found: dict[str, Endpoint] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        spelled = line.partition("#")[0].strip()
        if not spelled:
            continue
        try:
            endpoint = _parse_spelled(spelled)
            if endpoint.address in found:
                raise ConfigError(f"{endpoint.address} is listed twice")
        except ConfigError as exc:
            raise RegistryError(f"{path}:{number}: {exc}") from None
        found[endpoint.address] = endpoint
    return tuple(found.values())


def _parse_spelled(spelled: str) -> Endpoint:
    """Read ``host:port;weight=2;tags=a,b;limit=8``."""
    address, *options = spelled.split(";")
    given: dict[str, Any] = {}
    for option in options:
        key, _, value = (part.strip() for part in option.partition("="))
        parse = _OPTIONS.get(key)
        if parse is None:
            raise ConfigError(
                f"{key!r} is not an option of a server; options: {', '.join(_OPTIONS)}"
            )
        try:
            given[key] = parse(value)
        except ValueError:
            raise ConfigError(f"{key} {value!r} is not a number") from None
    return replace(parse_endpoint(address.strip()), **given)


def _parse_tags(value: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in value.split(",")) if word)


_OPTIONS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {"weight": float, "tags": _parse_tags, "limit": int}
)


def _of_json(path: str, text: str, service: str) -> tuple[Endpoint, ...]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as exc:
        raise RegistryError(f"{path}:{exc.lineno}: {exc.msg}") from None
    except ValueError as exc:  # a number of thousands of digits
        raise RegistryError(f"{path}: {exc}") from None
    except RecursionError:
        raise RegistryError(f"{path}: nested too deeply") from None
    if isinstance(found, dict):
        found = found.get("servers")
    if not isinstance(found, list):
        raise RegistryError(f'{path}: neither a list nor an object with a list "servers"')
    servers: dict[str, Endpoint] = {}
    for number, each in enumerate(found, start=1):
        try:
            endpoint = _of_item(each, service)
        except (ConfigError, RegistryError) as exc:
            raise RegistryError(f"{path}: server {number}: {exc}") from None
        if endpoint is None:
            continue
        if endpoint.address in servers:
            raise RegistryError(f"{path}: server {number}: {endpoint.address} is listed twice")
        servers[endpoint.address] = endpoint
    return tuple(servers.values())


def services_of(encoded: bytes) -> set[str]:
    """Return the services that a list of servers names, where it can be read. Any thread."""
    try:
        found = json.loads(encoded)
        servers = found["servers"] if isinstance(found, dict) else found
        told = [announcement_of(each) for each in servers if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError, RecursionError, RegistryError):
        return set()
    return {service for each in told for service in each.services}


def _of_item(found: object, service: str) -> Endpoint | None:
    """Return a server of a JSON list; None: it does not offer `service`."""
    if isinstance(found, str):
        return _parse_spelled(found)
    announcement = announcement_of(found)
    if announcement.services and service not in (*announcement.services, INTERNAL_SERVICE):
        return None
    return endpoint_of(announcement)
