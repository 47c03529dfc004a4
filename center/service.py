"""`evrpc.Center`: what servers, clients and operators ask, answered from snapshots.

Every handler runs inline on a loop of the center's `RpcServer` and neither blocks nor
locks: it reads the current `Front`, or hands something to the node's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from center.core.codec import TEXT_CHARS_MAX
from center.core.events import (
    Event,
    NodeStatus,
    ServerConnectionClosed,
    ServerGoodbye,
    ServerReport,
)
from center.core.members import NAMES_SHARED_MAX, flaw_of
from center.core.messages import Report
from center.front import Front
from center.polls import LongPoll, LongPolls, response_of
from libevrpc import Deferred, RpcError, ServerController, StatusCode
from libevrpc.clock import monotonic_s
from libevrpc.gen import center_pb2

__all__ = ["CenterService", "Desk", "status_message"]

WAIT_MAX_S = 60.0
"""Longest a question may wait for news."""


class Desk(Protocol):
    """The node's thread, as the service sees it."""

    def submit(self, event: Event) -> bool:
        """Hand an event of a server to the node; False if too many wait. Any thread."""

    def reported(self, address: str, peer: str) -> None:
        """Note that the connection from `peer` reported `address`. Any thread."""

    def ask_status(self, deferred: Deferred) -> bool:
        """Answer `deferred` with the node's status; False if too many wait. Any thread."""


class CenterService:
    """The handlers. Loop threads only.

    Args:
        front: returns the current snapshot.
        polls: where questions wait.
        desk: the node's thread.
    """

    DESCRIPTOR = center_pb2.DESCRIPTOR.services_by_name["Center"]

    def __init__(self, front: Callable[[], Front], polls: LongPolls, desk: Desk) -> None:
        self._front = front
        self._polls = polls
        self._desk = desk
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}  # each step is atomic: any loop

    def centers(self, request: center_pb2.CentersRequest) -> center_pb2.CentersResponse:
        """Return the list; not ready while there is no leader."""
        front = self._front()
        return center_pb2.CentersResponse(not_ready=not front.led, centers=front.centers)

    def places(self, request: center_pb2.PlacesRequest) -> center_pb2.PlacesResponse:
        """Return where to report."""
        front = self._front()
        return center_pb2.PlacesResponse(
            not_ready=not front.led, centers=front.centers, places=front.places(request.address)
        )

    def report(
        self, request: center_pb2.ReportRequest, controller: ServerController
    ) -> center_pb2.ReportResponse:
        """Take a report; it registers an unknown server."""
        front = self._front()
        if not front.led:
            return center_pb2.ReportResponse(not_ready=True, centers=front.centers)
        services, tags = tuple(request.services), tuple(request.tags)
        report = Report(
            request.address,
            self._names.get(services, services),
            request.load,
            request.weight or 1.0,
            request.draining,
            self._names.get(tags, tags),
            request.session,
        )
        flaw = flaw_of(report)
        if flaw:
            raise RpcError(StatusCode.INVALID_ARGUMENT, flaw)
        if report.services is services or report.tags is tags:
            self._share(services, tags)
        self._hand_over(ServerReport(report))
        address, session, peer = report.address, report.session, controller.peer
        self._desk.reported(address, peer)

        def closed() -> None:
            self._desk.reported(address, peer)  # whoever reported it since: this one is meant
            self._desk.submit(ServerConnectionClosed(address, session))

        controller.on_disconnect(address, closed)
        return center_pb2.ReportResponse(
            centers=front.centers,
            places=front.places(report.address),
            epoch=front.stamp[0],
            in_map=front.names(report.address),
        )

    def goodbye(self, request: center_pb2.GoodbyeRequest) -> center_pb2.GoodbyeResponse:
        """Take a server's goodbye."""
        front = self._front()
        if not front.led:
            return center_pb2.GoodbyeResponse(not_ready=True, centers=front.centers)
        self._hand_over(ServerGoodbye(request.address, request.session))
        return center_pb2.GoodbyeResponse(centers=front.centers)

    def pull(
        self, request: center_pb2.PullRequest, controller: ServerController
    ) -> center_pb2.PullResponse | None:
        """Return the part of a service, now or when there is a newer map."""
        if len(request.service) > TEXT_CHARS_MAX:  # it is kept for as long as the question waits
            text = f"a service's name has at most {TEXT_CHARS_MAX} characters"
            raise RpcError(StatusCode.INVALID_ARGUMENT, f"{text}, not {len(request.service)}")
        front = self._front()
        stamp = (request.epoch, request.version)
        ours = front.map is not None and front.map.cluster_id == request.cluster_id
        if front.map is not None and not ours:
            stamp = (0, 0)  # nothing, or another cluster's map: tell ours
        if not request.wait_ms or not front.led or front.map is None or front.stamp > stamp:
            return response_of(front, request.service, stamp)
        until_s = monotonic_s() + min(WAIT_MAX_S, request.wait_ms / 1000.0)
        poll = LongPoll(controller.defer(), request.service, stamp, until_s)
        self._polls.add(poll)
        controller.on_cancel(lambda: self._polls.forget(poll))
        return None

    def status(
        self, request: center_pb2.StatusRequest, controller: ServerController
    ) -> center_pb2.StatusResponse | None:
        """Return the node's status, from its own thread."""
        if not self._desk.ask_status(controller.defer()):
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many ask for the status")
        return None

    def _share(self, *lists: tuple[str, ...]) -> None:
        """Keep the copy that later reports share: thousands that wait say the same names."""
        if len(self._names) >= NAMES_SHARED_MAX:
            self._names.clear()
        for names in lists:
            self._names.setdefault(names, names)

    def _hand_over(self, event: Event) -> None:
        if not self._desk.submit(event):
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "too many servers report at once")


def status_message(
    status: NodeStatus, leads: bool, live: Collection[int]
) -> center_pb2.StatusResponse:
    """Turn a node's status into the message. Any thread.

    Args:
        status: of the node.
        leads: it may claim to lead.
        live: the centers that the leader hears, as the served map has them.
    """
    message = center_pb2.StatusResponse(
        id=status.id,
        state=status.state.name,
        leader=status.leader or 0,
        epoch=status.epoch,
        version=status.version,
        uptime_s=status.uptime_s,
        cluster_id=status.cluster_id,
        leads=leads,
        map_epoch=status.stamp[0],
        waiting=status.waiting,
    )
    for center in status.centers:
        message.centers.add(
            id=center.id,
            state=center.state.name if center.state is not None else "UNKNOWN",
            address=center.address,
            leader=center.leader or 0,
            last_heard_s=-1.0 if center.last_heard_s is None else center.last_heard_s,
            heard_by_leader=center.id in live,
            trouble=center.trouble,
        )
    for server in status.servers:
        message.servers.add(
            address=server.address,
            services=server.services,
            weight=server.weight,
            state=server.state.name,
            age_s=server.age_s,
            load=server.load,
        )
    return message
