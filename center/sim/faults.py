"""What goes wrong, and when: plain values, drawn by `scenario` and acted out by `storm`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "Aim",
    "ClientCrash",
    "Crash",
    "Cut",
    "DiskTrouble",
    "Fault",
    "Flap",
    "Isolation",
    "ListChange",
    "Moment",
    "Mute",
    "OldList",
    "OtherList",
    "Pause",
    "ServerCrash",
    "ServerLeave",
    "StepCrash",
]


@dataclass(frozen=True, slots=True)
class Aim:
    """Which center: the one that leads when the fault strikes if `leader`, else `center`."""

    center: int
    leader: bool = False


class Moment(Enum):
    """The protocol step after which a center dies."""

    STEP = "step"
    """An event was handled that had something to say."""
    PERSIST = "persist"
    """A write was issued."""
    DURABLE = "durable"
    """A write is durable, and the node has not heard of it."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A center dies, and is started again.

    Attributes:
        at_s: when.
        aim: which.
        down_s: for how long.
        wipe: its disk is empty afterwards; left undone where too many have forgotten already.
        lands: what was being written then is on the disk all the same.
        torn: a wiped disk is not empty: there is a record that cannot be believed.
    """

    at_s: float
    aim: Aim
    down_s: float
    wipe: bool = False
    lands: bool = False
    torn: bool = False


@dataclass(frozen=True, slots=True)
class StepCrash:
    """A center dies right after a protocol step.

    Attributes:
        at_s: from when on its steps count.
        aim: which center.
        moment: which steps count.
        nth: at which of them it dies, 1 for the first.
        keep: the share 0..1 of the step's actions that are still carried out.
        down_s, wipe, lands, torn: see `Crash`.
    """

    at_s: float
    aim: Aim
    moment: Moment
    nth: int
    keep: float
    down_s: float
    wipe: bool = False
    lands: bool = False
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A center's process stands still; what arrives meanwhile waits for it."""

    at_s: float
    aim: Aim
    span_s: float


@dataclass(frozen=True, slots=True)
class Cut:
    """What is sent from the first of each pair to the second is lost."""

    at_s: float
    span_s: float
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Isolation:
    """One center is cut off from all others: what it sends, what it is sent, or both."""

    at_s: float
    span_s: float
    aim: Aim
    outward: bool
    inward: bool


@dataclass(frozen=True, slots=True)
class Flap:
    """A connection breaks though both processes live and nothing else is lost."""

    at_s: float
    span_s: float
    one: int
    other: int


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """Writes of a center take `delay_s`, and fail if `fails`.

    Attributes:
        at_s: when.
        span_s: for how long.
        aim: which center.
        delay_s: what each write takes longer.
        fails: see above.
        lands: what is said to have failed is on the disk all the same, as where the folder could
            not be synced after the file was in its place.
    """

    at_s: float
    span_s: float
    aim: Aim
    delay_s: float
    fails: bool
    lands: bool = False


@dataclass(frozen=True, slots=True)
class OtherList:
    """A center is restarted with another centers list, and later with the right one.

    Attributes:
        at_s: when.
        span_s: from its end to the end of what it was started as instead.
        center: which.
        members: of that list, the center among them.
        down_s: how long each restart takes.
    """

    at_s: float
    span_s: float
    center: int
    members: tuple[int, ...]
    down_s: float


@dataclass(frozen=True, slots=True)
class ListChange:
    """An operator gives the cluster another list, as docs/election.md has it.

    Attributes:
        at_s: when; later if an earlier change is not done by then.
        members: of the new list; left undone where too few of either list would stay.
        down_s: how long each restart takes.
        back_s: so long after the change those that left come back, with the old list and their
            old disks, until all is healed or they are of the list again; 0: they stay away.
        forgets: those of them that come into the list again are started with their old folders
            first, and refuse; emptied only then.
        apart_s: for so long those that come, and the first of those that stay, hear nothing of
            the others, from the moment when they are started.
    """

    at_s: float
    members: tuple[int, ...]
    down_s: float
    back_s: float = 0.0
    forgets: bool = False
    apart_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OldList:
    """Centers are restarted with the list that they had before their last, and later put right.

    Attributes:
        at_s: when.
        span_s: until they are put right.
        centers: which; those that never had another list are left alone.
        down_s: how long each restart takes.
    """

    at_s: float
    span_s: float
    centers: tuple[int, ...]
    down_s: float


@dataclass(frozen=True, slots=True)
class ServerCrash:
    """A server dies, and is started again."""

    at_s: float
    server: int
    down_s: float


@dataclass(frozen=True, slots=True)
class ServerLeave:
    """A server says goodbye, and is started again."""

    at_s: float
    server: int
    away_s: float


@dataclass(frozen=True, slots=True)
class Mute:
    """Nothing passes between `ends` (servers and clients, by name) and `centers`."""

    at_s: float
    span_s: float
    ends: tuple[str, ...]
    centers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClientCrash:
    """A client dies, and is started again."""

    at_s: float
    client: int
    down_s: float


Fault = (
    Crash
    | StepCrash
    | Pause
    | Cut
    | Isolation
    | Flap
    | DiskTrouble
    | OtherList
    | ListChange
    | OldList
    | ServerCrash
    | ServerLeave
    | Mute
    | ClientCrash
)
