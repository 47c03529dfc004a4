"""What is wrong with the arguments of a call, said where the call is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from operator import index
from typing import Any

from libevrpc.client.controller import ClientController
from libevrpc.errors import UsageError
from libevrpc.inifile import nearest

__all__ = [
    "TIMEOUT_S_MAX",
    "check_controller",
    "check_foreign",
    "key_bytes",
    "unknown_argument",
    "wrong_timeout",
]

TIMEOUT_S_MAX = 2_000_000.0
"""Longest time-out of a call, 23 days: what the wire and the system's calls can count."""
LOG_ID_MAX = (1 << 63) - 1


def wrong_timeout(timeout_s: Any) -> UsageError:
    """Return the error for what is no time-out."""
    if isinstance(timeout_s, int | float):
        return UsageError(f"timeout_s={timeout_s}: a finite time up to {TIMEOUT_S_MAX:.0f} seconds")
    return _wrong("timeout_s", timeout_s, "a number of seconds, such as 2.5")


def unknown_argument(function: Callable[..., object], unknown: Iterable[str]) -> TypeError:
    """Return the error for keywords that `function` does not have, with what was meant."""
    word = next(iter(unknown))
    parameters = inspect.signature(function).parameters.values()
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    return TypeError(f"no argument {word!r} here{nearest(word[:64], known)}")


def key_bytes(key: Any) -> bytes:
    """Return the bytes of a call's key.

    Raises:
        UsageError: it is neither bytes nor text.
    """
    if isinstance(key, str):
        try:
            return key.encode()
        except UnicodeEncodeError:
            raise UsageError(f"argument key is {key!r}: must be UTF-8 text, or bytes") from None
    if isinstance(key, bytes):
        return key
    raise _wrong("key", key, "bytes or text, such as str(number)")


def check_controller(controller: Any) -> None:
    """Refuse what cannot be sent beside a request.

    Raises:
        UsageError: it is no controller, or what was set on it is of a wrong type.
    """
    if not isinstance(controller, ClientController):
        raise _wrong("controller", controller, "a ClientController()")
    attachment: Any = controller.attachment
    if attachment.__class__ is not bytes:
        _check_attachment(attachment)
    if controller.metadata:
        _check_metadata(controller.metadata)
    if controller.log_id:
        _check_log_id(controller.log_id)


def check_foreign(controller: ClientController) -> None:
    """Refuse what only PRPC carries.

    Raises:
        UsageError: names what was set.
    """
    for name in ("attachment", "metadata", "log_id", "compress_type"):
        if getattr(controller, name):
            raise UsageError(f"controller.{name}: only wire = prpc carries it")


def _check_attachment(attachment: Any) -> None:
    if isinstance(attachment, memoryview) and attachment.nbytes == len(attachment):
        return
    if not isinstance(attachment, bytes | bytearray):
        raise _wrong("controller.attachment", attachment, "bytes")


def _check_log_id(number: Any) -> None:
    try:
        index(number)
    except TypeError:
        raise _wrong("controller.log_id", number, "a whole number") from None
    if not -LOG_ID_MAX <= number <= LOG_ID_MAX:
        raise UsageError(f"controller.log_id is {number}: must fit into 64 bits")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, Mapping):
        raise _wrong("controller.metadata", metadata, 'a dict of texts, such as {"tenant": "blue"}')
    for name, value in metadata.items():
        if not isinstance(name, str):
            raise _wrong(f"name {name!r} in controller.metadata", name, "text")
        if not isinstance(value, str):
            raise _wrong(f"controller.metadata[{name!r}]", value, "text, such as str(value)")


def _wrong(what: str, given: object, right: str) -> UsageError:
    return UsageError(f"{what} is of type {type(given).__name__}: must be {right}")
