"""How several processes share a run (`pytest -n`): what stays together, and what runs alone.

A file's tests stay in one process, so that its fixtures are made once. Files that talk to the
same real service stay together too: each process would start a ZooKeeper of its own. The longest
come first, so that no process is left with one of them at the end.

Where centers must keep their leader, a test that keeps both cores busy beside them is a fault that
nobody asked for: what is marked `alone` waits until the others have ended the test that they are
in, and then they wait for it. All of that is one group and the last one: the others wait once, when
they have nothing left to do.

The programs that tests start compile Python's files once for all of them, wherever the environment
says that nobody keeps compiled files: each start of a center would compile all of them again.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

TOGETHER = {
    "zookeeper": ("zookeeper_kept", "zookeeper_cluster_kept"),
    "etcd": ("etcd_kept", "etcd_cluster_kept"),
}
"""Group -> fixtures of `fix_services` that the session keeps."""

ALONE = "alone"
"""The mark, and the group."""
FOLDER = "LIBEVRPC_TEST_LOCKS"
"""Where in the environment the folder of the locks stands."""
TRACED = "COVERAGE_PROCESS_CONFIG"
"""By this in its environment a program knows that coverage wants to trace it."""
GROUPS = "groups"
"""Test -> group, in a file beside the locks."""
PATIENT_S = 240
"""Longest that a slow test may take: a hanging one ends, and one on a busy machine does not."""
COMPILED = "compiled"
"""Folder of compiled files, beside the locks."""
LOCKS = pytest.StashKey[tuple[IO[bytes], IO[bytes]]]()
KEPT = pytest.StashKey[bool]()
"""Whether the room is ours since the test before."""


def is_alone(item: pytest.Item | None) -> bool:
    """Whether `item` wants the machine for itself."""
    return item is not None and item.get_closest_marker(ALONE) is not None


def group_of(item: pytest.Item) -> str:
    """Return the name of the tests that `item` stays with."""
    if is_alone(item):
        return ALONE
    fixtures = set(getattr(item, "fixturenames", ()))
    for group, names in TOGETHER.items():
        if not fixtures.isdisjoint(names):
            return group
    return str(item.path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the groups with slow tests first, give those time, and tell who shares groups out."""
    slow: dict[str, int] = {}
    for item in items:
        group = group_of(item)
        is_slow = item.get_closest_marker("slow") is not None
        slow[group] = slow.get(group, 0) + is_slow
        if is_slow and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENT_S))
    items.sort(key=lambda item: (is_alone(item), -slow[group_of(item)]))
    if hasattr(config, "workerinput"):
        folder = Path(os.environ[FOLDER])
        made = folder / f"{GROUPS}-{config.workerinput['workerid']}"
        made.write_text(json.dumps({item.nodeid: group_of(item) for item in items}))
        made.replace(folder / GROUPS)  # whole, and the same of each process


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out by their groups, whatever their names are."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        """Gives a group to one process, as a whole."""

        groups: Mapping[str, str] | None = None

        def _split_scope(self, nodeid: str) -> str:
            if self.groups is None:  # first asked when every process has collected
                self.groups = json.loads(Path(os.environ[FOLDER], GROUPS).read_text())
            return self.groups[nodeid]

    return GroupScheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Make what the processes of one run have in common, or open it."""
    if hasattr(config, "workerinput"):
        folder = Path(os.environ[FOLDER])
        let_programs_keep_compiled(folder)
        config.stash[LOCKS] = (
            folder.joinpath("door").open("wb"),
            folder.joinpath("room").open("wb"),
        )
        return
    made = tempfile.TemporaryDirectory(prefix="libevrpc-run-", ignore_cleanup_errors=True)
    config.add_cleanup(made.cleanup)
    if config.getoption("numprocesses", None):
        os.environ[FOLDER] = made.name  # the other processes inherit it
    else:
        let_programs_keep_compiled(Path(made.name))


def let_programs_keep_compiled(folder: Path) -> None:
    """Let what tests start from now on keep compiled files below `folder`, if nowhere else."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / COMPILED)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the test's own time-out
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Hold the room while a test runs, and let a slow one's programs run untraced."""
    with room_of(item, nextitem), programs_untraced(item.get_closest_marker("slow") is not None):
        return (yield)


@contextmanager
def room_of(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Hold the room: alone, or with others who do not need it alone.

    Whoever waits for the room holds the door, so that nobody overtakes. It is kept from one test
    that needs it alone to the next one.
    """
    door, room = item.config.stash.get(LOCKS, (None, None))
    if door is None or room is None:  # nobody else is there
        yield
        return
    if not item.config.stash.get(KEPT, False):
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone(item) else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
    try:
        yield
    finally:
        keeps = item.config.stash[KEPT] = is_alone(item) and is_alone(nextitem)
        if not keeps:
            fcntl.flock(room, fcntl.LOCK_UN)


@contextmanager
def programs_untraced(untraced: bool) -> Iterator[None]:
    """Let the programs that are started run at their own speed, where traced ones take twice as
    long; what is covered is known from other tests."""
    kept = os.environ.pop(TRACED, None) if untraced else None
    try:
        yield
    finally:
        if kept is not None:
            os.environ[TRACED] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell captured text so that it can travel: tests log what is no Unicode."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
