"""gzip and zlib: what comes back, what is refused, and how little memory a bomb gets."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.compress import CompressType, compress, decompress
from libevrpc.errors import Errno, RpcError, StatusCode

KINDS = [CompressType.NONE, CompressType.GZIP, CompressType.ZLIB]
PACKED = KINDS[1:]
MIB = 1024 * 1024


def refusal(kind: int, data: bytes, inflated_bytes_max: int = MIB) -> str:
    with pytest.raises(RpcError) as caught:
        decompress(kind, data, inflated_bytes_max)
    assert caught.value.errno == Errno.BAD_REQUEST
    assert caught.value.code == StatusCode.INVALID_ARGUMENT
    return caught.value.text


@settings(max_examples=100)
@given(st.sampled_from(KINDS), st.binary(max_size=2000))
def test_round_trip(kind: int, data: bytes) -> None:
    assert decompress(kind, compress(kind, data), len(data)) == data


@settings(max_examples=300)
@given(st.sampled_from(PACKED), st.binary(max_size=60))
def test_any_bytes_inflate_or_are_refused_by_number(kind: int, data: bytes) -> None:
    try:
        assert len(decompress(kind, data, 1000)) <= 1000
    except RpcError as error:
        told = error.errno
    else:
        return
    assert told == Errno.BAD_REQUEST


def test_standard_streams_are_read() -> None:
    assert decompress(2, gzip.compress(b"hello"), MIB) == b"hello"
    assert decompress(3, zlib.compress(b"hello"), MIB) == b"hello"
    assert gzip.decompress(compress(2, b"hello")) == b"hello"
    assert zlib.decompress(compress(3, b"hello")) == b"hello"


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB])
def test_sizes_about_a_step_come_back_whole(kind: int, size: int) -> None:
    data = bytes(size)
    assert decompress(kind, compress(kind, data), size) == data
    text = f"body inflates to over {size - 1} bytes, the limit"
    assert refusal(kind, compress(kind, data), size - 1) == text


@pytest.mark.parametrize("kind", PACKED)
def test_a_bomb_is_noticed_one_step_above_the_limit(kind: int) -> None:
    bomb = compress(kind, bytes(64 * MIB))
    tracemalloc.start()
    try:
        assert refusal(kind, bomb, MIB) == f"body inflates to over {MIB} bytes, the limit"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * MIB


@pytest.mark.parametrize("kind", PACKED)
def test_cut_streams_are_refused(kind: int) -> None:
    whole = compress(kind, b"hello world" * 9)
    for size in range(len(whole)):
        assert "stream is cut short" in refusal(kind, whole[:size])


def test_other_streams_are_refused_by_name() -> None:
    assert refusal(2, zlib.compress(b"x")).startswith("body is not gzip: ")
    assert refusal(3, gzip.compress(b"x")).startswith("body is not zlib: ")
    assert refusal(2, b"plain text").startswith("body is not gzip: ")


@pytest.mark.parametrize("kind", PACKED)
def test_bytes_behind_the_stream_are_refused(kind: int) -> None:
    assert refusal(kind, compress(kind, b"x") + b"yz") == "2 bytes behind the compressed stream"


@pytest.mark.parametrize("kind", [1, 4, -1, 99])
def test_unknown_kinds_are_refused_with_what_would_be_right(kind: int) -> None:
    wanted = f"compress_type {kind} is not supported; send 0 (none), 2 (gzip) or 3 (zlib)"
    assert refusal(kind, b"x") == wanted
    with pytest.raises(RpcError, match="is not supported"):
        compress(kind, b"x")


@pytest.mark.parametrize("kind", [CompressType.GZIP, CompressType.ZLIB])
def test_body_of_many_steps_that_does_not_shrink_comes_back(kind: int) -> None:
    body = random.Random(7).randbytes(3 * 1024 * 1024 + 5)
    packed = compress(kind, body)
    assert decompress(kind, packed, len(body)) == body
    with pytest.raises(RpcError, match="100000 bytes behind the compressed stream"):
        decompress(kind, packed + bytes(100_000), len(body))
    with pytest.raises(RpcError, match="cut short"):
        decompress(kind, packed[:-1], len(body))
