"""A center inside another program: a supervised child process, or threads of its own.

A child is the default: a handler that keeps the interpreter to itself for longer than the
lease lasts must not cost the cluster its leader.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from center.__main__ import REFUSAL
from center.opening import Opening, open_center
from center.runner import Runner
from libevrpc import RpcClient, UsageError
from libevrpc.clock import monotonic_s
from libevrpc.errors import ConfigError
from libevrpc.gen import center_pb2
from libevrpc.settings import CenterSettings

__all__ = ["CenterNode"]

log = logging.getLogger(__name__)

RESTART_MIN_S = 0.1
RESTART_MAX_S = 5.0
"""A child that keeps dying is started again after a span that doubles up to this."""
STEADY_S = 10.0
"""A child that lived for longer is started again after the shortest span."""
STOP_S = 5.0
"""How long a child may take to end before it is killed."""
CENTER = center_pb2.DESCRIPTOR.services_by_name["Center"]


class CenterNode:
    """One center of the cluster, kept running by this program. One thread at a time.

    Args:
        center_id: own id; None: that of the one line with an address of this machine.
        centers_list: None: ./centers_list, then /tmp/centers_list.
        config: an ini file; see config/center.ini.
        new_cluster: vote at once although the disk is empty.
        in_process: run on threads of this process, not as a child.
        settings: keys of `CenterSettings` by name.

    Raises:
        ConfigError: an argument, a file or the environment is wrong.
    """

    def __init__(
        self,
        center_id: int | None = None,
        centers_list: str | Path | None = None,
        *,
        config: str | Path | None = None,
        new_cluster: bool = False,
        in_process: bool = False,
        **settings: Any,
    ) -> None:
        self._opening = open_center(
            center_id, centers_list, config=config, new_cluster=new_cluster, settings=settings
        )
        self._in_process = in_process
        self._folder: str | None = None
        with contextlib.suppress(FileNotFoundError):  # it was removed: then no path counts from it
            self._folder = os.getcwd()
        self._runner: Runner | None = None
        self._child: _Child | None = None

    @property
    def id(self) -> int:
        """The center's id."""
        return self._opening.id

    @property
    def address(self) -> str:
        """Address of its client port, as the list has it."""
        return self._opening.centers.center(self.id).client_address

    @property
    def target(self) -> str:
        """What servers and clients of this cluster are given: all of the list, this one first."""
        listed = (each.client_address for each in self._opening.centers.centers)
        return "center://" + ",".join(dict.fromkeys((self.address, *listed)))

    def start(self) -> None:
        """Start it; returns once its client port is served.

        Raises:
            ConfigError: a port or the data folder cannot be used.
            UsageError: it runs already.
        """
        if self._runner is not None or self._child is not None:
            raise UsageError("this center runs already")
        if self._in_process:
            for warning in self._opening.warnings:
                log.warning("%s", warning)
            runner = self._opening.runner()
            runner.start()
            self._runner = runner
        else:
            child = _Child(self._opening, self._folder)
            child.start()
            self._child = child

    def stop(self) -> None:
        """Leave the cluster and end. Any number of times."""
        runner, self._runner = self._runner, None
        child, self._child = self._child, None
        if runner is not None:
            runner.stop()
        if child is not None:
            child.stop()

    def status(self, timeout_s: float = 1.0) -> center_pb2.StatusResponse:
        """Ask it how it is.

        Raises:
            RpcError: it does not answer within `timeout_s`.
        """
        token_file = self._opening.settings.token_file
        with RpcClient(self.address, timeout_s=timeout_s, token_file=token_file) as client:
            found: center_pb2.StatusResponse = client.stub(CENTER).Status(
                center_pb2.StatusRequest()
            )
            return found

    def __enter__(self) -> CenterNode:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Child:
    """The child process and the thread that starts it again when it ends.

    The child ends when we do, however that happens: it holds the read end of a pipe whose write
    end is ours, and a descriptor of our process, since who we fork holds that write end too.

    Args:
        opening: what to run.
        folder: where the paths in it count from; the program may have left it since. None:
            there is none.
    """

    def __init__(self, opening: Opening, folder: str | None) -> None:
        self._opening = opening
        self._folder = folder
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._life_read, self._life_write = os.pipe()
        self._life_fds = [self._life_read]
        with contextlib.suppress(OSError, AttributeError):  # a system that has none
            self._life_fds.append(os.pidfd_open(os.getpid()))
        self._thread = threading.Thread(
            target=self._supervise, name=f"center-supervisor-{opening.id}", daemon=True
        )

    def start(self) -> None:
        """Launch the child and wait until it listens.

        Raises:
            ConfigError: it ended at once; says why, as far as the child could tell.
            OSError: no process can be started now.
        """
        try:
            line = self._launch()
        except OSError:
            self._close()
            raise
        if not line or line.startswith(REFUSAL):
            assert self._process is not None
            status = self._process.wait()
            self._close()
            why = line.removeprefix(REFUSAL) or "its standard error says why"
            raise ConfigError(
                f"center {self._opening.id} ended at its start with status {status}: {why}"
            )
        self._thread.start()

    def stop(self) -> None:
        """End the child: politely, then not."""
        self._stopping.set()
        os.close(self._life_write)  # which says nothing while a process that we forked has it
        self._life_write = -1
        assert self._process is not None
        self._process.terminate()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()
        self._close()

    def _close(self) -> None:
        for fd in (*self._life_fds, self._life_write):
            if fd >= 0:
                os.close(fd)

    def _launch(self) -> str:
        """Start a process; returns its first line: it listens, or it is refused; else empty."""
        opening = self._opening
        words = [
            *(sys.executable, "-P", "-m", "center", "--id", str(opening.id)),
            *("--centers-list", opening.centers.path, "--data-dir", str(opening.folder)),
            *(word for fd in self._life_fds for word in ("--parent-fd", str(fd))),
            *(("--new-cluster",) if opening.new_cluster else ()),
        ]
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            words,
            cwd=self._folder,
            env={**os.environ, **_environ_of(opening.settings), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=self._life_fds,
        )
        assert self._process.stdout is not None
        with self._process.stdout as out:
            return out.readline().decode(errors="replace").strip()

    def _supervise(self) -> None:
        """Start the child again whenever it ends, until `stop`."""
        pause_s = RESTART_MIN_S
        failure = ""
        while True:
            began_s = monotonic_s()
            assert self._process is not None
            trouble = failure or f"ended with status {self._process.wait()}"
            if self._stopping.is_set():
                return
            steady = monotonic_s() - began_s > STEADY_S
            pause_s = RESTART_MIN_S if steady else min(RESTART_MAX_S, 2 * pause_s)
            log.warning(
                "center %d %s; it is started again in %.1f s", self._opening.id, trouble, pause_s
            )
            if self._stopping.wait(pause_s):
                return
            try:
                self._launch()
                failure = ""
                if self._stopping.is_set() and self._process is not None:
                    self._process.terminate()  # `stop` may have met the one before
            except OSError as exc:  # no descriptors or memory now
                failure = f"cannot be started: {exc}"


def _environ_of(settings: CenterSettings) -> dict[str, str]:
    """Return the environment that gives a child these settings."""
    return {
        f"LIBEVRPC_CENTER_{each.name.upper()}": str(getattr(settings, each.name))
        for each in dataclasses.fields(settings)
    }
