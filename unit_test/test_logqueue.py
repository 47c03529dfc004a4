"""The log queue: nothing waits for the sink, nothing is lost unless it must be, losses are told."""

from __future__ import annotations

import datetime
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGTERM

import pytest

from libevrpc.logqueue import DailyFiles, LogLine, LogQueue, StreamSink, install
from unit_test.fix_rpc import wait_until

ROOT = Path(__file__).resolve().parent.parent
END_S = 30.0
"""Longest that the end waits for a sink that is not stuck."""
DAY_S = datetime.datetime(2026, 3, 1, 23, 59, 59).timestamp()


class Gate:
    """A sink that is stuck until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.lines: list[str] = []
        self.fails: Exception | None = None
        self.closed = False

    def write(self, lines: Sequence[LogLine]) -> None:
        self.entered.set()
        assert self.opened.wait(10.0)
        if self.fails is not None:
            raise self.fails
        self.lines += [text for _, text in lines]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    made = logging.getLogger("unit_test.logqueue")
    made.setLevel(logging.INFO)
    made.propagate = False
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def plain(handler: LogQueue) -> LogQueue:
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def test_every_line_of_many_threads_is_written_in_each_ones_order(
    gate: Gate, log: logging.Logger
) -> None:
    gate.opened.set()
    handler = plain(LogQueue(gate, lines_max=100_000, close_s=END_S))
    log.addHandler(handler)

    def talk(name: int) -> None:
        for number in range(2000):
            log.info("%d %d", name, number)

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    said = [tuple(map(int, line.split())) for line in gate.lines]
    for name in range(4):
        assert [number for who, number in said if who == name] == list(range(2000))
    assert gate.closed
    assert handler.lost == 0


def test_a_stuck_sink_stops_nobody_and_what_is_lost_is_counted(
    gate: Gate, log: logging.Logger
) -> None:
    handler = plain(LogQueue(gate, lines_max=10, close_s=END_S))
    log.addHandler(handler)
    log.info("first")
    assert gate.entered.wait(10.0)
    for number in range(25):
        log.info("%d", number)
    assert handler.lost == 15
    gate.opened.set()
    handler.close()
    assert gate.lines == [
        "first\n",
        *(f"{number}\n" for number in range(10)),
        "15 lines of the log were lost: it could not be written in time\n",
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a bug")])
def test_lines_that_the_sink_refuses_are_counted_and_told_later(
    gate: Gate, log: logging.Logger, error: Exception
) -> None:
    handler = plain(LogQueue(gate, close_s=END_S))
    log.addHandler(handler)
    gate.fails = error
    gate.opened.set()
    log.info("refused")
    wait_until(lambda: handler.lost == 1)
    log.info("refused too")
    wait_until(lambda: handler.lost == 2)
    gate.fails = None
    log.info("written")
    handler.close()
    assert gate.lines == [
        "written\n",
        "2 lines of the log were lost: it could not be written in time\n",
    ]


def test_the_end_waits_no_longer_than_it_is_told(gate: Gate, log: logging.Logger) -> None:
    handler = plain(LogQueue(gate, close_s=0.01))
    log.addHandler(handler)
    log.info("stuck")
    handler.close()
    handler.close()
    log.info("after the end")
    gate.opened.set()
    assert handler.lost == 1


def test_a_record_that_cannot_be_formatted_is_its_callers_fault(
    gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    gate.opened.set()
    handler = plain(LogQueue(gate, close_s=END_S))
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    handler.handle(logging.makeLogRecord({"msg": "next"}))
    handler.close()
    assert gate.lines == ["next\n"]
    assert "Logging error" in capsys.readouterr().err


def test_each_day_has_its_file(tmp_path: Path) -> None:
    sink = DailyFiles(tmp_path / "logs", "center")
    sink.write([(DAY_S, "old\n"), (DAY_S + 0.5, "late\n"), (DAY_S + 1.0, "new\n")])
    sink.write([(DAY_S + 2.0, "newer \udc80\n")])
    sink.close()
    sink.close()
    files = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert files == {
        "center-2026-03-01.log": "old\nlate\n",
        "center-2026-03-02.log": "new\nnewer \\udc80\n",
    }
    again = DailyFiles(tmp_path / "logs", "center")
    again.write([(DAY_S, "more\n")])
    again.close()
    assert (tmp_path / "logs" / "center-2026-03-01.log").read_text() == "old\nlate\nmore\n"


def test_a_stream_takes_everything_though_in_pieces() -> None:
    read_fd, write_fd = os.pipe()
    text = "x" * 300_000 + "\n"
    sink = StreamSink(write_fd)
    writer = threading.Thread(target=sink.write, args=([(0.0, text)],))
    writer.start()
    with os.fdopen(read_fd) as read:
        assert read.read(len(text)) == text
    writer.join()
    sink.close()
    os.close(write_fd)


def test_a_stream_takes_whole_lines_as_long_as_a_pipe_does() -> None:
    """Each write is a packet here; two processes that write to one pipe do not tear those."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    said = [f"{number} {'x' * (number % 90)}\n" for number in range(500)]
    with near, far:
        sink = StreamSink(near.fileno())
        sink.write([(0.0, text) for text in said])
        sink.write([(0.0, "y" * 5000 + "\n"), (0.0, "z\n")])
        near.shutdown(socket.SHUT_WR)
        packets = list(iter(lambda: far.recv(1 << 20).decode(), ""))
    assert packets[-2:] == ["y" * 5000 + "\n", "z\n"]
    assert "".join(packets[:-2]) == "".join(said)
    assert all(packet.endswith("\n") for packet in packets)
    lengths = [len(packet) for packet in packets[:-2]]
    assert max(lengths) <= select.PIPE_BUF
    assert min(lengths[:-1]) > select.PIPE_BUF - 100, "as few as can be"


def test_nothing_is_lost_at_the_end_of_a_process_nor_in_a_forked_child(tmp_path: Path) -> None:
    code = """
import logging, os, signal, sys
from libevrpc.logqueue import LogQueue
logging.basicConfig(level="INFO", handlers=[LogQueue()])
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
for number in range(5000):
    logging.info("parent %d", number)
child = os.fork()
if not child:
    for number in range(100):
        logging.info("child %d", number)
    logging.shutdown()
    os._exit(0)
os.waitpid(child, 0)
os.kill(os.getpid(), signal.SIGTERM)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=environ
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    for who, count in (("parent", 5000), ("child", 100)):
        said = [line.rpartition(" ")[2] for line in lines if f" root {who} " in line]
        assert said == [str(number) for number in range(count)]


@pytest.fixture
def root_log() -> Iterator[logging.Logger]:
    """Give the root logger, which is as before in the end; so is SIGTERM."""
    root, level, before = logging.getLogger(), logging.getLogger().level, signal.getsignal(SIGTERM)
    handlers = list(root.handlers)
    yield root
    for each in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(each)
        each.close()
    root.setLevel(level)
    signal.signal(SIGTERM, before)


def test_installed_it_takes_the_whole_log_from_a_level_on(
    root_log: logging.Logger, tmp_path: Path
) -> None:
    handler = install(tmp_path, "mine", level="warning")
    logging.getLogger("some.where").info("left out")
    logging.getLogger("some.where").warning("kept")
    handler.close()
    handler.close()
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("mine-")
    assert file.read_text().endswith(" WARNING some.where kept\n")
    with pytest.raises(ValueError, match="NONSENSE"):
        install(tmp_path, level="nonsense")


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, root_log: logging.Logger
) -> None:
    (tmp_path / "file").write_text("")
    level, handlers = root_log.level, list(root_log.handlers)
    for folder, name in ((tmp_path / "file", "mine"), (tmp_path, "no/folder")):
        with pytest.raises(OSError, match=str(tmp_path)):
            install(folder, name, level="debug")
    assert (root_log.level, root_log.handlers) == (level, handlers)


def test_a_programs_own_handler_of_sigterm_stays(root_log: logging.Logger, tmp_path: Path) -> None:
    signal.signal(SIGTERM, signal.SIG_IGN)
    install(tmp_path)
    assert signal.getsignal(SIGTERM) is signal.SIG_IGN
