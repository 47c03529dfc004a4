"""The registry as its peers see it: bytes of the originals, and what ours say beside."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libevrpc import ConfigError, RpcServer, UsageError
from libevrpc.core.http import HttpAnswer
from libevrpc.credentials import write_secret
from libevrpc.server.http.registry import HttpRegistry
from unit_test.fix_rpc import wait_until
from unit_test.registry.http.conftest import Registry
from unit_test.server.http.http_peer import HttpPeer, error_of

pytestmark = pytest.mark.live

Start = Callable[..., Registry]
TINY, GEE = "/_tinyrpc_/registry", "/_geerpc_/registry"
OURS = "Accept: application/json\r\n"


def say(peer: HttpPeer, address: str, header: str = "X-Tinyrpc-Server", **more: Any) -> HttpAnswer:
    path = GEE if "Geerpc" in header else TINY
    return peer.ask(path, headers=f"{header}: {address}\r\n", **more)


def listed(peer: HttpPeer, header: str = "x-tinyrpc-servers") -> str:
    answer = peer.get(GEE if "geerpc" in header else TINY)
    assert (answer.status, answer.body) == (200, b"")
    return answer.headers[header]


def test_the_originals_exchange(registry: Start) -> None:
    peer = registry().peer()
    assert listed(peer) == ""
    answer = say(peer, "tcp@[::]:5000")
    assert (answer.status, answer.body) == (200, b"")
    assert say(peer, "http@10.0.0.7:1", "X-Geerpc-Server").status == 200
    assert listed(peer) == "http@10.0.0.7:1,tcp@[::]:5000"
    assert listed(peer, "x-geerpc-servers") == "http@10.0.0.7:1,tcp@[::]:5000"
    assert peer.ask(TINY, headers="").status == 500
    assert peer.ask(TINY, headers="X-Geerpc-Server: tcp@a:1\r\n").status == 500
    assert peer.ask(TINY, headers="", method="PUT").status == 405
    assert peer.ask("/_other_/registry", headers="").status == 404


def test_the_bytes_that_a_go_client_sends_and_gets(registry: Start) -> None:
    peer = registry().peer()
    peer.send(
        b"POST /_tinyrpc_/registry HTTP/1.1\r\nHost: localhost:9999\r\n"
        b"User-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n"
        b"X-Tinyrpc-Server: tcp@127.0.0.1:41000\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    assert peer.answer().status == 200
    peer.send(
        b"GET /_tinyrpc_/registry HTTP/1.1\r\nHost: localhost:9999\r\n"
        b"User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    said = peer.to_end()
    assert said.startswith(b"HTTP/1.1 200 OK\r\nX-Tinyrpc-Servers: tcp@127.0.0.1:41000\r\n")
    assert said.endswith(b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_the_silent_are_dropped_on_time_and_not_only_when_somebody_asks(
    registry: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "libevrpc"):
        started = registry(expiry_s=0.2)
        peer = started.peer()
        assert say(peer, "tcp@a:1").headers["x-libevrpc-expiry"] == "0.2"
        wait_until(lambda: "expired address=tcp@a:1" in caplog.text)
    assert listed(peer) == ""


def test_a_server_may_ask_for_a_shorter_span(registry: Start) -> None:
    started = registry(expiry_s=0)
    peer = started.peer()
    assert say(peer, "tcp@never:1").headers["x-libevrpc-expiry"] == "0"
    answer = peer.ask(TINY, headers="X-Tinyrpc-Server: tcp@a:1\r\nX-Libevrpc-Expiry: 0.1\r\n")
    assert answer.headers["x-libevrpc-expiry"] == "0.1"
    wait_until(lambda: started.registry.addresses == ["tcp@never:1"])


def test_ours_say_more_and_say_goodbye(registry: Start) -> None:
    peer = registry().peer()
    record = '{"v":1,"address":"a:1","services":["Foo"],"weight":2.5}'
    headers = "X-Tinyrpc-Server: tcp@a:1\r\nContent-Type: application/json\r\n"
    assert peer.ask(TINY, record, headers).status == 200
    say(peer, "tcp@b:1")
    answer = peer.get(TINY, OURS)
    assert json.loads(answer.body) == {
        "v": 1,
        "servers": [
            {"server": "tcp@a:1", "record": json.loads(record)},
            {"server": "tcp@b:1", "record": None},
        ],
    }
    assert answer.headers["x-tinyrpc-servers"] == "tcp@a:1,tcp@b:1"
    assert say(peer, "tcp@a:1", method="DELETE").status == 200
    assert say(peer, "tcp@a:1", method="DELETE").status == 404
    assert listed(peer) == "tcp@b:1"


def test_a_beat_that_comes_behind_the_goodbye_counts_no_more(registry: Start) -> None:
    """As a registry finds them that was frozen: on two connections, in either order."""
    peer = registry().peer()

    def tell(method: str, word: str) -> int:
        headers = f"X-Tinyrpc-Server: tcp@a:1\r\nX-Libevrpc-Word: {word}\r\n"
        return peer.ask(TINY, headers=headers, method=method).status

    assert [tell("POST", "x-1"), tell("DELETE", "x-3"), tell("POST", "x-2")] == [200, 200, 409]
    assert listed(peer) == ""
    assert tell("POST", "x-4") == 200
    assert tell("DELETE", "x-5") == 200
    assert tell("POST", "y-1") == 200  # it has started anew
    assert listed(peer) == "tcp@a:1"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("X-Tinyrpc-Server: tcp@a:1,tcp@b:1\r\n", ""),
        ("X-Tinyrpc-Server: a b\r\n", ""),
        ("X-Tinyrpc-Server: " + "a" * 300 + "\r\n", ""),
        ("X-Tinyrpc-Server: a:1\r\nX-Libevrpc-Expiry: soon\r\n", ""),
        ("X-Tinyrpc-Server: a:1\r\nContent-Type: application/json\r\n", "{"),
        ("X-Tinyrpc-Server: a:1\r\nContent-Type: application/json\r\n", "[]"),
        ("X-Tinyrpc-Server: a:1\r\nContent-Type: application/json\r\n", '{"tags":["\\ud800"]}'),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(
    registry: Start, headers: str, body: str
) -> None:
    peer = registry().peer()
    answer = peer.ask(TINY, body, headers)
    assert answer.status == 400
    assert error_of(answer)["text"]
    assert listed(peer) == ""


def test_a_full_registry_says_so(registry: Start) -> None:
    peer = registry(servers_max=2).peer()
    answers = [say(peer, f"tcp@a:{port}") for port in (1, 2, 3, 1)]
    assert [each.status for each in answers] == [200, 200, 429, 200]
    assert error_of(answers[2])["errno"] == 4008
    assert answers[2].headers["retry-after"] == "1"
    assert listed(peer) == "tcp@a:1,tcp@a:2"


def test_a_question_may_wait_for_news(registry: Start) -> None:
    started = registry()
    teller, waiter = started.peer(), started.peer()
    version = waiter.get(TINY).headers["x-libevrpc-version"]
    question = f"X-Libevrpc-Version: {version}\r\nX-Libevrpc-Wait: 20\r\n"
    waiter.send(f"GET {TINY} HTTP/1.1\r\nHost: a\r\n{question}\r\n".encode())
    wait_until(lambda: started.server.statistics().in_flight == 1)
    say(teller, "tcp@a:1")
    answer = waiter.answer("GET")
    assert answer.headers["x-tinyrpc-servers"] == "tcp@a:1"
    assert answer.headers["x-libevrpc-version"] != version
    assert waiter.get(TINY, question).headers["x-tinyrpc-servers"] == "tcp@a:1"  # old: at once
    version = answer.headers["x-libevrpc-version"]
    brief = f"X-Libevrpc-Version: {version}\r\nX-Libevrpc-Wait: 0.05\r\n"
    assert waiter.get(TINY, brief).headers["x-libevrpc-version"] == version


def test_only_so_many_questions_wait(registry: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libevrpc.server.http.registry.WAITERS_MAX", 2)
    started = registry()
    waiters, more = [started.peer(), started.peer()], started.peer()
    version = more.get(TINY).headers["x-libevrpc-version"]
    question = f"X-Libevrpc-Version: {version}\r\nX-Libevrpc-Wait: 30\r\n"
    for peer in waiters:
        peer.send(f"GET {TINY} HTTP/1.1\r\nHost: a\r\n{question}\r\n".encode())
    wait_until(lambda: started.server.statistics().in_flight == 2)
    assert more.get(TINY, question).headers["x-libevrpc-version"] == version  # at once
    say(more, "tcp@a:1")
    for peer in waiters:
        assert peer.answer("GET").headers["x-tinyrpc-servers"] == "tcp@a:1"


def test_a_question_with_a_body_does_not_wait(registry: Start) -> None:
    peer = registry().peer()
    version = peer.get(TINY).headers["x-libevrpc-version"]
    question = f"X-Libevrpc-Version: {version}\r\nX-Libevrpc-Wait: 30\r\n"
    peer.send(f"GET {TINY} HTTP/1.1\r\nHost: a\r\n{question}Content-Length: 4\r\n\r\nbody".encode())
    assert peer.answer("GET").headers["x-libevrpc-version"] == version


def test_who_waits_is_told_when_the_server_stops_and_forgotten_when_he_leaves(
    registry: Start,
) -> None:
    started = registry()
    waiter, leaver = started.peer(), started.peer()
    version = waiter.get(TINY).headers["x-libevrpc-version"]
    question = f"GET {TINY} HTTP/1.1\r\nHost: a\r\nX-Libevrpc-Version: {version}\r\n"
    for peer in (waiter, leaver):
        peer.send(f"{question}X-Libevrpc-Wait: 30\r\n\r\n".encode())
    wait_until(lambda: started.server.statistics().in_flight == 2)
    leaver.close()
    wait_until(lambda: started.server.statistics().in_flight == 1)
    started.server.stop(20.0)
    assert waiter.answer("GET").status == 200


def test_the_servers_outlive_a_restart(registry: Start, state: Path) -> None:
    first = registry(state_file=state)
    headers = "X-Tinyrpc-Server: tcp@a:1\r\nContent-Type: application/json\r\n"
    first.peer().ask(TINY, '{"weight":2}', headers)
    say(first.peer(), "tcp@b:1")
    first.server.stop(0.0)
    first.registry.close()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    second = registry(state_file=state)
    assert json.loads(second.peer().get(TINY, OURS).body)["servers"] == [
        {"server": "tcp@a:1", "record": {"weight": 2}},
        {"server": "tcp@b:1", "record": None},
    ]
    second.registry.close()
    third = registry(state_file=state, expiry_s=0.1)
    wait_until(lambda: third.registry.addresses == [])


def test_a_torn_file_is_not_believed_and_a_foreign_one_not_touched(
    registry: Start, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = registry(state_file=state)
    say(first.peer(), "tcp@a:1")
    first.registry.close()
    whole = state.read_bytes()
    state.write_bytes(whole[:-5])
    torn = registry(state_file=state)
    assert torn.registry.addresses == []
    assert "torn" in caplog.text
    state.write_text("[Desktop Entry]\n")
    with pytest.raises(ConfigError, match="no registry wrote it"):
        registry(state_file=state)
    assert state.read_text() == "[Desktop Entry]\n"


def test_a_token_is_wanted_where_the_server_wants_one(registry: Start, tmp_path: Path) -> None:
    token = tmp_path / "token"
    write_secret(str(token), "a test's", "opensesameplease")
    peer = registry({"token_file": str(token)}).peer()
    assert say(peer, "tcp@a:1").status == 401
    shown = "Authorization: Bearer opensesameplease\r\n"
    assert peer.ask(TINY, headers=f"X-Tinyrpc-Server: tcp@a:1\r\n{shown}").status == 200
    assert peer.get(TINY, shown).headers["x-tinyrpc-servers"] == "tcp@a:1"


def test_it_is_answered_over_http_alone(registry: Start) -> None:
    peer = registry().peer()
    answer = peer.ask("/libevrpc.HttpRegistry/answer", "[7]")
    assert (answer.status, error_of(answer)["text"][-10:]) == (400, "HTTP alone")


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"libevrpc\[http\]"):
        HttpRegistry(RpcServer("127.0.0.1:0", wires=[]))
    with pytest.raises(ConfigError, match="expiry"):
        HttpRegistry(RpcServer("127.0.0.1:0"), expiry_s=-1.0)
    with pytest.raises(ConfigError, match="servers_max"):
        HttpRegistry(RpcServer("127.0.0.1:0"), servers_max=0)


def test_the_program(tmp_path: Path) -> None:
    state = tmp_path / "state"
    words = [sys.executable, "-m", "libevrpc.cli", "registry", "--listen", "127.0.0.1:0"]
    words += ["--state", str(state), "--expiry", "60"]
    for turn in range(2):
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as program:
            assert program.stdout is not None
            said, _, address = program.stdout.readline().strip().rpartition(" ")
            assert said == "listening on"
            peer = HttpPeer(address)
            assert listed(peer) == ("tcp@a:1" if turn else "")
            assert say(peer, "tcp@a:1").headers["x-libevrpc-expiry"] == "60"
            peer.close()
            program.terminate()
            assert program.wait(20) == 0


def test_a_wrong_command_line_is_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "libevrpc.cli", "registry", "--listen", "127.0.0.1:0"]
    foreign = tmp_path / "foreign"
    foreign.write_text("mine\n")
    done = subprocess.run(
        [*words, "--state", str(foreign)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert str(foreign) in done.stderr
