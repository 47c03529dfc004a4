"""Numbers, statuses and texts of errors."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.errors import (
    ConfigError,
    Errno,
    EvrpcError,
    ProtocolError,
    RpcError,
    StatusCode,
    UsageError,
    errno_of,
    status_of,
)


@pytest.mark.parametrize("status", StatusCode)
def test_each_status_travels_and_comes_back(status: StatusCode) -> None:
    back = status_of(errno_of(status))
    assert back == (StatusCode.INTERNAL if status is StatusCode.UNKNOWN else status)


@pytest.mark.parametrize(
    ("errno", "status"),
    [
        (0, StatusCode.OK),
        (1001, StatusCode.UNIMPLEMENTED),
        (1002, StatusCode.UNIMPLEMENTED),
        (1003, StatusCode.INVALID_ARGUMENT),
        (1004, StatusCode.UNAUTHENTICATED),
        (1005, StatusCode.ABORTED),
        (1008, StatusCode.DEADLINE_EXCEEDED),
        (1009, StatusCode.UNAVAILABLE),
        (1011, StatusCode.RESOURCE_EXHAUSTED),
        (1014, StatusCode.UNAVAILABLE),
        (1018, StatusCode.UNAVAILABLE),
        (1019, StatusCode.DEADLINE_EXCEEDED),
        (2001, StatusCode.INTERNAL),
        (2002, StatusCode.INTERNAL),
        (2003, StatusCode.UNAVAILABLE),
        (2004, StatusCode.RESOURCE_EXHAUSTED),
        (2005, StatusCode.UNAVAILABLE),
        (2007, StatusCode.INTERNAL),
        (3001, StatusCode.INTERNAL),
        (111, StatusCode.UNAVAILABLE),
        (125, StatusCode.CANCELLED),
        (133, StatusCode.UNAVAILABLE),
        (134, StatusCode.UNKNOWN),
        (4000, StatusCode.UNKNOWN),
        (4001, StatusCode.CANCELLED),
        (4007, StatusCode.PERMISSION_DENIED),
        (4016, StatusCode.UNAUTHENTICATED),
        (4017, StatusCode.UNKNOWN),
        (-1, StatusCode.UNKNOWN),
        (70_000, StatusCode.UNKNOWN),
    ],
)
def test_wire_number_reads_as_status(errno: int, status: StatusCode) -> None:
    assert status_of(errno) is status


def test_every_number_of_ours_has_a_status() -> None:
    assert all(status_of(each) is not StatusCode.UNKNOWN or each == Errno.HTTP for each in Errno)


@given(st.integers())
def test_any_number_has_a_status_and_only_zero_is_success(errno: int) -> None:
    assert (status_of(errno) is StatusCode.OK) == (errno == 0)


@given(st.integers(), st.text())
def test_details_never_make_a_failure_a_success(errno: int, told: str) -> None:
    error = RpcError.from_errno(errno, "text", {"grpc-status": told})
    assert errno == 0 or error.code is not StatusCode.OK


@pytest.mark.parametrize("told", ["0", "17", "-3", "x", "", "1.0", "²", "9" * 5000])
def test_grpc_status_that_makes_no_sense_is_ignored(told: str) -> None:
    assert RpcError.from_errno(2001, "text", {"grpc-status": told}).code is StatusCode.INTERNAL


def test_grpc_status_refines_the_number() -> None:
    error = RpcError.from_errno(2001, "boom", {"grpc-status": "2", "more": "x"})
    assert (error.code, error.errno) == (StatusCode.UNKNOWN, 2001)
    assert error.details == {"grpc-status": "2", "more": "x"}
    assert str(error) == "UNKNOWN (2001): boom"


def test_rpc_error_knows_the_number_of_its_status() -> None:
    error = RpcError(StatusCode.NOT_FOUND, "no such key")
    assert (error.errno, error.text, error.details) == (4005, "no such key", {})
    assert RpcError(StatusCode.UNKNOWN, "own", errno=77_000).errno == 77_000


def test_one_root_catches_all() -> None:
    assert issubclass(ConfigError, UsageError)
    for each in (UsageError, ProtocolError, RpcError):
        assert issubclass(each, EvrpcError)


def test_rpc_error_can_be_copied_which_is_how_it_crosses_processes() -> None:
    error = RpcError(StatusCode.NOT_FOUND, "no such key", errno=77_000, details={"key": "a"})
    back = copy.copy(error)
    assert (back.code, back.errno, back.text, back.details) == (
        error.code, error.errno, error.text, error.details,
    )  # fmt: skip
    assert str(back) == str(error)
