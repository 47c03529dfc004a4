"""crc32c (Castagnoli) as PRPC carries it: masked, four bytes, big-endian.

Fast with the `crc` extra. Without it a table in pure Python checks short bodies; longer
ones are refused, because at a microsecond a byte they would hold a loop for seconds.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CRC32C", "checksum_matches", "crc32c", "masked_crc32c"]

CRC32C: Final = 1
"""RpcMeta.checksum_type."""
SLOW_BYTES_MAX: Final = 1024 * 1024
"""Longest body checked without the `crc` extra."""
_POLYNOMIAL: Final = 0x82F63B78
_MASK_ADD: Final = 0xA282EAD8


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_table: tuple[int, ...] = ()


def _slow_crc32c(data: bytes) -> int:
    global _table
    _table = _table or _make_table()
    table = _table
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _library_crc32c(data: bytes) -> int | None:
    try:
        import google_crc32c
    except ImportError:
        return None
    return int(google_crc32c.value(data))


def crc32c(data: bytes) -> int:
    """Return the crc of `data`, by the library if it is installed. Any thread."""
    value = _library_crc32c(data)
    return _slow_crc32c(data) if value is None else value


def masked_crc32c(data: bytes) -> bytes:
    """Return the crc of `data` as it travels: rotated, shifted, big-endian."""
    crc = crc32c(data)
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return ((rotated + _MASK_ADD) & 0xFFFFFFFF).to_bytes(4, "big")


def checksum_matches(data: bytes, told: bytes) -> str | None:
    """Hold `data` against the checksum that travelled with it; returns what is wrong."""
    if len(data) > SLOW_BYTES_MAX and _library_crc32c(b"") is None:
        return (
            f"checksum of {len(data)} bytes cannot be checked here:"
            f" install the crc extra, or send at most {SLOW_BYTES_MAX} bytes"
        )
    expected = masked_crc32c(data)
    if told == expected:
        return None
    return f"checksum is {told.hex() or 'empty'}, the body has {expected.hex()}"
