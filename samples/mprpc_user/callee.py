"""Serve UserServiceRpc and FriendServiceRpc to mprpc's callers.

python samples/mprpc_user/callee.py -i FILE
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import fixbug_pb2

from libevrpc import ConfigError, ServerController
from libevrpc.mprpc import MprpcApplication, RpcProvider, service_base

SERVICES = fixbug_pb2.DESCRIPTOR.services_by_name


class UserService(service_base(SERVICES["UserServiceRpc"])):  # type: ignore[misc]
    """Knows who has registered. Workers call it: what they share must bear that."""

    def __init__(self) -> None:
        self.passwords = {b"zhang san": b"123456"}

    def login(self, request: Any) -> Any:
        response = fixbug_pb2.LoginResponse()
        response.success = self.passwords.get(request.name) == request.pwd
        if response.success:
            response.result.errcode = 0
        else:
            response.result.errcode = 1
            response.result.errmsg = b"wrong name or password"
        return response

    def register(self, request: Any, controller: ServerController) -> Any:
        response = fixbug_pb2.RegisterResponse()
        if not request.id:
            # Beyond what a response can say: the caller's controller has failed then.
            controller.set_failed("id 0 is nobody's")
            return response
        response.success = self.passwords.setdefault(request.name, request.pwd) == request.pwd
        return response


class FriendService(service_base(SERVICES["FriendServiceRpc"])):  # type: ignore[misc]
    """Everybody has the same friends."""

    def get_friends_list(self, request: Any) -> Any:
        response = fixbug_pb2.GetFriendsListResponse()
        response.result.errcode = 0
        response.friends.extend([b"gao yang", b"liu hong", b"wang shuo"])
        response.online.update({"gao yang": True, "liu hong": False})
        return response


def main() -> int:
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    try:
        MprpcApplication.Init(sys.argv)
        provider = RpcProvider()
        provider.NotifyService(UserService())
        provider.NotifyService(FriendService())
        provider.server.start()
    except ConfigError as exc:
        print(f"callee.py: {exc}", file=sys.stderr)
        return 2
    print(f"listening on {provider.server.address}", flush=True)
    provider.Run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
