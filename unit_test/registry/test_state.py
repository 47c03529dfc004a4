"""Files that survive a restart."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from libevrpc.registry import state as state_module
from libevrpc.registry.state import StateFile, state_folder
from unit_test.fix_rpc import wait_until

WAIT_S = 20.0


def test_a_record_is_read_after_a_restart_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    assert StateFile(folder, "map", "a").read() is None
    StateFile(folder, "map", "a").write(b"one")
    assert StateFile(folder, "map", "a").read() == b"one"
    assert StateFile(folder, "map", "b").read() is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}
    assert not list(folder.glob("*.new"))


def test_of_many_records_the_newest_is_kept(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "map", "a")
    for number in range(200):
        file.write_soon(b"%d" % number)
    file.flush(WAIT_S)
    assert file.read() == b"199"


def test_a_slow_disk_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()
    written: list[bytes] = []

    def slow(file: StateFile, record: bytes) -> None:
        entered.set()
        release.wait(WAIT_S)
        written.append(record)

    monkeypatch.setattr(StateFile, "write", slow)
    file = StateFile(tmp_path, "map", "a")
    file.write_soon(b"first")
    assert entered.wait(WAIT_S)
    for number in range(10):
        file.write_soon(b"%d" % number)
    file.flush(0.01)
    assert written == []
    release.set()
    file.flush(WAIT_S)
    assert written == [b"first", b"9"]


class Hooked(deque[bytes]):
    """What is to be written; `hook` is called when somebody looks whether there is something.

    Nothing is taken out meanwhile.
    """

    hook: Callable[[], object] | None = None

    def __init__(self) -> None:
        super().__init__(maxlen=1)
        self._free = threading.Event()
        self._free.set()

    def __len__(self) -> int:
        hook, self.hook = self.hook, None
        if hook is None:
            return super().__len__()
        self._free.clear()
        hook()
        found = super().__len__()
        self._free.set()
        return found

    def pop(self) -> bytes:  # type: ignore[override]
        self._free.wait(WAIT_S)
        return super().pop()


def test_two_never_write_at_once_so_the_newest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record comes when the thread that wrote the one before it is about to end."""
    entered, release, overtaken = threading.Event(), threading.Event(), threading.Event()
    file = StateFile(tmp_path, "map", "a")
    write = StateFile.write

    def slow(file: StateFile, record: bytes) -> None:
        if record == b"second":
            entered.set()
            release.wait(WAIT_S)
        elif record == b"third" and not release.is_set():
            overtaken.set()
        write(file, record)

    monkeypatch.setattr(StateFile, "write", slow)
    newest = Hooked()
    newest.hook = lambda: file.write_soon(b"second")
    monkeypatch.setattr(file, "_newest", newest)
    file.write_soon(b"first")
    assert entered.wait(WAIT_S)
    wait_until(lambda: len(threads()) == 1)  # any other has found nothing to do
    file.write_soon(b"third")
    assert not overtaken.wait(0.05)
    release.set()
    file.flush(WAIT_S)
    assert file.read() == b"third"


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "libevrpc-state"]


def test_without_threads_it_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    file = StateFile(tmp_path, "map", "a")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            file.write_soon(b"one")
    file.flush(WAIT_S)
    (warned,) = caplog.messages
    assert "can't start new thread; going on without" in warned
    file.write_soon(b"two")
    file.flush(WAIT_S)
    assert file.read() == b"two"


def test_an_older_record_does_not_replace_a_newer_one_of_another_process(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "map", "a", lambda stored, record: record > stored)
    other = StateFile(tmp_path, "map", "a", lambda stored, record: record > stored)
    file.write(b"2")
    other.write(b"1")
    assert file.read() == b"2"
    other.write(b"3")
    assert file.read() == b"3"


def test_an_unwritable_folder_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    file = StateFile(blocked / "below", "map", "a")
    with caplog.at_level(logging.WARNING):
        assert file.read() is None
        for _ in range(3):
            file.write(b"x")
    assert len(caplog.records) == 1
    assert "going on without" in caplog.text


def test_a_failed_write_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = StateFile(tmp_path, "map", "a")
    file.write(b"old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    file.write(b"new")
    assert file.read() == b"old"
    assert not list(tmp_path.glob("*.new"))
    assert "No space left" in caplog.text


def test_a_file_that_is_too_long_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(tmp_path, "map", "a")
    file.write(b"12345")
    monkeypatch.setattr(state_module, "RECORD_BYTES_MAX", 4)
    assert file.read() is None


def test_the_folder_is_configured_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_folder(str(tmp_path)) == tmp_path
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder("") == tmp_path / "libevrpc"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder("") == tmp_path / ".local" / "state" / "libevrpc"


def test_without_a_state_folder_nothing_is_kept_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # as in a container: nobody in passwd
    file = StateFile(state_folder(""), "map", "x.Y")
    file.write(b"content")
    assert file.read() is None
    (record,) = caplog.records
    assert record.getMessage() == ("nothing is remembered of x.Y: no state folder; set state_dir")
