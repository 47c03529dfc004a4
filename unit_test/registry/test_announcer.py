"""The announcer's thread, on a scripted registry."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.core.backoff import BackoffPolicy
from libevrpc.registry import announcer
from libevrpc.registry.announcer import SessionRegistrar
from libevrpc.registry.base import Announcement, LoadSample
from libevrpc.registry.session import Nap, RegistryError, SessionLost
from unit_test.fix_rpc import wait_until
from unit_test.registry.scripted import WAIT_S, ScriptedRegistry, next_told

ONE = Announcement("127.0.0.1:7", ("x.Y",))
TWO = Announcement("127.0.0.1:7", ("x.Y", "x.Z"), 2.0, ("red",), 8)
FAST = BackoffPolicy(first_s=0.001, max_s=0.002)
LONG_S = 3600.0


def no_load() -> LoadSample:
    raise AssertionError("these registries have no use for loads")


@pytest.fixture
def registry() -> ScriptedRegistry:
    return ScriptedRegistry()


@pytest.fixture
def registrar(registry: ScriptedRegistry) -> Iterator[SessionRegistrar]:
    made = SessionRegistrar("fake://r", registry.announce_session, beat_s=LONG_S, backoff=FAST)
    yield made
    registry.go.set()
    made.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{each.levelname} {each.getMessage()}" for each in caplog.records]


def test_it_announces_and_keeps_it_alive(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    steps = [registry.told.get(timeout=WAIT_S) for _ in range(4)]
    assert steps == [("make", None), ("open", None), ("put", ONE), ("beat", LONG_S)]


def test_an_update_ends_the_beat_and_is_put(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")  # it would last an hour
    registrar.update(TWO)
    assert next_told(registry.told, "put") == TWO
    next_told(registry.told, "beat")


def test_a_thousand_updates_cost_a_few_puts(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registry.holds.add("put")
    registrar.start(ONE, no_load)
    next_told(registry.told, "put")
    for _ in range(1000):
        registrar.update(Announcement(ONE.address, ("x.Q",)))
    registrar.update(TWO)
    registry.go.set()
    assert next_told(registry.told, "put") == TWO
    next_told(registry.told, "beat")


def test_goodbye_takes_back_and_hangs_up(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    assert registrar.withdraw(WAIT_S)
    assert [registry.told.get(timeout=WAIT_S)[0] for _ in range(2)] == ["remove", "close"]
    assert registrar.withdraw(0.0)
    registrar.update(TWO)  # too late, and no harm


def test_goodbye_of_who_is_not_announced_yet_waits_for_nothing(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registry.fails["open"] = RegistryError("down")
    registrar.start(ONE, no_load)
    next_told(registry.told, "close")
    assert registrar.withdraw(WAIT_S)


def test_goodbye_before_the_start_says_so(registrar: SessionRegistrar) -> None:
    assert not registrar.withdraw(LONG_S)
    registrar.close()


def test_goodbye_is_tried_again_until_its_time_is_over(
    registry: ScriptedRegistry, registrar: SessionRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_s = [0.0]
    monkeypatch.setattr(announcer, "monotonic_s", lambda: monotonic_s() + late_s[0])
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    registry.fails["remove"] = RegistryError("down")
    done: list[bool] = []
    leaving = threading.Thread(target=lambda: done.append(registrar.withdraw(LONG_S)))
    leaving.start()
    next_told(registry.told, "remove")
    next_told(registry.told, "remove")
    late_s[0] = LONG_S
    next_told(registry.told, "close")
    leaving.join()
    assert done == [False]


def test_goodbye_goes_through_when_the_registry_is_back(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    registry.fails["remove"] = RegistryError("down")
    done: list[bool] = []
    leaving = threading.Thread(target=lambda: done.append(registrar.withdraw(WAIT_S)))
    leaving.start()
    next_told(registry.told, "remove")
    registry.fails.clear()
    leaving.join()
    assert done == [True]


def test_a_goodbye_to_a_registry_that_blocks_ends_in_time(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    registry.holds.add("remove")
    assert not registrar.withdraw(0.05)


def test_close_leaves_what_was_announced_to_expire(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    registrar.close()
    assert registry.told.get(timeout=WAIT_S) == ("close", None)
    assert registry.told.empty()


def test_close_while_a_step_blocks_ends_with_the_step(
    registry: ScriptedRegistry, registrar: SessionRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libevrpc.registry.announcer._JOIN_S", 0.01)
    registry.holds.add("put")
    registrar.start(ONE, no_load)
    next_told(registry.told, "put")
    registrar.close()
    registry.go.set()
    next_told(registry.told, "close")


@pytest.mark.parametrize("end", ["close", "withdraw"])
def test_an_end_that_overtakes_the_making_of_a_session_waits_for_no_registry(
    registry: ScriptedRegistry,
    registrar: SessionRegistrar,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    """There is nothing yet that could be woken, and to connect may take long."""
    monkeypatch.setattr(announcer, "_JOIN_S", 0.01)
    registry.holds.add("make")
    registrar.start(ONE, no_load)
    next_told(registry.told, "make")
    if end == "close":
        registrar.close()
    else:
        assert not registrar.withdraw(0.0)
    registry.go.set()
    assert registry.told.get(timeout=WAIT_S) == ("close", None)


def test_trouble_is_two_lines_however_often_it_fails(
    registry: ScriptedRegistry, registrar: SessionRegistrar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "libevrpc.registry.announcer")
    registry.fails["open"] = RegistryError("connection refused")
    registrar.start(ONE, no_load)
    for _ in range(10):
        next_told(registry.told, "open")
    registry.fails.clear()
    next_told(registry.told, "beat")
    assert lines(caplog) == [
        "WARNING not announced address=127.0.0.1:7 registry=fake://r:"
        " connection refused; trying on",
        "INFO announced address=127.0.0.1:7 registry=fake://r",
    ]


def test_who_stands_by_says_so_and_when_its_turn_has_come(
    registry: ScriptedRegistry, registrar: SessionRegistrar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "libevrpc.registry.announcer")
    registry.place = "/Y/m is 127.0.0.1:6"
    registrar.start(ONE, no_load)
    for place in ("/Y/m is 127.0.0.1:6", "/Y/m is 127.0.0.1:5", ""):
        next_told(registry.told, "beat")
        registry.place = place
        registry.sessions[0].wake()  # ends that beat
    next_told(registry.told, "beat")
    assert lines(caplog) == [
        "INFO stands by address=127.0.0.1:7 registry=fake://r: /Y/m is 127.0.0.1:6",
        "INFO stands by address=127.0.0.1:7 registry=fake://r: /Y/m is 127.0.0.1:5",
        "INFO announced address=127.0.0.1:7 registry=fake://r",
    ]


def test_a_lost_session_is_made_anew_and_everything_put_again(
    registry: ScriptedRegistry, registrar: SessionRegistrar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "libevrpc.registry.announcer")
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    registry.fails["beat"] = SessionLost("lease is gone")
    registrar.update(TWO)  # ends the beat; the next one fails
    next_told(registry.told, "beat")
    registry.fails.clear()
    steps = [registry.told.get(timeout=WAIT_S) for _ in range(4)]
    assert steps == [("close", None), ("make", None), ("open", None), ("put", TWO)]
    next_told(registry.told, "beat")
    registrar.update(ONE)
    next_told(registry.told, "put")  # a beat has gone well
    said = [
        ["INFO", "announced", "address=127.0.0.1:7"],
        ["WARNING", "not", "announced"],
        ["INFO", "announced", "address=127.0.0.1:7"],
    ]
    wait_until(lambda: len(lines(caplog)) >= len(said))
    assert [line.split()[:3] for line in lines(caplog)] == said


def test_a_session_in_trouble_is_kept(
    registry: ScriptedRegistry, registrar: SessionRegistrar
) -> None:
    registry.fails["put"] = RegistryError("time-out")
    registrar.start(ONE, no_load)
    next_told(registry.told, "put")
    next_told(registry.told, "put")
    registry.fails.clear()
    next_told(registry.told, "beat")
    assert len(registry.sessions) == 1


@pytest.mark.parametrize("step", ["make", "open", "put", "beat", "close"])
def test_what_a_library_raises_costs_the_session_alone(
    registry: ScriptedRegistry,
    registrar: SessionRegistrar,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    registry.fails[step] = KeyError("surprise")
    if step == "close":
        registry.fails["put"] = SessionLost("gone")
    registrar.start(ONE, no_load)
    next_told(registry.told, step)
    next_told(registry.told, step)
    registry.fails.clear()
    next_told(registry.told, "beat")
    warned = [line for line in lines(caplog) if line.startswith("WARNING")]
    assert len(warned) == 1
    assert ("gone" if step == "close" else "KeyError: 'surprise'") in warned[0]


def test_a_forked_child_leaves_the_parent_s_announcement_alone(
    registry: ScriptedRegistry, registrar: SessionRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrar.start(ONE, no_load)
    next_told(registry.told, "beat")
    parent = os.getpid()
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: parent + 1)
        registrar.update(TWO)
        assert not registrar.withdraw(LONG_S)
        registrar.close()
    assert registry.told.empty()


def test_a_wake_before_a_nap_counts() -> None:
    nap = Nap()
    nap.wake()
    assert nap.wait(LONG_S)
    assert not nap.wait(0.0)
