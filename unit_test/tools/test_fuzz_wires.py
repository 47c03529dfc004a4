"""The fuzzer finds nothing in our wires within a moment, and finds what is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz.mutation import STREAM_BYTES_MAX, cuts, mutated
from fuzz.readers import Readers, told
from fuzz.seeds import SEEDS
from fuzz.target import server_of

from libevrpc.core.prpc import Event
from libevrpc.core.wires import Probe, Wire
from libevrpc.server import guests

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parent.parent.parent
SEED = "7"


def test_nothing_is_found_within_a_moment() -> None:
    words = [str(ROOT / "tools" / "fuzz_wires.py"), "--seconds", "2", "--seed", SEED]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faults"] == 0
    assert found["reader_streams"] > 100
    assert found["reader_requests"] > 20
    assert found["server_streams"] > 20


def test_every_wire_is_fuzzed() -> None:
    assert set(SEEDS) - {"prpc"} | {"geerpc"} == set(guests.GUESTS)


@pytest.mark.parametrize("name", SEEDS)
def test_what_it_begins_with_is_read_as_requests(name: str) -> None:
    readers = Readers(told(server_of, [each for each in SEEDS if each != "prpc"]))
    requests = [readers.run([stream]) for stream in SEEDS[name]()]
    assert max(requests) >= 1


def test_our_internal_service_is_refused_as_a_session_does() -> None:
    """Its handlers need a call, which the readers have none of."""
    head = b"\x0a\x0eevrpc.Internal\x12\x06Cancel\x18\x00"
    frame = len(head).to_bytes(4, "little") + head
    assert Readers(told(server_of, ["mprpc"])).run([frame]) == 1


def test_streams_are_edited_and_cut_without_a_loss() -> None:
    rng = Random(1)
    seeds = SEEDS["prpc"]()
    made = {mutated(rng, seeds) for _ in range(200)}
    assert len(made) > 150
    for data in made:
        assert len(data) <= STREAM_BYTES_MAX
        assert b"".join(cuts(rng, data)) == data


class Faulty:
    """Reads lines of `EVIL`, and fails at the third byte behind that."""

    partial = False
    buffered_bytes = 0

    def receive(self, data: bytes) -> tuple[list[Event], bytes | None]:
        if len(data) > 6:
            raise IndexError("as asked")
        return [], None


def test_a_faulty_reader_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(head: bytes) -> Probe:
        return Probe.YES if head.startswith(b"EVIL") else Probe.NO

    evil = guests.Guest(lambda _: Wire("evil", True, probe, Faulty))
    monkeypatch.setitem(guests.GUESTS, "evil", evil)
    readers = Readers(told(server_of, ["evil"]))
    assert readers.run([b"EVIL1"]) == 0
    with pytest.raises(IndexError):
        readers.run([b"EVIL123"])
