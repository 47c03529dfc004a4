from __future__ import annotations

import math
from dataclasses import replace

import pytest

from center.core import codec
from center.core import members as members_module
from center.core.events import Dial, Log
from center.core.inbox import FORWARD_ITEMS_MAX, Inbox
from center.core.members import SILENT_AFTER_S, Members, ages_of, flaw_of
from center.core.messages import Departure, Report, Silent
from center.core.timing import Timing
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServerState

TIMING = Timing()


def report(number: int = 1, **more: object) -> Report:
    return Report(f"10.0.0.{number}:80", ("s.S",), **more)  # type: ignore[arg-type]


def members(count: int, heard_s: float = 0.0) -> Members:
    made = Members(TIMING)
    for number in range(1, count + 1):
        made.report(report(number), heard_s)
    return made


def states(of: Members, now_s: float) -> list[ServerState]:
    return [entry.state for entry in of.roll(now_s).entries()]


# Reports


@pytest.mark.parametrize(
    ("bad", "flaw"),
    [
        (replace(report(), address="nonsense"), "has no port"),
        (replace(report(), address="HOST:80"), "is spelled"),
        (replace(report(), services=("s",) * 1025), "over 1024 names"),
        (replace(report(), tags=("x" * 2048,) * 4), "8192 bytes"),
        (replace(report(), tags=("\U0001f600" * 2048,)), "8192 bytes"),
        (replace(report(), session="x" * 8192), "8192 bytes"),
        (replace(report(), tags=("x" * (codec.TEXT_CHARS_MAX + 1),)), "a name of over 4096"),
        (replace(report(), session="x" * (codec.TEXT_CHARS_MAX + 1)), "a name of over 4096"),
        (replace(report(), weight=0.0), "weight 0 is not in 0.001..65.535"),
        (replace(report(), weight=0.0004), "weight 0.0004"),
        (replace(report(), weight=1e9), "weight"),
        (replace(report(), load=-0.1), "load -0.1"),
        (replace(report(), load=math.nan), "load nan"),
        (replace(report(), load=math.inf), "load inf"),
    ],
)
def test_a_report_that_cannot_enter_a_map_is_named(bad: Report, flaw: str) -> None:
    assert flaw in flaw_of(bad)
    assert flaw_of(report()) == ""


def test_the_first_report_registers_and_only_the_shape_is_news_after_it() -> None:
    made = Members(TIMING)
    assert made.report(report(), 0.0)
    assert not made.report(report(load=0.9), 1.0)
    assert made.report(report(draining=True), 2.0)
    assert states(made, 2.0) == [ServerState.DRAINING]
    assert len(made) == 1


@pytest.mark.parametrize("address", ["db-1:80", "[::1]:80", "unix:///run/e.sock"])
def test_any_address_that_is_spelled_as_here_enters_a_map(address: str) -> None:
    assert flaw_of(replace(report(), address=address)) == ""


def test_equal_lists_of_names_are_kept_once() -> None:
    servers = Members(TIMING)
    for number in (1, 2):
        servers.report(report(number, tags=(f"disk={number // number}",)), 0.0)
    first, second = servers.roll(0.0).entries()
    assert first.services is second.services
    assert first.tags is second.tags


def test_a_report_that_changes_nothing_but_the_load_and_the_session_is_no_news() -> None:
    servers = members(2)
    assert not servers.report(report(1, load=0.25, session="later"), 0.5)
    assert [entry.load for entry in servers.roll(0.5).entries()] == [0.25, 0.0]
    servers.depart(Departure("10.0.0.1:80", "later", goodbye=True), 0.5)
    assert len(servers) == 1


def test_an_overload_is_published_as_full_load() -> None:
    made = Members(TIMING)
    made.report(report(load=7.0), 0.0)
    assert made.roll(0.0).entries()[0].load == 1.0


def test_more_servers_than_the_limit_are_refused_with_one_line_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members_module, "SERVERS_MAX", 1)
    made = members(1)
    assert not made.report(report(2), 0.0)
    assert not made.report(report(3), 0.1)
    assert not made.report(report(3), 1.1)
    assert made.report(report(1, draining=True), 1.2)
    assert [type(line) for line in made.log] == [Log, Log]


# Departures


def test_a_goodbye_is_final_for_its_session_and_not_for_the_next_one() -> None:
    made = members(2)
    made.report(report(1, session="old"), 0.0)
    assert made.depart(Departure("10.0.0.1:80", "old", goodbye=True), 1.0)
    assert not made.report(report(1, session="old"), 1.5)
    assert len(made) == 1
    assert made.report(report(1, session="new"), 1.6)


def test_an_ended_session_is_forgotten_after_the_expiry() -> None:
    made = members(1)
    made.report(report(1, session="old"), 0.0)
    made.depart(Departure("10.0.0.1:80", "old", goodbye=True), 1.0)
    assert made.report(report(1, session="old"), 1.0 + TIMING.expire_s)


def test_a_goodbye_of_an_earlier_session_is_ignored() -> None:
    made = members(1)
    made.report(report(1, session="new"), 0.0)
    assert not made.depart(Departure("10.0.0.1:80", "old", goodbye=True), 1.0)


def test_a_goodbye_without_session_ends_whatever_runs_there() -> None:
    made = members(1)
    assert made.depart(Departure("10.0.0.1:80", goodbye=True), 1.0)
    assert made.report(report(), 1.1)
    assert not made.depart(Departure("10.0.0.9:80", goodbye=True), 1.0)


def test_ended_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "TOMBSTONES_MAX", 1)
    made = Members(TIMING)
    for number in (1, 2):
        made.report(report(number, session="s"), 0.0)
        made.depart(Departure(f"10.0.0.{number}:80", "s", goodbye=True), 0.0)
    assert made.report(report(1, session="s"), 0.1)
    assert not made.report(report(2, session="s"), 0.1)


def test_a_refused_dial_ends_the_session_that_it_was_made_for() -> None:
    made = members(2)
    for session in ("", "old", "new"):
        made.report(report(1, session=session), 0.0)
    for session in ("", "old"):
        assert not made.depart(Departure("10.0.0.1:80", session), 0.1)
    assert made.depart(Departure("10.0.0.1:80", "new"), 0.2)


def test_a_refused_dial_ends_whom_only_the_map_tells_of() -> None:
    adopted = members(2)
    made = Members(TIMING)
    made.take_over(ClusterMap("c", 1, 1, adopted.roll(0.0).entries()), {}, 0.0)
    made.report(report(2, session="new"), 0.0)
    assert made.depart(Departure("10.0.0.1:80", "told to the last leader"), 0.1)
    assert not made.depart(Departure("10.0.0.2:80", ""), 0.1)  # asked before it reported


def test_the_last_server_leaves_the_map_by_a_goodbye_only() -> None:
    made = members(2)
    assert made.depart(Departure("10.0.0.1:80"), 0.0)
    assert made.depart(Departure("10.0.0.2:80"), 0.0)
    assert not made.depart(Departure("10.0.0.2:80"), 0.1)
    assert states(made, 0.0) == [ServerState.SUSPECT]
    assert made.depart(Departure("10.0.0.2:80", goodbye=True), 0.2)
    assert made.roll(0.2).entries() == ()


# Silence


def test_a_silent_server_expires_and_the_others_stay() -> None:
    made = members(3)
    made.report(report(1), 2.0)
    made.report(report(2), 2.0)
    assert made.sweep(2.9) == (False, [])
    assert made.sweep(3.0) == (True, [])
    assert len(made) == 2


def test_many_falling_silent_at_once_are_suspects_dialled_once_and_bounded() -> None:
    made = members(10)
    for number in range(1, 7):
        made.report(report(number), 2.0)
    changed, dials = made.sweep(3.0)
    assert changed
    assert dials == [Dial(f"10.0.0.{number}:80") for number in (7, 8, 9, 10)]
    assert states(made, 3.0).count(ServerState.SUSPECT) == 4
    for number in range(1, 7):
        made.report(report(number), 62.0)
    assert made.sweep(62.9) == (False, [])
    assert made.sweep(63.0)[0]
    assert len(made) == 6


def test_no_mass_is_a_mass_silence_where_the_share_is_all() -> None:
    made = Members(replace(TIMING, suspect_ratio=1.0))
    for number in range(1, 11):
        made.report(report(number), 2.0 if number == 1 else 0.0)
    assert made.sweep(3.0) == (True, [])
    assert len(made) == 1


def test_the_last_of_a_mass_are_counted_with_those_suspected_before() -> None:
    made = members(10)
    for number in range(1, 10):
        made.report(report(number), 0.2 if number <= 3 else 5.0)
    for now_s in (3.0, 3.1, 3.2, 3.3):
        made.sweep(now_s)
    assert states(made, 3.3).count(ServerState.SUSPECT) == 4
    assert len(made) == 10


def test_those_that_cross_later_in_the_same_window_are_suspects_too() -> None:
    made = members(6)
    for number, heard_s in ((1, 0.3), (2, 0.6), (3, 0.9), (4, 5.0), (5, 5.0)):
        made.report(report(number), heard_s)
    for now_s in (3.0, 3.3, 3.6, 3.9):
        made.sweep(now_s)
    kinds = states(made, 3.9)
    assert kinds.count(ServerState.SUSPECT) >= 2


def test_a_suspect_that_reports_is_up_again() -> None:
    made = members(3)
    made.sweep(3.0)
    assert states(made, 3.0) == [ServerState.SUSPECT] * 3
    assert made.report(report(1), 4.0)
    assert states(made, 4.0)[0] is ServerState.UP


def test_all_servers_silent_empty_no_map_however_long() -> None:
    made = members(2)
    made.sweep(3.0)
    assert made.sweep(100.0) == (False, [])
    assert len(made) == 2
    made.report(report(3), 100.0)
    assert made.sweep(100.1)[0]
    assert [entry.address for entry in made.roll(100.1).entries()] == ["10.0.0.3:80"]


def test_the_leaders_own_lag_is_nobodys_silence() -> None:
    made = members(4)
    made.sweep(3.0)
    made.report(report(1), 3.0)
    made.stretch(5.0)
    assert made.sweep(8.0) == (False, [])
    assert made.ages_s(8.0)["10.0.0.1:80"] == 0.0


# A leader change


def test_a_new_leader_goes_on_counting_and_gives_no_fresh_time() -> None:
    old = ClusterMap(
        "c",
        1,
        1,
        (
            ServerEntry("10.0.0.1:80", age_s=2.0),
            ServerEntry("10.0.0.2:80", age_s=0.0),
            ServerEntry("10.0.0.3:80", age_s=9.0, weight=0.0, state=ServerState.SUSPECT),
        ),
    )
    made = Members(TIMING)
    made.take_over(old, {"10.0.0.2:80": 1.5}, 100.0)
    assert [entry.age_s for entry in made.roll(100.0).entries()] == [2.0, 1.5, 9.0]
    assert states(made, 100.0)[2] is ServerState.SUSPECT
    made.sweep(101.0)
    assert [entry.address for entry in made.roll(101.0).entries()] == ["10.0.0.2:80", "10.0.0.3:80"]


def test_the_first_report_to_a_new_leader_is_no_news_because_of_its_weight() -> None:
    old = ClusterMap("c", 1, 1, (ServerEntry("10.0.0.1:80", ("s.S",), weight=0.3),))
    made = Members(TIMING)
    made.take_over(old, {}, 0.0)
    assert not made.report(report(1, weight=2.0, session="s"), 0.1)
    assert made.roll(0.1).entries()[0].weight == 2.0
    assert made.report(report(1, weight=3.0), 0.2)


def test_a_goodbye_to_a_new_leader_needs_no_report_before_it() -> None:
    old = ClusterMap("c", 1, 1, (ServerEntry("10.0.0.1:80", ("s.S",)),))
    made = Members(TIMING)
    made.take_over(old, {}, 0.0)
    assert made.depart(Departure("10.0.0.1:80", "s", goodbye=True), 0.1)
    assert not made.report(report(1, session="s"), 0.2)


def test_pings_name_the_silent_oldest_first_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "SILENT_MAX", 2)
    made = Members(TIMING)
    for number, heard_s in ((1, 0.0), (2, -0.4), (3, -0.2), (4, 1.0)):
        made.report(report(number), heard_s)
    silent = made.silent(2.0)
    assert [each.address for each in silent] == ["10.0.0.2:80", "10.0.0.3:80"]
    assert ages_of(silent, ["10.0.0.2:80", "10.0.0.4:80"]) == {
        "10.0.0.2:80": 2.4,
        "10.0.0.4:80": SILENT_AFTER_S,
    }
    assert ages_of([Silent("a", 2.0)], []) == {}


# A follower's inbox


def test_reports_coalesce_per_server_and_news_goes_at_once() -> None:
    inbox = Inbox()
    assert inbox.due_s is None
    inbox.report(report(1), 0.0)
    assert inbox.due_s == 0.0
    (forward,) = inbox.flush()
    assert forward.reports == (report(1),)
    inbox.report(report(1, load=0.1), 1.0)
    inbox.report(report(1, load=0.2), 1.05)
    assert inbox.due_s == pytest.approx(1.1)
    assert inbox.flush()[0].reports == (report(1, load=0.2),)
    assert inbox.flush() == []


def test_a_departure_undoes_a_waiting_report() -> None:
    inbox = Inbox()
    inbox.report(report(1), 0.0)
    inbox.depart(Departure("10.0.0.1:80"), 0.5)
    (forward,) = inbox.flush()
    assert (forward.reports, forward.departures) == ((), (Departure("10.0.0.1:80"),))
    inbox.report(report(1), 1.0)
    assert inbox.due_s == 1.0


def test_a_departure_of_an_earlier_session_undoes_nothing() -> None:
    inbox = Inbox()
    born = report(1, session="new")
    inbox.report(born, 0.0)
    inbox.depart(Departure(born.address, "older", goodbye=True), 0.0)
    inbox.depart(Departure(born.address, "old"), 0.0)
    (forward,) = inbox.flush()
    assert forward.reports == (born,)
    assert [each.session for each in forward.departures] == ["older", "old"]


def test_messages_to_the_leader_are_of_bounded_size() -> None:
    inbox = Inbox()
    for number in range(FORWARD_ITEMS_MAX + 1):  # short ones: their number counts, not their size
        inbox.report(replace(report(), address=f"h{number}:80"), 0.0)
    assert [len(forward.reports) for forward in inbox.flush()] == [FORWARD_ITEMS_MAX, 1]


def test_a_full_inbox_refuses_new_servers_and_drops_old_departures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("center.core.inbox.SERVERS_MAX", 1)
    monkeypatch.setattr("center.core.inbox.DEPARTURES_MAX", 1)
    inbox = Inbox()
    assert inbox.report(report(1), 0.0)
    assert not inbox.report(report(2), 0.0)
    assert inbox.report(report(1, load=0.5), 0.0)
    inbox.flush()
    assert inbox.report(report(2), 0.0)
    inbox.flush()
    inbox.report(report(1), 1.0)
    assert inbox.due_s == 1.0
    for number in (5, 6):
        inbox.depart(Departure(f"10.0.0.{number}:80"), 2.0)
    assert [each.address for each in inbox.flush()[0].departures] == ["10.0.0.6:80"]


def test_no_forward_is_longer_than_its_receiver_reads() -> None:
    inbox = Inbox()
    reports = [
        Report(f"10.0.{n // 250}.{n % 250}:80", ("\U0001f600" * 500,) * (n % 5)) for n in range(600)
    ]
    reports += [Report(f"10.3.{n // 250}.{n % 250}:80", ("",) * 1024) for n in range(600)]
    for each in reports:
        assert flaw_of(each) == ""
        inbox.report(each, 0.0)
    for number in range(600):
        inbox.depart(Departure(f"10.1.{number // 250}.{number % 250}:80", "\U0001f600" * 60), 0.0)
    forwards = inbox.flush()
    assert [each for forward in forwards for each in forward.reports] == reports
    assert sum(len(forward.departures) for forward in forwards) == 600
    assert max(len(codec.encode(1, 1, forward)) for forward in forwards) < codec.LONG_BYTES


def test_the_last_server_is_kept_only_until_there_is_another() -> None:
    members = Members(TIMING)
    members.report(report(1, session="a"), 0.0)
    assert members.depart(Departure("10.0.0.1:80", "a"), 0.1)
    assert [each.state for each in members.roll(0.1).entries()] == [ServerState.SUSPECT]
    assert members.report(report(2, session="b"), 0.2)
    assert [each.address for each in members.roll(0.2).entries()] == ["10.0.0.2:80"]


def test_a_kept_server_that_reports_again_stays() -> None:
    members = Members(TIMING)
    members.report(report(1, session="a"), 0.0)
    members.depart(Departure("10.0.0.1:80", "a"), 0.1)
    assert members.report(report(1, session="a"), 0.2)
    members.report(report(2, session="b"), 0.3)
    assert len(members) == 2
