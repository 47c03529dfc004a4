"""Compression of message bytes: gzip (RFC 1952) and zlib (RFC 1950), with bounded inflation."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import IntEnum

from libevrpc.errors import Errno, RpcError

__all__ = ["CompressType", "compress", "decompress"]

_STEP_BYTES = 256 * 1024
"""Inflated at a time, so that a bomb is noticed one step above the limit."""


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
    pieces: list[bytes] = []
    size = 0
    rest = data
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest, _STEP_BYTES)
            rest = inflater.unconsumed_tail
            size += len(piece)
            if size > inflated_bytes_max:
                raise _bad(f"body inflates to over {inflated_bytes_max} bytes, the limit")
            if not piece and not inflater.eof:  # all is taken, and zlib holds nothing back
                raise _bad(f"{CompressType(kind).name.lower()} stream is cut short")
            pieces.append(piece)
    except zlib.error as exc:
        raise _bad(f"body is not {CompressType(kind).name.lower()}: {exc}") from None
    if inflater.unused_data:
        raise _bad(f"{len(inflater.unused_data)} bytes behind the compressed stream")
    return b"".join(pieces)


def _window_bits(kind: int) -> int:
    bits = _WINDOW_BITS.get(kind)
    if bits is None:
        raise _bad(f"compress_type {kind} is not supported; send 0 (none), 2 (gzip) or 3 (zlib)")
    return bits


def _bad(text: str) -> RpcError:
    return RpcError.from_errno(Errno.BAD_REQUEST, text)
