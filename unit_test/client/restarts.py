"""Calls while the servers of a list are restarted, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from libevrpc import RpcClient, RpcError, RpcServer
from unit_test.fix_net import free_ports
from unit_test.fix_rpc import WAIT_S, wait_until

SERVERS = 3
CALLERS = 3


def failed_while_restarting(
    start: Callable[[str], RpcServer], wire: str, call: Callable[[RpcClient], object]
) -> list[RpcError]:
    """Return how calls failed while each of three servers was restarted twice.

    Args:
        start: starts a server at an address.
        wire: what the client speaks.
        call: makes one call.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(SERVERS)]
    stop = threading.Event()
    failed: list[RpcError] = []
    done = [0] * CALLERS
    servers = [start(address) for address in addresses]
    with RpcClient("list://" + ",".join(addresses), wire=wire, timeout_s=WAIT_S) as client:

        def caller(number: int) -> None:
            while not stop.is_set():
                try:
                    call(client)
                    done[number] += 1
                except RpcError as exc:
                    failed.append(exc)

        threads = [threading.Thread(target=caller, args=(each,)) for each in range(CALLERS)]
        for thread in threads:
            thread.start()

        def all_went_on(before: list[int]) -> bool:
            """No call meets more than two of the restarts: it has four tries."""
            return all(now > then + 1 for now, then in zip(done, before, strict=True))

        for turn in range(2 * SERVERS):
            servers[turn % SERVERS].stop(1.0)
            before = list(done)
            wait_until(lambda before=before: all_went_on(before))  # type: ignore[misc]
            servers[turn % SERVERS] = start(addresses[turn % SERVERS])
        stop.set()
        for thread in threads:
            thread.join()
    for server in servers:
        server.stop(0.0)
    return failed
