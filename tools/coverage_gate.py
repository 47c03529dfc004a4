"""A pytest plugin: after a whole run under `coverage run`, hold each package to its coverage.

It runs inside the session, so that pytest's own closing line stays the last line of the output
and a missed gate makes pytest itself exit with 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import coverage
import pytest

PURE_PACKAGES = ("libevrpc/core", "center/core")
PURE_PERCENT = 100.0
OTHER_PERCENT = 90.0

LINES = pytest.StashKey[list[str]]()


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One package or pure file below its gate."""

    path: str
    what: str
    percent: float
    wanted: float

    def __str__(self) -> str:
        return f"{self.path}: {self.percent:.1f} % of {self.what}, wanted {self.wanted:.0f} %"


def shortfalls(report: Mapping[str, Any]) -> Iterator[Shortfall]:
    """Compare a coverage JSON report with the gates: pure files one by one, others by package."""
    groups: defaultdict[str, list[Mapping[str, int]]] = defaultdict(list)
    for name, entry in report["files"].items():
        path = PurePosixPath(name)
        package = str(path.parent)
        pure = any(package == root or package.startswith(f"{root}/") for root in PURE_PACKAGES)
        groups[str(path) if pure else package].append(entry["summary"])
    for group, summaries in sorted(groups.items()):
        wanted = PURE_PERCENT if group.endswith(".py") else OTHER_PERCENT
        for what, covered, total in (
            ("lines", "covered_lines", "num_statements"),
            ("branches", "covered_branches", "num_branches"),
        ):
            all_of_it = sum(summary[total] for summary in summaries)
            percent = 100.0 * sum(summary[covered] for summary in summaries) / (all_of_it or 1)
            if all_of_it and percent < wanted:
                yield Shortfall(group, what, percent, wanted)


def drop_halves(data_file: Path) -> list[str]:
    """Remove what processes were writing when they were killed: it would end the whole run.

    Returns a line for each.
    """
    told = []
    for path in sorted(data_file.absolute().parent.glob(f"{data_file.name}.*")):
        with contextlib.closing(sqlite3.connect(path)) as found:
            try:
                found.execute("SELECT * FROM coverage_schema").fetchall()
                whole = found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                whole = False
        if not whole:
            path.unlink()
            told.append(f"{path.name}: its process was killed when it wrote that")
    return told


def measure(running: coverage.Coverage) -> tuple[dict[str, Any], str]:
    """Gather what this process and its children covered: the JSON report and a table."""
    running.stop()
    running.save()
    whole = coverage.Coverage()
    dropped = drop_halves(Path(str(whole.get_option("run:data_file"))))
    whole.combine()
    whole.save()
    with tempfile.TemporaryDirectory() as folder:
        outfile = Path(folder, "coverage.json")
        whole.json_report(outfile=str(outfile))
        report: dict[str, Any] = json.loads(outfile.read_text())
    table = io.StringIO()
    whole.report(file=table)
    return report, "\n".join([table.getvalue().rstrip(), *dropped])


@pytest.hookimpl(trylast=True)  # once the other processes of a shared run have ended
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    running = coverage.Coverage.current()
    if running is not None and hasattr(session.config, "workerinput"):
        running.stop()  # one of those: the first process gathers what it leaves
        running.save()
        return
    if running is None or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    report, table = measure(running)
    missed = [f"below its gate: {shortfall}" for shortfall in shortfalls(report)]
    session.config.stash[LINES] = [*table.splitlines(), *missed]
    if missed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("coverage")
        for line in lines:
            terminalreporter.line(line)
