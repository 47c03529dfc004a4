"""`file://`: a list that somebody else writes, sometimes badly."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.core.endpoints import Endpoint, EndpointSet
from libevrpc.core.targets import parse_target
from libevrpc.registry import file
from libevrpc.registry.file import FileWatchSession, parse_servers
from libevrpc.registry.opening import open_resolver
from libevrpc.registry.session import RegistryError
from libevrpc.settings import ClientSettings

WAIT_S = 10.0
A, B = Endpoint("a", 1), Endpoint("b", 2)


def parsed(text: str | bytes, service: str = "x.Y") -> tuple[Endpoint, ...]:
    return parse_servers("f", text if isinstance(text, bytes) else text.encode(), service)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("a:1\nb:2\n", (A, B)),
        ("# both of them\n\n  a:1  # the old one\r\nb:2", (A, B)),
        (
            "a:1;weight=2.5; tags = red, blue ;limit=8\n",
            (Endpoint("a", 1, weight=2.5, tags=("red", "blue"), limit=8),),
        ),
        ("unix:///run/s\n[::1]:7\n", (Endpoint("", 0, "/run/s"), Endpoint("::1", 7))),
        ("# nobody today\n", ()),
        ("[]", ()),
        ('["a:1", "b:2"]\n', (A, B)),
        ('{"servers": ["a:1"], "why": "ignored"}', (A,)),
        (
            '[{"address": "a:1", "weight": 2, "tags": ["red"], "limit": 3}, "b:2;weight=4"]',
            (Endpoint("a", 1, weight=2.0, tags=("red",), limit=3), Endpoint("b", 2, weight=4.0)),
        ),
        (
            '[{"address": "a:1", "services": ["x.Y", "x.Z"]},'
            ' {"address": "b:2", "services": ["x.Z"]}]',
            (A,),
        ),
    ],
)
def test_lists_are_read(text: str, servers: tuple[Endpoint, ...]) -> None:
    assert parsed(text) == servers


def test_every_server_can_be_asked_what_it_serves() -> None:
    text = '[{"address": "a:1", "services": ["x.Y"]}]'
    assert parsed(text, "evrpc.Internal") == (A,)
    assert parsed(text, "x.Z") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "f is empty; write one host:port per line, or .. for nobody"),
        (b" \n\n", "f is empty"),
        (b"a:1\n\xff:2\n", "f:2: not UTF-8"),
        (b"a:1\nb\n", "f:2: address 'b' has no port"),
        (b"a:1\n#\na:1\n", "f:3: a:1 is listed twice"),
        (b"a:1;wieght=2\n", "f:1: 'wieght' is not an option of a server; options: weight, tags"),
        (b"a:1;weight=x\n", "f:1: weight 'x' is not a number"),
        (b"a:1;limit=1.5\n", "f:1: limit '1.5' is not a number"),
        (b"a:1;weight=-1\n", "f:1: a:1: weight -1.0 is not in 0"),
        (b'["a:1",\n"b:2"\n', "f:3: Expecting"),
        (b"[" * 100_000, "f: nested too deeply"),
        (b"[" + b"1" * 10_000 + b"]", "f: Exceeds the limit"),
        (b'{"server": []}', 'f: neither a list nor an object with a list "servers"'),
        (b'["a:1", 7]', "f: server 2: record of a server is no JSON object"),
        (b'["a:1", "b"]', "f: server 2: address 'b' has no port"),
        (b'["a:1", {"address": "a:1"}]', "f: server 2: a:1 is listed twice"),
        (b'[{"address": "a:1", "limit": "many"}]', 'f: server 1: record: "limit"'),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: bytes, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        parsed(text)


@given(st.binary(max_size=60) | st.text(alphabet='a1:;=,[]{}" \nweight', max_size=60))
def test_any_bytes_are_a_list_or_a_registry_error(text: bytes | str) -> None:
    with contextlib.suppress(RegistryError):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ('[{"address": "a:1", "services": ["x.Y", "x.Z"]}, "b:1"]', {"x.Y", "x.Z"}),
        ('{"servers": [{"address": "a:1", "services": ["x.Z"]}]}', {"x.Z"}),
        ('{"servers": 5}', set()),
        ('[{"services": 5}]', set()),
        ("a:1\n", set()),
    ],
)
def test_the_services_of_a_list_are_known(tmp_path: Path, text: str, services: set[str]) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    session = FileWatchSession(str(path), "x.W")
    assert session.others() == services
    assert session.doubt() == ""


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="cannot read .*/none: No such file"):
        FileWatchSession(str(tmp_path / "none"), "x.Y").fetch()
    with pytest.raises(RegistryError, match="is no regular file"):
        FileWatchSession(str(tmp_path), "x.Y").fetch()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(RegistryError, match="is no regular file"):  # and it does not block
        FileWatchSession(str(fifo), "x.Y").fetch()
    monkeypatch.setattr(file, "FILE_BYTES_MAX", 3)
    long = tmp_path / "long"
    long.write_text("a:1\n")
    with pytest.raises(RegistryError, match="longer than 3 bytes"):
        FileWatchSession(str(long), "x.Y").fetch()


def test_a_last_line_without_its_end_counts_if_nobody_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "servers"
    path.write_text("a:1\nb:2")
    assert FileWatchSession(str(path), "x.Y").fetch() == (A, B)


def test_a_line_that_is_being_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "servers"
    path.write_text("a:1\nb:2")
    session = FileWatchSession(str(path), "x.Y")
    sign = session._sign  # noqa: SLF001 - the moment between two looks

    def write_on() -> object:
        with path.open("a") as out:
            out.write("2\n")
        return sign()

    monkeypatch.setattr(session, "_sign", write_on)
    with pytest.raises(RegistryError, match="servers:2: the file is being written"):
        session.fetch()


def test_each_way_of_changing_a_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "servers"
    path.write_text("a:1\n")
    session = FileWatchSession(str(path), "x.Y", every_s=0.001)
    session.fetch()
    assert not session.wait(0.01)
    other = tmp_path / "other"
    other.write_text("b:1\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)  # same size, same time
    assert session.wait(0.0)
    assert session.wait(WAIT_S)
    session.fetch()
    path.write_text("b:12\n")
    assert session.wait(WAIT_S)
    session.fetch()
    path.unlink()
    assert session.wait(WAIT_S)


def test_a_wait_can_be_ended(tmp_path: Path) -> None:
    path = tmp_path / "servers"
    path.write_text("a:1\n")
    session = FileWatchSession(str(path), "x.Y", every_s=3600.0)
    session.fetch()
    waking = threading.Timer(0.01, session.wake)
    waking.start()
    assert not session.wait(3600.0)
    waking.join()


def replace(path: Path, text: str) -> None:
    """Write a file so that nobody sees half of it."""
    scratch = path.with_suffix(".new")
    scratch.write_text(text)
    scratch.replace(path)


def test_a_broken_file_keeps_the_last_good_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "servers"
    path.write_text("a:1\n")
    lists: queue.SimpleQueue[EndpointSet] = queue.SimpleQueue()
    target = parse_target(f"file://{path}?every=0.1")
    resolver = open_resolver(target, "x.Y", ClientSettings(state_dir=str(tmp_path / "state")))
    resolver.start(lists.put)
    assert lists.get(timeout=WAIT_S).endpoints == (A,)
    replace(path, "a:1\nb\n")
    looked = threading.Event()
    while (trouble := resolver.trouble()) is None:
        looked.wait(0.005)
    assert f"{path}:2: address 'b' has no port" in trouble.text
    replace(path, "a:1\nb:2\n")
    assert lists.get(timeout=WAIT_S).endpoints == (A, B)
    resolver.close()
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"{path}:2:" in warned[0]
