"""The comparison with ZooKeeper and etcd: it runs, and says what it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import pytest
from compare import etcd as etcd_kind
from compare import subject
from compare import zookeeper as zookeeper_kind
from compare.node import ServiceError
from compare.report import figures_json, table
from compare.subject import WINDOW, Watcher, pipelined
from compare.trials import ROWS, Figures

import unit_test.fix_services as services

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "tools" / "compare_coordination.py"
EPOCHS_ONLY = {"leader_killed_map_ms", "leader_frozen_map_ms"}


def compare(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def one_trial_of(system: str, folder: Path) -> dict[str, Any]:
    """Run one trial below `folder`; no process and no file may be left."""
    done = compare(folder, "--systems", system, "--trials", "1", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    assert not [each for each in folder.iterdir() if each.name.startswith("libevrpc-compare")]
    assert not any(
        str(folder) in word
        for process in psutil.process_iter(["cmdline"])
        for word in process.info["cmdline"] or ()
    )
    figures: dict[str, Any] = json.loads(done.stdout)[system]
    return figures


def require_rows(figures: dict[str, Any], wanted: set[str]) -> None:
    """Every row has a figure, unless the machine stood still just then."""
    if not figures["stalls"]:
        assert wanted <= figures.keys()
    for row in wanted & figures.keys():
        assert 0 < figures[row]["min"] <= figures[row]["median"] <= figures[row]["max"]


@pytest.mark.live
@pytest.mark.slow
def test_one_trial_on_centers(tmp_path: Path) -> None:
    figures = one_trial_of("centers", tmp_path)
    require_rows(figures, set(ROWS))
    assert figures["memory_idle_mib"]["n"] == 1


@pytest.mark.live
@pytest.mark.slow
def test_one_trial_on_zookeeper(tmp_path: Path) -> None:
    services.require(zookeeper_kind.missing())
    require_rows(one_trial_of("zookeeper-fast", tmp_path), set(ROWS) - EPOCHS_ONLY)


@pytest.mark.live
@pytest.mark.slow
def test_one_trial_on_etcd(tmp_path: Path) -> None:
    services.require(etcd_kind.missing())
    require_rows(one_trial_of("etcd-fast", tmp_path), set(ROWS) - EPOCHS_ONLY)


def test_an_unknown_system_is_named(tmp_path: Path) -> None:
    done = compare(tmp_path, "--systems", "consul")
    assert done.returncode == 1
    assert done.stderr.startswith("no such system: 'consul'; there are centers, etcd,")


def test_the_table_has_a_row_for_what_was_measured() -> None:
    ours, other = Figures(), Figures(stalls=2)
    for each in (123.4, 5.678, 20.0):
        ours.add("goodbye_ms", each)
    other.add("memory_idle_mib", 70.25)
    assert table({"centers": ours, "etcd": other}).splitlines() == [
        "| min / **median** / max | centers | etcd |",
        "| --- | --- | --- |",
        f"| {ROWS['goodbye_ms']} | 5.68 / **20** / 123 (3) |  |",
        f"| {ROWS['memory_idle_mib']} |  | 70.2 / **70.2** / 70.2 (1) |",
        "",
        "Thrown away because the machine stood still: etcd 2.",
    ]
    assert figures_json({"centers": ours}) == {
        "centers": {
            "stalls": 0,
            "goodbye_ms": {"n": 3, "min": 5.68, "median": 20.0, "max": 123.4},
        }
    }


def test_a_watcher_knows_since_when() -> None:
    watcher = Watcher()
    watcher.changed("a", present=True)
    first_s = watcher.await_name("a", True, 0.0)
    watcher.told(["a", "b"])
    assert watcher.await_name("a", True, 0.0) == first_s
    assert watcher.await_name("b", True, 0.0) >= first_s
    assert watcher.missing(["a", "b"], 0.0) == set()
    with pytest.raises(ServiceError, match="a: present=False not told"):
        watcher.await_name("a", False, 0.0)
    assert watcher.missing(["b", "c"], 0.0) == {"c"}
    watcher.changed("a", present=False)
    assert watcher.await_name("a", False, 0.0) > first_s


def test_a_pipeline_keeps_its_window() -> None:
    under_way: SimpleQueue[Callable[[BaseException | None], None]] = SimpleQueue()
    numbers: list[int] = []
    full = threading.Event()

    def begin(number: int, end: Callable[[BaseException | None], None]) -> None:
        numbers.append(number)
        under_way.put(end)
        if under_way.qsize() == WINDOW:
            full.set()

    def answer() -> None:
        full.wait()
        for _ in range(WINDOW + 3):
            under_way.get()(None)

    thread = threading.Thread(target=answer)
    thread.start()
    assert pipelined(WINDOW + 3, begin) > 0
    thread.join()
    assert numbers == list(range(WINDOW + 3))


def test_a_pipeline_repeats_what_failed() -> None:
    begun: list[int] = []

    def begin(number: int, end: Callable[[BaseException | None], None]) -> None:
        begun.append(number)
        end(OSError("no") if number == 3 and begun.count(3) == 1 else None)

    pipelined(5, begin)
    assert begun == [0, 1, 2, 3, 4, 3]


def test_a_pipeline_ends_with_an_error_or_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PIPELINE_S", 0.05)
    with pytest.raises(ServiceError, match=r"5 of 5 requests failed, one with: OSError\('no'\)"):
        pipelined(5, lambda _, end: end(OSError("no")))
    with pytest.raises(ServiceError, match="5 requests took over"):
        pipelined(5, lambda *_: None)
