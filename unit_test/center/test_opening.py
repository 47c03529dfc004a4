"""From options and files to a center that may start."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from center.__main__ import main
from center.opening import is_local, is_loopback, open_center
from libevrpc.errors import ConfigError


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "centers_list"
    path.write_text("1 127.0.0.1 8898 8899\n2 192.0.2.7 8898 8899\n")
    return path


def test_state_lies_in_the_users_folder_unless_configured(
    tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"security": "none"}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    opening = open_center(1, listed, settings=free)
    assert opening.folder == tmp_path / "state" / "libevrpc" / "center-1"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    opening = open_center(2, listed, settings=free)
    assert opening.folder == tmp_path / ".local" / "state" / "libevrpc" / "center-2"
    opening = open_center(1, listed, settings={**free, "data_dir": str(tmp_path / "own")})
    assert opening.folder == tmp_path / "own"
    monkeypatch.chdir(tmp_path)
    assert open_center(1, listed, settings={**free, "data_dir": "here"}).folder == tmp_path / "here"
    assert any("both are needed" in warning for warning in opening.warnings)


def test_without_a_home_the_folder_must_be_configured(
    listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # as in a container: nobody in passwd
    with pytest.raises(ConfigError, match="set data_dir"):
        open_center(1, listed, settings={"security": "none"})
    opening = open_center(1, listed, settings={"security": "none", "data_dir": "/state"})
    assert opening.folder == Path("/state")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    with pytest.raises(ConfigError, match="relative is not absolute"):
        open_center(1, listed, settings={"security": "none"})


@pytest.mark.parametrize("wrong", ["1", 1.0, True])
def test_an_id_that_is_no_int_is_named(listed: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=f"must be an int, not {wrong!r}"):
        open_center(wrong, listed)


def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--id", "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("center: argument --id: invalid int value: 'x'; see python -m center")


@pytest.mark.parametrize("word", ["x", "-1", "999999", "9" * 30])
def test_a_descriptor_that_is_not_open_is_one_line(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--parent-fd={word}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"'{word}' is no open descriptor" in line


def test_the_list_is_looked_for_where_the_program_stands(
    tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opening = open_center(settings={"security": "none"})
    assert (opening.id, len(opening.centers.centers)) == (1, 2)


def test_nothing_is_open_beyond_this_machine_by_accident(listed: Path) -> None:
    with pytest.raises(ConfigError, match=r"centers_list:2: 192.0.2.7 is beyond this machine"):
        open_center(1, listed)
    listed.write_text("1 127.0.0.1 8898 8899\n")
    for key in ("peer_bind", "client_bind"):
        with pytest.raises(ConfigError, match=f"{key} = ::: reachable"):
            open_center(1, listed, settings={key: "::"})
    assert open_center(1, listed, settings={"peer_bind": "127.0.0.2"}).id == 1


def test_a_host_is_local_by_address_or_name() -> None:
    assert is_local("127.0.0.1")
    assert is_local("127.0.0.9")
    assert is_local("localhost")
    assert not is_local("192.0.2.7")
    assert not is_local("no-such-host.invalid")
    assert not is_local("a..b")
    assert not is_local("h" * 64)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.5", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "example.com", "192.0.2.7"))


HEAPS = """
import ctypes, sys, threading
from center.__main__ import keep_one_heap
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
keep_one_heap() if sys.argv[1] == "one" else None
ready = threading.Barrier(5)
def work():
    blocks = [bytes(10_000) for _ in range(100)]
    ready.wait()
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
ready.wait()
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
ready.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc alone")
def test_the_threads_of_a_center_share_one_heap(tmp_path: Path) -> None:
    heaps = {}
    for how in ("usual", "one"):
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", HEAPS, how, str(told)], check=True)
        heaps[how] = told.read_text().count("<heap nr=")
    assert heaps["one"] == 1 < heaps["usual"]
