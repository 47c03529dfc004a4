"""Which key belongs to which center: what a list says, and what is told to ZeroMQ.

Pure but for reading the secret key. Keys are 32 bytes here, 64 hexadecimal digits in files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from center.centers_list import KEY_SHAPE, CentersList
from libevrpc.credentials import read_secrets
from libevrpc.errors import ConfigError

__all__ = ["ZAP_DOMAIN", "Complaints", "Doorman", "KeyRing", "open_key_ring"]

ZAP_DOMAIN = b"centers"
_ZAP_VERSION = b"1.0"
_ZAP_CREDENTIALS_AT = 6
AGAIN_S = 300.0
"""The same complaint about the same host is not repeated sooner."""
COMPLAINTS_MAX = 32
"""Different complaints in that time; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys as one center needs them.

    Attributes:
        secret, public: its own pair.
        peers: public keys of each other center, the one to try first in front.
    """

    secret: bytes = field(repr=False)
    public: bytes
    peers: Mapping[int, tuple[bytes, ...]]


def open_key_ring(
    centers: CentersList, own_id: int, key_file: str, public_of: Callable[[bytes], bytes]
) -> KeyRing | None:
    """Gather the keys of center `own_id`; None where neither list nor setting has any.

    Args:
        centers: the list.
        own_id: whose secret is in `key_file`.
        key_file: as the setting has it.
        public_of: returns the public key of a secret one.

    Raises:
        ConfigError: the list has keys and we have none, or the other way round, or ours is not
            the one that the list has.
    """
    me = centers.center(own_id)
    where = f"{centers.path}:{me.line}"
    if not key_file:
        if not centers.keyed:
            return None
        raise ConfigError(
            f"{where}: center {own_id} has a key there; set key_file to the file with its secret"
        )
    lines = read_secrets(key_file, "key_file")
    if len(lines) != 1 or not KEY_SHAPE.fullmatch(lines[0]):
        raise ConfigError(f"key_file = {key_file}: no such file as `libevrpc keygen center` writes")
    secret = bytes.fromhex(lines[0])
    public = public_of(secret)
    if not centers.keyed:
        raise ConfigError(
            f"key_file = {key_file}, but {centers.path} has no keys; add each center's to its"
            f" line, {public.hex()} to line {me.line}"
        )
    if public.hex() not in me.keys:
        raise ConfigError(
            f"key_file = {key_file} is not the key of center {own_id}: its public key is"
            f" {public.hex()}, on {where} stands {' and '.join(me.keys)}"
        )
    peers = {
        each.id: tuple(map(bytes.fromhex, each.keys))
        for each in centers.centers
        if each.id != own_id
    }
    return KeyRing(secret, public, peers)


class Doorman:
    """Answers ZeroMQ's question who a key belongs to (its protocol ZAP, 27/ZAP).

    Args:
        peers: public keys of each center that may come in.
    """

    def __init__(self, peers: Mapping[int, tuple[bytes, ...]]) -> None:
        self._owners = {key: center for center, keys in peers.items() for key in keys}

    def answer(self, question: list[bytes]) -> tuple[list[bytes], str, str]:
        """Return the reply to one question, the asker's host, and why it is refused or ""."""
        version, number, host, mechanism, key = b"", b"", "", b"", b""
        if len(question) > _ZAP_CREDENTIALS_AT:
            version, number, _, address, _, mechanism, key = question[: _ZAP_CREDENTIALS_AT + 1]
            host = address.decode("ascii", "replace").removeprefix("::ffff:")
        owner = self._owners.get(key)
        if owner is not None and version == _ZAP_VERSION and mechanism == b"CURVE":
            return [_ZAP_VERSION, number, b"200", b"OK", b"%d" % owner, b""], host, ""
        why = f"its key {key.hex()} belongs to no other center of our list"
        return [_ZAP_VERSION, number, b"400", b"unknown key", b"", b""], host, why


class Complaints:
    """Says how often a complaint is worth a line: once, then every few minutes, never a flood."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def due(self, host: str, text: str, now_s: float) -> int:
        """Note a complaint; returns how many a line now stands for, 0 for none now."""
        since_s, count = self._seen.get((host, text), (-math.inf, 0))
        count += 1
        if now_s - since_s < AGAIN_S:
            self._seen[host, text] = since_s, count
            return 0
        self._seen = {
            each: noted for each, noted in self._seen.items() if now_s - noted[0] < AGAIN_S
        }
        if len(self._seen) >= COMPLAINTS_MAX:
            return 0  # so many kinds at once: somebody plays with us
        self._seen[host, text] = now_s, 0
        return count
