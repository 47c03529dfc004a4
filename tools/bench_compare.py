"""Measure our echo beside grpcio's: calls per second, latency, server CPU, and the ratios.

python tools/bench_compare.py [--seconds S] [--rounds N] [--cells abcd] [--json]

Both run here and now, in turn, server on one processor and client on another, because
only the ratio within one run means anything on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

BENCH = Path(__file__).resolve().parent / "bench"


@dataclass(frozen=True, slots=True)
class Cell:
    """One load, and the ratios to grpcio that we promise for it."""

    name: str
    about: str
    connections: int
    depth: int
    workers_goal: float
    inline_goal: float


CELLS = (
    Cell("a", "1 connection, 1 call at a time", 1, 1, 3.0, 3.5),
    Cell("b", "1 connection, 64 in flight", 1, 64, 6.0, 12.0),
    Cell("c", "10 connections, 1 call each", 10, 1, 5.0, 7.0),
    Cell("d", "100 connections, 1 call each", 100, 1, 5.0, 7.0),
)
PEERS = {
    "grpcio": ("grpcio_peer.py", ()),
    "workers": ("ours.py", ()),
    "inline": ("ours.py", ("--inline",)),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """What one peer did in one cell and round."""

    calls_per_s: float
    p50_us: float
    p99_us: float
    cpu_s_per_100k: float


def pin(cpu: int) -> None:
    """Keep this process on one processor, where there are several."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) > 1:
        os.sched_setaffinity(0, {allowed[cpu]})


def run(peer: str, cell: Cell, seconds: float) -> Figure:
    """Start a server, load it, stop it."""
    program, flags = PEERS[peer]
    command = [sys.executable, str(BENCH / program)]
    with subprocess.Popen(
        [*command, "serve", *flags],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: pin(0),
    ) as server:
        try:
            assert server.stdout is not None
            target = server.stdout.readline().split()[-1]
            usage = psutil.Process(server.pid)
            before = usage.cpu_times()
            load = ["--connections", str(cell.connections), "--depth", str(cell.depth)]
            measured = subprocess.run(
                [*command, "measure", "--target", target, "--seconds", str(seconds), *load],
                check=True,
                capture_output=True,
                text=True,
                preexec_fn=lambda: pin(1),
            )
            after = usage.cpu_times()
        finally:
            server.terminate()
    told = json.loads(measured.stdout)
    cpu_s = after.user + after.system - before.user - before.system
    # the warm-up's calls cost CPU too: the whole run is longer by it
    calls = told["calls_per_s"] * (seconds + 0.3)
    return Figure(told["calls_per_s"], told["p50_us"], told["p99_us"], cpu_s / calls * 1e5)


def middle(figures: list[Figure]) -> Figure:
    """Return the median of each column."""
    return Figure(
        median(each.calls_per_s for each in figures),
        median(each.p50_us for each in figures),
        median(each.p99_us for each in figures),
        median(each.cpu_s_per_100k for each in figures),
    )


def main() -> int:
    """Measure and print; returns 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="per cell and peer")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them is printed")
    parser.add_argument("--cells", default="abcd", help="which cells")
    parser.add_argument("--peers", default="grpcio,workers,inline", help="which peers")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    rows = []
    if not arguments.json:
        print("cell peer        calls/s   p50 us   p99 us  cpu s/100k  x grpcio  goal")
    for cell in CELLS:
        if cell.name not in arguments.cells:
            continue
        rounds: dict[str, list[Figure]] = {peer: [] for peer in peers}
        for _ in range(arguments.rounds):
            for peer in peers:
                rounds[peer].append(run(peer, cell, arguments.seconds))
        base = rounds.get("grpcio")
        for peer in peers:
            figure = middle(rounds[peer])
            ratio = None
            if base:
                pairs = zip(rounds[peer], base, strict=True)
                ratio = median(ours.calls_per_s / theirs.calls_per_s for ours, theirs in pairs)
            goal = {"workers": cell.workers_goal, "inline": cell.inline_goal}.get(peer)
            rows.append((cell, peer, figure, ratio, goal))
            if not arguments.json:
                print(
                    f"{cell.name}    {peer:<10}{figure.calls_per_s:9.0f}{figure.p50_us:9.0f}"
                    f"{figure.p99_us:9.0f}{figure.cpu_s_per_100k:12.2f}"
                    f"{'' if ratio is None else f'{ratio:10.2f}'}"
                    f"{'' if goal is None else f'{goal:6.1f}'}",
                    flush=True,
                )
    if arguments.json:
        print(
            json.dumps(
                [
                    {
                        "cell": cell.name,
                        "about": cell.about,
                        "peer": peer,
                        "calls_per_s": figure.calls_per_s,
                        "p50_us": figure.p50_us,
                        "p99_us": figure.p99_us,
                        "server_cpu_s_per_100k": figure.cpu_s_per_100k,
                        "x_grpcio": ratio,
                        "goal": goal,
                    }
                    for cell, peer, figure, ratio, goal in rows
                ]
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
