"""Cut, kill, freeze and fill real centers on hosts of their own, again and again; one table.

Usage: tools/measure_partitions.py [--rounds N] [--only TEXT] [--silence] [--dark SECONDS] [--json]

Each fault is done N times (20) to three centers, or five where that matters, in network
namespaces, with two servers and a client at steady load. What the observers saw is one
history, checked as a whole; each promise is held against its number. `--silence` freezes four
of ten servers too, which takes 70 s. `--dark` lets the centers be dead for so long, once. Exit
status 1: a promise does not hold. Needs the right to make network namespaces.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pytest

from unit_test.faults import trials
from unit_test.faults.fix_netns import missing
from unit_test.faults.mass_silence import fall_silent
from unit_test.faults.stage import Stage
from unit_test.faults.trials import DISK_TRIALS, FIVE_TRIALS, LOST, RESETS, TRIALS, Trial

DISK_KIB = 256
LEASE_MS = 300.0
SUSPECT_MS, DROPPED_MS = 4000.0, 64_000.0
SHOWN_MAX = 3
MEDIAN_TRIALS_MIN = 5
"""Of fewer trials one that needs a second election, which P2 allows for, can be the median."""


@dataclass(slots=True)
class Promise:
    """What must hold for every trial of one fault; None: nothing is promised of it.

    Attributes:
        median_ms, max_ms: until a survivor serves a map of a newer epoch.
        changes: of the leader, in one trial.
        lag_ms: of the maps of the center that is cut off from its leader alone.
        two_ms: for how long two centers may claim to lead.
    """

    median_ms: float | None = None
    max_ms: float | None = None
    changes: int | None = 0
    lag_ms: float | None = None
    two_ms: float = 0.0


def promise_of(name: str) -> Promise:
    if name == "leader killed":
        return Promise(100.0, 300.0, 1)
    if name in RESETS:
        return Promise(800.0, 1500.0, 1, two_ms=LEASE_MS)
    if name in LOST:
        return Promise(800.0, 1500.0, 1)
    if name == "every center killed":
        return Promise(changes=None)
    if name == "disk of the leader full" or name in FIVE_TRIALS:
        return Promise(changes=1)
    return Promise(lag_ms=1000.0)


@dataclass(slots=True)
class Row:
    """All trials of one fault."""

    fault: str
    trials: list[Trial] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Trials that did not end as they should."""

    def times_ms(self) -> list[float]:
        return [each.took_ms for each in self.trials if each.took_ms is not None]

    def troubles(self, promise: Promise) -> list[str]:
        """Return which promises do not hold, and everything that must never be seen."""
        found = [*self.broken, *(fault for each in self.trials for fault in each.faults)]
        times_ms = self.times_ms()
        if promise.median_ms is not None and len(times_ms) >= MEDIAN_TRIALS_MIN:
            median_ms = statistics.median(times_ms)
            if median_ms > promise.median_ms:
                found.append(f"median {median_ms:.0f} ms, promised {promise.median_ms:.0f}")
        if promise.max_ms is not None and max(times_ms, default=0.0) > promise.max_ms:
            found.append(f"slowest {max(times_ms):.0f} ms, promised {promise.max_ms:.0f}")
        for each in self.trials:
            if each.two_claimants_ms > promise.two_ms:
                found.append(f"two centers claimed to lead for {each.two_claimants_ms:.1f} ms")
            if promise.changes not in (None, each.leader_changes):
                found.append(f"{each.leader_changes} leader changes, not {promise.changes}")
            if each.outage_ms > 0.0:
                found.append(f"the leader that stayed did not lead for {each.outage_ms:.0f} ms")
            if promise.lag_ms is not None and (each.lag_ms or 0.0) > promise.lag_ms:
                found.append(f"maps {each.lag_ms:.0f} ms old, promised {promise.lag_ms:.0f}")
            if each.failed:
                found.append(f"{each.failed} of {each.calls} calls failed")
        return found

    def cells(self) -> list[str]:
        """Return the row as it is printed."""
        times_ms = self.times_ms()
        gaps_ms = [each.handover_ms for each in self.trials if each.handover_ms is not None]
        lags_ms = [each.lag_ms for each in self.trials if each.lag_ms is not None]
        return [
            self.fault,
            str(len(self.trials)),
            f"{statistics.median(times_ms):.0f}" if times_ms else "-",
            f"{max(times_ms):.0f}" if times_ms else "-",
            f"{max((each.two_claimants_ms for each in self.trials), default=0.0):.0f}",
            f"{min(gaps_ms):.0f}" if gaps_ms else "-",
            str(sum(each.leader_changes for each in self.trials)),
            f"{max(lags_ms):.0f}" if lags_ms else "-",
            str(sum(each.calls for each in self.trials)),
            str(sum(each.failed for each in self.trials)),
        ]


HEAD = [
    *("fault", "trials", "median ms", "max ms", "two claim ms", "least gap ms"),
    *("leader changes", "map lag ms", "calls", "failed"),
]


def measure(
    name: str, trial: Callable[[Stage], Trial], rounds: int, centers: int, disk_kib: int
) -> Row:
    """Do one fault `rounds` times to one cluster."""
    row = Row(name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Stage(Path(folder), centers, disk_kib=disk_kib) as stage:
                stage.populate()
                for _ in range(rounds):
                    row.trials.append(trial(stage))
        except pytest.fail.Exception as exc:
            row.broken.append(f"trial {len(row.trials) + 1}: {exc}")
    return row


def silence() -> tuple[str, list[str]]:
    """Freeze four of ten servers; returns a line and what is wrong."""
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        try:
            seen = fall_silent(stage)
        except pytest.fail.Exception as exc:
            return "mass silence: broken", [str(exc)]
    troubles = list(seen.faults)
    if seen.suspected_ms > SUSPECT_MS or seen.dropped_ms > DROPPED_MS:
        troubles.append(f"promised: {SUSPECT_MS:.0f} and {DROPPED_MS:.0f} ms")
    if seen.failed:
        troubles.append(f"{seen.failed} calls failed")
    line = (
        f"4 of 10 servers silent: suspects in every map after {seen.suspected_ms:.0f} ms, dropped"
        f" after {seen.dropped_ms:.0f} ms; {seen.calls} calls of the others, {seen.failed} failed"
    )
    return line, troubles


def darkness(seconds: float) -> tuple[str, list[str]]:
    """Let every center be dead for a while; returns a line and what is wrong."""
    row = Row(f"every center dead for {seconds:.0f} s")
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        try:
            stage.populate()
            row.trials.append(trials.go_dark(stage, dark_s=seconds))
        except pytest.fail.Exception as exc:
            row.broken.append(str(exc))
    seen = row.trials[0] if row.trials else Trial()
    return f"{row.fault}: {seen.calls} calls, {seen.failed} failed", row.troubles(
        Promise(changes=None)
    )


def report(rows: list[Row]) -> bool:
    """Print the table and what is wrong; returns whether all is well."""
    table = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(HEAD))]
    for line in table:
        first, *rest = zip(line, widths, strict=True)
        print(first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest), sep="  ")
    well = True
    for row in rows:
        troubles = row.troubles(promise_of(row.fault))
        for trouble in troubles[:SHOWN_MAX]:
            print(f"NOT KEPT: {row.fault}: {trouble}")
        well = well and not troubles
    return well


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="times that each fault is done")
    parser.add_argument("--only", default="", help="faults with this in their name")
    parser.add_argument("--silence", action="store_true", help="freeze four of ten servers too")
    parser.add_argument("--dark", type=float, default=0.0, help="seconds without any center")
    parser.add_argument("--json", action="store_true", help="every trial as one line of JSON")
    given = parser.parse_args()
    names = [*TRIALS, *FIVE_TRIALS, *DISK_TRIALS]
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    if not (given.silence or given.dark or any(given.only in name for name in names)):
        parser.error(f"no fault has {given.only!r} in its name; there are: {', '.join(names)}")
    if why_not := missing():
        print(f"measure_partitions: {why_not}", file=sys.stderr)
        return 2
    rows = []
    for centers, disk_kib, faults in (
        (3, 0, TRIALS),
        (5, 0, FIVE_TRIALS),
        (3, DISK_KIB, DISK_TRIALS),
    ):
        for name, trial in faults.items():
            if given.only in name:
                rows.append(measure(name, trial, given.rounds, centers, disk_kib))
                if given.json:
                    for each in rows[-1].trials:
                        print(json.dumps({"fault": name, **asdict(each)}), flush=True)
    well = report(rows)
    extra: list[Callable[[], tuple[str, list[str]]]] = []
    if given.silence:
        extra.append(silence)
    if given.dark:
        extra.append(lambda: darkness(given.dark))
    for part in extra:
        line, troubles = part()
        print(line)
        for trouble in troubles[:SHOWN_MAX]:
            print(f"NOT KEPT: {trouble}")
        well = well and not troubles
    if rows and given.rounds < MEDIAN_TRIALS_MIN:
        print(f"medians were not judged: that takes --rounds {MEDIAN_TRIALS_MIN} or more")
    print("every promise was kept" if well else "promises were not kept")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
