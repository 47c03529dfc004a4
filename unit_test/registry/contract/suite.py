"""The contract of every registry. A test file per adapter runs it: see `harness.py`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from libevrpc import RpcServer
from libevrpc.clock import monotonic_s
from libevrpc.core.watching import WatchPolicy
from libevrpc.registry.base import Announcement
from unit_test.registry.contract.harness import (
    AnnouncingProcess,
    Harness,
    Watched,
    announced,
    load,
    new_service,
    watched,
)

MANY = 200
"""Servers of a large service."""
STORM = 300
"""Changes that come as fast as they can be made."""


def server_of(harness: Harness, *services: str) -> Announcement:
    """Return what a server says."""
    return Announcement(harness.new_address(), tuple(sorted(services)))


class Foo:
    """A plain object to be served."""

    def sum(self, one: int, two: int) -> int:
        return one + two


def foo(name: str) -> tuple[Foo, str]:
    return Foo(), name


class ListContract:
    """What holds of every list, also of one that somebody else writes (file, DNS).

    Subclasses give a `harness` whose `registrar` announces, or does what a person would.
    """

    def test_who_announces_himself_is_visible(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        server = server_of(harness, service)
        with watched(harness, service, tmp_path) as view, announced(harness, server, tmp_path):
            view.until_addresses(server.address)
            with watched(harness, service, tmp_path / "later") as late:
                late.until_addresses(server.address)
                assert not late.lists[-1].remembered

    def test_two_servers_of_one_service_and_the_goodbye_of_one(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service()
        one, two = server_of(harness, service), server_of(harness, service)
        with watched(harness, service, tmp_path) as view, announced(harness, one, tmp_path / "1"):
            with announced(harness, two, tmp_path / "2"):
                view.until_addresses(one.address, two.address)
            view.until_addresses(one.address)

    def test_while_the_registry_is_down_nobody_is_forgotten(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service()
        one, two = server_of(harness, service), server_of(harness, service)
        with (
            watched(harness, service, tmp_path) as view,
            announced(harness, one, tmp_path / "1"),
            ExitStack() as later,
        ):
            view.until_addresses(one.address)
            known = len(view.lists)
            with harness.outage(dead=True):
                with watched(harness, service, tmp_path / "probe") as probe:
                    probe.until_down()
                    assert not probe.lists
                later.enter_context(announced(harness, two, tmp_path / "2"))
            view.until_addresses(one.address, two.address)  # back: nothing lost
            assert all(each.endpoints for each in view.lists[known:])
            later.close()
            view.until_addresses(one.address)  # and nothing stale

    def test_the_last_good_list_is_kept_on_disk(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        server = server_of(harness, service)
        with announced(harness, server, tmp_path / "server"):
            with watched(harness, service, tmp_path) as view:
                view.until_addresses(server.address)
            with harness.outage(), watched(harness, service, tmp_path) as again:
                again.until_addresses(server.address)
                assert again.lists[-1].remembered

    def test_a_client_that_starts_while_the_registry_is_down(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service()
        server = server_of(harness, service)
        with (
            watched(harness, service, tmp_path / "first") as first,
            announced(harness, server, tmp_path / "server"),
            ExitStack() as views,
        ):
            first.until_addresses(server.address)
            with harness.outage():
                second = views.enter_context(watched(harness, service, tmp_path / "second"))
                second.until_down()
            second.until_addresses(server.address)

    def test_when_the_last_server_says_goodbye(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        server = server_of(harness, service)
        with watched(harness, service, tmp_path / "view") as view:
            with announced(harness, server, tmp_path):
                view.until_addresses(server.address)
            if "empty" in harness.cannot:
                view.until(view.resolver.trouble, "the registry knows nobody")
                assert view.lists[-1].endpoints
            else:
                view.until_addresses()
                assert "has no server" in str(view.resolver.trouble())

    def test_two_hundred_servers(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        servers = [server_of(harness, service) for _ in range(MANY)]
        expected = [each.address for each in servers]
        with watched(harness, service, tmp_path / "view") as view, ExitStack() as stack:
            registrars = [harness.patient_registrar(tmp_path / "servers") for _ in servers]
            begun_s = monotonic_s()
            for registrar, server in zip(registrars, servers, strict=True):
                stack.callback(registrar.close)
                registrar.start(server, load)
            view.until_addresses(*expected)
            assert len(view.lists) < most_lists(MANY / 2, begun_s)
            for registrar in registrars[1:]:
                registrar.withdraw(10.0)
            view.until_addresses(expected[0])
            registrars[0].withdraw(10.0)


class AnnounceContract(ListContract):
    """What holds of every registry that servers announce themselves at."""

    def test_services_of_a_running_server_come_and_go(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        one, two = new_service("One"), new_service("Two")
        stays = server_of(harness, one)
        with (
            announced(harness, stays, tmp_path / "stays"),
            serving(harness, tmp_path, *foo(one)) as server,
            watched(harness, one, tmp_path) as first,
            watched(harness, two, tmp_path) as second,
        ):
            first.until_addresses(stays.address, server.address)
            server.add_object(*foo(two))
            second.until_addresses(server.address)
            server.remove_service(one)
            first.until_addresses(stays.address)
            second.until_addresses(server.address)

    def test_who_asks_for_an_unknown_service_is_told_what_there_is(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service("Known")
        with (
            announced(harness, server_of(harness, service), tmp_path / "server"),
            watched(harness, service, tmp_path / "view") as view,
        ):
            view.until(lambda: view.addresses, "the server is known")
            mistyped = service.replace("Known", "Knwon")
            with watched(harness, mistyped, tmp_path / "other") as other:
                other.until(lambda: service in str(other.resolver.trouble()), "it is named")

    def test_weight_tags_and_limit_of_a_running_server_reach_watchers(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service()
        with (
            serving(harness, tmp_path, *foo(service)) as server,
            watched(harness, service, tmp_path) as view,
        ):
            view.until_addresses(server.address)
            server.announce(weight=3.5, tags=("blue", "green"), limit=7)

            def told() -> bool:
                found = view.one(server.address)
                return (
                    found is not None  # it may be suspect for a moment, on a busy machine
                    and harness.same_weight(found.weight, 3.5)
                    and (found.tags, found.limit) == (("blue", "green"), 7)
                )

            view.until(told, "another weight, tags and a limit")

    def test_who_crashes_is_dropped_when_he_expires(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        one, two = server_of(harness, service), server_of(harness, service)
        with (
            watched(harness, service, tmp_path) as view,
            announced(harness, one, tmp_path / "1"),
            AnnouncingProcess(harness, two, tmp_path / "2") as crashing,
        ):
            view.until_addresses(one.address, two.address)
            crashing.kill()
            view.until_addresses(one.address)

    def test_who_restarts_faster_than_he_expires_stays(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service = new_service()
        one, two, three = (server_of(harness, service) for _ in range(3))
        with (
            watched(harness, service, tmp_path) as view,
            AnnouncingProcess(harness, one, tmp_path / "1") as first,
            AnnouncingProcess(harness, two, tmp_path / "2") as second,
        ):
            view.until_addresses(one.address, two.address)
            first.kill()
            second.kill()
            with announced(harness, one, tmp_path / "again"):
                # the other one shows when what both left behind has expired
                view.until_addresses(one.address)
                with announced(harness, three, tmp_path / "3"):
                    view.until_addresses(one.address, three.address)

    def test_what_changes_while_the_registry_is_down_is_told_when_it_is_back(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        one, two = new_service("One"), new_service("Two")
        server, stays = server_of(harness, one), server_of(harness, one)
        with (
            watched(harness, one, tmp_path / "1") as first,
            watched(harness, two, tmp_path / "2") as second,
            announced(harness, stays, tmp_path / "stays"),
            announced(harness, server, tmp_path) as registrar,
        ):
            first.until_addresses(stays.address, server.address)
            with harness.outage():
                registrar.update(replace(server, services=(two,)))
                with watched(harness, one, tmp_path / "probe") as probe:
                    probe.until_down()
            second.until_addresses(server.address)
            first.until_addresses(stays.address)

    def test_a_lost_session_is_made_anew(self, harness: Harness, tmp_path: Path) -> None:
        service = new_service()
        server = server_of(harness, service)
        with (
            watched(harness, service, tmp_path / "view") as view,
            announced(harness, server, tmp_path) as registrar,
        ):
            view.until_addresses(server.address)
            harness.lose_sessions()
            with watched(harness, service, tmp_path / "late") as late:
                late.until_addresses(server.address)
            registrar.update(replace(server, weight=2.0))
            view.until(lambda: weight_of(view, server.address) == 2.0, "a new weight")

    def test_a_storm_of_changes_is_told_in_a_few_lists(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        service, last = new_service(), ("last",)
        server = server_of(harness, service)
        with (
            watched(harness, service, tmp_path / "view") as view,
            announced(harness, server, tmp_path) as registrar,
        ):
            view.until_addresses(server.address)
            begun_s = monotonic_s()
            for number in range(STORM):
                registrar.update(replace(server, tags=(f"t{number}",)))
            registrar.update(replace(server, tags=last))

            def told() -> bool:
                found = view.one(server.address)
                return found is not None and found.tags == last

            view.until(told, "the last change")
            assert len(view.lists) < most_lists(STORM / 5, begun_s)


def serving(harness: Harness, folder: Path, implementation: Any, name: str) -> RpcServer:
    """Return a server that announces itself when it starts."""
    server = RpcServer(
        "127.0.0.1:0",
        threads=1,
        registry=harness.target(),
        report_s=0.2,
        drain_s=0.0,
        state_dir=str(folder),
    )
    server.add_object(implementation, name)
    return server


def most_lists(few: float, begun_s: float) -> float:
    """Return how many lists are too many since then: a slow machine has time for more."""
    return max(few, 2.0 + (monotonic_s() - begun_s) / WatchPolicy().window_s)


def weight_of(view: Watched, address: str) -> float | None:
    found = view.one(address)
    return None if found is None else found.weight
