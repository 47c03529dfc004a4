"""What stands at an address of etcd may be anything: each gets an error that names it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from libevrpc.clock import monotonic_s
from libevrpc.errors import ConfigError
from libevrpc.registry import etcd_gateway, etcd_watch
from libevrpc.registry.base import Announcement
from libevrpc.registry.etcd import EtcdAnnounceSession
from libevrpc.registry.etcd_gateway import EtcdGateway, RefusedError, credentials_of
from libevrpc.registry.etcd_layouts import EtcdPlan
from libevrpc.registry.etcd_watch import EtcdWatchSession
from libevrpc.registry.session import RegistryError, SessionLost
from unit_test.fix_peers import Peers, reset
from unit_test.fix_rpc import wait_until
from unit_test.registry.etcd.relay import plan_for

pytestmark = pytest.mark.live

CLUSTER = {"cluster_id": "7", "member_id": "1", "revision": "5"}
GOOD = {"header": CLUSTER, "ID": "12", "TTL": "2"}
CREATED = {"result": {"header": CLUSTER, "created": True}}
PATH = "/v3/lease/grant"

Script = Callable[[socket.socket], object]


def hear(sock: socket.socket) -> bytes:
    """Read one request; b"" if the client has hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


def json_answer(said: Any, status: str = "200 OK") -> bytes:
    return answer(json.dumps(said).encode(), status)


def saying(*answers: bytes) -> Script:
    """Answer the requests of each connection one after the other, then hang up."""

    def script(sock: socket.socket) -> None:
        for each in answers:
            if not hear(sock):
                return
            sock.sendall(each)

    return script


def hang(sock: socket.socket) -> None:
    """Say nothing until the client gives up."""
    while sock.recv(65536):
        pass


def gateway_of(*addresses: str, answer_s: float = 5.0) -> EtcdGateway:
    return EtcdGateway(plan_for(*addresses), answer_s)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            b"",
            "what answers there seems to be no etcd gateway"
            " (RemoteDisconnected: Remote end closed connection without response)",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "seems to be no etcd gateway (BadStatusLine: SSH-2.0"),
        (answer(b"<html>hello</html>"), "answers '<html>hello</html>' where JSON"),
        (answer(b"[1]"), "where JSON of etcd's gateway should stand"),
        (answer(b"{}"), "without its cluster's id; is this etcd?"),
        (answer(b'{"head', length=500), "ends in the middle"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"hea",
            "ends in the middle",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "ends in the middle"),
        (answer(b"Not Found\n", "404 Not Found"), "no JSON gateway at /v3"),
        (
            answer(b"Client sent an HTTP request to an HTTPS server.\n", "400 Bad Request"),
            "wants TLS, which etcd:// does not speak",
        ),
        (json_answer({"header": {"cluster_id": "x"}}), "answers cluster_id = 'x': no number"),
        (json_answer({"result": []}), "answers result = '[]': no object"),
        (
            json_answer({"error": "no leader", "code": 14}, "503 Service Unavailable"),
            "no leader",
        ),
        (json_answer({"error": {"grpc_code": 14, "message": "no leader"}}), "no leader"),
    ],
)  # fmt: skip
def test_nonsense_is_named_with_its_endpoint(said: bytes, told: str) -> None:
    with Peers(saying(said)) as peers, closing(gateway_of(peers.address)) as gateway:
        with pytest.raises(RegistryError, match=f"^etcd {peers.address}: .*") as failed:
            gateway.ask(PATH, {})
        assert told in str(failed.value)
        assert not isinstance(failed.value, RefusedError)


def test_an_answer_over_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ANSWER_BYTES_MAX", 1000)
    with (
        Peers(saying(answer(b"x" * 5000))) as peers,
        closing(gateway_of(peers.address)) as gateway,
        pytest.raises(RegistryError, match="answers more than 1000 bytes"),
    ):
        gateway.ask(PATH, {})


def test_who_says_no_is_not_asked_elsewhere() -> None:
    refusal = json_answer({"error": "etcdserver: permission denied", "code": 7}, "403 Forbidden")
    with (
        Peers(saying(refusal)) as one,
        Peers(saying(refusal)) as two,
        closing(gateway_of(one.address, two.address)) as gateway,
    ):
        with pytest.raises(RefusedError, match=r"refuses: etcdserver: permission denied") as failed:
            gateway.ask(PATH, {})
        assert failed.value.code == 7
        assert one.accepted + two.accepted == 1


def test_members_are_asked_in_turn_and_the_good_one_kept() -> None:
    with (
        Peers(hang) as frozen,
        Peers(reset) as resetting,
        Peers(saying(*[json_answer(GOOD)] * 9)) as good,
    ):
        addresses = (frozen.address, resetting.address, good.address)
        with closing(gateway_of(*addresses, answer_s=2.0)) as gateway:  # also for the good one
            for _ in range(5):
                assert gateway.ask(PATH, {})["ID"] == "12"
            assert gateway.member.address == good.address
        assert good.accepted == 1
        assert frozen.accepted + resetting.accepted <= 2


def test_all_members_together_have_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ASK_S", 0.2)
    with (
        Peers(hang) as one,
        Peers(hang) as two,
        closing(gateway_of(one.address, two.address)) as it,
    ):
        with pytest.raises(RegistryError, match="no answer in time"):
            it.ask(PATH, {})
        wait_until(lambda: one.accepted + two.accepted)
        assert one.accepted + two.accepted == 1  # the first one took all the time


def test_a_slow_answer_is_given_up_though_it_keeps_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ASK_S", 0.3)
    given_up = threading.Event()

    def trickle(sock: socket.socket) -> None:
        hear(sock)
        sock.sendall(answer(b"", length=1_000_000))
        while not given_up.wait(0.01):
            sock.sendall(b"x")

    with Peers(trickle) as peers, closing(gateway_of(peers.address)) as gateway:
        with pytest.raises(RegistryError, match="no answer in time"):
            gateway.ask(PATH, {})
        given_up.set()


def test_a_kept_connection_that_has_gone_is_made_anew() -> None:
    with (
        Peers(saying(json_answer(GOOD))) as peers,
        closing(gateway_of(peers.address)) as gateway,
    ):
        gateway.ask(PATH, {})
        gateway.ask(PATH, {})
        assert peers.accepted == 2


def test_a_member_that_was_heard_is_not_taken_for_something_else() -> None:
    answers = [json_answer(GOOD), b"", b""]
    with (
        Peers(lambda sock: saying(answers.pop(0))(sock)) as peers,
        closing(gateway_of(peers.address)) as gateway,
    ):
        gateway.ask(PATH, {})
        with pytest.raises(RegistryError, match=f"^etcd {peers.address}: RemoteDisconnected"):
            gateway.ask(PATH, {})


def test_members_of_two_clusters_are_told_apart() -> None:
    answers = [GOOD, {**GOOD, "header": {**CLUSTER, "cluster_id": "255"}}]
    with (
        Peers(lambda sock: saying(json_answer(answers.pop(0)))(sock)) as peers,
        closing(gateway_of(peers.address)) as gateway,
    ):
        gateway.ask(PATH, {})
        with pytest.raises(RegistryError, match="is of cluster ff, others of this target are of 7"):
            gateway.ask(PATH, {})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"header": CLUSTER}, "granted no lease"),
        ({"header": CLUSTER, "ID": "12", "TTL": "0"}, "granted no lease"),
        ({"header": CLUSTER, "ID": "twelve", "TTL": "2"}, "answers ID = 'twelve': no number"),
    ],
)
def test_a_lease_that_is_none_is_refused(said: object, told: str) -> None:
    with Peers(saying(json_answer(said))) as peers:
        session = EtcdAnnounceSession(plan_for(peers.address))
        with closing(session), pytest.raises(RegistryError, match=told):
            session.open()


def fake(range_said: Any, *stream: bytes) -> Script:
    """Answer each range with the same, and a watch with these pieces, then hang up or hang."""

    def script(sock: socket.socket) -> None:
        while heard := hear(sock):
            if heard.startswith(b"POST /v3/watch"):
                for each in stream:
                    sock.sendall(each)
                return
            sock.sendall(json_answer(range_said))

    return script


RANGE = {"header": CLUSTER}
STREAM_HEAD = b"HTTP/1.0 200 OK\r\n\r\n"
CREATED_LINE = json.dumps(CREATED).encode() + b"\n"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"header": {"cluster_id": "7"}}, "without the store's revision"),
        ({"header": CLUSTER, "kvs": [{"key": "?"}]}, "no base64"),
        ({"header": CLUSTER, "kvs": [5]}, "no list of objects"),
    ],
)
def test_a_list_that_is_none_is_refused(said: object, told: str) -> None:
    with Peers(fake(said)) as peers:
        session = EtcdWatchSession(plan_for(peers.address), "a.Foo")
        with closing(session), pytest.raises(RegistryError, match=f"{peers.address}: .*{told}"):
            session.open()


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ([], "hangs up"),
        ([b"HTTP/1.0 20"], "hangs up in the head"),
        ([STREAM_HEAD, b'{"result":'], "in the middle of a message"),
        ([STREAM_HEAD, b"garbage\n"], "'garbage' where JSON"),
        ([b'HTTP/1.0 401 x\r\n\r\n{"error":"as asked"}'], "status 401 as asked"),
        (
            [STREAM_HEAD, b'{"result":{"header":{"cluster_id":"8"},"created":true}}\n'],
            "is of cluster 8",
        ),
        (
            [
                STREAM_HEAD,
                b'{"result":{"header":{"cluster_id":"7"},"canceled":true,"cancel_reason":"no"}}\n',
            ],
            "no watch: no",
        ),
    ],
)
def test_a_watch_that_is_none_is_refused(stream: list[bytes], told: str) -> None:
    with Peers(fake(RANGE, *stream)) as peers:
        session = EtcdWatchSession(plan_for(peers.address), "a.Foo")
        with closing(session), pytest.raises(RegistryError, match=f"{peers.address}: .*{told}"):
            session.open()


def test_a_watch_that_never_stands_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ASK_S", 0.2)

    def script(sock: socket.socket) -> None:
        hear(sock)
        hang(sock)

    with (
        Peers(script) as peers,
        closing(gateway_of(peers.address)) as gateway,
        pytest.raises(RegistryError, match="no watch stands in time"),
    ):
        gateway.watch("", "", 1)


@pytest.mark.parametrize(
    "ending",
    [
        b'{"result":{"header"',
        b"garbage\n",
        b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}\n',
        b'{"result":{"header":{"cluster_id":"7"},"canceled":true}}\n',
    ],
)
def test_a_watch_that_breaks_is_taken_up_but_not_at_once(
    ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch, "WATCH_S", 0.3)
    stands, watches = threading.Event(), []

    def script(sock: socket.socket) -> None:
        while heard := hear(sock):
            if not heard.startswith(b"POST /v3/watch"):
                sock.sendall(json_answer(RANGE))
                continue
            watches.append(sock)
            sock.sendall(STREAM_HEAD + CREATED_LINE)
            if len(watches) == 1:
                stands.wait(20.0)
                sock.sendall(ending)
                return

    with Peers(script) as peers:
        session = EtcdWatchSession(plan_for(peers.address), "a.Foo")
        with closing(session):
            began_s = monotonic_s()
            session.open()
            stands.set()
            assert session.wait(20.0)  # taken up again: there may be something new
            assert monotonic_s() - began_s > 0.1
            assert session.fetch() == ()
            assert len(watches) == 2


def test_a_member_that_does_not_answer_the_check_loses_the_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = threading.Event()

    def script(sock: socket.socket) -> None:
        while heard := hear(sock):
            if heard.startswith(b"POST /v3/watch"):
                sock.sendall(STREAM_HEAD + CREATED_LINE)
            elif not frozen.is_set():
                sock.sendall(json_answer(RANGE))

    with Peers(script) as peers:
        session = EtcdWatchSession(plan_for(peers.address), "a.Foo", quiet_s=0.1)
        with closing(session):
            session.open()
            assert not session.wait(0.3)  # checked, and found well
            frozen.set()
            with monkeypatch.context() as patch:
                patch.setattr(etcd_gateway, "ASK_S", 0.3)
                with pytest.raises(RegistryError, match="no answer in time"):
                    session.wait(20.0)
            frozen.clear()
            assert session.fetch() == ()
            assert not session.wait(0.3)


def test_a_store_that_was_put_back_in_time_is_read_anew() -> None:
    answers = [{"header": {**CLUSTER, "revision": each}} for each in ("9", "3")]

    def script(sock: socket.socket) -> None:
        while heard := hear(sock):
            if heard.startswith(b"POST /v3/watch"):
                sock.sendall(STREAM_HEAD + CREATED_LINE)
            else:
                sock.sendall(json_answer(answers.pop(0) if len(answers) > 1 else answers[0]))

    with Peers(script) as peers:
        session = EtcdWatchSession(plan_for(peers.address), "a.Foo", quiet_s=0.1)
        with closing(session):
            session.open()
            assert session.wait(20.0)
            assert not session.wait(0.05)
            assert peers.accepted == 3  # one for questions, a watch, and the next


def secret(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_the_file_of_user_and_password_is_checked(tmp_path: Path) -> None:
    endpoints = plan_for("h:1").endpoints
    layout = plan_for("h:1").layout
    plan = EtcdPlan(endpoints, layout, auth_file=secret(tmp_path, "# who\nbob:pass:word\n"))
    assert credentials_of(plan) == ("bob", "pass:word")
    plan = EtcdPlan(endpoints, layout, auth_file=secret(tmp_path, "bob\n"))
    with pytest.raises(ConfigError, match="write one line, user:password"):
        credentials_of(plan)
    with closing(EtcdGateway(plan)) as gateway:
        with pytest.raises(RegistryError, match="write one line, user:password"):
            gateway.ask(PATH, {})
        with pytest.raises(RegistryError, match="write one line, user:password"):
            gateway.watch("", "", 1)


def test_a_token_that_is_none_is_refused(tmp_path: Path) -> None:
    said = json_answer({"header": CLUSTER, "token": 5})
    with Peers(saying(said)) as peers:
        given = plan_for(peers.address)
        plan = EtcdPlan(given.endpoints, given.layout, auth_file=secret(tmp_path, "bob:x"))
        told = "gave no token for user bob"
        with closing(EtcdGateway(plan)) as gateway, pytest.raises(RegistryError, match=told):
            gateway.ask(PATH, {})


def routes(table: dict[bytes, bytes]) -> Script:
    """Answer by path; hang up on a path that is not there."""

    def script(sock: socket.socket) -> None:
        while heard := hear(sock):
            path = heard.split(b" ", 2)[1]
            if path not in table:
                return
            sock.sendall(table[path])

    return script


def test_a_server_lives_with_an_etcd_that_says_nonsense() -> None:
    refusal = json_answer({"error": "etcdserver: permission denied", "code": 7}, "403 Forbidden")
    table = {
        b"/v3/lease/grant": json_answer(GOOD),
        b"/v3/kv/txn": json_answer({"header": CLUSTER, "responses": [5]}),
        b"/v3/lease/keepalive": json_answer({"result": GOOD}),
        b"/v3/lease/timetolive": json_answer({"header": CLUSTER, "keys": "many"}),
    }
    server = Announcement("127.0.0.1:1", ("a.Foo",))
    with Peers(routes(table)) as peers:
        session = EtcdAnnounceSession(plan_for(peers.address))
        with closing(session):
            session.open()
            with pytest.raises(RegistryError, match="no list of objects"):
                session.put(server)
            table[b"/v3/kv/txn"] = json_answer({"header": CLUSTER, "succeeded": True})
            session.put(server)
            session.beat(0.0)
            table[b"/v3/lease/keepalive"] = json_answer({"result": {**GOOD, "TTL": "long"}})
            with pytest.raises(RegistryError, match="answers TTL = 'long'"):
                session.beat(5.0)
            del table[b"/v3/lease/keepalive"]
            with pytest.raises(SessionLost, match="the lease has ended meanwhile"):
                beat_through_trouble(session)
            table[b"/v3/lease/keepalive"] = json_answer({"result": GOOD})
            with pytest.raises(RegistryError, match="answers no list of keys"):
                session.beat(0.0)
            session._look_at_s = 0.0  # noqa: SLF001 - its time has come
            table[b"/v3/lease/timetolive"] = refusal
            session._beat_at_s = 0.0  # noqa: SLF001
            session.beat(0.0)
            table[b"/v3/lease/revoke"] = refusal
            with pytest.raises(RefusedError, match="permission denied"):
                session.remove()


def beat_through_trouble(session: EtcdAnnounceSession) -> None:
    pause = threading.Event()
    for _ in range(400):
        try:
            session.beat(0.0)
        except SessionLost:
            raise
        except RegistryError:
            pause.wait(0.02)
