"""The contract on `center://`, against one real center."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from compare.centers import CenterCluster

from libevrpc.registry.base import Registrar
from libevrpc.registry.opening import open_registrar
from libevrpc.settings import ClientSettings, ServerSettings
from unit_test.registry.contract.harness import Harness
from unit_test.registry.contract.suite import AnnounceContract

pytestmark = pytest.mark.live

EXPIRY_S = 3.0


class OneCenter(CenterCluster):
    """A center that suspects nobody of being cut off."""

    def command(self, node: int) -> tuple[list[str], Mapping[str, str]]:
        """See `Cluster.command`."""
        words, environment = super().command(node)
        settings = {
            "LIBEVRPC_CENTER_EXPIRY_S": str(EXPIRY_S),
            "LIBEVRPC_CENTER_SUSPECT_PERCENT": "100",
            "LIBEVRPC_CENTER_SLOW_START_S": "0",
        }
        environment = {key: environment[key] for key in ("PYTHONPATH", "XDG_STATE_HOME")}
        covered = {key: value for key, value in os.environ.items() if key.startswith("COVERAGE_")}
        return words, {**environment, **settings, **covered}


class CenterHarness(Harness):
    """One center, killed and started again."""

    name = "center"
    expiry_s = EXPIRY_S
    cannot: ClassVar = {"empty": "an empty map is never believed over a full one"}

    def __init__(self, folder: Path) -> None:
        self._cluster = OneCenter(folder, 1, folder / "compiled")
        self._cluster.mend()

    def target(self, service: str = "") -> str:
        return f"center://{self._cluster.hosts()}" + (f"/{service}" if service else "")

    def down(self) -> None:
        self._cluster.nodes[1].kill()

    def up(self) -> None:
        self._cluster.mend()

    def lose_sessions(self) -> None:
        """Who is silent for longer than the expiry is forgotten; a center that was frozen forgets
        nobody, one that starts again knows nobody's session."""
        self.down()
        self.up()

    def patient_registrar(self, folder: Path) -> Registrar:
        settings = ServerSettings(state_dir=str(folder), report_s=1.0)
        return open_registrar(self.parsed(), settings)

    def client_settings(self, folder: Path) -> ClientSettings:
        return ClientSettings(state_dir=str(folder), pull_min_s=0.5, pull_max_s=1.0)

    def close(self) -> None:
        self._cluster.close()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = CenterHarness(tmp_path_factory.mktemp("center"))
    yield made
    made.close()


class TestCenter(AnnounceContract):
    """See `suite.py`."""
