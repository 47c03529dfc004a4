"""What the PRPC tests share: frames by hand, events as plain values, cuts."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from libevrpc.core.prpc import (
    BadRequest,
    Broken,
    Dropped,
    Event,
    PrpcDecoder,
    Reply,
    Request,
    WireLimits,
)

REQUEST_FIELDS = tuple(sorted(Request.__slots__))
REPLY_FIELDS = tuple(sorted(Reply.__slots__))
SMALL = WireLimits(body_bytes_max=4096, header_bytes_max=1024)


def plain(event: Event) -> tuple[object, ...]:
    """Return an event as a value that can be compared."""
    match event:
        case Request():
            return ("Request", *((name, getattr(event, name)) for name in REQUEST_FIELDS))
        case Reply():
            return ("Reply", *((name, getattr(event, name)) for name in REPLY_FIELDS))
        case BadRequest(correlation_id, errno, text):
            return ("BadRequest", correlation_id, int(errno), text)
        case Dropped(reason):
            return ("Dropped", reason)
        case Broken(error):
            return ("Broken", type(error).__name__, str(error))


def frame(meta: bytes, body: bytes = b"") -> bytes:
    sizes = (len(meta) + len(body)).to_bytes(4, "big") + len(meta).to_bytes(4, "big")
    return b"PRPC" + sizes + meta + body


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    spelled = bytearray()
    while value >= 0x80:
        spelled.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*spelled, value))


def field(number: int, value: bytes | int) -> bytes:
    """Return one protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def call(service: bytes = b"a.B", method: bytes = b"C", *rest: bytes) -> bytes:
    """Return field 1 of a request's meta."""
    return field(1, field(1, service) + field(2, method) + b"".join(rest))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(data)) for each in at), len(data)]
    return [data[left:right] for left, right in itertools.pairwise(edges)]


def feed(decoder: PrpcDecoder, chunks: list[bytes]) -> list[tuple[object, ...]]:
    return [plain(event) for chunk in chunks for event in decoder.receive_data(chunk)]


def decode(side: str, data: bytes, limits: WireLimits = SMALL) -> list[tuple[object, ...]]:
    return feed(PrpcDecoder(side, limits), [data])  # type: ignore[arg-type]


CUTS = st.lists(st.integers(0, 300), max_size=12)
