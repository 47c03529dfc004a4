"""The sample's messages and services, for tests: samples are no package."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from libevrpc.mprpc import MprpcApplication, RpcProvider, service_base

__all__ = ["FRIEND", "USER", "Friends", "Users", "configured", "fixbug_pb2", "providing"]

ROOT = Path(__file__).resolve().parent.parent.parent


def _messages() -> Any:
    path = ROOT / "samples" / "mprpc_user" / "fixbug_pb2.py"
    if "fixbug_pb2" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fixbug_pb2", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["fixbug_pb2"] = module
        spec.loader.exec_module(module)
    return sys.modules["fixbug_pb2"]


fixbug_pb2: Any = _messages()
USER = fixbug_pb2.DESCRIPTOR.services_by_name["UserServiceRpc"]
FRIEND = fixbug_pb2.DESCRIPTOR.services_by_name["FriendServiceRpc"]


class Users(service_base(USER)):
    """Lets in who knows the password of mprpc's own sample."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.cancelled = threading.Event()

    def login(self, request: Any, controller: Any) -> Any:
        if request.name == b"wait":
            self.entered.set()
            if controller.wait_cancelled(10.0):
                self.cancelled.set()
        if request.name == b"raise":
            raise ValueError("as asked")
        response = fixbug_pb2.LoginResponse(success=request.pwd == b"123456")
        response.result.errcode = 0 if response.success else 1
        return response

    def register(self, request: Any) -> Any:
        return fixbug_pb2.RegisterResponse()  # no byte on the wire


class Friends(service_base(FRIEND)):
    """Has friends with names as long as asked for."""

    def get_friends_list(self, request: Any) -> Any:
        response = fixbug_pb2.GetFriendsListResponse(friends=[b"gao yang", b"x" * request.userid])
        response.online["gao yang"] = True
        return response


def configured(folder: Path, *lines: str) -> None:
    """Let the program's configuration be these lines."""
    path = folder / "test.conf"
    path.write_text("\n".join(lines))
    MprpcApplication.Init(["test", "-i", str(path)])


@contextmanager
def providing(*services: Any, **settings: Any) -> Iterator[RpcProvider]:
    """Serve in this process, by the configuration there is."""
    provider = RpcProvider(**settings)
    for service in services:
        provider.NotifyService(service)
    provider.server.start()
    try:
        yield provider
    finally:
        provider.server.stop(0.0)
