"""What a center must not forget: the durable record and the maps inside it."""

from __future__ import annotations

from dataclasses import dataclass

from center.core.ballot import NO_STAMP, Stamp

__all__ = ["MapRecord", "Record", "Voters"]


@dataclass(frozen=True, slots=True)
class MapRecord:
    """One version of the map as it is stored and sent. Immutable.

    Attributes:
        epoch: epoch of the leader that made it, >= 1.
        version: counts on over epochs, >= 1.
        parent: stamp of the map it was made from; (0, 0) for the first one. It is what
            shows that committed maps form one line.
        payload: the encoded ClusterMap; opaque to election, storage and replication.
    """

    epoch: int
    version: int
    parent: Stamp
    payload: bytes

    @property
    def stamp(self) -> Stamp:
        """(epoch, version): what orders maps."""
        return (self.epoch, self.version)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything one center keeps on disk; written whole, before what it allows is said.

    Attributes:
        cluster_id: name of the cluster, drawn by its first leader; "" before its first map.
        accepted_epoch: largest epoch this center promised itself to; never goes back.
        map: the newest map stored, committed or not.
        committed: whether `map` is known to be committed.
        list_digest: digest of the centers list the center ran with.
        list_generation: generation of that list.
        forgot: the center had lost its memory when it made this promise, and has not got an
            established leader's map since: it must not vote.
    """

    cluster_id: str = ""
    accepted_epoch: int = 0
    map: MapRecord | None = None
    committed: bool = False
    list_digest: str = ""
    list_generation: int = 0
    forgot: bool = False

    @property
    def stamp(self) -> Stamp:
        """Stamp of the stored map, (0, 0) without one."""
        return NO_STAMP if self.map is None else self.map.stamp

    @property
    def says_something(self) -> bool:
        """Whether there is anything to remember: a promise or a map.

        A center that tries a disk which failed writes what it has, be it nothing.
        """
        return self.map is not None or self.accepted_epoch > 0

    def fits(self, voters: Voters) -> bool:
        """Return whether a process with the list `voters` may go on from this record.

        The list must be the one it was written under, or that of the next generation. Half of
        those that were given a new list could go back to an older one, and elect by it. And
        who missed a change has left meanwhile, or may have: votes from before it, beside a
        part of those that stay, could be a quorum apart from the others.
        """
        same = self.list_digest in ("", voters.digest)
        return same or voters.generation == self.list_generation + 1


@dataclass(frozen=True, slots=True)
class Voters:
    """The configured centers: who may vote.

    Attributes:
        members: id -> address, as the status shows it; ids ascending.
        digest: of the centers list; two different lists can have two majorities, so what
            comes with another digest is not counted.
        generation: counts the changes of the list.
        peer_addresses: id -> address where the others reach it, for the log; a center that
            is not in it is shown with its address in `members`.
    """

    members: tuple[tuple[int, str], ...]
    digest: str
    generation: int = 0
    peer_addresses: tuple[tuple[int, str], ...] = ()

    def peer_address(self, center: int) -> str:
        """Return where the others reach `center`."""
        return dict((*self.members, *self.peer_addresses))[center]

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids, ascending."""
        return tuple(center_id for center_id, _ in self.members)
