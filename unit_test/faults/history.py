"""What observers saw of a cluster, written down while it happened and checked afterwards.

A history is a file of lines, one JSON array each, by any number of observers on one
machine's clock. Every record has the moment of the question and that of the answer: what an
observer saw was so at some instant between the two. The checks take one pass over the
records in the order of time and assume nothing about what lies between them:

* forward: no center, and no client, ever shows an older map than it showed before.
* one content: an epoch and version names one map, wherever it is seen.
* committed: what a client holds is what some center served, or may have served unseen.
* one leader: no epoch has two centers that claim to lead.

Two more are figures, not verdicts: how long two centers claimed to lead at the same time, at
most and at least, and how old the map was that a center served.
"""

from __future__ import annotations

import bisect
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

__all__ = [
    "Call",
    "Claim",
    "History",
    "Read",
    "Record",
    "Writer",
    "faults_of",
    "lag_s",
    "reigns_of",
    "two_claimants_s",
]

Stamp = tuple[int, int]
"""Epoch and version of a map."""


@dataclass(frozen=True, slots=True)
class Read:
    """A map that a center served.

    Attributes:
        reader: who asked.
        source: name of the center.
        call_s, return_s: when.
        epoch, version: of the map; 0, 0: it had none.
        digest: of its content.
        stale: the center said that it follows nobody.
        servers: addresses in it; None: as when this center showed this map before.
    """

    reader: str
    source: str
    call_s: float
    return_s: float
    epoch: int
    version: int
    digest: int
    stale: bool = False
    servers: tuple[str, ...] | None = None

    @property
    def stamp(self) -> Stamp:
        """Epoch and version."""
        return self.epoch, self.version


@dataclass(frozen=True, slots=True)
class Claim:
    """What a center said of itself.

    Attributes:
        reader, source, call_s, return_s: as of a `Read`.
        leads: it claimed to lead, its lease unexpired.
        epoch: the one it leads or follows in.
        leader: id of the center it follows, itself included; 0: nobody.
    """

    reader: str
    source: str
    call_s: float
    return_s: float
    leads: bool
    epoch: int
    leader: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a client.

    Attributes:
        client: who called.
        call_s, return_s: when.
        epoch, version: of the map that the client held at the return; 0, 0: none.
        failure: why it failed; empty: it returned what it should.
    """

    client: str
    call_s: float
    return_s: float
    epoch: int
    version: int
    failure: str = ""

    @property
    def stamp(self) -> Stamp:
        """Epoch and version."""
        return self.epoch, self.version


Record = Read | Claim | Call
_KINDS: dict[str, type[Record]] = {each.__name__: each for each in (Read, Claim, Call)}


class Writer:
    """Appends records to a file; each is one write, so any number of threads may share it."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, record: Record) -> None:
        """Write one record."""
        line = json.dumps([type(record).__name__, *astuple(record)], separators=(",", ":"))
        os.write(self._fd, f"{line}\n".encode())

    def close(self) -> None:
        """Close the file. Once."""
        os.close(self._fd)


@dataclass(slots=True)
class History:
    """Records in the order of their returns."""

    reads: list[Read] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Sort records by the moment of their answers."""
        history = cls()
        for record in sorted(records, key=lambda each: each.return_s):
            match record:
                case Read():
                    history.reads.append(record)
                case Claim():
                    history.claims.append(record)
                case Call():
                    history.calls.append(record)
        return history

    @classmethod
    def load(cls, *files: Path) -> History:
        """Read the files of several observers; a last line that is half written is left."""
        return cls.of(record for file in files for record in _records_of(file))

    def between(self, from_s: float, to_s: float = float("inf")) -> History:
        """Return what was asked and answered within these moments."""
        return History(
            [each for each in self.reads if from_s <= each.call_s and each.return_s <= to_s],
            [each for each in self.claims if from_s <= each.call_s and each.return_s <= to_s],
            [each for each in self.calls if from_s <= each.call_s and each.return_s <= to_s],
        )

    def first_read(self, epoch_above: int, sources: Sequence[str]) -> Read | None:
        """Return the first answer of one of `sources` with a map of a newer epoch."""
        found = (r for r in self.reads if r.epoch > epoch_above and r.source in sources)
        return next(found, None)


def _records_of(file: Path) -> Iterator[Record]:
    with file.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                break  # half written: what follows is its other half
            kind, *fields = json.loads(line)
            if kind == "Read" and fields[-1] is not None:
                fields[-1] = tuple(fields[-1])
            yield _KINDS[kind](*fields)


# Verdicts -----------------------------------------------------------------------------------


def faults_of(history: History) -> list[str]:
    """Return what must never be seen and was; empty: nothing."""
    return [
        *_backwards(history),
        *_contents(history),
        *_uncommitted(history),
        *_leaders(history),
    ]


def _backwards(history: History) -> Iterator[str]:
    """A later question must not be answered with an older map than an earlier answer had."""
    seen: dict[str, list[Read | Call]] = defaultdict(list)
    for read in history.reads:
        seen[f"center {read.source}"].append(read)
    for call in history.calls:
        if call.epoch:
            seen[f"client {call.client}"].append(call)
    for source, shown in seen.items():
        asked = sorted(shown, key=lambda each: each.call_s)
        answered = iter(shown)
        before, newest = next(answered), (0, 0)
        for each in asked:
            # The newest that had been answered when this question was put.
            while before.return_s < each.call_s:
                newest = max(newest, before.stamp)
                before = next(answered)
            if each.stamp < newest:
                yield f"{source} went back from {newest} to {each.stamp} at {each.call_s:.3f}"


def _contents(history: History) -> Iterator[str]:
    """One stamp, one content."""
    first: dict[Stamp, Read] = {}
    for read in history.reads:
        known = first.setdefault(read.stamp, read)
        if known.digest != read.digest:
            yield f"two maps {read.stamp}: of center {known.source} and of {read.source}"


def _uncommitted(history: History) -> Iterator[str]:
    """What a client holds, a center served before; or may have, between two looks at it."""
    looks: dict[str, dict[Stamp, float]] = defaultdict(dict)
    for read in history.reads:
        looks[read.source][read.stamp] = read.call_s
    ordered = [sorted(last.items()) for last in looks.values()]
    judged: set[Stamp] = set()
    for call in history.calls:
        if call.epoch and call.stamp not in judged:
            judged.add(call.stamp)
            if not any(_possible(call, last) for last in ordered):
                yield f"client {call.client} holds {call.stamp}, which no center can have served"


def _possible(call: Call, last: list[tuple[Stamp, float]]) -> bool:
    """Whether a center may have served the map of `call` before the call's return.

    Args:
        call: of a client that holds the map.
        last: each map that the center showed, oldest first, with the last question that was
            answered with it: what is newer came after that.
    """
    place = bisect.bisect_left(last, (call.stamp, -1.0))
    return place == 0 or last[place - 1][1] <= call.return_s


def _leaders(history: History) -> Iterator[str]:
    """One epoch, one leader."""
    leader: dict[int, str] = {}
    for claim in history.claims:
        if claim.leads and leader.setdefault(claim.epoch, claim.source) != claim.source:
            yield f"centers {leader[claim.epoch]} and {claim.source} lead in epoch {claim.epoch}"


# Figures ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reign:
    """Claims of one center in a row.

    Attributes:
        source, epoch: whose, and in which.
        from_s, to_s: at its widest: first question to last answer.
        sure_from_s, sure_to_s: what is sure of it: first answer to last question.
    """

    source: str
    epoch: int
    from_s: float
    to_s: float
    sure_from_s: float
    sure_to_s: float


def reigns_of(history: History) -> list[Reign]:
    """Return every reign, by its begin; one that is seen again after a break is another."""
    current: dict[str, Reign | None] = {}
    reigns: list[Reign] = []
    for claim in history.claims:
        reign = current.get(claim.source)
        if not claim.leads:
            current[claim.source] = None
        elif reign is not None and reign.epoch == claim.epoch:
            reign.to_s, reign.sure_to_s = claim.return_s, claim.call_s
        else:
            asked_s, told_s = claim.call_s, claim.return_s
            reign = Reign(claim.source, claim.epoch, asked_s, told_s, told_s, asked_s)
            current[claim.source] = reign
            reigns.append(reign)
    return sorted(reigns, key=lambda each: each.from_s)


def two_claimants_s(history: History, *, surely: bool = False) -> float:
    """Return for how long at most two centers claimed to lead at once, seconds.

    Args:
        history: what was seen.
        surely: at least, instead: an answer that its reader took up late proves no claim then.
    """
    both_s = 0.0
    until: dict[str, float] = {}
    for reign in reigns_of(history):
        from_s, to_s = reign.from_s, reign.to_s
        if surely:
            from_s, to_s = reign.sure_from_s, reign.sure_to_s
        others = [end_s for source, end_s in until.items() if source != reign.source]
        both_s += max(0.0, min(max(others, default=0.0), to_s) - from_s)
        until[reign.source] = max(to_s, until.get(reign.source, 0.0))
    return both_s


def lag_s(history: History, source: str, until_s: float) -> float:
    """Return how long at most `source` went without a map that other centers served, seconds.

    A map that it does not show by the end of the history counts until `until_s`.
    """
    first: dict[Stamp, float] = {}
    for read in history.reads:
        if read.source != source:
            first.setdefault(read.stamp, read.return_s)
    worst_s = 0.0
    waiting = sorted(first.items())
    for read in history.reads:
        if read.source == source:
            while waiting and waiting[0][0] <= read.stamp:
                worst_s = max(worst_s, read.return_s - waiting.pop(0)[1])
    return max([worst_s, *(until_s - seen_s for _, seen_s in waiting)])
