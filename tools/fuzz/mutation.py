"""Makes bad streams of good ones."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["cuts", "mutated"]

STREAM_BYTES_MAX = 64 * 1024
_NUMBERS = (0, 1, 3, 4, 127, 128, 255, 1024, 1025, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_VARINTS = (b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\xfc\x7f\xff\xff\xff", b"\xf8" + b"\xff" * 8)
_TEXTS = (b"\r\n", b"\r\n\r\n", b"\0", b"{", b"[" * 300, b'"', b"9" * 40, b"-1", b"nan", b": ")
_EDITS_MAX = 6


def mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Return one to four seeds one after the other, edited in up to six places."""
    data = bytearray().join(rng.choices(seeds, k=rng.choice((1, 1, 1, 2, 3, 4))))
    for _ in range(rng.randrange(_EDITS_MAX + 1)):
        _edit(rng, data, seeds)
    return bytes(data[:STREAM_BYTES_MAX])


def _edit(rng: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(8):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(data):
            data[at] = rng.randrange(256)
        case 2:
            number = rng.choice(_NUMBERS)
            data[at : at + 4] = number.to_bytes(4, rng.choice(("little", "big")))
        case 3:
            data[at:at] = rng.choice(_VARINTS + _TEXTS)
        case 4:
            del data[at : at + rng.randrange(1, 40)]
        case 5:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.randrange(1, 80)]
        case 6:
            data[at:at] = bytes(data[at : at + rng.randrange(1, 200)]) * rng.randrange(1, 5)
        case _:
            data[at:at] = rng.randbytes(rng.randrange(1, 30))


def cuts(rng: Random, data: bytes) -> list[bytes]:
    """Return `data` in pieces: whole, in a few, or byte by byte at its beginning."""
    match rng.randrange(4):
        case 0:
            return [data]
        case 1:
            head = min(len(data), 40)
            return [data[at : at + 1] for at in range(head)] + [data[head:]]
        case _:
            places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 5)))
            return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
