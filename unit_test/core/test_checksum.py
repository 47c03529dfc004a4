"""crc32c by the library and by the table, and what is said of a wrong one."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core import checksum
from libevrpc.core.checksum import checksum_fault, crc32c, masked_crc32c

VECTOR = bytes.fromhex("0a0b68656c6c6f20776f726c64")


@pytest.fixture
def tabled(monkeypatch):
    """Take the library away."""
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    checksum.fast_crc32c.cache_clear()
    assert checksum.fast_crc32c() is None
    yield
    checksum.fast_crc32c.cache_clear()


class OtherLibrary:
    """Stands for the `crc` extra where that is not installed."""

    implementation = "c"

    @staticmethod
    def value(data: bytes) -> int:
        return len(data)


@pytest.fixture
def other_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", OtherLibrary)
    checksum.fast_crc32c.cache_clear()
    yield
    checksum.fast_crc32c.cache_clear()


def test_vector_of_brpc() -> None:
    assert crc32c(VECTOR) == 0xE0371884
    assert masked_crc32c(VECTOR) == bytes.fromhex("d38cab46")
    assert checksum_fault(VECTOR, bytes.fromhex("d38cab46")) is None


@pytest.mark.usefixtures("tabled")
def test_vector_of_brpc_by_the_table() -> None:
    assert masked_crc32c(VECTOR) == bytes.fromhex("d38cab46")
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


@pytest.mark.usefixtures("other_library")
def test_library_without_its_c_part_is_no_library(monkeypatch) -> None:
    monkeypatch.setattr(OtherLibrary, "implementation", "python")
    assert checksum.fast_crc32c() is None


@pytest.mark.usefixtures("other_library")
def test_the_library_is_used_where_it_is_installed() -> None:
    assert crc32c(b"four") == 4
    assert masked_crc32c(b"") == (0xA282EAD8).to_bytes(4, "big")
    assert checksum_fault(bytes(checksum.SLOW_BYTES_MAX + 1), b"") is not None


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 199))
def test_any_turned_bit_is_noticed(data: bytes, at: int) -> None:
    told = masked_crc32c(data)
    assert checksum_fault(data, told) is None
    if at < len(data):
        turned = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        assert checksum_fault(turned, told) is not None


@pytest.mark.parametrize("told", [b"", b"\0", b"\xd3\x8c\xab", b"\xd3\x8c\xab\x46\0"])
def test_fault_names_both_sums(told: bytes) -> None:
    fault = checksum_fault(VECTOR, told)
    assert fault == f"checksum is {told.hex() or 'empty'}, the body has d38cab46"


@pytest.mark.usefixtures("tabled")
def test_without_the_library_a_long_body_is_refused_and_not_computed() -> None:
    fault = checksum_fault(bytes(checksum.SLOW_BYTES_MAX + 1), b"")
    assert fault is not None
    assert fault.startswith("checksum of 1048577 bytes cannot be checked here: install the crc")
