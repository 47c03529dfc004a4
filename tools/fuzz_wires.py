"""Fuzz every wire of a server: bad streams to its readers, and to a server over sockets.

python tools/fuzz_wires.py [--seconds 300] [--seed N] [--wire NAME ...]

Half of the time streams go to readers and writers alone, many thousands a second; the other half to
a server process, with good calls on every wire in between. A fault is an exception that nobody
expects, a wrong answer, a traceback in the server's log, a descriptor that is left, or a server
that ends. It is printed with the stream that led to it, and the exit status is 1. Last line: JSON.

A new wire needs one function in tools/fuzz/seeds.py, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from fuzz.live import Live
from fuzz.mutation import cuts, mutated
from fuzz.readers import Readers, told
from fuzz.seeds import SEEDS
from fuzz.target import server_of

SEED_WORDS = 1 << 32
CHECK_EVERY = 50
"""Bad streams between two rounds of good calls."""
SLOW_S = 2.0
"""No stream of at most 64 KiB may keep a reader busy for this long."""


class FaultError(Exception):
    """What was found, and by which bytes."""

    def __init__(self, where: str, pieces: Sequence[bytes], trouble: str) -> None:
        sent = b"".join(pieces)
        sizes = [len(piece) for piece in pieces]
        super().__init__(f"{where}: {trouble}\npieces of {sizes} bytes:\n{sent.hex()}")


def until(seconds: float, step: Callable[[], None]) -> int:
    """Repeat for a time; returns how often."""
    end_s = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end_s:
        step()
        count += 1
    return count


def fuzz_readers(rng: Random, seeds: Sequence[bytes], wires: Sequence[str], seconds: float) -> Any:
    """Drive readers and writers alone."""
    readers = Readers(told(server_of, wires))
    requests = 0

    def step() -> None:
        nonlocal requests
        pieces = cuts(rng, mutated(rng, seeds))
        began_s = time.thread_time()  # others may keep the processor busy
        try:
            requests += readers.run(pieces)
        except Exception as exc:
            raise FaultError("reader", pieces, traceback.format_exc()) from exc
        if (took_s := time.thread_time() - began_s) > SLOW_S:
            raise FaultError("reader", pieces, f"busy for {took_s:.1f} s")

    streams = until(seconds, step)
    return {"reader_streams": streams, "reader_requests": requests}


def fuzz_server(rng: Random, seeds: Sequence[bytes], wires: Sequence[str], seconds: float) -> Any:
    """Attack a server over sockets."""
    live = Live(wires)
    last: list[list[bytes]] = []

    def step() -> None:
        last.append(cuts(rng, mutated(rng, seeds)))
        live.throw(rng, last[-1])
        if len(last) == CHECK_EVERY:
            live.check()
            last.clear()

    try:
        streams = until(seconds, step)
        live.check()
        return {"server_streams": streams, **live.close()}
    except Exception as exc:
        pieces = [b"".join(each) for each in last] or [b""]
        raise FaultError("server, one of these", pieces, traceback.format_exc()) from exc
    finally:
        live.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzz the wires of a server")
    parser.add_argument("--seconds", type=float, default=300.0, help="in all (300)")
    parser.add_argument("--seed", type=int, help="of the chances; printed if it is left out")
    parser.add_argument(
        "--wire", action="append", choices=list(SEEDS), help="only this; repeatable"
    )
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # the readers' refusals; the server's log is its own
    seed = given.seed if given.seed is not None else Random().randrange(SEED_WORDS)
    chosen = given.wire or list(SEEDS)
    seeds = [each for name in chosen for each in SEEDS[name]()]
    wires = [name for name in chosen if name != "prpc"]
    print(f"seed {seed}, wires {', '.join(chosen)}, {len(seeds)} streams to begin with", flush=True)
    found: dict[str, Any] = {"seconds": given.seconds, "seed": seed}
    try:
        found |= fuzz_readers(Random(seed), seeds, wires, given.seconds / 2)
        found |= fuzz_server(Random(seed + 1), seeds, wires, given.seconds / 2)
    except FaultError as exc:
        print(exc, file=sys.stderr)
        print(json.dumps({**found, "faults": 1}))
        return 1
    print(json.dumps({**found, "faults": 0}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
