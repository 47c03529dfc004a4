"""`libevrpc keygen`: the secrets of a cluster, each in a file of its own."""

from __future__ import annotations

import argparse
import secrets
import sys

from libevrpc.cli.output import ExitStatus, print_json
from libevrpc.credentials import read_secrets, write_secret
from libevrpc.errors import ConfigError

__all__ = ["add_arguments", "run"]

TOKEN_BYTES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "kind",
        choices=("center", "token", "public"),
        help="center: make the secret key of one center and print its public key; token: make what"
        " servers and clients of a cluster show; public: print the public key of a secret one",
    )
    parser.add_argument("file", help="of the secret: written for its owner only, never overwritten")
    parser.add_argument("--json", action="store_true", help="print JSON, errors too")


def run(given: argparse.Namespace) -> ExitStatus:
    """Make or read one secret; only what may be known is printed.

    Raises:
        ConfigError: the file exists, cannot be written, or holds no key.
    """
    if given.kind == "token":
        about = "libevrpc: a token; token_file of centers, servers and clients"
        write_secret(given.file, about, secrets.token_urlsafe(TOKEN_BYTES))
        _tell(given, f"wrote {given.file}: name it as token_file", {"token_file": given.file})
        return ExitStatus.OK
    if given.kind == "center":
        public, secret = _key_pair()
        about = "libevrpc: secret key of one center; key_file in [center]"
        write_secret(given.file, about, secret)
    else:
        public = _public_of(read_secrets(given.file, "secret key"), given.file)
    note = "append the public key to the center's line in every centers_list:"
    _tell(given, note, {"key_file": given.file, "public_key": public})
    return ExitStatus.OK


def _tell(given: argparse.Namespace, note: str, facts: dict[str, str]) -> None:
    """Print facts for programs, or a note for people beside the one fact that is copied."""
    if given.json:
        print_json(facts)
        return
    print(note, file=sys.stderr)
    if "public_key" in facts:
        print(facts["public_key"])


def _key_pair() -> tuple[str, str]:
    """Return a new public and secret key, in hexadecimal."""
    import zmq
    from zmq.utils import z85

    public, secret = zmq.curve_keypair()
    return z85.decode(public).hex(), z85.decode(secret).hex()


def _public_of(lines: list[str], path: str) -> str:
    import zmq
    from zmq.utils import z85

    try:
        (line,) = lines
        secret = z85.encode(bytes.fromhex(line))
        return z85.decode(zmq.curve_public(secret)).hex()
    except (ValueError, zmq.ZMQError):
        raise ConfigError(f"{path}: no such file as `libevrpc keygen center` writes") from None
