"""Networks of our own: cuts in one direction, resets, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from libevrpc.clock import monotonic_s
from unit_test.faults import fix_netns
from unit_test.faults.fix_netns import Network
from unit_test.interop.clusters import ROOT, WAIT_S, wait_until

pytestmark = pytest.mark.live

SOON_S = 1.0
"""For so long nothing must come through a cut; what must come has WAIT_S."""
AGAIN_S = 0.05


@pytest.fixture
def network(networks: None) -> Iterator[Network]:
    with Network(["a", "b"]) as network:
        yield network


def heard(network: Network, source: str, receiver: str, within_s: float = WAIT_S) -> bool:
    """Say something from one host to another again and again, unanswered; whether any arrives."""
    with network.hosts[receiver].inside():
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with network.hosts[source].inside():
        saying = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listening, saying:
        listening.bind((network.hosts[receiver].address, 0))
        listening.settimeout(AGAIN_S)
        until_s = monotonic_s() + within_s
        while monotonic_s() < until_s:
            saying.sendto(b"hello", listening.getsockname())  # a new bridge may lose the first
            with suppress(TimeoutError):
                return listening.recv(100) == b"hello"
    return False


def silent(network: Network, source: str, receiver: str) -> bool:
    """Whether nothing comes from one host to another."""
    return not heard(network, source, receiver, SOON_S)


def test_hosts_hear_each_other_and_nobody_else(network: Network) -> None:
    assert heard(network, "a", "b")
    assert heard(network, "b", "a")
    with pytest.raises(OSError, match="assign requested address"):
        socket.create_server((network.hosts["a"].address, 0))


def test_a_cut_has_a_direction_and_is_healed(network: Network) -> None:
    network.block([("a", "b")])
    assert heard(network, "b", "a")
    assert silent(network, "a", "b")
    network.cut("a", "b")
    assert silent(network, "a", "b")
    assert silent(network, "b", "a")
    network.heal()
    assert heard(network, "a", "b")
    assert heard(network, "b", "a")


def test_refused_traffic_is_reset(network: Network) -> None:
    with network.hosts["b"].inside():
        listening = socket.create_server((network.hosts["b"].address, 0))
    with listening:
        network.block([("a", "b")], refuse=True)
        with network.hosts["a"].inside(), pytest.raises(ConnectionRefusedError):
            socket.create_connection(listening.getsockname(), WAIT_S)
        network.heal()
        with network.hosts["a"].inside():
            socket.create_connection(listening.getsockname(), WAIT_S).close()


def test_the_thread_is_back_outside_after_a_visit(network: Network) -> None:
    outside = os.readlink(fix_netns.OWN_NETWORK)
    with network.hosts["a"].inside():
        assert os.readlink(fix_netns.OWN_NETWORK) != outside
    assert os.readlink(fix_netns.OWN_NETWORK) == outside


BUILDER = """
import sys
from unit_test.faults.fix_netns import Network

with Network(["a", "b"]) as network:
    words = [*network.hosts["a"].words, "cat"]
    import subprocess
    inside = subprocess.Popen(words, stdin=subprocess.PIPE)
    pids = [host.pid for host in network.hosts.values()]
    print(network._bridge.pid, inside.pid, *pids, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_goes_with_the_process_that_made_it(networks: None, number: signal.Signals) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BUILDER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        pids = child.stdout.readline().split()
        assert len(pids) == 4
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        child.send_signal(number)
        child.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fix_netns.PACKAGES, "no-such-program", "no-such-package")
    assert fix_netns.missing() == (
        "no program no-such-program here: make services, or install no-such-package"
    )


def test_a_missing_right_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in fix_netns.PACKAGES:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'unshare failed: not permitted' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert fix_netns.missing().startswith("no right to make network namespaces")
    assert fix_netns.missing().endswith("unshare failed: not permitted")


def test_a_network_that_cannot_be_finished_leaves_nothing(
    networks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[fix_netns.Host] = []

    class Noted(fix_netns.Host):
        def __init__(self, name: str, address: str) -> None:
            super().__init__(name, address if name != "b" else "nonsense")
            made.append(self)

    monkeypatch.setattr(fix_netns, "Host", Noted)
    with pytest.raises(fix_netns.NetworkError, match="nonsense"), Network(["a", "b"]):
        pass
    assert len(made) == 3
    assert not any(Path(f"/proc/{host.pid}").exists() for host in made)
