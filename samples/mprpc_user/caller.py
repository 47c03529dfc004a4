"""Call the services of callee.py, or of any mprpc provider.

python samples/mprpc_user/caller.py -i FILE
"""

from __future__ import annotations

import sys
from typing import Any

import fixbug_pb2

from libevrpc import ConfigError, StatusCode
from libevrpc.mprpc import MprpcApplication, MprpcChannel, MprpcController, MprpcStub

SERVICES = fixbug_pb2.DESCRIPTOR.services_by_name


class CallError(Exception):
    """A call failed; says how the program ends."""

    def __init__(self, controller: MprpcController) -> None:
        super().__init__(controller.ErrorText())
        error = controller.error
        self.status = 3 if error is not None and error.code is StatusCode.UNAVAILABLE else 1


def called(method: Any, request: Any) -> Any:
    """Call with a controller, and look at it before at the response."""
    controller = MprpcController()
    response = method(controller, request)
    if controller.Failed():
        raise CallError(controller)
    return response


def call_all(channel: MprpcChannel) -> None:
    user = MprpcStub(SERVICES["UserServiceRpc"], channel)
    friend = MprpcStub(SERVICES["FriendServiceRpc"], channel)

    for pwd in (b"123456", b"guess"):
        login = called(user.Login, fixbug_pb2.LoginRequest(name=b"zhang san", pwd=pwd))
        print(f"Login: success={login.success} errmsg={login.result.errmsg.decode()!r}")
    newcomer = fixbug_pb2.RegisterRequest(id=2000, name=b"li si", pwd=b"666666")
    print(f"Register: success={called(user.Register, newcomer).success}")
    found = called(friend.GetFriendsList, fixbug_pb2.GetFriendsListRequest(userid=1000))
    print("GetFriendsList:", ", ".join(each.decode() for each in found.friends))
    print("online:", ", ".join(sorted(name for name, online in found.online.items() if online)))

    controller = MprpcController()
    user.Register(controller, fixbug_pb2.RegisterRequest(name=b"nobody"))
    print("wrong call:", controller.ErrorText())


def main() -> int:
    try:
        MprpcApplication.Init(sys.argv)
        call_all(MprpcChannel())
    except ConfigError as exc:
        print(f"caller.py: {exc}", file=sys.stderr)
        return 2
    except CallError as exc:
        print(f"caller.py: {exc}", file=sys.stderr)
        return exc.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
