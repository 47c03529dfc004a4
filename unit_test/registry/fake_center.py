"""A center that answers what a test says, and maps for it to tell."""

from __future__ import annotations

import queue
import threading
from typing import Any

from libevrpc import ServerController
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable
from libevrpc.gen import center_pb2

Told = queue.SimpleQueue[tuple[str, Any]]


def map_of(
    epoch: int, version: int, *addresses: str, cluster: str = "c", service: str = "x.Y"
) -> ClusterMap:
    servers = tuple(ServerEntry(each, (service,)) for each in sorted(addresses))
    members = tuple(range(len(servers)))
    tables = (ServiceTable((service,), members, b"\x00\x00" * 64),) if servers else ()
    return ClusterMap(cluster, epoch, version, servers, tables, (1,))


class FakeCenter:
    """Answers from `map`, notes what it was told."""

    DESCRIPTOR = center_pb2.DESCRIPTOR.services_by_name["Center"]

    def __init__(self, told: Told) -> None:
        self.told = told
        self.map: ClusterMap | None = None
        self.ready = True
        self.holds = False
        """Every question for a map waits, in `polls`, not only the long ones."""
        self.places_named: list[str] = []
        self.raw_map = b""
        self.services: list[str] = []
        self.polls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.gone = threading.Event()
        self.in_map = True

    def centers(self, request: Any) -> Any:
        return center_pb2.CentersResponse()

    def places(self, request: Any) -> Any:
        self.told.put(("places", request))
        return center_pb2.PlacesResponse(not_ready=not self.ready, places=self.places_named)

    def report(self, request: Any, controller: ServerController) -> Any:
        self.told.put(("report", request))
        controller.on_disconnect(request.address, self.gone.set)
        return center_pb2.ReportResponse(
            not_ready=not self.ready, places=self.places_named, epoch=6, in_map=self.in_map
        )

    def goodbye(self, request: Any) -> Any:
        self.told.put(("goodbye", request))
        return center_pb2.GoodbyeResponse(not_ready=not self.ready)

    def pull(self, request: Any, controller: ServerController) -> Any:
        self.told.put(("pull", request))
        if request.wait_ms or self.holds:
            self.polls.put(controller.defer())
            return None
        return self.answer()

    def answer(self) -> Any:
        response = center_pb2.PullResponse(
            not_ready=not self.ready, map=self.raw_map, services=self.services
        )
        if self.map is not None:
            response.map = self.map.encode()
        return response

    def status(self, request: Any) -> Any:
        return center_pb2.StatusResponse()
