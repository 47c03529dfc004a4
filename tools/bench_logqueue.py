"""Lines per second of the log queue, beside the standard library's own ways to a file.

    python tools/bench_logqueue.py [--lines 50000] [--runs 5] [--threads 1,4]

Each row: how fast the threads that log get on (to them a line is done), and how fast lines are in
the file. Medians of the runs, which take turns. `QueueHandler` is the standard library's queue with
its QueueListener in front of the same FileHandler.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from libevrpc.logqueue import FORMAT, DailyFiles, LogQueue

Closing = Callable[[], object]
Way = Callable[[logging.Logger, Path, int], Closing]


def by_log_queue(log: logging.Logger, folder: Path, lines: int) -> Closing:
    handler = LogQueue(DailyFiles(folder, "bench"), lines_max=lines, close_s=600.0)
    log.addHandler(handler)
    return handler.close


def by_queue_handler(log: logging.Logger, folder: Path, lines: int) -> Closing:
    written = _file_handler(folder)
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, written)
    listener.start()
    log.addHandler(logging.handlers.QueueHandler(waiting))

    def close() -> None:
        listener.stop()
        written.close()

    return close


def by_file_handler(log: logging.Logger, folder: Path, lines: int) -> Closing:
    handler = _file_handler(folder)
    log.addHandler(handler)
    return handler.close


def _file_handler(folder: Path) -> logging.FileHandler:
    handler = logging.FileHandler(folder / "bench.log")
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler


WAYS: dict[str, Way] = {
    "LogQueue": by_log_queue,
    "QueueHandler": by_queue_handler,
    "FileHandler": by_file_handler,
}


def run(way: Way, threads: int, lines: int) -> tuple[float, float]:
    """Return lines/s as the threads see it, and as the file does.

    Raises:
        SystemExit: lines are missing in the file.
    """
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.propagate = False
    each = lines // threads
    with tempfile.TemporaryDirectory() as folder:
        close = way(log, Path(folder), lines)

        def talk() -> None:
            for number in range(each):
                log.info("reply call=%d peer=%s ms=%.3f OK", number, "10.0.0.7:9998", 0.125)

        talkers = [threading.Thread(target=talk) for _ in range(threads)]
        began_s = time.perf_counter()
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        handed_s = time.perf_counter() - began_s
        close()
        written_s = time.perf_counter() - began_s
        log.handlers.clear()
        (file,) = Path(folder).iterdir()
        found = file.read_bytes().count(b"\n")
    if found != each * threads:
        raise SystemExit(f"{each * threads - found} lines are missing")
    return found / handed_s, found / written_s


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=50_000, help="of each run (50000)")
    parser.add_argument("--runs", type=int, default=5, help="of each row (5)")
    parser.add_argument("--threads", default="1,4", help="that log at once (1,4)")
    wanted = parser.parse_args(arguments)
    print(f"{'':14}{'threads':>8}{'logged/s':>12}{'written/s':>12}")
    for threads in map(int, wanted.threads.split(",")):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for _ in range(wanted.runs):
            for name, way in WAYS.items():
                found[name].append(run(way, threads, wanted.lines))
        for name, rows in found.items():
            logged, written = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{name:14}{threads:8}{logged:12,.0f}{written:12,.0f}")


if __name__ == "__main__":
    main()
