"""Questions to the centers of a target, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from libevrpc import RpcClient, Stub
from libevrpc.cli.output import ExitStatus, status_of_error
from libevrpc.core.clustermap import ClusterMap
from libevrpc.core.targets import Target
from libevrpc.errors import Errno, ProtocolError, RpcError, StatusCode
from libevrpc.gen import center_pb2
from libevrpc.registry.center_link import hint_of

__all__ = ["ask_map", "ask_status"]

_CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]
Found = TypeVar("Found")


def ask_status(
    target: Target, timeout_s: float | None, token_file: str | None
) -> center_pb2.StatusResponse:
    """Return the status of the first center that answers.

    Raises:
        RpcError: none does; it says what each of them did instead.
    """

    def ask(center: Stub) -> center_pb2.StatusResponse:
        status: center_pb2.StatusResponse
        status = center.Status(center_pb2.StatusRequest(), idempotent=True)
        return status

    return _first(target, timeout_s, token_file, ask)


def ask_map(target: Target, timeout_s: float | None, token_file: str | None) -> ClusterMap:
    """Return the whole map, of the first center that has one.

    Raises:
        RpcError: none has; it says what each of them did instead.
    """

    def ask(center: Stub) -> ClusterMap:
        response: center_pb2.PullResponse
        response = center.Pull(center_pb2.PullRequest(), idempotent=True)
        if not response.map:
            why = "it has no leader" if response.stale else "it has no map yet"
            raise RpcError(StatusCode.UNAVAILABLE, why)
        try:
            return ClusterMap.decode(response.map)
        except ProtocolError as exc:
            raise RpcError.from_errno(Errno.BAD_RESPONSE, str(exc)) from None

    return _first(target, timeout_s, token_file, ask)


def _first(
    target: Target,
    timeout_s: float | None,
    token_file: str | None,
    ask: Callable[[Stub], Found],
) -> Found:
    """Return the answer of the first center that has one.

    Raises:
        RpcError: none has.
    """
    failures: dict[str, RpcError] = {}
    for endpoint in target.endpoints:
        try:
            with RpcClient(endpoint.address, timeout_s=timeout_s, token_file=token_file) as client:
                return ask(client.stub(_CENTER))
        except RpcError as exc:
            failures[endpoint.address] = _explained(exc)
    raise _of_all(failures)


def _of_all(failures: dict[str, RpcError]) -> RpcError:
    """Return one error for what all centers did; its status is that of one that answered."""
    told = "; ".join(
        each.text if address in each.text else f"{address}: {each.text}"
        for address, each in failures.items()
    )
    nearest = min(
        failures.values(), key=lambda each: status_of_error(each) is ExitStatus.UNREACHABLE
    )
    text = told if len(failures) == 1 else f"no center can tell ({told})"
    return RpcError(nearest.code, text, errno=nearest.errno, details=nearest.details)


def _explained(failure: RpcError) -> RpcError:
    """Return the error with a word on what the address seems to be instead of a center."""
    hint = hint_of(failure.errno, failure.text)
    if not hint:
        return failure
    text = f"{failure.text}; {hint}"
    return RpcError(failure.code, text, errno=failure.errno, details=failure.details)
