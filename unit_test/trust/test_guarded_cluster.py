"""A cluster with a token: who has it, who has none, who has another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from center.centers_list import parse_centers_list
from center.opening import check_security
from libevrpc import RpcClient, RpcError
from libevrpc.cli.main import main
from libevrpc.errors import ConfigError
from libevrpc.settings import CenterSettings, load_settings
from unit_test.interop.clusters import Process, wait_until
from unit_test.interop.test_list_change import Load
from unit_test.trust.keyed import GuardedCluster

TOKENS = ("the-first-token-of-it", "the-second-token-of-it")
KEY = "00" * 32


def token_file(folder: Path, name: str, *tokens: str) -> str:
    path = folder / name
    path.write_text("\n".join(tokens))
    path.chmod(0o600)
    return str(path)


class Members:
    """The files that centers, servers and clients are started with, by their environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def show(self, path: str, *roles: str) -> None:
        for role in roles or ("CENTER", "SERVER", "CLIENT"):
            self._monkeypatch.setenv(f"LIBEVRPC_{role}_TOKEN_FILE", path)


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    return Members(monkeypatch)


@pytest.fixture
def cluster(tmp_path: Path, members: Members) -> GuardedCluster:
    """Give a cluster of one center that wants the first token; it does not run yet."""
    made = GuardedCluster(tmp_path, 1)
    made.token_file = token_file(tmp_path, "token", TOKENS[0])
    members.show(made.token_file)
    return made


@pytest.mark.live
@pytest.mark.slow
def test_members_find_each_other_and_strangers_find_nobody(
    cluster: GuardedCluster, members: Members, tmp_path: Path
) -> None:
    other = token_file(tmp_path, "other", TOKENS[1])
    with cluster:
        _, address = cluster.server()
        cluster.await_servers(address)
        with RpcClient(cluster.target(), state_dir=str(tmp_path / "client")) as client:
            assert client.call("Echo.echo", "hi") == "hi"
        for path, why in (("", "no token was shown"), (other, "the token that was shown is not")):
            with (
                RpcClient(
                    cluster.target(), token_file=path, state_dir=str(tmp_path / "no"), timeout_s=0.5
                ) as client,
                pytest.raises(RpcError, match=why),
            ):
                client.call("Echo.echo", "hi")
            members.show(path, "SERVER")
            stranger, _ = cluster.server()
            wait_until(lambda s=stranger, why=why: why in s.log.read_text(), what=cluster.logs())
        assert cluster.servers_at(1) == [address]
        logs = cluster.logs()
        assert not any(token in logs for token in TOKENS)
        assert "refused peer=127.0.0.1:" in (tmp_path / "center-1.log").read_text()


@pytest.mark.live
@pytest.mark.slow
def test_the_program_shows_a_token_too(
    cluster: GuardedCluster,
    members: Members,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = ("--token-file", cluster.token_file)
    with cluster:
        _, address = cluster.server()
        cluster.await_servers(address)
        members.show("")
        center, target = cluster.address(1), cluster.target()
        for words in (
            ("status", center),
            ("list", center),
            ("list", address),
            ("list", target),
            ("call", address, "Echo.echo", "-d", '["hi"]'),
            ("bench", address, "Echo.echo", "-d", '["hi"]', "-z", "0.1"),
        ):
            assert main([*words, "--json"]) == 1, words
            told = json.loads(capsys.readouterr().out)["error"]
            assert told["code"] == "UNAUTHENTICATED"
            assert "no token was shown" in told["text"]
            assert main([*words, "--json", *shown]) == 0, words
            assert '"error":' not in capsys.readouterr().out
        assert main(["call", target, "Echo.echo", "-d", '["hi"]', "--json", *shown]) == 0


def restart_all(cluster: GuardedCluster) -> None:
    for center in cluster.ids:
        cluster.stop(center)
        cluster.restart(center)
        cluster.leader()


@pytest.mark.live
@pytest.mark.slow
def test_a_token_is_introduced_and_changed_by_rolling_restarts(
    tmp_path: Path, members: Members
) -> None:
    """Clients, then servers, then centers; then a second token, by the written procedure."""
    members.show("")
    cluster = GuardedCluster(tmp_path, 3)
    with cluster:
        cluster.leader()
        running: list[tuple[Process, str]] = []

        def restart_servers() -> None:
            for _ in range(2):
                made = cluster.server()
                addresses = [*(each for _, each in running[-1:]), made[1]]
                old = running.pop(0)[0] if len(running) == 2 else None
                running.append(made)
                if old is not None:
                    cluster.servers.remove(old)
                    old.end()
                cluster.await_servers(*addresses)

        restart_servers()
        one = token_file(tmp_path, "one", TOKENS[0])
        both = token_file(tmp_path, "both", *TOKENS)
        second_first = token_file(tmp_path, "second-first", *reversed(TOKENS))
        second = token_file(tmp_path, "second", TOKENS[1])
        members.show(one, "CLIENT")
        cluster.token_file = one
        with Load(cluster) as load:
            wait_until(lambda: load.calls > 10)
            members.show(one, "SERVER")
            restart_servers()
            members.show(one, "CENTER")
            restart_all(cluster)
            for path in (both, second_first):
                members.show(path, "SERVER", "CENTER")
                restart_all(cluster)
                restart_servers()
            assert load.failures == []
        members.show(second)
        with Load(cluster) as load:
            wait_until(lambda: load.calls > 10)
            cluster.token_file = second
            restart_all(cluster)
            restart_servers()
            wait_until(lambda: load.servers() == 2)
            assert load.failures == []


@pytest.mark.parametrize(
    ("keys", "token", "lacks"),
    [
        ("", "", "nothing protects the links: give the centers keys and set token_file"),
        ("", "x", "nothing protects the links between centers: give them keys"),
        (KEY, "", "nothing protects the port for servers and clients: set token_file"),
        (KEY, "x", ""),
    ],
)
def test_a_center_speaks_beyond_this_machine_with_keys_and_a_token(
    keys: str, token: str, lacks: str
) -> None:
    centers = parse_centers_list(f"1 192.0.2.7 1 2 {keys}", "list")
    settings = load_settings(CenterSettings, arguments={"token_file": token})
    if not lacks:
        check_security(centers, settings)
        return
    with pytest.raises(ConfigError) as caught:
        check_security(centers, settings)
    assert str(caught.value) == (
        f"list:1: 192.0.2.7 is beyond this machine, and {lacks},"
        " or write security = none in [center] to allow that"
    )
