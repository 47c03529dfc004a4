"""The disk of a center: what outlives its process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from center.core.events import Persist, Persisted, PersistFailed
from center.core.record import Record
from center.sim.agenda import Agenda

__all__ = ["Disk", "DiskSpeed"]


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    """How long a write takes.

    Attributes:
        delay_s: the shortest write.
        tail: 0..1, share of the writes that take up to tail_s longer.
        tail_s: see tail.
    """

    delay_s: float = 0.0005
    tail: float = 0.0
    tail_s: float = 0.0


class Disk:
    """Holds one record; one write at a time.

    Attributes:
        record: what is durable; None: empty.
        delay_s: what trouble adds to each write.
        fails: writes fail.
        lands: what fails is durable all the same.
        torn: there is a record that cannot be believed.
    """

    def __init__(
        self, agenda: Agenda, speed: DiskSpeed, rng: Random, wrote: Callable[[Record], object]
    ) -> None:
        self.record: Record | None = None
        self.delay_s = 0.0
        self.fails = self.lands = False
        self.torn = False
        self._untold = False
        self.speed = speed
        self._agenda = agenda
        self._rng = rng
        self._wrote = wrote
        self._writing: Persist | None = None
        self._wiped = False

    def write(self, persist: Persist, done: Callable[[Persisted | PersistFailed], object]) -> None:
        """Begin a write; `done` hears how it ended unless the process dies before."""
        speed = self.speed
        span_s = speed.delay_s * (1.0 + self._rng.random()) + self.delay_s
        if speed.tail and self._rng.random() < speed.tail:
            span_s += speed.tail_s * self._rng.random()
        self._writing = persist
        self._agenda.after(span_s, self._end, persist, done)

    def _end(self, persist: Persist, done: Callable[[Persisted | PersistFailed], object]) -> None:
        if self._writing is not persist:
            return
        self._writing = None
        if self.fails:
            if self.lands:
                self.record, self._untold = persist.record, True
                self.torn = False
            done(PersistFailed(persist.token, "no space left"))
            return
        self._land(persist.record)
        done(Persisted(persist.token))

    def _land(self, record: Record) -> None:
        self.record = record
        self.torn = self._untold = False
        self._wrote(record)

    def lose_process(self, lands: bool) -> None:
        """The writer dies: what it was writing is on the disk if `lands`, else never was."""
        writing, self._writing = self._writing, None
        if writing is not None and lands and not self.fails:
            self._land(writing.record)
        elif self._untold and self.record is not None:
            self._land(self.record)  # the next process finds it

    @property
    def forgot(self) -> bool:
        """Whether a center may have promised or stored what this disk does not hold."""
        record = self.record
        if record is None or not record.says_something:
            return True
        return record.map is None and (self._wiped or record.forgot)

    def wipe(self, *, torn: bool = False) -> None:
        """Forget everything; its center sees that there was something if `torn`."""
        self.record = None
        self.torn = torn
        self._untold = False
        self._wiped = True
