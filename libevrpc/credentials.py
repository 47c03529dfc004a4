"""Files that hold secrets: who may read them, and what stands in them.

Nothing here, and nobody who is given what stands in such a file, writes it to a log, a text of
an error or a `repr`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from libevrpc.errors import ConfigError

__all__ = ["Tokens", "read_secrets", "read_tokens", "write_secret"]

FILE_BYTES_MAX = 64 * 1024
FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IRWXO
"""Whoever else may write it chooses the secret, whoever else may read it has it. The group may
read: that is how secrets are mounted into containers."""
TOKEN_CHARS_MIN = 16
TOKEN_CHARS_MAX = 512


def read_secrets(path: str | Path, what: str) -> list[str]:
    """Return the lines of a secret's file, without comments (`#`) and empty ones.

    Args:
        path: the file.
        what: which setting names it, for messages.

    Raises:
        ConfigError: it cannot be read, is open to others, or has no such line.
    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise ConfigError(f"{what} = {path}: cannot read it: {exc.strerror or exc}") from None
    if mode & FORBIDDEN_MODE:
        raise ConfigError(
            f"{what} = {path}: others may read or write it (mode {mode:04o}); chmod 600 {path}"
        )
    if len(data) > FILE_BYTES_MAX or not data.isascii():
        raise ConfigError(f"{what} = {path}: no such file as `libevrpc keygen` writes")
    lines = [line.strip() for line in data.decode("ascii").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ConfigError(f"{what} = {path}: nothing stands in it; see `libevrpc keygen`")
    return lines


def write_secret(path: str | Path, about: str, secret: str) -> None:
    """Make a file that only its owner can read, and write a secret to it.

    Raises:
        ConfigError: there is a file of that name, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already; a secret is never overwritten: name another file"
        ) from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot make it: {exc.strerror or exc}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"# {about}\n{secret}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise ConfigError(f"{path}: cannot write it: {exc.strerror or exc}") from None


class Tokens:
    """What members of one cluster show each other. Immutable, any thread.

    Attributes:
        shown: what we show: the first line of the file.
    """

    __slots__ = ("_digests", "shown")

    def __init__(self, tokens: list[bytes]) -> None:
        """Take the tokens of a file, at least one."""
        from hashlib import sha256  # and OpenSSL with it: 4 MB for those alone who have tokens

        self.shown = tokens[0]
        self._digests = [sha256(each).digest() for each in tokens]

    def accept(self, shown: bytes) -> bool:
        """Tell whether a peer shows one of ours; takes equally long whatever it shows."""
        from hashlib import sha256
        from hmac import compare_digest

        digest = sha256(shown).digest()
        return sum(compare_digest(digest, each) for each in self._digests) > 0

    def __repr__(self) -> str:
        return f"Tokens({len(self._digests)} of them)"


def read_tokens(path: str) -> Tokens | None:
    """Return the tokens in the file that `token_file` names; None where it names none.

    Raises:
        ConfigError: the file is missing, open to others, or holds something else.
    """
    if not path:
        return None
    tokens = read_secrets(path, "token_file")
    for token in tokens:
        if not TOKEN_CHARS_MIN <= len(token) <= TOKEN_CHARS_MAX or not token.isprintable():
            raise ConfigError(
                f"token_file = {path}: a token is {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX}"
                " printable characters on a line of its own; see `libevrpc keygen token`"
            )
    return Tokens([token.encode("ascii") for token in tokens])
