"""crc32c (Castagnoli) as PRPC carries it: masked, four bytes, big-endian.

Fast with the `crc` extra. Without it a table in pure Python checks short bodies; longer
ones are refused, because at a tenth of a microsecond a byte they would hold a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

__all__ = ["CRC32C", "SLOW_BYTES_MAX", "checksum_fault", "crc32c", "fast_crc32c", "masked_crc32c"]

CRC32C: Final = 1
"""RpcMeta.checksum_type."""
SLOW_BYTES_MAX: Final = 1024 * 1024
"""Longest body checked without the `crc` extra."""
_POLYNOMIAL: Final = 0x82F63B78
_MASK_ADD: Final = 0xA282EAD8


@cache
def fast_crc32c() -> Callable[[bytes], int] | None:
    """Return the library's function; None without the `crc` extra. Any thread."""
    try:
        import google_crc32c
    except ImportError:
        return None
    if google_crc32c.implementation != "c":  # no faster than the table below
        return None
    value: Callable[[bytes], int] = google_crc32c.value
    return value


def crc32c(data: bytes) -> int:
    """Return the crc of `data`, by the library if it is installed. Any thread."""
    fast = fast_crc32c()
    if fast is not None:
        return fast(data)
    table = _table()
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> bytes:
    """Return the crc of `data` as it travels: rotated, shifted, big-endian. Any thread."""
    crc = crc32c(data)
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return ((rotated + _MASK_ADD) & 0xFFFFFFFF).to_bytes(4, "big")


def checksum_fault(data: bytes, told: bytes) -> str | None:
    """Hold `data` against the checksum that came with it; returns what is wrong. Any thread."""
    if len(data) > SLOW_BYTES_MAX and fast_crc32c() is None:
        return (
            f"checksum of {len(data)} bytes cannot be checked here:"
            f" install the crc extra, or send at most {SLOW_BYTES_MAX} bytes"
        )
    expected = masked_crc32c(data)
    if told == expected:
        return None
    return f"checksum is {told.hex() or 'empty'}, the body has {expected.hex()}"


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)
