"""Clients that are killed, frozen or unplugged in the middle of a long call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from libevrpc.clock import monotonic_s
from unit_test.fix_rpc import WAIT_S, Serving, wait_until

pytestmark = pytest.mark.live
CLIENT_TIMEOUT_S = 1.5
PROGRAM = """
import sys
from libevrpc import RpcClient
client = RpcClient(sys.argv[1], timeout_s=60.0)
client.call("Foo.Sum", 1)
client.call("Patient.wait", timeout_s=60.0)
"""


class Patient:
    """Waits until nobody waits for it."""

    def __init__(self, serving: Serving) -> None:
        self._handler = serving.handler

    def wait(self, controller: object) -> None:
        self._handler.entered.set()
        if controller.wait_cancelled(WAIT_S):  # type: ignore[attr-defined]
            self._handler.cancelled.set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_handler_hears_that_its_client_is_gone(
    serve: Callable[..., Serving], number: signal.Signals
) -> None:
    serving = serve(client_timeout_s=CLIENT_TIMEOUT_S)
    serving.server.add_object(Patient(serving))
    beside = serving.client()
    environ = {name: each for name, each in os.environ.items() if not name.startswith("COVERAGE")}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, serving.address], env=environ) as process:
        try:
            assert serving.handler.entered.wait(WAIT_S)
            # heartbeats keep the long call: it outlives the time-out
            long_s = monotonic_s() + CLIENT_TIMEOUT_S + 0.3
            wait_until(lambda: monotonic_s() > long_s)
            assert not serving.handler.cancelled.is_set()
            process.send_signal(number)  # a stopped one sends no FIN
            sent_s = monotonic_s()
            assert serving.handler.cancelled.wait(WAIT_S)
            assert monotonic_s() - sent_s < 4 * CLIENT_TIMEOUT_S  # 1 of it, and a busy machine
        finally:
            process.kill()
    assert serving.server.statistics().timed_out == (1 if number == signal.SIGSTOP else 0)
    assert beside.call("Foo.Sum", 1) == 1
