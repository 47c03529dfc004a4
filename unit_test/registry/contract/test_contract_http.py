"""The contract on an HTTP registry of ours: a process, killed and started anew on its port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit_test.fix_net import free_port
from unit_test.registry.contract.harness import PATIENT_S, Harness
from unit_test.registry.contract.suite import AnnounceContract

pytestmark = pytest.mark.live


class HttpHarness(Harness):
    """`libevrpc registry`; what it keeps is in its state file."""

    name = "http"

    def __init__(self, folder: Path) -> None:
        self._state = folder / "registry.state"
        self._address = f"127.0.0.1:{free_port()}"  # nobody takes it while this is down
        self._program: subprocess.Popen[str] | None = None
        self.up()

    def target(self, service: str = "") -> str:
        return f"http://{self._address}/_tinyrpc_/registry?every=0.5&expiry={self.expiry_s:g}"

    def down(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            program.kill()
            program.wait()

    def up(self) -> None:
        if self._program is not None:
            return
        words = ["registry", "--listen", self._address, "--state", str(self._state)]
        self._program = subprocess.Popen(
            [sys.executable, "-m", "libevrpc.cli", *words, "--expiry", f"{PATIENT_S:g}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._program.stdout is not None
        with self._program.stdout as told:
            assert told.readline().split()[-1] == self._address

    def lose_sessions(self) -> None:
        self.down()
        self._state.unlink(missing_ok=True)
        self.up()

    def close(self) -> None:
        self.down()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = HttpHarness(tmp_path_factory.mktemp("registry"))
    yield made
    made.close()


class TestHttp(AnnounceContract):
    pass
