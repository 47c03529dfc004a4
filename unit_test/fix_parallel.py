"""Which tests stay together when several processes share the run (`pytest -n`).

A file's tests stay in one process, so that its fixtures are made once. Files that talk to the
same real service stay together too: each process would start a ZooKeeper of its own. The longest
come first, so that no process is left with one of them at the end.
"""

from __future__ import annotations

from pathlib import PurePath

import pytest

TOGETHER = {
    "zookeeper": ("zookeeper", "zookeeper_cluster"),
    "etcd": ("etcd", "etcd_cluster"),
}
"""Group -> fixtures of `fix_services` that the session keeps."""


def group_of(item: pytest.Item) -> str:
    """Return the name of the tests that `item` stays with."""
    fixtures = set(getattr(item, "fixturenames", ()))
    for group, names in TOGETHER.items():
        if not fixtures.isdisjoint(names):
            return group
    return PurePath(item.path).stem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name every test's group, and put those with slow tests first."""
    if not items:
        return
    slow: dict[str, int] = {}
    for item in items:
        group = group_of(item)
        item.add_marker(pytest.mark.xdist_group(group))
        slow.setdefault(group, 0)
        slow[group] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -slow[group_of(item)])
