"""What a node is told, what it asks for, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from center.core.ballot import Stamp, State
from center.core.messages import Body, Report
from center.core.record import MapRecord, Record
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServiceTable

__all__ = [
    "Action",
    "CenterStatus",
    "Chance",
    "Dial",
    "DialOutcome",
    "DialResult",
    "Event",
    "LinkDown",
    "LinkUp",
    "Log",
    "LogLevel",
    "MapCommitted",
    "Message",
    "NodeStatus",
    "Persist",
    "PersistFailed",
    "Persisted",
    "Plan",
    "PlanJob",
    "Planned",
    "PlannedMap",
    "Planner",
    "RoleChanged",
    "Send",
    "ServerConnectionClosed",
    "ServerGoodbye",
    "ServerReport",
    "Tick",
]


class Chance(Protocol):
    """The part of `random.Random` that a node uses; injected, so that a seed replays."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Return a number of `k` random bits."""
        ...


class Planner(Protocol):
    """Turns the living servers into weights and tables; pure but for its own memory.

    A leader makes one when its leadership begins and drops it at the end.
    """

    def plan(
        self,
        previous: ClusterMap,
        servers: tuple[ServerEntry, ...],
        now_s: float,
        *,
        weigh: bool,
    ) -> tuple[tuple[ServerEntry, ...], tuple[ServiceTable, ...]]:
        """Return the servers with their weights and the tables over them.

        Args:
            previous: the newest map, committed or adopted.
            servers: sorted by address; `weight` is what the operator gave, `load` the last
                reported utilisation; those of state SUSPECT or DRAINING must own nothing new.
            now_s: the node's clock.
            weigh: a weight round (once per `Timing.round_s`): weights may move with load;
                else they stay as in `previous` where the server was known.

        Same input, same output; `table.members` index into the returned servers, whose
        order is that of `servers`.
        """
        ...


class PlanJob(Protocol):
    """What makes the next map. Immutable but for the planner's memory; run it once."""

    def run(self) -> PlannedMap:
        """Plan and encode: seconds, for many services. One job of a node at a time, any thread."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedMap:
    """What a `PlanJob` made.

    Attributes:
        map: the next map; None: there is nothing worth a map, or none could be made.
        payload: `map`, encoded.
        complaint: what could not be done; empty if all could.
    """

    map: ClusterMap | None
    payload: bytes = b""
    complaint: str = ""


# Events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message of a peer. The identity is the one inside the message.

    `host` is where it came from, for the log; empty if that is not known.
    """

    from_id: int
    incarnation: int
    body: Body
    host: str = ""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The connection to `peer` stands. Nodes work without it; it lifts a `LinkDown`."""

    peer: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection to `peer` closed or was refused: its process is gone, most likely.

    A hint: it may start an election early; it never shortens a quorum.
    """

    peer: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: `next_deadline_s` was reached."""


@dataclass(frozen=True, slots=True)
class Persisted:
    """The record of `Persist(token)` is durable: fsynced, renamed, directory fsynced."""

    token: int


@dataclass(frozen=True, slots=True)
class PersistFailed:
    """The record of `Persist(token)` could not be written; `text` says why."""

    token: int
    text: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The job of `Plan(token)` has ended."""

    token: tuple[int, int]
    made: PlannedMap


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server reported to this center. A report of an unknown server registers it."""

    report: Report


@dataclass(frozen=True, slots=True)
class ServerGoodbye:
    """A server said goodbye to this center."""

    address: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class ServerConnectionClosed:
    """The connection on which `session` of the server at `address` reported has closed."""

    address: str
    session: str = ""


class DialOutcome(Enum):
    """How a dial ended."""

    REFUSED = "refused"
    ACCEPTED = "accepted"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class DialResult:
    """The answer to `Dial(address, session)`. Only REFUSED counts, as proof of its death."""

    address: str
    outcome: DialOutcome
    session: str = ""


Event = (
    Message
    | LinkUp
    | LinkDown
    | Tick
    | Persisted
    | PersistFailed
    | Planned
    | ServerReport
    | ServerGoodbye
    | ServerConnectionClosed
    | DialResult
)

# Actions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` to center `to`; may be lost, doubled or late. Never to oneself."""

    to: int
    message: Body


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `record` durably, then feed `Persisted(token)` or `PersistFailed(token, text)`.

    At most one is under way per node; the node goes on with everything else meanwhile.
    """

    token: int
    record: Record


@dataclass(frozen=True, slots=True)
class Plan:
    """Run `job`, then feed `Planned(token, ...)`, always. At most one of a leadership is under way;
    a later leadership's may be asked for before an earlier one's has ended.
    """

    token: tuple[int, int]
    job: PlanJob


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to connect to the server at `address` once, then feed `DialResult` with `session`.

    A refusal is proof that this session is gone; its successor may listen a moment later.
    """

    address: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class MapCommitted:
    """`map` is committed: serve it. Stamps of successive ones only grow."""

    map: MapRecord


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """The node's state, leader or epoch changed. `leader` is None without one."""

    state: State
    leader: int | None
    epoch: int


class LogLevel(Enum):
    """How loud; `info` is life-cycle, `warning` means that someone should look."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Log:
    """One line for the log: lower case, key=value."""

    level: LogLevel
    text: str


Action = Send | Persist | Plan | Dial | MapCommitted | RoleChanged | Log

# Status ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CenterStatus:
    """One center as another sees it.

    Attributes:
        id: of the center.
        address: as the list has it.
        state: None: not known, or its link is closed.
        leader: whom it follows, None for nobody.
        last_heard_s: how long ago; None: never. A follower hears little of another one.
        trouble: why it counts for nothing, "" if it counts.
    """

    id: int
    address: str
    state: State | None
    leader: int | None
    last_heard_s: float | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node at one moment. Immutable: any thread may read it.

    Attributes:
        id: the node's own id.
        state: LOOKING .. LEADING.
        leader: id of the leader it follows or is; None without one.
        epoch: epoch of that leader, else the accepted epoch.
        accepted_epoch: what it is durably bound to.
        version: version of the served map, 0 without one.
        stamp: stamp of the served map.
        uptime_s: age of the node.
        cluster_id: "" before the first map.
        votes: it may vote (see the first-boot rule).
        centers: every listed center, itself included.
        servers: of the served map, ages counted on since the node got it.
        waiting: why it does not vote although it has no leader; else empty.
    """

    id: int
    state: State
    leader: int | None
    epoch: int
    accepted_epoch: int
    version: int
    stamp: Stamp
    uptime_s: float
    cluster_id: str
    votes: bool
    centers: tuple[CenterStatus, ...]
    servers: tuple[ServerEntry, ...]
    waiting: str
