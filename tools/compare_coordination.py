"""The same kills, freezes and loads on ZooKeeper, etcd and our centers: one table.

python tools/compare_coordination.py [--systems NAMES] [--trials N] [--json] [--quick]

Three processes of each on loopback, a fresh cluster per trial, the systems in turn. A cell is
min / median / max. Latencies during which the machine stood still are thrown away and counted.
ZooKeeper and etcd are Debian's (`make services`); their clients are kazoo and grpcio.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from compare.center_subject import CenterSubject
from compare.centers import CenterCluster
from compare.node import ServiceError
from compare.report import figures_json, table
from compare.subject import Subject
from compare.trials import Figures, Scale, run_trial

TERMINATED = 143
QUICK = Scale(pairs=2, registrations=200, updates=400)


def _centers(scratch: Path) -> Callable[[Path], Subject]:
    compiled = scratch / "compiled"
    with CenterCluster(scratch, 1, compiled):
        pass  # it has compiled what the measured ones run
    return lambda folder: CenterSubject(folder, compiled)


def _zookeeper(profile: str, owner_timeout_s: float) -> Callable[[Path], Subject]:
    from compare import zookeeper
    from compare.zookeeper_subject import ZooKeeperSubject

    require(zookeeper.missing())
    chosen = zookeeper.FAST if profile == "fast" else zookeeper.DEFAULT
    return lambda folder: ZooKeeperSubject(folder, chosen, owner_timeout_s)


def _etcd(profile: str, owner_timeout_s: float) -> Callable[[Path], Subject]:
    from compare import etcd
    from compare.etcd_subject import EtcdSubject

    require(etcd.missing())
    chosen = etcd.FAST if profile == "fast" else etcd.DEFAULT
    return lambda folder: EtcdSubject(folder, chosen, owner_timeout_s)


SYSTEMS: dict[str, Callable[[Path], Callable[[Path], Subject]]] = {
    "centers": _centers,
    "etcd": lambda _: _etcd("default", 5.0),
    "etcd-fast": lambda _: _etcd("fast", 1.0),
    "zookeeper": lambda _: _zookeeper("default", 4.0),
    "zookeeper-fast": lambda _: _zookeeper("fast", 0.5),
}
"""By name; how long an owner may be silent is the least that the profile allows, and 5 s for
etcd's default, where 2 s would be granted."""


def require(lacking: str) -> None:
    """End the program if something is not installed."""
    if lacking:
        sys.exit(f"not installed: {lacking}; `make services` brings it")


def chosen_systems(names: str, scratch: Path) -> dict[str, Callable[[Path], Subject]]:
    """Return what makes a subject, by name; ends the program on an unknown name."""
    wanted = names.split(",") if names else list(SYSTEMS)
    for name in wanted:
        if name not in SYSTEMS:
            sys.exit(f"no such system: {name!r}; there are {', '.join(SYSTEMS)}")
    return {name: SYSTEMS[name](scratch) for name in wanted}


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--systems", default="", help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--trials", type=int, default=5, help="fresh clusters of each system")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that all is cleaned up
    with tempfile.TemporaryDirectory(prefix="libevrpc-compare-") as scratch:
        systems = chosen_systems(given.systems, Path(scratch))
        figures = {name: Figures() for name in systems}
        try:
            good = measure(systems, figures, given.trials, QUICK if given.quick else Scale())
        finally:  # what there is, also when interrupted
            print(json.dumps(figures_json(figures)) if given.json else table(figures), flush=True)
    return 0 if good else 1


def measure(
    systems: dict[str, Callable[[Path], Subject]],
    figures: dict[str, Figures],
    trials: int,
    scale: Scale,
) -> bool:
    """Run the trials, the systems in turn; returns whether all went well."""
    good = True
    for number in range(1, trials + 1):
        for name, make in systems.items():
            print(f"trial {number} of {trials}: {name}", file=sys.stderr, flush=True)
            try:
                run_trial(make, figures[name], scale)
            except ServiceError as error:
                good = False
                print(f"{name}: {error}", file=sys.stderr)
    return good


if __name__ == "__main__":
    sys.exit(main())
