"""Limits, deadlines, timers and the stop of a server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from libevrpc import ConfigError, Deferred, RpcError, RpcServer, ServerController, UsageError
from libevrpc.core import conn_timers
from libevrpc.core.hello import CLIENT_HELLO, GOAWAY_FIELD, HELLO_FIELD, NOTICE_ID
from libevrpc.core.prpc_encode import encode_request
from unit_test.fix_rpc import (
    ECHO,
    WAIT_S,
    EchoHandler,
    Foo,
    Serving,
    body,
    outlast_a_silent_peer,
    wait_until,
)

pytestmark = pytest.mark.live
NAME = "echo.EchoService.Echo"


def test_calls_over_the_connection_limit_are_refused(serve: Callable[..., Serving]) -> None:
    serving = serve(calls_per_connection_max=2)
    raw = serving.raw()
    for call_id in (1, 2, 3):
        raw.call(NAME, body("hold"), call_id)
    refused = raw.reply()
    assert (refused.correlation_id, refused.error_code) == (3, 2004)
    serving.handler.release.set()
    assert {raw.reply().correlation_id for _ in range(2)} == {1, 2}


def test_calls_over_the_queue_are_refused(serve: Callable[..., Serving]) -> None:
    serving = serve(workers=1, queue_max=1)
    raw = serving.raw()
    raw.call(NAME, body("hold"), 1)
    assert serving.handler.entered.wait(WAIT_S)
    raw.call(NAME, body("waits"), 2)
    wait_until(lambda: serving.server.statistics().waiting == 1)
    raw.call(NAME, body("refused"), 3)
    refused = raw.reply()
    assert (refused.correlation_id, refused.error_code) == (3, 2004)
    serving.handler.release.set()
    assert [raw.reply().correlation_id for _ in range(2)] == [1, 2]


def test_deadline_is_answered_and_cancels_the_handler(serving: Serving) -> None:
    raw = serving.raw()
    calls = 0
    while not serving.handler.entered.is_set():  # its time may be over before a worker has it
        calls += 1
        raw.call(NAME, body("until cancelled"), calls, timeout_ms=50)
        assert raw.reply().error_code == 1008
    assert serving.handler.cancelled.wait(WAIT_S)
    assert serving.server.statistics().expired == calls


def test_expired_in_the_queue_is_never_run(serve: Callable[..., Serving]) -> None:
    serving = serve(workers=1)
    raw = serving.raw()
    raw.call(NAME, body("hold"), 1)
    assert serving.handler.entered.wait(WAIT_S)
    raw.call(NAME, body("late"), 2, timeout_ms=30)
    assert raw.reply().error_code == 1008
    serving.handler.release.set()
    assert raw.reply().correlation_id == 1
    raw.call(NAME, body("next"), 3)
    assert raw.reply().correlation_id == 3
    assert serving.handler.calls == ["hold", "next"]


def test_absent_timeout_means_the_servers_own(serve: Callable[..., Serving]) -> None:
    raw = serve(call_timeout_max_s=0.05).raw()
    for timeout_ms in (0, -5, 100_000):
        raw.call(NAME, body("until cancelled"), 1, timeout_ms=timeout_ms)
        assert raw.reply().error_code == 1008


def test_closed_connection_cancels_its_calls(serving: Serving) -> None:
    raw = serving.raw()
    raw.call(NAME, body("until cancelled"))
    assert serving.handler.entered.wait(WAIT_S)
    raw.close()
    assert serving.handler.cancelled.wait(WAIT_S)
    wait_until(lambda: serving.server.statistics().connections == 0)


def test_silent_peer_that_promised_heartbeats_is_gone(serve: Callable[..., Serving]) -> None:
    serving = serve(client_timeout_s=0.3)
    raw = serving.raw()
    raw.call(NAME, body("until cancelled"), timeout_ms=60_000)
    assert serving.handler.entered.wait(WAIT_S)
    fields = {HELLO_FIELD: "version=1;client_timeout_ms=300"}
    raw.call(NAME, body("hello"), 2, user_fields=fields)
    assert serving.handler.cancelled.wait(WAIT_S)
    assert raw.closed()
    assert serving.server.statistics().timed_out == 1


def test_foreign_peer_may_be_silent_during_a_call(serve: Callable[..., Serving]) -> None:
    serving = serve(client_timeout_s=0.1)
    raw = serving.raw()
    raw.call(NAME, body("hold"))
    assert serving.handler.entered.wait(WAIT_S)
    for _ in range(3):
        outlast_a_silent_peer(serving)
    serving.handler.release.set()
    assert raw.reply().error_code == 0
    assert serving.server.statistics().timed_out == 3


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"handshake_timeout_s": 0.1}, b""),
        ({"half_request_timeout_s": 0.1}, b"PRPC\0\0"),
        ({"idle_timeout_s": 0.1}, encode_request("Foo", "who", 1, b"[]", timeout_ms=9)),
    ],
)
def test_connections_have_their_time(
    serve: Callable[..., Serving], settings: dict[str, float], first: bytes
) -> None:
    serving = serve(**settings)
    raw = serving.raw()
    raw.send(first)
    assert raw.closed()
    assert serving.server.statistics().timed_out == 1


def test_an_idle_peer_of_ours_is_asked_before_it_is_closed(
    serve: Callable[..., Serving],
) -> None:
    serving = serve(idle_timeout_s=0.1)
    raw = serving.raw()
    raw.call(NAME, body("hello"), 1, user_fields={HELLO_FIELD: CLIENT_HELLO.field()})
    told = [raw.word() for _ in range(3)]
    assert [each.correlation_id for each in told] == [NOTICE_ID, 1, NOTICE_ID]
    assert told[2].user_fields == {GOAWAY_FIELD: "idle"}
    raw.call(NAME, body("was on its way"), 2)  # nobody could repeat it
    assert raw.reply().correlation_id == 2
    assert raw.closed()  # we stay all the same, and are idle again
    assert serving.server.statistics().timed_out == 1


def test_a_peer_that_does_not_hang_up_is_closed(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conn_timers, "FAREWELL_S", 0.1)
    raw = serve(idle_timeout_s=0.1).raw()
    raw.call(NAME, body("hello"), 1, user_fields={HELLO_FIELD: CLIENT_HELLO.field()})
    assert [raw.word().correlation_id for _ in range(3)] == [NOTICE_ID, 1, NOTICE_ID]
    assert raw.closed()


def test_peer_that_does_not_read_is_closed(serve: Callable[..., Serving]) -> None:
    serving = serve(stalled_write_timeout_s=0.2, unsent_pause_bytes=1 << 20)
    raw = serving.raw()
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
    with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
        for call_id in range(40):
            raw.call(NAME, body("x" * 500_000), call_id)
    wait_until(lambda: serving.server.statistics().timed_out == 1)


def test_unsent_replies_over_the_limit_become_1011(serve: Callable[..., Serving]) -> None:
    serving = serve(
        unsent_bytes_max=2 << 20, body_bytes_max=2 << 20, unsent_pause_bytes=2 << 20, workers=1
    )
    raw = serving.raw()
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
    big = 1_500_000
    for call_id in range(12):
        raw.call(NAME, body("x" * big), call_id)
    # nothing is read before all of them are answered
    wait_until(lambda: serving.server.statistics().calls == 12)
    wait_until(lambda: serving.server.statistics().in_flight == 0)
    codes = {raw.reply().error_code for _ in range(12)}
    assert codes == {0, 1011}


def test_connections_over_the_limit_are_turned_away(serve: Callable[..., Serving]) -> None:
    serving = serve(connections_max=2)
    kept = [serving.raw() for _ in range(2)]
    wait_until(lambda: serving.server.statistics().connections == 2)
    # it may be turned away before it has seen that it was let in
    with contextlib.suppress(ConnectionResetError):
        assert serving.raw().closed()
    wait_until(lambda: serving.server.statistics().overflowed == 1)
    kept[0].call(NAME, body("ok"))
    assert kept[0].reply().error_code == 0


def test_connections_spread_evenly_over_the_loops(serve: Callable[..., Serving]) -> None:
    serving = serve(threads=2)
    for _ in range(100):
        serving.raw()
    wait_until(lambda: serving.server.statistics().connections == 100)
    first, second = serving.server.statistics().connections_per_loop
    assert abs(first - second) <= 2


class Later:
    """Answers when told."""

    def __init__(self) -> None:
        self.owed: list[Deferred] = []

    def ask(self, controller: ServerController) -> None:
        self.owed.append(controller.defer())


def test_deferred_replies_need_no_worker() -> None:
    later = Later()
    server = RpcServer("127.0.0.1:0", workers=1)
    server.add_object(later)
    from libevrpc import RpcClient, StatusCode

    with server, RpcClient(server.address) as client:
        futures = [client.future("Later.ask") for _ in range(50)]
        wait_until(lambda: len(later.owed) == 50)
        for deferred in later.owed[1:]:
            assert deferred.reply("now")
            assert not deferred.reply("again")
        assert later.owed[0].fail(RpcError(StatusCode.NOT_FOUND, "nothing"))
        assert {future.result(WAIT_S) for future in futures[1:]} == {"now"}
        error = futures[0].exception(WAIT_S)
        assert isinstance(error, RpcError)
        assert error.code is StatusCode.NOT_FOUND
        assert not later.owed[0].fail(error)


def test_blocking_inline_handler_is_named_and_may_not_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from libevrpc import RpcClient

    class Slow:
        client: RpcClient

        def work(self) -> str:
            threading.Event().wait(0.02)
            try:
                self.client.call("Slow.work")
            except UsageError as exc:
                return str(exc)
            return "called"

    server = RpcServer("127.0.0.1:0")
    slow = Slow()
    server.add_object(slow, inline=True)
    with server, RpcClient(server.address) as client:
        slow.client = client
        assert "use .future" in client.call("Slow.work")
    assert "inline handler held its loop method=Slow.work" in caplog.text


def test_services_come_and_go_while_serving(serving: Serving) -> None:
    raw = serving.raw()
    server = serving.server
    raw.call("Bar.who", b"[]", content_type=1)
    assert raw.reply().error_code == 1001
    server.add_object(Foo(), name="Bar")
    raw.call("Bar.who", b"[]", content_type=1)
    assert raw.reply().error_code == 0
    server.remove_service("Bar")
    raw.call("Bar.who", b"[]", content_type=1)
    assert raw.reply().error_code == 1001
    with pytest.raises(UsageError, match="'Bar' is not served; services: echo.EchoService, Foo"):
        server.remove_service("Bar")
    with pytest.raises(UsageError, match="served already"):
        server.add_object(Foo())


def test_several_addresses_lead_to_one_server(tmp_path: Path) -> None:
    from libevrpc import RpcClient

    path = tmp_path / "s.sock"
    server = RpcServer(["127.0.0.1:0", "[::1]:0", f"unix://{path}"])
    server.add_object(Foo())
    with server:
        assert len(server.addresses) == 3
        for address in server.addresses:
            with RpcClient(address) as client:
                assert client.call("Foo.Sum", 1, 2) == 3
    assert not path.exists()


def test_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = RpcServer(f"unix://{path}")
    with server, pytest.raises(ConfigError, match="another process or file is there"):
        RpcServer(f"unix://{path}").start()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="choose another path"):
        RpcServer(f"unix://{path}").start()


def test_server_too_busy_to_accept_is_a_live_one(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        while True:  # until nobody else may wait
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            if waiting.connect_ex(str(path)):
                break
        with pytest.raises(ConfigError, match="another process or file is there"):
            RpcServer(f"unix://{path}").start()
    assert path.exists()


def test_failed_start_leaves_no_socket_file(tmp_path: Path, serving: Serving) -> None:
    path = tmp_path / "s.sock"
    with pytest.raises(ConfigError, match="another process listens there"):
        RpcServer([f"unix://{path}", serving.address]).start()
    assert not path.exists()


@pytest.mark.parametrize(
    ("listen", "settings", "text"),
    [
        ("0.0.0.0:0", {}, "write security = none"),
        ("127.0.0.1:0", {"threads": 0}, "must be at least 1"),
        ("127.0.0.1:0", {"thread": 1}, "no such setting"),
        ("203.0.113.9:0", {"security": "none"}, "no interface of this machine"),
        ("no.such.name.invalid:0", {"security": "none"}, "cannot listen on"),
        ("127.0.0.1:0", {"registry": "list://127.0.0.1:1"}, "servers cannot be announced there"),
        ("0.0.0.0:0", {"security": "none", "registry": "center://127.0.0.1:1"}, "every interface"),
        ("127.0.0.1:0", {"registry": "center://192.0.2.1:1"}, "on another machine"),
    ],
)
def test_bad_settings_are_one_clear_line(
    listen: str, settings: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        RpcServer(listen, **settings).start()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_port_in_use_is_one_clear_line(serving: Serving) -> None:
    with pytest.raises(ConfigError, match="another process listens there"):
        RpcServer(serving.address).start()


def test_server_is_started_once(serving: Serving) -> None:
    with pytest.raises(UsageError, match="never started"):
        serving.server.start()
    idle = RpcServer()
    with pytest.raises(UsageError, match="no address before"):
        _ = idle.address
    idle.stop()
    with pytest.raises(UsageError, match="never started"):
        idle.start()


def test_handlers_are_checked_when_added() -> None:
    server = RpcServer()
    with pytest.raises(UsageError, match="needs the service's descriptor"):
        server.add_service(EchoHandler())
    with pytest.raises(UsageError, match="no handler for Echo; write a method Echo or echo"):
        server.add_service(object(), ECHO)
    with pytest.raises(UsageError, match="a handler takes"):
        server.add_service({"Echo": lambda: None}, ECHO)
    with pytest.raises(UsageError, match="a handler takes"):
        server.add_service({"Echo": lambda a, b, c: None}, ECHO)
    with pytest.raises(UsageError, match="no method 'Nope' to inline"):
        server.add_service(EchoHandler(), ECHO, inline=["Nope"])
    with pytest.raises(UsageError, match="has no methods of yours"):
        server.add_object(object())
    with pytest.raises(UsageError, match="needs a service name"):
        server.add_object(Foo(), name="")
