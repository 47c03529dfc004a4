"""One center on threads of this process, with parts that fail."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from center import jobs as jobs_module
from center import mailbox as mailbox_module
from center import runner as runner_module
from center import service as service_module
from center.core.ballot import State
from center.core.events import NodeStatus, ServerReport
from center.core.messages import Report
from center.core.record import MapRecord, Record
from center.mailbox import Item, Mailbox, ReadMap
from center.opening import open_center
from center.runner import Runner, timing_of
from center.service import status_message
from center.store import Store
from libevrpc import ConfigError, RpcClient, RpcError, StatusCode
from libevrpc.gen import center_pb2
from libevrpc.settings import VOTE_RETRY_MIN_S, CenterSettings, rules_of
from unit_test.fix_net import free_ports
from unit_test.interop.clusters import wait_until

pytestmark = pytest.mark.live
WAIT_S = 10.0
LONG_S = 3600.0
"""As long as something may take: the test's own time-out is shorter."""
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]


@pytest.fixture
def opening(tmp_path: Path) -> Any:
    peer, client = free_ports(2)
    listed = tmp_path / "centers_list"
    listed.write_text(f"1 127.0.0.1 {peer} {client}\n")
    return open_center(None, listed, settings={"data_dir": str(tmp_path / "data")})


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


@pytest.fixture
def runner(
    opening: Any, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    # no disk hangs here, and none is so busy
    monkeypatch.setattr(jobs_module, "_JOIN_S", LONG_S)
    monkeypatch.setattr(runner_module, "JOIN_S", LONG_S)
    made: Runner = opening.runner(ended.set)
    yield made
    made.stop()


def leads(runner: Runner) -> bool:
    return runner.front().state is State.LEADING and runner.front().map is not None


def test_it_tells_its_status_on_its_own_thread(runner: Runner) -> None:
    runner.start()
    wait_until(lambda: leads(runner))
    told: list[tuple[NodeStatus, bool, str]] = []
    done = threading.Event()

    def answer(status: NodeStatus, claims: bool) -> None:
        told.append((status, claims, threading.current_thread().name))
        done.set()

    assert runner.ask(answer)
    assert done.wait(WAIT_S)
    status, claims, thread = told[0]
    assert (status.id, status.state, claims, thread) == (1, State.LEADING, True, "center-main")
    assert not runner.failed


def test_an_error_in_the_node_ends_the_center(
    runner: Runner, ended: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    runner.start()

    def fail(status: NodeStatus, claims: bool) -> None:
        raise RuntimeError("a bug")

    runner.ask(fail)
    assert ended.wait(WAIT_S)
    assert runner.failed
    assert "a bug" in caplog.text


def test_a_center_without_its_node_serves_nobody(runner: Runner, ended: threading.Event) -> None:
    runner.start()
    wait_until(lambda: leads(runner))
    with RpcClient(runner.address, timeout_s=WAIT_S, retries_max=0) as client:
        pull = client.stub(CENTER).Pull.future
        held = runner.front()
        assert held.map is not None
        waits = pull(
            center_pb2.PullRequest(
                cluster_id=held.map.cluster_id,
                epoch=held.stamp[0],
                version=held.stamp[1],
                wait_ms=60_000,
            )
        )

        def fail(status: NodeStatus, claims: bool) -> None:
            raise RuntimeError("a bug")

        runner.ask(fail)
        with contextlib.suppress(RpcError):  # hung up on, or sent elsewhere if that took a second
            assert waits.result().not_ready
    assert (runner.front().state, runner.front().leader) == (State.LOOKING, None)
    assert ended.wait(WAIT_S)  # until it has hung up it may tell others that it has no leader
    with RpcClient(runner.address, timeout_s=0.2, retries_max=0) as client, pytest.raises(RpcError):
        client.stub(CENTER).Report(center_pb2.ReportRequest(address="127.0.0.1:1"))


def test_a_folder_is_in_use_while_a_write_hangs(
    opening: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = Store.write
    hanging, going = threading.Event(), threading.Event()

    def write(store: Store, record: Record) -> None:
        hanging.set()
        assert going.wait(WAIT_S)
        usual(store, record)

    monkeypatch.setattr(jobs_module, "_JOIN_S", 0.1)
    monkeypatch.setattr(Store, "write", write)
    runner = opening.runner()
    runner.start()
    assert hanging.wait(WAIT_S)
    runner.stop()
    assert "a write hangs" in caplog.text
    with pytest.raises(ConfigError, match="in use by another center"):
        opening.runner()
    going.set()

    def freed() -> bool:
        try:
            Store(opening.folder, 1).close()
        except ConfigError:
            return False
        return True

    wait_until(freed)


def test_a_server_is_told_once_the_map_has_it(runner: Runner) -> None:
    runner.start()
    wait_until(lambda: leads(runner))
    with RpcClient(runner.address) as client:
        report = client.stub(CENTER).Report
        request = center_pb2.ReportRequest(address="127.0.0.1:1", services=["x.Y"])
        assert not report(request).in_map
        wait_until(lambda: report(request).in_map)
    found = runner.front().map
    assert found is not None
    assert [server.address for server in found.servers] == ["127.0.0.1:1"]


def test_reports_that_wait_share_their_names(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "NAMES_SHARED_MAX", 4)
    taken: list[Report] = []
    offered = Mailbox.offer

    def offer(mailbox: Mailbox, item: Item) -> bool:
        if isinstance(item, ServerReport):
            taken.append(item.report)
        return offered(mailbox, item)

    monkeypatch.setattr(Mailbox, "offer", offer)
    runner.start()
    wait_until(lambda: leads(runner))
    with RpcClient(runner.address) as client:
        report = client.stub(CENTER).Report
        for number in range(20):
            address = f"127.0.0.1:{1 + number}"
            tags = ["usual", str(number // 10)]
            report(center_pb2.ReportRequest(address=address, services=["x.Y"], tags=tags))
    assert [each.tags for each in taken] == [("usual", "0")] * 10 + [("usual", "1")] * 10
    for group in (taken[:10], taken[10:]):
        assert len({id(each.services) for each in group}) == 1
        assert len({id(each.tags) for each in group}) == 1


def test_a_service_name_out_of_all_proportion_is_refused(runner: Runner) -> None:
    """Thousands of questions may wait, and each keeps its name."""
    runner.start()
    wait_until(lambda: leads(runner))
    with RpcClient(runner.address) as client, pytest.raises(RpcError, match="4096") as caught:
        client.stub(CENTER).Pull(center_pb2.PullRequest(service="x" * 4097, wait_ms=1000))
    assert caught.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "durable state not written: MemoryError"),
    ],
    ids=["full", "no memory"],
)
def test_a_disk_that_fails_for_a_while_delays_the_cluster_only(
    runner: Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
) -> None:
    usual = Store.write
    failures = iter(range(3))

    def write(store: Store, record: Record) -> None:
        if next(failures, None) is not None:
            raise error
        usual(store, record)

    monkeypatch.setattr(Store, "write", write)
    runner.start()
    wait_until(lambda: leads(runner))
    assert said in caplog.text


def test_a_map_that_cannot_be_read_is_not_served(
    opening: Any, ended: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(opening.folder, 1) as store:
        store.write(Record("c", 3, MapRecord(3, 1, (0, 0), b"junk"), True))
    runner = opening.runner(ended.set)
    try:
        runner.start()
        wait_until(lambda: "cannot be read" in caplog.text)
        assert runner.front().map is None
    finally:
        runner.stop()


@pytest.mark.usefixtures("opening")  # it writes the list
def test_a_large_map_is_read_beside_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = {"data_dir": str(tmp_path / "data"), "report_s": 30.0, "expiry_s": 59.0}
    runner = open_center(None, tmp_path / "centers_list", settings=rare).runner()
    try:
        read_beside(runner, monkeypatch)
    finally:
        runner.stop()


def read_beside(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit three maps while the first is read; no other map follows of itself."""
    readers: set[str] = set()
    read: list[MapRecord] = []
    first_waits, go = threading.Event(), threading.Event()

    def slowly(record: MapRecord) -> ReadMap:
        readers.add(threading.current_thread().name)
        read.append(record)
        if len(read) == 2:
            first_waits.set()
            assert go.wait(WAIT_S)
        return jobs_module.read_map(record)

    monkeypatch.setattr(runner_module, "READ_AT_ONCE_BYTES_MAX", 0)
    monkeypatch.setattr(runner_module, "Planned", ())  # as if all maps were another center's
    monkeypatch.setattr(runner_module, "read_map", slowly)
    runner.start()
    wait_until(lambda: leads(runner))
    served = runner.front().stamp

    def committed() -> int:
        told: SimpleQueue[int] = SimpleQueue()
        assert runner.ask(lambda status, claims: told.put(status.version))
        return told.get(timeout=WAIT_S)

    for number in range(1, 4):
        report = Report(f"127.0.0.1:{number}", ("x.Y",))
        before = committed()
        assert runner.submit(ServerReport(report))
        wait_until(lambda before=before: committed() > before)  # type: ignore[misc]
    assert first_waits.wait(WAIT_S)
    assert runner.front().stamp == served, "no map is served before it is read"
    go.set()

    def newest_is_served() -> bool:
        held = runner.front().map
        return held is not None and len(held.servers) == 3

    wait_until(newest_is_served)
    assert readers == {"center-read"}
    assert len(read) == 3, "of the maps that came meanwhile only the newest is read"


def test_a_leader_does_not_read_what_it_made(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[MapRecord] = []
    monkeypatch.setattr(runner_module, "read_map", read.append)
    runner.start()
    wait_until(lambda: leads(runner))
    assert runner.submit(ServerReport(Report("127.0.0.1:1", ("x.Y",))))
    wait_until(lambda: runner.front().names("127.0.0.1:1"))
    front = runner.front()
    assert front.map is not None
    assert front.map.encode() == front.part("")
    assert read == []


def test_too_much_at_once_is_refused_by_number(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.start()
    wait_until(lambda: leads(runner))
    monkeypatch.setattr(mailbox_module, "WAITING_MAX", 0)
    monkeypatch.setattr(mailbox_module, "REPORTS_MAX", 0)
    with RpcClient(runner.address, retries_max=0) as client:
        stub = client.stub(CENTER)
        for ask in (
            lambda: stub.Status(center_pb2.StatusRequest()),
            lambda: stub.Report(center_pb2.ReportRequest(address="127.0.0.1:1")),
            lambda: stub.Goodbye(center_pb2.GoodbyeRequest(address="127.0.0.1:1")),
        ):
            with pytest.raises(RpcError) as caught:
                ask()
            assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_a_center_that_never_started_can_be_stopped(runner: Runner) -> None:
    runner.stop()
    runner.stop()


def test_settings_become_spans() -> None:
    timing = timing_of(CenterSettings(finalize_wait_s=0.0, suspect_percent=100.0))
    assert (timing.heartbeat_s, timing.finalize_s, timing.suspect_ratio) == (0.1, 0.001, 1.0)
    assert timing.retry_min_s == VOTE_RETRY_MIN_S


SPANS = [name for name in rules_of(CenterSettings) if name.endswith("_s")]
SPAN_VALUES = st.sampled_from([0.0, 0.001, 0.05, 0.1, 0.2, 0.3, 1.0, 3.0, 3600.0, 3601.0, 86400.0])


@given(st.dictionaries(st.sampled_from(SPANS), SPAN_VALUES))
def test_what_the_settings_allow_a_node_takes(values: dict[str, Any]) -> None:
    try:
        settings = CenterSettings(**values)
    except ConfigError as exc:
        complaint = str(exc)
    else:
        complaint = ""
        timing_of(settings)
    assert not complaint or any(name in complaint for name in values)


def test_a_status_is_of_the_role_in_which_it_claims_to_lead(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "STATUS_S", 60.0)
    told: SimpleQueue[tuple[State, bool]] = SimpleQueue()

    def answer(status: NodeStatus, claims: bool) -> None:
        told.put((status.state, claims))

    assert runner.ask(answer)
    runner.start()
    state, claims = told.get(timeout=WAIT_S)
    assert (state is State.LEADING) is claims
    wait_until(lambda: leads(runner))
    assert runner.ask(answer)
    assert told.get(timeout=WAIT_S) == (State.LEADING, True)


def test_all_who_ask_at_once_are_told_one_status(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[NodeStatus] = []

    def counted(status: NodeStatus, leads: bool, live: Any) -> center_pb2.StatusResponse:
        made.append(status)
        return status_message(status, leads, live)

    monkeypatch.setattr(runner_module, "status_message", counted)
    monkeypatch.setattr(runner_module, "STATUS_S", 60.0)
    runner.start()
    with RpcClient(runner.address) as client:
        ask = client.stub(CENTER).Status
        futures = [ask.future(center_pb2.StatusRequest()) for _ in range(50)]
        assert {future.result().id for future in futures} == {1}
        assert len(made) <= 2, "one for each answer to the question whether it may claim to lead"


def test_a_status_is_told_for_a_while_only(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    told: SimpleQueue[NodeStatus] = SimpleQueue()

    def ask() -> NodeStatus:
        assert runner.ask(lambda status, claims: told.put(status))
        return told.get(timeout=WAIT_S)

    monkeypatch.setattr(runner_module, "STATUS_S", 0.0)
    runner.start()
    wait_until(lambda: leads(runner))
    status = ask()
    monkeypatch.setattr(runner_module, "STATUS_SHARE", 1e-9)  # as if the next took for ever
    wait_until(lambda: ask() is not status)
    status = ask()
    assert [ask() for _ in range(20)] == [status] * 20


def test_the_other_centers_have_their_turn_between_slow_questions(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever waits, a turn ends when its time is over."""
    monkeypatch.setattr(runner_module, "TURN_S", 0.0)
    turns = 0
    flush = runner_module.Bus.flush

    def counted(bus: Any) -> None:
        nonlocal turns
        turns += 1
        flush(bus)

    monkeypatch.setattr(runner_module.Bus, "flush", counted)
    answered: SimpleQueue[tuple[int, int]] = SimpleQueue()
    for number in range(50):
        assert runner.ask(lambda status, claims, number=number: answered.put((number, turns)))
    runner.start()
    got = [answered.get(timeout=WAIT_S) for _ in range(50)]
    assert [number for number, _ in got] == list(range(50))
    assert len({turn for _, turn in got}) == 50
