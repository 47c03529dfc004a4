"""Center processes with keys: refused at start, refused by the others, and keys that change."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit_test.interop.clusters import Cluster, wait_until
from unit_test.interop.test_cluster_input import refused
from unit_test.interop.test_list_change import Load
from unit_test.trust.keyed import KeyedCluster

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> KeyedCluster:
    """Give a cluster that does not run yet."""
    return KeyedCluster(tmp_path)


def test_a_center_without_its_key_does_not_start(cluster: KeyedCluster) -> None:
    cluster.give_keys()
    own, other = cluster.key_files[1], cluster.key_files[2]
    del cluster.key_files[1]
    assert "centers_list:1: center 1 has a key there; set key_file" in refused(
        *cluster.words(1)[2:]
    )
    cluster.key_files[1] = other
    assert "is not the key of center 1: its public key is" in refused(*cluster.words(1)[2:])
    cluster.key_files[1] = own
    own.chmod(0o644)
    assert f"chmod 600 {own}" in refused(*cluster.words(1)[2:])
    own.chmod(0o600)
    cluster.keys.clear()
    cluster.list_keys()
    assert "centers_list has no keys" in refused(*cluster.words(1)[2:])


@pytest.mark.alone  # its leader must stay
def test_a_center_with_a_key_that_the_others_do_not_know_is_left_out(
    cluster: KeyedCluster,
) -> None:
    """Its own list has it, theirs do not; they go on, and both sides say whom and why."""
    cluster.give_keys()
    with cluster:
        leader = cluster.leader()
        left_out = next(each for each in cluster.ids if each != leader)
        others = [each for each in cluster.ids if each != left_out]
        cluster.stop(left_out)
        before = cluster.epoch(leader)
        cluster.key_files[left_out], key = cluster.key_of(left_out, "unknown")
        cluster.keys[left_out] = [key]
        cluster.list_keys()
        cluster.restart(left_out)

        def told(center: int, text: str) -> bool:
            return text in (cluster.folder / f"center-{center}.log").read_text()

        for other in others:
            place = f"center {other} at 127.0.0.1:{cluster.peer_port[other]}: refuses our key {key}"
            wait_until(lambda place=place: told(left_out, place), what=f"{place}\n{cluster.logs()}")
            named = f"center {left_out} at 127.0.0.1:{cluster.peer_port[left_out]}: hangs up"
            wait_until(lambda other=other, named=named: told(other, named), what=cluster.logs())
            assert told(other, f"connection from 127.0.0.1: refused: its key {key} belongs to no")
        assert cluster.epoch(leader) == before
        alone = cluster.status(left_out)
        assert alone is not None
        assert (alone.leader, alone.state) == (0, "LOOKING")


def restart_one_by_one(cluster: Cluster) -> None:
    for center in cluster.ids:
        cluster.stop(center)
        cluster.restart(center)


def test_keys_are_introduced_and_changed_by_rolling_restarts(cluster: KeyedCluster) -> None:
    """From no keys to keys, then to others by the written procedure: no call fails."""
    with cluster:
        cluster.leader()
        _, first = cluster.server()
        _, second = cluster.server()
        cluster.await_servers(first, second)
        with Load(cluster) as load:
            wait_until(lambda: load.calls > 10)
            epoch = cluster.epoch(cluster.leader())
            cluster.give_keys()
            restart_one_by_one(cluster)
            cluster.leader()
            new = {center: cluster.key_of(center, "second") for center in cluster.ids}
            for center, (_, key) in new.items():
                cluster.keys[center].append(key)
            cluster.list_keys()
            restart_one_by_one(cluster)
            for center, (path, _) in new.items():
                cluster.key_files[center] = path
                cluster.stop(center)
                cluster.restart(center)
                cluster.leader()  # all three speak to each other, old key or new
            for center, (_, key) in new.items():
                cluster.keys[center] = [key]
            cluster.list_keys()
            restart_one_by_one(cluster)
            assert cluster.epoch(cluster.leader()) > epoch
            cluster.await_servers(first, second)
        assert load.failures == []
        assert load.calls > 100
