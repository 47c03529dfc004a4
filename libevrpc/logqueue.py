"""The log queue: a `logging` handler whose producers never wait for a disk or a terminal.

Producers format a record and put the line into a bounded queue; one thread of the handler writes
what has gathered in one piece. A sink that is slow or stuck costs no producer anything: once the
queue is full, lines are lost, counted, and the number is written when the sink goes on.
"""

from __future__ import annotations

import datetime
import logging
import os
import queue
import select
import signal
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Protocol

__all__ = ["DailyFiles", "LogLine", "LogQueue", "LogSink", "StreamSink", "install"]

LINES_MAX = 10_000
"""Lines that wait for the sink, by default; one more is lost."""
GATHERED_MAX = 1_000
"""Lines that are written in one piece."""
CLOSE_S = 2.0
"""How long the end of a process waits for the sink, by default."""
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"

LogLine = tuple[float, str]
"""When it was logged (wall clock, seconds) and the line with its end."""


class LogSink(Protocol):
    """Where lines go. Used by the queue's thread alone."""

    def write(self, lines: Sequence[LogLine]) -> None:
        """Write `lines`, at least one, in their order.

        Raises:
            OSError: it cannot; some may have been written.
        """

    def close(self) -> None:
        """Let go of what is open."""


class StreamSink:
    """A descriptor that somebody else opened, such as standard error."""

    def __init__(self, fd: int = 2) -> None:
        """Write to the descriptor `fd`, past any lock of a stream object."""
        self._fd = fd

    def write(self, lines: Sequence[LogLine]) -> None:
        """See `LogSink.write`. What another process writes there never comes within a line."""
        for piece in _pieces(lines, select.PIPE_BUF):
            _write_all(self._fd, piece)

    def close(self) -> None:
        """Do nothing: the descriptor is not ours."""


class DailyFiles:
    """One file for each day in a folder: `<name>-<year>-<month>-<day>.log`, local time."""

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        """Write below `folder`, which is made if it is not there."""
        self._folder = Path(folder)
        self._name = name
        self._day: datetime.date | None = None
        self._fd: int | None = None

    def write(self, lines: Sequence[LogLine]) -> None:
        """See `LogSink.write`."""
        for day, of_day in groupby(lines, lambda line: datetime.date.fromtimestamp(line[0])):
            _write_all(self._file_of(day), b"".join([_encoded(text) for _, text in of_day]))

    def open(self) -> None:
        """Open the file of today, before the queue has begun.

        Raises:
            OSError: it cannot be written.
        """
        self._file_of(datetime.date.today())

    def _file_of(self, day: datetime.date) -> int:
        if self._fd is None or day != self._day:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._name}-{day:%Y-%m-%d}.log"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._day = day
        return self._fd

    def close(self) -> None:
        """Close the file of the day."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class LogQueue(logging.Handler):
    """The handler. Any thread may log; `close` once, by whoever made it or by `logging` itself.

    Levels, formats and filters are those of `logging`.

    Args:
        sink: where lines go; None: standard error.
        lines_max: lines that may wait; one more is lost and counted.
        close_s: how long `close` waits for a stuck sink; what waits then is lost.
    """

    def __init__(
        self, sink: LogSink | None = None, *, lines_max: int = LINES_MAX, close_s: float = CLOSE_S
    ) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self._sink: LogSink = StreamSink() if sink is None else sink
        self._lines_max = lines_max
        self._close_s = close_s
        self._closed = False
        self._begin()
        _queues.add(self)

    def _begin(self) -> None:
        self._lines: queue.SimpleQueue[LogLine | None] = queue.SimpleQueue()
        self.lost = 0
        self._told_lost = 0
        self._thread = threading.Thread(target=self._run, name="libevrpc-log", daemon=True)
        self._thread.start()

    # -- any thread ---------------------------------------------------------------------

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record that the filters let pass. Any thread; never blocks.

        Without the lock that `logging` takes here: the queue has what it needs, and the sink has
        one thread.
        """
        passed: object = self.filter(record)
        if isinstance(passed, logging.LogRecord):  # a filter may put another in its place
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Any thread; never blocks."""
        if self._closed or self._lines.qsize() >= self._lines_max:
            self.lost += 1  # two threads may count one: it is the order of size that tells
            return
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # whatever its arguments do, it is their caller's fault
            self.handleError(record)
            return
        self._lines.put((record.created, text + "\n"))

    def close(self) -> None:
        """Write what waits, for `close_s` at most, and end. Any number of times.

        Also from a handler of signals that finds the main thread in here.
        """
        if not self._closed:
            self._closed = True
            self._lines.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(self._close_s)
        _queues.discard(self)
        super().close()

    # -- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            gathered = self._gather()
            if gathered[-1] is None:
                gathered.pop()
                going = False
            self._write([line for line in gathered if line is not None])
        self._sink.close()

    def _gather(self) -> list[LogLine | None]:
        """Wait for a line and take those behind it; the end (None) is always the last."""
        gathered = [self._lines.get()]
        while gathered[-1] is not None and len(gathered) < GATHERED_MAX:
            try:
                gathered.append(self._lines.get_nowait())
            except queue.Empty:
                break
        return gathered

    def _write(self, lines: list[LogLine]) -> None:
        lost = self.lost
        untold = lost - self._told_lost
        if untold and lines:
            text = f"{untold} lines of the log were lost: it could not be written in time\n"
            lines = [*lines, (lines[-1][0], text)]
        try:
            if lines:
                self._sink.write(lines)
                self._told_lost = lost
        except Exception:  # noqa: BLE001  # whom to tell? the count does, once the sink goes on
            self.lost += len(lines) - bool(untold)

    def begin_again(self) -> None:
        """Go on in a forked child, with a thread of its own and none of the parent's lines."""
        if not self._closed:
            self._begin()


def install(
    folder: str | os.PathLike[str] | None = None,
    name: str = "libevrpc",
    *,
    level: int | str = logging.INFO,
    lines_max: int = LINES_MAX,
    close_s: float = CLOSE_S,
) -> LogQueue:
    """Send a program's whole log through a queue, and lose none of it at the end. Main thread.

    The queue becomes a handler of the root logger. SIGTERM, which ends a Python program without a
    last word, is taken over unless the program has a handler of its own (`RpcServer.run` has, while
    it runs): what waits is written first, then the program ends by the signal as before.

    Args:
        folder: for daily files; None: standard error.
        name: first part of the files' names.
        level: of the root logger: what is below it is not even queued.
        lines_max, close_s: see `LogQueue`.

    Raises:
        ValueError: there is no such level.
        OSError: the file of today cannot be written.
    """
    root = logging.getLogger()
    before = root.level
    root.setLevel(level.upper() if isinstance(level, str) else level)
    sink = None
    if folder is not None:
        sink = DailyFiles(folder, name)
        try:
            sink.open()
        except OSError:
            root.setLevel(before)
            raise
    handler = LogQueue(sink, lines_max=lines_max, close_s=close_s)
    root.addHandler(handler)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_with)
    return handler


def _end_with(number: int, frame: FrameType | None) -> None:
    """Write what waits in every queue, then end by the signal as if nobody had caught it."""
    for each in list(_queues):
        each.close()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _pieces(lines: Sequence[LogLine], bytes_max: int) -> Iterator[bytes]:
    """Join lines while they fit: a pipe takes so many bytes whole, from several processes too.

    A longer line is a piece of its own.
    """
    piece = b""
    for _, text in lines:
        line = _encoded(text)
        if piece and len(piece) + len(line) > bytes_max:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _write_all(fd: int, whole: bytes) -> None:
    data = memoryview(whole)
    while data:
        data = data[os.write(fd, data) :]


_queues: weakref.WeakSet[LogQueue] = weakref.WeakSet()


def _begin_all_again() -> None:
    for each in list(_queues):
        each.begin_again()


os.register_at_fork(after_in_child=_begin_all_again)
