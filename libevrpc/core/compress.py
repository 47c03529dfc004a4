"""Compression of message bytes: gzip (RFC 1952) and zlib (RFC 1950), with bounded inflation."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import IntEnum

from libevrpc.errors import Errno, RpcError

__all__ = ["CompressType", "compress", "decompress"]

_STEP_BYTES = 256 * 1024
"""Inflated at a time, so that a bomb is noticed one step above the limit."""
_TAKE_BYTES = 64 * 1024
"""Taken at a time: zlib copies what it has not consumed after every step."""


class CompressType(IntEnum):
    """RpcMeta.compress_type. Snappy (1) and lz4 (4) are not spoken here."""

    NONE = 0
    GZIP = 2
    ZLIB = 3


_WINDOW_BITS: Mapping[int, int] = {CompressType.GZIP: 31, CompressType.ZLIB: 15}


def compress(kind: int, data: bytes) -> bytes:
    """Compress `data`. Any thread.

    Raises:
        RpcError: 1003, unknown kind.
    """
    if kind == CompressType.NONE:
        return data
    squeezer = zlib.compressobj(wbits=_window_bits(kind))
    return squeezer.compress(data) + squeezer.flush()


def decompress(kind: int, data: bytes, inflated_bytes_max: int) -> bytes:
    """Inflate `data`, keeping at most `inflated_bytes_max`. Any thread but a loop's.

    Raises:
        RpcError: 1003, unknown kind, not such a stream, cut short, or inflates over the limit.
    """
    if kind == CompressType.NONE:
        return data
    inflater = zlib.decompressobj(wbits=_window_bits(kind))
    name = CompressType(kind).name.lower()
    pieces: list[bytes] = []
    size = taken = 0
    try:
        while taken < len(data) and not inflater.eof:
            rest = data[taken : taken + _TAKE_BYTES]
            taken += len(rest)
            piece = inflater.decompress(rest, _STEP_BYTES)
            while piece:
                size += len(piece)
                if size > inflated_bytes_max:
                    raise _bad(f"body inflates to over {inflated_bytes_max} bytes, the limit")
                pieces.append(piece)
                piece = inflater.decompress(inflater.unconsumed_tail, _STEP_BYTES)
    except zlib.error as exc:
        raise _bad(f"body is not {name}: {exc}") from None
    if not inflater.eof:
        raise _bad(f"{name} stream is cut short")
    behind_bytes = len(data) - taken + len(inflater.unused_data)
    if behind_bytes:
        raise _bad(f"{behind_bytes} bytes behind the compressed stream")
    return b"".join(pieces)


def _window_bits(kind: int) -> int:
    bits = _WINDOW_BITS.get(kind)
    if bits is None:
        raise _bad(f"compress_type {kind} is not supported; send 0 (none), 2 (gzip) or 3 (zlib)")
    return bits


def _bad(text: str) -> RpcError:
    return RpcError.from_errno(Errno.BAD_REQUEST, text)
