"""Makes a failing scenario small: leaves out the faults and the weather it fails without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from enum import Enum
from typing import Any

from center.sim.faults import ClientCrash, Fault, Mute, ServerCrash, ServerLeave
from center.sim.play import Outcome, play
from center.sim.scenario import Scenario

__all__ = ["shrunk", "source"]

PLAYS_MAX = 2000
"""Most scenarios played to shrink one."""

PLAIN = (
    "weather",
    "hints",
    "disk",
    "loss",
    "tail_s",
    "slots",
    "clocks",
    "planning_s",
    "leases_s",
    "cut_off",
    "join",
)
"""What is set to its default where the scenario fails all the same."""


class _Shrinker:
    """Plays smaller and smaller scenarios; each must break the invariant of the first."""

    def __init__(
        self, scenario: Scenario, invariant: str, judge: Callable[[Scenario], Outcome]
    ) -> None:
        self.kept = scenario
        self._invariant = invariant
        self._judge = judge
        self._plays = 0

    def _try(self, smaller: Scenario) -> bool:
        """Keep `smaller` if it fails too."""
        if smaller == self.kept or self._plays >= PLAYS_MAX:
            return False
        self._plays += 1
        found = self._judge(smaller).violation
        if found is None or found.invariant != self._invariant:
            return False
        self.kept = smaller
        return True

    def run(self) -> None:
        """Shrink until nothing can be left out any more."""
        before = None
        while before != self.kept:
            before = self.kept
            self._drop_faults()
            for smaller in _plainer(self.kept):
                self._try(replace(self.kept, **smaller))

    def _drop_faults(self) -> None:
        """Leave out halves of the faults, then quarters, at last single ones."""
        span = max(1, len(self.kept.faults))
        while span:
            at = 0
            while at < len(self.kept.faults):
                faults = self.kept.faults
                if not self._try(replace(self.kept, faults=faults[:at] + faults[at + span :])):
                    at += span
            span //= 2


def _plainer(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Yield changes that make a scenario simpler, each for itself."""
    faults = scenario.faults
    yield {"clients": 0, "faults": _without(faults, ClientCrash, Mute)}
    yield {"servers": 0, "faults": _without(faults, ServerCrash, ServerLeave, Mute)}
    for each in fields(Scenario):
        if each.name in PLAIN:
            yield {each.name: _default(each)}
    last_s = max((fault.at_s for fault in faults), default=0.0)
    yield {"safety_s": round(last_s + 0.5, 1)}


def _without(faults: tuple[Fault, ...], *kinds: type) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if not isinstance(fault, kinds))


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def shrunk(scenario: Scenario, judge: Callable[[Scenario], Outcome] = play) -> Scenario:
    """Return a part of `scenario` that breaks the same invariant; itself if it breaks none."""
    found = judge(scenario).violation
    if found is None:
        return scenario
    shrinker = _Shrinker(scenario, found.invariant, judge)
    shrinker.run()
    return shrinker.kept


def source(value: Any) -> str:
    """Return a scenario as Python, to be kept as a test; what is as by default is left out."""
    match value:
        case Enum():
            return str(value)
        case tuple():
            inner = ", ".join(source(each) for each in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case _ if is_dataclass(value):
            given = (
                f"{each.name}={source(getattr(value, each.name))}"
                for each in fields(value)
                if getattr(value, each.name) != _default(each)
            )
            return f"{type(value).__name__}({', '.join(given)})"
        case _:
            return repr(value)
