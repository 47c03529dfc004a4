"""The centers list: who the centers are. Every center and every client reads the same one.

One line per center: `id host peer_port client_port [public_key[,public_key]]`. Centers speak to
each other on the peer port, servers and clients ask on the client port. With keys, which either
every line has or none, centers speak only to those who hold the secrets of these keys. `#` begins
a comment; an IPv6 host stands in brackets. The order of the lines means nothing.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from libevrpc.core.endpoints import is_host_name
from libevrpc.errors import ConfigError

__all__ = [
    "KEY_SHAPE",
    "CenterLine",
    "CentersList",
    "default_path",
    "parse_centers_list",
    "read_centers_list",
]

ID_MAX = 65535
"""Largest id of a center; the smallest is 1: in a status 0 means nobody."""

CENTERS_MAX = 15
"""Most centers in a list: each vote is sent to all, and more of them add no safety."""

DEFAULT_PATHS = (Path("centers_list"), Path("/tmp/centers_list"))
"""Where the list is looked for when nobody says where it is, in this order."""

LINE_SHAPE = "id host peer_port client_port [public_key]"
KEY_SHAPE = re.compile(r"[0-9a-f]{64}")
KEYS_MAX = 2
"""Keys of one center: while it changes from one to another both are listed."""


@dataclass(frozen=True, slots=True)
class CenterLine:
    """One center: its id, host (IPv6 without brackets), two ports and public keys in hexadecimal.

    `line` is for messages. Its text, and so the list's digest, is without the keys: centers that
    have heard of a new key elect together with those that have not.
    """

    id: int
    host: str
    peer_port: int
    client_port: int
    line: int
    keys: tuple[str, ...] = ()

    @property
    def peer_address(self) -> str:
        """Return host:peer_port, an IPv6 host in brackets."""
        return f"{_in_brackets(self.host)}:{self.peer_port}"

    @property
    def client_address(self) -> str:
        """Return host:client_port, an IPv6 host in brackets."""
        return f"{_in_brackets(self.host)}:{self.client_port}"

    def __str__(self) -> str:
        return f"{self.id} {_in_brackets(self.host)} {self.peer_port} {self.client_port}"


@dataclass(frozen=True, slots=True)
class CentersList:
    """The centers in the order of their ids: 1..`CENTERS_MAX` of them, ids and addresses unique."""

    path: str
    centers: tuple[CenterLine, ...]

    @property
    def quorum(self) -> int:
        """Return how many centers must agree."""
        return len(self.centers) // 2 + 1

    @property
    def keyed(self) -> bool:
        """Tell whether the centers have keys: all of them, or none."""
        return bool(self.centers[0].keys)

    def digest(self, generation: int = 1) -> str:
        """Return 32 hex digits, equal for the same centers in the same `generation` of the list.

        Comments, spacing, keys and the order of lines do not count. Centers with different digests
        do not elect each other: nor do they when a list comes again that was replaced before, and
        somebody still has it from then.
        """
        text = "".join(f"{center}\n" for center in self.centers)
        if generation > 1:
            text = f"generation {generation}\n{text}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def center(self, center_id: int) -> CenterLine:
        """Return the line of `center_id`.

        Raises:
            ConfigError: no line has this id; names those there are.
        """
        for center in self.centers:
            if center.id == center_id:
                return center
        known = ", ".join(str(center.id) for center in self.centers)
        raise ConfigError(f"{self.path}: no line with id {center_id}; it has {known}")

    def local_id(self, is_local: Callable[[str], bool]) -> int:
        """Return the id of the one line whose host is this machine.

        Args:
            is_local: tells whether a host of the list is an address of this machine.

        Raises:
            ConfigError: there is no such line, or more than one, so that an id must be given.
        """
        local = [center for center in self.centers if is_local(center.host)]
        if len(local) == 1:
            return local[0].id
        if not local:
            raise ConfigError(
                f"{self.path}: no line has an address of this machine; say which one with --id"
            )
        ids = ", ".join(str(center.id) for center in local)
        raise ConfigError(
            f"{self.path}: ids {ids} all have an address of this machine; say which with --id"
        )

    def warnings(self) -> Iterator[str]:
        """Yield what works but will surprise: one line each, for the log of a starting center."""
        count = len(self.centers)
        if count == 2:
            yield (
                f"{self.path}: of two centers both are needed: the cluster stops when either does;"
                " list one, or three"
            )
        elif count % 2 == 0:
            yield (
                f"{self.path}: {count} centers bear the loss of {(count - 1) // 2},"
                f" as {count - 1} would"
            )
        loopback = [center for center in self.centers if _is_loopback(center.host)]
        if loopback and len(loopback) < count:
            yield (
                f"{self.path}:{loopback[0].line}: {loopback[0].host} cannot be reached from the"
                " other hosts of the list"
            )


def default_path() -> Path:
    """Return the first of `DEFAULT_PATHS` that exists.

    Raises:
        ConfigError: none of them does.
    """
    for path in DEFAULT_PATHS:
        if path.exists():
            return path
    tried = " nor ".join(str(path) for path in DEFAULT_PATHS)
    raise ConfigError(f"no centers list: neither {tried} exists; name one with --centers-list")


def read_centers_list(path: str | Path) -> CentersList:
    """Read the list at `path`.

    Raises:
        ConfigError: it cannot be read or is wrong: names the file, the line, what would be right.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read it: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text: {exc.reason} at byte {exc.start}") from exc
    return parse_centers_list(text, str(path))


def parse_centers_list(text: str, path: str) -> CentersList:
    """Parse the text of a list; `path` is for messages.

    Raises:
        ConfigError: names the file, the line, what stands there and what would be right.
    """
    centers: list[CenterLine] = []
    for number, raw_line in enumerate(text.splitlines(), start=1):
        line = raw_line.partition("#")[0].strip()
        if line:
            try:
                center = _parse_line(line, number)
                _refuse_duplicate(center, centers)
            except ConfigError as exc:
                raise ConfigError(f"{path}:{number}: {exc}") from exc
            centers.append(center)
    if not centers:
        raise ConfigError(f"{path}: no center in it; a line reads: {LINE_SHAPE}")
    if len(centers) > CENTERS_MAX:
        raise ConfigError(f"{path}: {len(centers)} centers, at most {CENTERS_MAX} may be listed")
    _require_keys_of_all(centers, path)
    return CentersList(path, tuple(sorted(centers, key=lambda center: center.id)))


def _require_keys_of_all(centers: list[CenterLine], path: str) -> None:
    keyed = next((center for center in centers if center.keys), None)
    bare = next((center for center in centers if not center.keys), None)
    if keyed is not None and bare is not None:
        raise ConfigError(
            f"{path}:{bare.line}: no public key, though line {keyed.line} has one;"
            " every center needs one, or none has"
        )


def _parse_line(line: str, number: int) -> CenterLine:
    words = line.split()
    if len(words) not in (4, 5):
        raise ConfigError(f"{len(words)} words in {line!r}; a line reads: {LINE_SHAPE}")
    center_id = _parse_number(words[0], "id", 1, ID_MAX)
    host = _parse_host(words[1])
    peer_port = _parse_number(words[2], "peer port", 1, 65535)
    client_port = _parse_number(words[3], "client port", 1, 65535)
    if peer_port == client_port:
        raise ConfigError(f"peer port and client port are both {peer_port}; they must differ")
    keys = _parse_keys(words[4]) if len(words) == 5 else ()
    return CenterLine(center_id, host, peer_port, client_port, number, keys)


def _parse_keys(word: str) -> tuple[str, ...]:
    keys = tuple(word.lower().split(","))
    for key in keys:
        if not KEY_SHAPE.fullmatch(key):
            raise ConfigError(
                f"public key {key!r}: must be 64 hexadecimal digits, as `libevrpc keygen center`"
                " prints them"
            )
    if len(keys) > KEYS_MAX:
        raise ConfigError(f"{len(keys)} public keys: at most the old and the new one")
    return keys


def _parse_number(word: str, what: str, low: int, high: int) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= 10 and low <= int(word) <= high):
        raise ConfigError(f"{what} {word!r}: must be a number from {low} to {high}")
    return int(word)


def _parse_host(word: str) -> str:
    bracketed = word.startswith("[") and word.endswith("]")
    bare = word[1:-1] if bracketed else word
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if bracketed or not is_host_name(word):
            raise ConfigError(
                f"host {word!r}: must be a host name, an IPv4 address or an [IPv6 address]"
            ) from None
        return word.lower()
    if address.version == 6 and not bracketed:
        raise ConfigError(f"host {word!r}: an IPv6 address stands in brackets: [{word}]")
    if address.version == 4 and bracketed:
        raise ConfigError(f"host {word!r}: brackets are for IPv6: write {bare}")
    if address.is_unspecified:
        raise ConfigError(f"host {word!r}: the others dial it; name an address they can reach")
    return str(address)


def _refuse_duplicate(center: CenterLine, earlier: list[CenterLine]) -> None:
    ports = {center.peer_port, center.client_port}
    for other in earlier:
        if other.id == center.id:
            raise ConfigError(f"id {center.id} stands on line {other.line} already")
        if not set(center.keys).isdisjoint(other.keys):
            raise ConfigError(f"the public key stands on line {other.line} already")
        shared = ports & {other.peer_port, other.client_port} if other.host == center.host else ()
        for port in shared:
            raise ConfigError(
                f"{_in_brackets(center.host)}:{port} stands on line {other.line} already"
            )


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
