"""The network between the centers: one line for each ordered pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from center.core.messages import Body
from center.sim.agenda import Agenda

__all__ = ["CALM", "Line", "Network", "Weather"]

Deliver = Callable[[int, int, int, Body], object]


@dataclass(frozen=True, slots=True)
class Weather:
    """How a network treats what it carries.

    Attributes:
        delay_s: the shortest way.
        jitter_s: up to this much more, evenly.
        loss: 0..1, share of what is lost.
        duplicate: 0..1, share of what arrives twice.
        tail: 0..1, share of what takes up to tail_s longer.
        tail_s: see tail.
        fifo: nothing overtakes on the same line, as over TCP.
    """

    delay_s: float = 0.001
    jitter_s: float = 0.001
    loss: float = 0.0
    duplicate: float = 0.0
    tail: float = 0.0
    tail_s: float = 0.0
    fifo: bool = True


CALM = Weather()


class Line:
    """One direction between two centers.

    Attributes:
        weather: of this line.
        cuts: how many faults cut it now.
    """

    __slots__ = ("_random", "_tail_of_line_s", "cuts", "weather")

    def __init__(self, weather: Weather, random: Callable[[], float]) -> None:
        self.weather = weather
        self.cuts = 0
        self._random = random
        self._tail_of_line_s = 0.0

    def arrivals_s(self, now_s: float) -> tuple[float, ...]:
        """Return when what is sent now arrives: never, once or twice."""
        weather, random = self.weather, self._random
        if self.cuts or (weather.loss and random() < weather.loss):
            return ()
        at_s = self._arrival_s(now_s)
        if weather.duplicate and random() < weather.duplicate:
            return (at_s, self._arrival_s(now_s))
        return (at_s,)

    def _arrival_s(self, now_s: float) -> float:
        weather = self.weather
        at_s = now_s + weather.delay_s + weather.jitter_s * self._random()
        if weather.tail and self._random() < weather.tail:
            at_s += weather.tail_s * self._random()
        if weather.fifo:
            at_s = self._tail_of_line_s = max(at_s, self._tail_of_line_s)
        return at_s


class Network:
    """All lines. What is under way at a cut still arrives.

    Args:
        agenda: the time.
        centers: the ids.
        weather: of the lines; each gets its own share of its delay.
        rng: chance.
        deliver: takes (to, sender, incarnation, message).
    """

    def __init__(
        self,
        agenda: Agenda,
        centers: Iterable[int],
        weather: Weather,
        rng: Random,
        deliver: Deliver,
    ) -> None:
        ids = tuple(centers)
        self._agenda = agenda
        self._deliver = deliver
        self.lines = {
            (one, other): Line(weather, rng.random) for one in ids for other in ids if one != other
        }

    def send(self, sender: int, to: int, incarnation: int, message: Body) -> bool:
        """Carry a message; return whether it will arrive."""
        agenda = self._agenda
        arrivals_s = self.lines[sender, to].arrivals_s(agenda.now_s)
        for at_s in arrivals_s:
            agenda.at(at_s, self._deliver, to, sender, incarnation, message)
        return bool(arrivals_s)

    def open(self, one: int, other: int) -> bool:
        """Return whether both directions between two centers are uncut."""
        return not self.lines[one, other].cuts and not self.lines[other, one].cuts

    def calm_down(self) -> None:
        """Lift every cut, and treat everything well from now on."""
        for line in self.lines.values():
            line.weather = CALM
            line.cuts = 0
