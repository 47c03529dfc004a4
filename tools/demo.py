"""Three centers, three servers, one client; then leaders, servers and at last all centers die.

python tools/demo.py [--seed N] [--seconds S] [--faults N] [--json]

Shows it live, and ends with one line of JSON. Exit status 0 only if no call failed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from demo_observer import Caller, Watcher

ROOT = Path(__file__).resolve().parent.parent
CENTERS = 3
SERVERS = 3
CALLERS = 4
CALLS_MIN = 20_000
START_S = 20.0
FAILOVER_MAX_MS = 500.0
SERVER_OUT_MAX_MS = 1000.0


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Stage:
    """The processes of the demo, started and stopped by their own ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = free_ports(2 * CENTERS)
        self.centers = {n + 1: f"127.0.0.1:{ports[2 * n + 1]}" for n in range(CENTERS)}
        lines = [f"{n + 1} 127.0.0.1 {ports[2 * n]} {ports[2 * n + 1]}" for n in range(CENTERS)]
        self._list = folder / "centers_list"
        self._list.write_text("\n".join(lines) + "\n")
        self.target = "center://" + ",".join(self.centers.values())
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.addresses: dict[str, str] = {}
        self._log = (folder / "log").open("w")

    def start_center(self, number: int) -> None:
        """Start center `number`, with what it had on disk."""
        self._start(
            f"center {number}",
            [
                "-m",
                "center",
                "--id",
                str(number),
                "--centers-list",
                str(self._list),
                "--data-dir",
                str(self._folder / f"center-{number}"),
            ],
        )

    def start_server(self, number: int) -> None:
        """Start echo server `number` on a port of its own."""
        program = ROOT / "samples" / "echo" / "server.py"
        self._start(
            f"server {number}",
            [str(program), "--listen", "127.0.0.1:0", "--registry", self.target],
        )

    def _start(self, name: str, arguments: list[str]) -> None:
        self.processes[name] = process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env=environment(self._folder),
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"demo: {name} did not start; see {self._log.name}")
        self.addresses[name] = line.split()[-1]

    def end(self, name: str, number: int) -> None:
        """Send one process a signal and take its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def close(self) -> None:
        """End whatever still runs."""
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)
        self._log.close()


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the processes: their state stays in the demo's folder."""
    import os

    return {**os.environ, "XDG_STATE_HOME": str(folder / "state")}


class Demo:
    """The story, told as it happens."""

    def __init__(self, stage: Stage, seed: int, quiet: bool) -> None:
        self.stage = stage
        self.rng = random.Random(seed)
        self.watcher = Watcher(stage.centers)
        self.quiet = quiet
        self.began_s = time.perf_counter()
        self.failovers_ms: list[float] = []
        self.outs_ms: list[float] = []
        self.troubles: list[str] = []
        self.caller: Caller | None = None
        self.pause = threading.Event()
        self.calls_at = (0.0, 0)

    def say(self, text: str) -> None:
        """Print one line with the time and the rate of calls."""
        if self.quiet:
            return
        now_s = time.perf_counter() - self.began_s
        rate = ""
        if self.caller is not None:
            total = self.caller.total()
            then_s, then = self.calls_at
            if now_s > then_s:
                per_s = (total - then) / (now_s - then_s)
                rate = f"{per_s:7,.0f} calls/s  {self.caller.failed} failed"
            self.calls_at = (now_s, total)
        print(f"{now_s:6.1f} s  {text:<58} {rate}", flush=True)

    def wait(self, low_s: float, high_s: float) -> None:
        """Let a random while pass."""
        self.pause.wait(self.rng.uniform(low_s, high_s))

    def alive(self) -> list[int]:
        """Return the ids of the centers that run."""
        return [n for n in self.stage.centers if f"center {n}" in self.stage.processes]

    def start(self) -> None:
        """Start everything and wait until every center shows every server."""
        for number in self.stage.centers:
            self.stage.start_center(number)
        told = self.until(lambda told: told.leads, "no leader", START_S)
        if told is not None:
            self.say(f"center {told.id} leads in epoch {told.epoch}; three centers agree")
        for number in range(1, SERVERS + 1):
            self.stage.start_server(number)
        self.until(lambda told: len(told.servers) == SERVERS, "servers not listed", START_S)
        for number in range(1, SERVERS + 1):
            self.say(f"server {number} serves at {self.stage.addresses[f'server {number}']}")

    def until(self, holds: Any, trouble: str, within_s: float) -> Any:
        """Wait for a status; a trouble if it does not come."""
        found = self.watcher.until(holds, self.alive(), within_s)
        if found is None:
            self.troubles.append(trouble)
            self.say(f"TROUBLE: {trouble}")
            return None
        return found[1]

    def leader(self) -> int | None:
        """Return the id of the center that leads."""
        told = self.until(lambda told: told.leads, "no leader", START_S)
        return None if told is None else int(told.id)

    def kill_leader(self) -> None:
        """Kill the leader; time until a survivor serves a map of a newer epoch."""
        leader = self.leader()
        if leader is None:
            return
        told = self.watcher.ask(leader)
        epoch = told.map_epoch if told is not None else 0
        self.stage.end(f"center {leader}", signal.SIGKILL)
        found = self.watcher.until(lambda told: told.map_epoch > epoch, self.alive(), 10.0)
        if found is None:
            self.troubles.append("no newer epoch after the leader was killed")
            return
        self.failovers_ms.append(found[0] * 1e3)
        self.say(
            f"center {leader}, the leader, killed; epoch {found[1].map_epoch} after"
            f" {found[0] * 1e3:.0f} ms"
        )

    def kill_server(self, number: int) -> None:
        """Kill a server; time until it is out of a map."""
        address = self.stage.addresses[f"server {number}"]
        self.stage.end(f"server {number}", signal.SIGKILL)

        def gone(told: Any) -> bool:
            return all(each.address != address for each in told.servers)

        found = self.watcher.until(gone, self.alive(), 10.0)
        if found is None:
            self.troubles.append("a killed server stayed in the map")
            return
        self.outs_ms.append(found[0] * 1e3)
        self.say(f"server {number} killed; out of the map after {found[0] * 1e3:.0f} ms")

    def drain_server(self, number: int) -> None:
        """Ask a server to stop; it finishes its calls first."""
        began_s = time.perf_counter()
        self.stage.end(f"server {number}", signal.SIGTERM)
        span_ms = (time.perf_counter() - began_s) * 1e3
        self.say(f"server {number} asked to stop; drained and gone after {span_ms:.0f} ms")

    def restart_center(self, number: int) -> None:
        """Start a center again and wait until it follows."""
        self.stage.start_center(number)
        found = self.watcher.until(lambda told: told.leader > 0, [number], START_S)
        if found is None:
            self.troubles.append(f"center {number} did not find the others again")
        else:
            self.say(f"center {number} started again; follows {found[1].leader}")

    def restart_server(self, number: int) -> None:
        """Start a server again and wait until it is listed."""
        self.stage.start_server(number)
        address = self.stage.addresses[f"server {number}"]
        self.until(
            lambda told: any(each.address == address for each in told.servers),
            "a restarted server is not listed",
            START_S,
        )
        self.say(f"server {number} started again at {address}")

    def round_of_faults(self) -> None:
        """Kill the leader and a server, drain another, at random instants; then mend."""
        dead = [n for n in self.stage.centers if n not in self.alive()]
        faults = ["leader", "kill", "drain"]
        self.rng.shuffle(faults)
        first, second = self.rng.sample(range(1, SERVERS + 1), 2)
        for fault in faults:
            self.wait(1.5, 3.0)
            if fault == "leader":
                self.kill_leader()
            elif fault == "kill":
                self.kill_server(first)
            else:
                self.drain_server(second)
        self.wait(0.5, 1.5)
        for number in (first, second):
            self.restart_server(number)
        for number in [n for n in self.stage.centers if n not in self.alive() and n not in dead]:
            self.restart_center(number)

    def kill_every_center(self, seconds: float) -> int:
        """Kill what centers are left; returns the calls that went on without any."""
        assert self.caller is not None
        for number in self.alive():
            self.stage.end(f"center {number}", signal.SIGKILL)
        before = self.caller.total()
        self.say("every center killed; the client goes on with its last map")
        self.pause.wait(seconds)
        calls = self.caller.total() - before
        self.say(f"{calls:,} calls without any center")
        return calls


def main() -> int:
    """Run the demo; returns 0 only if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="of the random instants; printed at the start")
    parser.add_argument("--seconds", type=float, default=6.0, help="without any center, at the end")
    parser.add_argument("--faults", type=int, default=1, help="rounds of faults")
    parser.add_argument("--quiet", action="store_true", help="only the last line")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="libevrpc-demo-"))
    stage = Stage(folder)
    demo = Demo(stage, seed, arguments.quiet)
    try:
        demo.say(f"seed {seed}; three centers, three servers, {CALLERS} callers")
        demo.start()
        caller = demo.caller = Caller(stage.target, str(folder / "client"), CALLERS, 0.001)
        caller.start()
        for _ in range(arguments.faults):
            demo.round_of_faults()
        demo.wait(1.0, 2.0)
        without = demo.kill_every_center(arguments.seconds)
        while caller.total() < CALLS_MIN and not demo.troubles:
            demo.pause.wait(0.5)
        caller.stop()
        return verdict(demo, caller, without)
    finally:
        if demo.caller is not None:
            demo.caller.stop()
        demo.watcher.close()
        stage.close()
        shutil.rmtree(folder)


def verdict(demo: Demo, caller: Caller, without: int) -> int:
    """Print what went wrong, if anything, and the last line."""
    failover_ms = max(demo.failovers_ms, default=float("inf"))
    out_ms = max(demo.outs_ms, default=float("inf"))
    troubles = [*demo.troubles, *demo.watcher.went_back]
    if failover_ms >= FAILOVER_MAX_MS:
        troubles.append(f"leader failover took {failover_ms:.0f} ms")
    if out_ms >= SERVER_OUT_MAX_MS:
        troubles.append(f"a dead server stayed in the map for {out_ms:.0f} ms")
    if not without:
        troubles.append("no call went on without centers")
    for text in [*troubles, *caller.failures]:
        print(f"failed: {text}")
    epoch = max((stamp[0] for stamp in demo.watcher.newest.values()), default=0)
    result = {
        "calls": caller.calls,
        "failed": caller.failed,
        "leader_failover_ms": round(failover_ms, 1),
        "dead_server_out_of_map_ms": round(out_ms, 1),
        "calls_without_centers": without,
        "epoch": epoch,
    }
    print(json.dumps(result))
    return 1 if troubles or caller.failed or caller.calls < CALLS_MIN else 0


if __name__ == "__main__":
    sys.exit(main())
