"""The threads that write and plan for a node."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from center import jobs as jobs_module
from center.core.events import Event, Persist, Persisted, PersistFailed, Tick
from center.core.record import MapRecord, Record
from center.jobs import JobThread, read_map, write_record
from center.mailbox import ReadMap
from center.store import Store
from libevrpc.core.clustermap import ClusterMap
from unit_test.interop.clusters import wait_until


def test_jobs_run_in_their_order_and_what_waits_is_done_before_the_end() -> None:
    done: list[Event] = []
    ended: list[int] = []
    thread = JobThread("test-jobs", done.append, lambda: ended.append(len(done)))
    events = [Persisted(number) for number in range(5)]
    for event in events:
        thread.put(lambda event=event: event)  # type: ignore[misc]
    thread.start()
    assert thread.stop()
    assert (done, ended) == (events, [5])
    thread.put(Tick)
    assert done == events, "after the end nothing runs"


def test_a_job_is_forgotten_when_it_is_done() -> None:
    class Job:
        """Holds what a planner's job does: maps."""

        def __call__(self) -> Event:
            return Tick()

    job = Job()
    held = weakref.ref(job)
    thread = JobThread("test-jobs", lambda done: None)
    thread.start()
    thread.put(job)
    del job
    wait_until(lambda: held() is None, 10.0, "the end of the job, while the thread waits")
    assert thread.stop()


def test_a_write_succeeds_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "data", 1)
    try:
        assert write_record(store, Persist(3, Record())) == Persisted(3)

        def full(record: Record) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store, "write", full)
        failed = PersistFailed(4, "No space left on device")
        assert write_record(store, Persist(4, Record())) == failed
    finally:
        store.close()


def test_a_map_that_there_is_no_memory_for_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the node would wait for it for ever, and serve no later one."""

    def full(payload: bytes) -> ClusterMap:
        raise MemoryError

    monkeypatch.setattr(jobs_module.ClusterMap, "decode", full)
    record = MapRecord(1, 1, (0, 0), b"a map")
    assert read_map(record) == ReadMap(record, None)
    assert "cannot be read stamp=(1, 1)" in caplog.text
