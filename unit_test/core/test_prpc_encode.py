"""What encoders write: golden bytes, limits, the memory of constant parts."""

from __future__ import annotations

import pytest

from libevrpc.core import prpc_encode
from libevrpc.core.prpc_encode import RequestEncoder, encode_error, encode_reply
from libevrpc.errors import ERROR_TEXT_BYTES_MAX, Errno, RpcError
from unit_test.core.prpc_frames import decode

REQUEST_HEX = (
    "50525043 00000026 00000022 0a1e 0a13 6578616d706c652e4563686f53657276696365"
    "1204 4563686f 408906 2007 0a026869"
)


def error_text(text: str) -> str:
    [(_, *fields)] = decode("client", encode_error(1, 2001, text), limits=prpc_encode_limits())
    return dict(fields)["error_text"]  # type: ignore[arg-type]


def prpc_encode_limits():
    from libevrpc.core.prpc import WireLimits

    return WireLimits()


def test_usual_request_has_the_bytes_of_brpc() -> None:
    encoder = RequestEncoder("example.EchoService", "Echo")
    for _ in range(2):
        data = encoder.encode(7, bytes.fromhex("0a026869"), timeout_ms=777)
        assert data == bytes.fromhex(REQUEST_HEX)


def test_usual_reply_says_success_by_an_empty_response() -> None:
    assert encode_reply(7, b"hi") == b"PRPC" + bytes.fromhex("00000006 00000004 1200 2007 6869")


def test_memory_of_timeouts_is_bounded() -> None:
    encoder = RequestEncoder("a.B", "C")
    for timeout_ms in range(3 * prpc_encode._PREFIXES_MAX):  # noqa: SLF001
        encoder.encode(1, b"", timeout_ms=timeout_ms)
        assert len(encoder._prefixes) <= prpc_encode._PREFIXES_MAX  # noqa: SLF001


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_long_error_text_is_cut_between_characters(width: int) -> None:
    letter = {1: "x", 2: "ß", 3: "败", 4: "😀"}[width]
    for lead in ("", "a", "ab", "abc"):
        got = error_text(lead + letter * ERROR_TEXT_BYTES_MAX)
        size = len(got.encode())
        assert "\ufffd" not in got
        assert ERROR_TEXT_BYTES_MAX - width < size <= ERROR_TEXT_BYTES_MAX


def test_error_text_of_just_the_limit_is_whole() -> None:
    text = "x" * ERROR_TEXT_BYTES_MAX
    assert error_text(text) == text


def test_texts_that_are_no_unicode_are_sent_all_the_same() -> None:
    assert error_text("a\udc80b") == "a?b"
    [(_, *fields)] = decode("client", encode_reply(1, b"", user_fields={"k\udc80": "\udcffv"}))
    assert dict(fields)["user_fields"] == {"k?": "?v"}  # type: ignore[arg-type]


def test_an_error_needs_a_number() -> None:
    with pytest.raises(AssertionError, match="needs a number"):
        encode_error(1, 0, "success?")


LONG = {"key": "v" * prpc_encode.META_BYTES_MAX, "grpc-status": "8"}


def test_metadata_that_would_cost_the_connection_is_refused_before_it_is_sent() -> None:
    encoder = RequestEncoder("a.B", "C")
    with pytest.raises(RpcError, match="names and metadata of 655.. bytes, limit 65536") as asked:
        encoder.encode(1, b"", timeout_ms=1, user_fields=LONG)
    assert asked.value.errno == Errno.BAD_REQUEST
    with pytest.raises(RpcError, match="limit 65536") as replied:
        encode_reply(1, b"", user_fields=LONG)
    assert replied.value.errno == Errno.BAD_RESPONSE


def test_error_with_metadata_that_is_too_long_is_sent_with_its_status_alone() -> None:
    [(_, *fields)] = decode("client", encode_error(1, 2004, "full", LONG))
    told = dict(fields)  # type: ignore[arg-type]
    assert (told["error_code"], told["error_text"]) == (2004, "full")
    assert told["user_fields"] == {"grpc-status": "8"}
