"""A Go program that speaks TinyRPC and gee-rpc: it calls our server, and we call it.

Its source is `unit_test/interop/go`; it uses `encoding/gob`, `net/http` and the protocols' own
handshakes. Debian's golang builds it in a second or two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc import HttpRegistry, RpcClient, RpcError, RpcServer, StatusCode
from libevrpc.core.gob import GobReader, GobWriter
from libevrpc.core.httpregistry import DIALECTS as REGISTRIES
from libevrpc.core.tinyrpc import Dialect
from unit_test.fix_rpc import WAIT_S
from unit_test.fix_services import require
from unit_test.fix_tiny import Args, Everything, Foo, Point

BUILD_S = 240.0
pytestmark = [pytest.mark.live, pytest.mark.timeout(BUILD_S + 60.0)]  # the first one builds

SOURCE = Path(__file__).resolve().parent / "go"
EVERYTHING = Everything(
    True, -7, 7, 0.5, "grün", b"\0\xff", [1, -2, 0], ["a", ""], (0, 5, -5), {"x": 1, "": 0},
    Point(1.5, -1.5), [Point(), Point(2.0)], {"here": Point(0.0, 3.0)}, Point(4.0), [[1], [], [2]],
)  # fmt: skip
"""What the Go program makes of its function of that name."""

DIALECTS = pytest.mark.parametrize("dialect", ["tinyrpc", "geerpc"])
WAYS = pytest.mark.parametrize("way", ["tcp", "connect"])


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the Go program, with nothing from the network and no trace outside of the test's."""
    go = shutil.which("go")
    require("" if go else "golang-go")
    assert go is not None
    folder = tmp_path_factory.mktemp("go")
    made = folder / "peer"
    own = {"GOCACHE": folder / "cache", "GOPATH": folder / "path", "GOPROXY": "off"}
    environment = {**os.environ, **{name: str(value) for name, value in own.items()},
                   "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}  # fmt: skip
    built = subprocess.run(
        [go, "build", "-o", str(made), "."],
        cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return made


@pytest.fixture
def port() -> Iterator[RpcServer]:
    foo = Foo()
    server = RpcServer("127.0.0.1:0", wires=("all",))
    server.add_object(foo, name="Foo")
    server.start()
    yield server
    foo.gate.set()
    server.stop(0.0)


@pytest.fixture
def gee_port() -> Iterator[RpcServer]:
    foo = Foo()
    server = RpcServer("127.0.0.1:0", wires=("geerpc",))
    server.add_object(foo, name="Foo")
    server.start()
    yield server
    foo.gate.set()
    server.stop(0.0)


@DIALECTS
@WAYS
def test_a_go_client_calls_our_server(
    peer: Path, port: RpcServer, gee_port: RpcServer, dialect: Dialect, way: str
) -> None:
    bare_gee = dialect == "geerpc" and way == "tcp"  # only CONNECT tells the dialects apart
    address = str(gee_port.address if bare_gee else port.address)
    told = subprocess.run(
        [peer, "call", dialect, way, address],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")


@contextmanager
def serving(peer: Path, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Run the Go program as a server; its addresses for TCP and for CONNECT."""
    with subprocess.Popen(
        [peer, "serve", dialect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        plain, connected = process.stdout.readline().removeprefix("listening on ").split()
        yield plain, connected


@DIALECTS
@WAYS
def test_our_client_calls_a_go_server(peer: Path, dialect: Dialect, way: str) -> None:
    wire = dialect if way == "tcp" else f"{dialect}-http"
    with serving(peer, dialect) as addresses:
        address = addresses[way == "connect"]
        with RpcClient(address, wire=wire) as client:
            call_all(client)
            futures = [
                client.future("Foo.Sum", Args(number, number * number), result=int)
                for number in range(5)
            ]
            assert [each.result() for each in futures] == [0, 2, 6, 12, 20]
            assert client.broadcast("Foo.Sum", Args(1, 3)) == {address: 4}
            with pytest.raises(RpcError) as told:
                client.call("Foo.Sleep", Args(60), timeout_s=0.05)
            assert told.value.code is StatusCode.DEADLINE_EXCEEDED
            assert client.call("Foo.Sum", Args(1, 3)) == 4
        with RpcClient(address, wire=wire, handle_timeout_s=0.5) as hasty:
            with pytest.raises(RpcError) as told:
                hasty.call("Foo.Sleep", Args(60))
            assert "rpc server: request handle timeout: expect within 500ms" in told.value.text
            assert hasty.call("Foo.Sum", Args(1, 3), result=int) == 4


def call_all(client: RpcClient) -> None:
    for _ in range(2):  # the second time every type is known
        assert client.call("Foo.Sum", Args(1, 3), result=int) == 4
        assert client.call("Foo.Sum", Args(-1, -(2**60)), result=int) == -(2**60) - 1
        assert client.call("Foo.Mirror", EVERYTHING, result=Everything) == EVERYTHING
        assert client.call("Foo.Mirror", Everything(), result=Everything) == Everything()
        assert client.call("Foo.Squares", 3, result=dict[int, int]) == {0: 0, 1: 1, 2: 4}
        assert client.call("Foo.Words", "two words") == ["two", "words"]
        assert client.call("Foo.Long", 3 << 20, result=bytes) == bytes(3 << 20)
        for method, text in (
            ("Foo.Fail", "boom"),
            ("Foo.Mul", "rpc server: can't find method Mul"),
            ("Bar.Sum", "rpc server: can't find service Bar"),
        ):
            with pytest.raises(RpcError) as told:
                client.call(method, Args())
            assert told.value.text == text


INTS = st.integers(-(2**63), 2**63 - 1)
POINTS = st.builds(Point, st.floats(allow_nan=False), st.floats(allow_nan=False))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
ALL = st.builds(
    Everything,
    Flag=st.booleans(),
    Small=INTS,
    Count=st.integers(0, 2**64 - 1),
    Ratio=st.floats(allow_nan=False),
    Name=TEXTS,
    Raw=st.binary(max_size=8),
    Numbers=st.lists(INTS, max_size=3),
    Names=st.lists(TEXTS, max_size=3),
    Three=st.tuples(INTS, INTS, INTS),
    Ages=st.dictionaries(TEXTS, INTS, max_size=3),
    Where=POINTS,
    Path=st.lists(POINTS, max_size=3),
    Places=st.dictionaries(TEXTS, POINTS, max_size=3),
    Perhaps=st.none() | POINTS,
    Deep=st.lists(st.lists(INTS, max_size=2), max_size=2),
)


def test_values_come_back_from_go_as_they_went(peer: Path) -> None:
    with subprocess.Popen(
        [peer, "gob"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        pipe_in, pipe_out = process.stdin, process.stdout
        assert pipe_in is not None
        assert pipe_out is not None

        def mirrored(value: Everything) -> tuple[Everything, str]:
            pipe_in.write(GobWriter().message(value).hex() + "\n")
            data, same = pipe_out.readline().split()
            assert data != "error", same
            reader = GobReader()
            reader.feed(bytes.fromhex(data))
            raw = reader.next_value()
            assert raw is not None
            return raw.decode(Everything), same

        assert mirrored(EVERYTHING) == (EVERYTHING, "true")
        assert mirrored(Everything()) == (Everything(), "false")

        @settings(max_examples=200)
        @given(ALL)
        def holds(value: Everything) -> None:
            assert mirrored(value)[0] == value

        holds()
        pipe_in.close()


@DIALECTS
def test_go_servers_and_clients_use_our_registry(peer: Path, dialect: Dialect) -> None:
    server = RpcServer("127.0.0.1:0")
    with HttpRegistry(server) as registry, server:
        url = f"http://{server.address}{REGISTRIES[dialect].path}"
        told = subprocess.run(
            [peer, "announce", dialect, url, "tcp@10.0.0.7:2", "http@10.0.0.7:1"],
            capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert (told.stderr, told.stdout) == ("", "http@10.0.0.7:1,tcp@10.0.0.7:2\n")
        assert registry.addresses == ["http@10.0.0.7:1", "tcp@10.0.0.7:2"]


@DIALECTS
def test_our_servers_and_clients_use_a_go_registry(
    peer: Path, dialect: Dialect, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [peer, "registry", dialect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        target = f"http://{address}{REGISTRIES[dialect].path}?dialect={dialect}&every=0.1"
        server = RpcServer("127.0.0.1:0", registry=target, state_dir=str(tmp_path))
        server.add_object(Foo(), name="Foo")
        with server, RpcClient(target, state_dir=str(tmp_path)) as client:
            assert client.call("Foo.Sum", Args(1, 3), timeout_s=WAIT_S) == 4
