"""What centers say to each other: frozen values, msgpack on the wire.

One message is ``[wire version, kind, sender, incarnation, fields...]``. The seed's steps are
`Inquiry`/`Introduction` (who is there), `Proposal` (ballots), `Confirmation`/`Acceptance`
(the winner's epoch and its promise) and `Announcement` (whom I follow). `Ping`/`Pong` keep
the lease, `Put`/`Stored` replicate the map, `Fetch`/`Relay` carry a committed map to a center
that cannot see the leader, `Forward` brings the servers' reports to the leader.
"""

from __future__ import annotations

from dataclasses import dataclass

from center.core.ballot import Ballot, Stamp, State
from center.core.record import MapRecord

__all__ = [
    "Acceptance",
    "Announcement",
    "Body",
    "Confirmation",
    "Departure",
    "Fetch",
    "Forward",
    "Inquiry",
    "Introduction",
    "Join",
    "Ping",
    "Pong",
    "Proposal",
    "Put",
    "Refusal",
    "Relay",
    "Report",
    "Silent",
    "Stored",
]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Ask a center who it is. Step 3. Answered by `Introduction`, always."""

    uptime_ms: int
    digest: str
    generation: int


@dataclass(frozen=True, slots=True)
class Introduction:
    """Answer an `Inquiry`.

    Attributes:
        to_incarnation: the asker's incarnation, so that no answer outlives a restart.
        empty: no map was ever stored here, as far as the center remembers.
        accepted_epoch: what this center promised, durable or about to be, or asks others for.
        stamp: stamp of its newest map.
        state: LOOKING .. LEADING.
        leader: whom it follows; None for nobody.
        uptime_ms: its age.
        digest: of its centers list.
        generation: of its centers list.
    """

    to_incarnation: int
    empty: bool
    accepted_epoch: int
    stamp: Stamp
    state: State
    leader: int | None
    uptime_ms: int
    digest: str
    generation: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """One vote, sent to all while LOOKING and in answer to those who are LOOKING. Step 4.

    Attributes:
        round: the election round the ballot belongs to.
        ballot: whom the sender wants, or has.
        state: the sender's state; the ballot of a FOLLOWING or LEADING center names its leader.
        epoch: epoch of the established leader it follows or is; 0 without one.
        accepted_epoch: what the sender promised; a winner confirms with more than any voter's.
        committed: newest stamp the sender serves.
        digest: of its centers list.
        generation: of its centers list.
    """

    round: int
    ballot: Ballot
    state: State
    epoch: int
    accepted_epoch: int
    committed: Stamp
    digest: str
    generation: int


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The winner asks for a promise to its epoch; a leader takes a late center in. Step 6.

    Attributes:
        epoch: promise this one: accept nothing of a smaller one from now on.
        established: a quorum has promised already; nobody's opinion counts any more.
        stamp: the sender's newest map: answer with yours only if it is newer.
        cluster_id: "" while the sender has none.
        digest: of its centers list.
        lease_s: how long the sender may go on claiming to lead without an answer; who follows
            it is patient for longer.
    """

    epoch: int
    established: bool
    stamp: Stamp
    cluster_id: str
    digest: str
    lease_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The promise, durable before it is sent.

    Attributes:
        epoch: the promised epoch.
        to_incarnation: of the center it was promised to.
        map: the sender's newest map where it is newer than the confirmation's.
        committed: whether the sender knows `map` to be committed.
        stamp: stamp of the sender's newest map.
        digest: of its centers list.
    """

    epoch: int
    to_incarnation: int
    map: MapRecord | None
    committed: bool
    stamp: Stamp
    digest: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """No promise: `accepted_epoch` is what the sender is bound to; `leader` whom it follows."""

    epoch: int
    accepted_epoch: int
    leader: int | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """Tell everybody whom one follows from now on (None: nobody), in which epoch. Steps 7, 8."""

    leader: int | None
    epoch: int
    state: State


@dataclass(frozen=True, slots=True)
class Join:
    """Ask an established leader to be taken in; answered by an established `Confirmation`."""

    accepted_epoch: int
    stamp: Stamp
    digest: str


@dataclass(frozen=True, slots=True)
class Silent:
    """A server that the leader has not heard of for a while, and for how long."""

    address: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Ping:
    """A leader's sign of life, to every center.

    Attributes:
        epoch: the leader's.
        sequence: answered as it is; the leader counts its lease from when it sent it.
        committed: newest committed stamp: what followers may serve.
        silent: servers that were silent, oldest first, so that a successor goes on counting.
    """

    epoch: int
    sequence: int
    committed: Stamp
    silent: tuple[Silent, ...] = ()


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer a `Ping`; `stamp` is the newest map that is durable at the follower."""

    epoch: int
    sequence: int
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Put:
    """Store this map. Acknowledged by `Stored` when it is durable, else not at all."""

    epoch: int
    cluster_id: str
    map: MapRecord


@dataclass(frozen=True, slots=True)
class Stored:
    """The map with `stamp` is durable here; counts in `epoch` alone."""

    epoch: int
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask a follower for the committed map if it is newer than `newer_than`."""

    newer_than: Stamp


@dataclass(frozen=True, slots=True)
class Relay:
    """A committed map, from one center that serves it to another that asked."""

    cluster_id: str
    map: MapRecord


@dataclass(frozen=True, slots=True)
class Report:
    """What a server tells of itself each second, wherever it arrived.

    Attributes:
        address: where clients dial it.
        services: full names of what it offers.
        load: utilisation 0..1 of its scarcest resource.
        weight: capacity that its operator gave it, > 0.
        draining: it finishes what runs and wants nothing new.
        tags: words for filters.
        session: drawn anew by each process ("": unknown); a goodbye ends one session only.
    """

    address: str
    services: tuple[str, ...]
    load: float = 0.0
    weight: float = 1.0
    draining: bool = False
    tags: tuple[str, ...] = ()
    session: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """A server is known to be gone: it said goodbye, or its port refused a dial.

    Attributes:
        address: of the server.
        session: the session that ended. "": its goodbye means whatever runs there, its
            refusal a server that tells no session.
        goodbye: it left on purpose.
    """

    address: str
    session: str = ""
    goodbye: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """Reports and departures on their way to the leader, newest of each server."""

    reports: tuple[Report, ...] = ()
    departures: tuple[Departure, ...] = ()


Body = (
    Inquiry
    | Introduction
    | Proposal
    | Confirmation
    | Acceptance
    | Refusal
    | Announcement
    | Join
    | Ping
    | Pong
    | Put
    | Stored
    | Fetch
    | Relay
    | Forward
)
