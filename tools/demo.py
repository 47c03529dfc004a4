"""Three centers, three servers, one client; then leaders, servers and at last all centers die.

python tools/demo.py [--seed N] [--faults ROUNDS] [--plain] [--folder DIR]

Kills the leading center and a server with SIGKILL and drains another server, in random order
at random instants, and starts each again; at last kills every center. All the while a client
calls the servers by virtual node. The last line is JSON; the exit status is 0 only if no call
failed and everything was found again in time.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from demo_observer import CALLS_MIN, CENTER, Findings, Observer, judge
from demo_screen import Meter, Row, Screen, View, open_screen
from demo_stage import Process, Stage, StageError

from libevrpc import RpcClient, RpcError
from libevrpc.gen import center_pb2

CENTERS = 3
SERVERS = 3
CALLS_PER_S = 1500.0
SETTLE_S = 20.0
WITHOUT_CENTERS_S = 6.0
WITHOUT_CENTERS_MAX_S = 30.0
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the story rests, seconds (from, to): before a fault, and before it is mended."""

    rest_s: tuple[float, float]
    mend_s: tuple[float, float]


SHOW = Pace((2.0, 3.5), (1.5, 2.5))
HURRY = Pace((0.1, 1.0), (0.1, 0.6))


class Demo:
    """The story. One thread; `view` may be read by the screen's."""

    def __init__(self, stage: Stage, rng: random.Random, pace: Pace, plain: bool) -> None:
        self.stage = stage
        self.rng = rng
        self.pace = pace
        self.findings = Findings()
        self.observer = Observer(stage.center_address)
        self.leader: int | None = None
        self.load: Process | None = None
        self._states = dict.fromkeys([*self._names()], "starting")
        self._began_s = time.monotonic()
        self._meter = Meter()
        self._pause = threading.Event()
        self.screen: Screen = open_screen(self.view, plain)

    def _names(self) -> Iterator[str]:
        yield from (f"center {number}" for number in self.stage.center_address)
        yield from (f"server {number}" for number in self.stage.server_address)

    # -- telling ------------------------------------------------------------------------

    def trouble(self, text: str) -> None:
        """Note what must not be."""
        self.findings.troubles.append(text)
        self.screen.say(f"TROUBLE: {text}", "bold red")

    def view(self) -> View:
        """Return this moment, for the screen."""
        counts = self.observer.counts
        rows = []
        for number, address in self.stage.center_address.items():
            state = self._states[f"center {number}"]
            seen = self.observer.serving[number]
            if state == "running":
                state = "leader" if number == self.leader else "follower"
            figure = f"map {seen.epoch}.{seen.version}" if seen is not None else ""
            alive = state in ("leader", "follower")
            rows.append(Row(f"center {number}", address, state, figure, alive))
        for number, address in self.stage.server_address.items():
            state = self._states[f"server {number}"]
            rate = self._meter.rate(address, counts.peers.get(address, 0))
            row = Row(f"server {number}", address, state, f"{rate:,.0f}/s", state == "running")
            rows.append(row)
        return View(
            time.monotonic() - self._began_s,
            rows,
            counts.returned,
            self._meter.rate("calls", counts.returned),
            counts.failed,
            counts.slowest_ms,
        )

    def rest(self, span_s: tuple[float, float]) -> None:
        """Let a random while pass."""
        self._pause.wait(self.rng.uniform(*span_s))

    # -- what is there ------------------------------------------------------------------

    def living(self) -> list[int]:
        """Return the centers that run."""
        return list(self.stage.centers)

    def serving(self) -> set[str]:
        """Return the addresses of the servers that run."""
        return {self.stage.server_address[number] for number in self.stage.servers}

    def find_leader(self) -> int:
        """Ask the centers until one leads.

        Raises:
            StageError: none does.
        """
        until_s = time.monotonic() + SETTLE_S
        while time.monotonic() < until_s:
            for number in self.living():
                with contextlib.suppress(RpcError):
                    with RpcClient(self.stage.center_address[number], timeout_s=0.5) as client:
                        told = client.stub(CENTER).Status(center_pb2.StatusRequest())
                    if told.leads:
                        self.leader = number
                        return number
            self._pause.wait(0.02)
        raise StageError("no center leads")

    def await_settled(self, what: str) -> None:
        """Wait until the living centers serve one map of the living servers.

        Raises:
            StageError: they do not.
        """
        if not self.observer.settled(self.serving(), self.living(), SETTLE_S):
            logs = "\n".join(self.stage.centers[each].log_tail() for each in self.living())
            raise StageError(f"{what}: the centers do not agree on its servers\n{logs}")

    # -- the story ----------------------------------------------------------------------

    def begin(self) -> None:
        """Start everything and wait until all know of all."""
        for number in self.stage.center_address:
            self.stage.start_center(number)
        for number, process in self.stage.centers.items():
            process.first_line()
            self._states[f"center {number}"] = "running"
        self.screen.say(f"center {self.find_leader()} leads; {CENTERS} centers are up")
        for number in self.stage.server_address:
            self.stage.start_server(number)
        for number, process in self.stage.servers.items():
            process.first_line()
            self._states[f"server {number}"] = "running"
        self.await_settled("at the start")
        self.screen.say(f"{SERVERS} servers report; every center serves the map of them")
        self.load = self.stage.start_load(CALLS_PER_S, self.rng.randrange(1 << 30))
        self.observer.listen(self.load.lines)

    def round_of_faults(self) -> None:
        """Hurt the leader and two servers, in random order, and mend each."""
        killed, drained = self.rng.sample(list(self.stage.server_address), 2)
        faults = ["leader", "kill", "drain"]
        self.rng.shuffle(faults)
        for fault in faults:
            self.rest(self.pace.rest_s)
            if fault == "leader":
                self.kill_leader()
            elif fault == "kill":
                self.kill_server(killed)
            else:
                self.drain_server(drained)

    def kill_leader(self) -> None:
        """SIGKILL the leader; time the next epoch at the survivors; start it again."""
        leader = self.find_leader()
        process = self.stage.centers[leader]
        epoch = self.observer.newest[0]
        self._states[f"center {leader}"] = "killed"
        killed_s = time.monotonic()
        process.signal(signal.SIGKILL)
        del self.stage.centers[leader]
        self.screen.say(f"SIGKILL center {leader}, the leader", "bold yellow")
        served_s = self.observer.newer_epoch(epoch, self.living(), SETTLE_S)
        process.wait()
        if served_s is None:
            raise StageError(f"no center serves an epoch above {epoch}")
        took_ms = (served_s - killed_s) * 1000.0
        self.findings.failovers_ms.append(took_ms)
        leads = self.find_leader()
        self.screen.say(f"  center {leads} leads; its epoch was served after {took_ms:.0f} ms")
        self.rest(self.pace.mend_s)
        self.stage.start_center(leader)
        self.stage.centers[leader].first_line()
        self._states[f"center {leader}"] = "running"
        self.await_settled(f"center {leader} started again")
        self.screen.say(f"  center {leader} is back and serves the same map as the others")

    def kill_server(self, number: int) -> None:
        """SIGKILL a server; time until no center names it; start it again."""
        process = self.stage.servers.pop(number)
        address = self.stage.server_address[number]
        self._states[f"server {number}"] = "killed"
        killed_s = time.monotonic()
        process.signal(signal.SIGKILL)
        self.screen.say(f"SIGKILL server {number}", "bold yellow")
        gone_s = self.observer.gone(address, self.living(), SETTLE_S)
        process.wait()
        if gone_s is None:
            raise StageError(f"the centers still name server {number}")
        took_ms = (gone_s - killed_s) * 1000.0
        self.findings.outs_ms.append(took_ms)
        self.screen.say(f"  server {number} was in no center's map after {took_ms:.0f} ms")
        self._restart_server(number)

    def drain_server(self, number: int) -> None:
        """SIGTERM a server, which finishes its calls first; start it again."""
        process = self.stage.servers.pop(number)
        self._states[f"server {number}"] = "draining"
        asked_s = time.monotonic()
        process.signal(signal.SIGTERM)
        self.screen.say(f"SIGTERM server {number}: it drains", "bold yellow")
        status = process.wait()
        took_ms = (time.monotonic() - asked_s) * 1000.0
        self._states[f"server {number}"] = "stopped"
        if status:
            self.trouble(f"server {number} drained with status {status}:\n{process.log_tail()}")
        self.screen.say(f"  server {number} finished its calls and ended after {took_ms:.0f} ms")
        self.await_settled(f"server {number} drained")
        self._restart_server(number)

    def _restart_server(self, number: int) -> None:
        self.rest(self.pace.mend_s)
        self.stage.start_server(number)
        self.stage.servers[number].first_line()
        self._states[f"server {number}"] = "running"
        self.await_settled(f"server {number} started again")
        self.screen.say(f"  server {number} is back and in every center's map")

    def kill_every_center(self) -> None:
        """SIGKILL all that is left of the cluster, and see how the client goes on."""
        self.rest(self.pace.rest_s)
        processes, self.stage.centers = self.stage.centers, {}
        for number, process in processes.items():
            process.signal(signal.SIGKILL)
            self._states[f"center {number}"] = "killed"
        for process in processes.values():
            process.wait()
        dead_s = time.monotonic()
        self.leader = None
        self.screen.say("SIGKILL every center: the client has the map it holds", "bold yellow")
        before = self.observer.counted_at(dead_s).returned
        while True:
            self._pause.wait(0.1)
            span_s = time.monotonic() - dead_s
            enough = self.observer.counts.returned >= CALLS_MIN or span_s > WITHOUT_CENTERS_MAX_S
            if span_s > WITHOUT_CENTERS_S and enough:
                break
        self.findings.without_centers = self.observer.counts.returned - before
        self.screen.say(f"  {self.findings.without_centers:,} calls without any center")

    def end_load(self) -> None:
        """Let the client finish."""
        if self.load is None:
            return
        self.load.close_input()
        self.observer.final_counts(SETTLE_S)
        if self.load.wait():
            self.trouble(f"the client ended badly:\n{self.load.log_tail()}")


def play(folder: Path, given: argparse.Namespace, rng: random.Random) -> int:
    """Tell the whole story; returns the exit status."""
    with contextlib.ExitStack() as stack:
        stage = Stage(folder, CENTERS, SERVERS, rng)
        stack.callback(stage.close)
        demo = Demo(stage, rng, SHOW if given.faults == 1 else HURRY, given.plain)
        stack.callback(demo.observer.close)
        with demo.screen:
            try:
                demo.begin()
                for number in range(given.faults):
                    if given.faults > 1:
                        demo.screen.say(f"round {number + 1} of {given.faults}", "bold")
                    demo.round_of_faults()
                demo.kill_every_center()
                demo.end_load()
            except StageError as exc:
                demo.trouble(str(exc))
        line, troubles = judge(
            demo.findings,
            demo.observer.counts,
            demo.observer.violations,
            demo.observer.newest[0],
        )
    for text in troubles:
        print(f"failed: {text}")
    print(line)
    return 1 if troubles else 0


def interrupt(number: int, frame: FrameType | None) -> None:
    """End in order, as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="of instants, victims and keys")
    parser.add_argument(
        "--faults", type=int, default=1, metavar="ROUNDS", help="rounds of faults (1)"
    )
    parser.add_argument("--plain", action="store_true", help="lines only, in a terminal too")
    parser.add_argument("--folder", type=Path, help="an empty one, kept with all logs")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"libevrpc demo: --seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, interrupt)
    rng = random.Random(seed)
    try:
        if given.folder is not None:
            given.folder.mkdir(parents=True, exist_ok=True)
            return play(given.folder.resolve(), given, rng)
        with tempfile.TemporaryDirectory(prefix="libevrpc-demo-") as folder:
            return play(Path(folder), given, rng)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
