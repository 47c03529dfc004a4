"""Steps of a registry's session that are woken while nobody answers them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from libevrpc.registry.session import RegistryError
from unit_test.fix_rpc import wait_until


def ends(
    step: Callable[[], object], under_way: Callable[[], object], wake: Callable[[], None]
) -> None:
    """Take a step on a thread, wake it when it is under way: it must fail then."""
    failures: list[RegistryError] = []

    def run() -> None:
        try:
            step()
        except RegistryError as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(under_way)
    wake()
    thread.join(20.0)
    assert not thread.is_alive()
    assert len(failures) == 1
